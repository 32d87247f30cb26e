//! The parent's part while a program runs: reads what it writes, up to a bound, and ends it in time.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::start::Started;
use super::{Ended, Limits, Outcome};

/// How often a folder on a disk is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// One of the two streams.
struct Stream {
    file: fs::File,
    text: Vec<u8>,
    open: bool,
}

impl Stream {
    fn new(file: fs::File) -> io::Result<Self> {
        // SAFETY: numbers only.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            file,
            text: Vec::new(),
            open: true,
        })
    }

    /// Reads what is there. Whether it is more than the limit.
    fn read(&mut self, limit: usize) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        while self.open && self.text.len() <= limit {
            match self.file.read(&mut buffer) {
                Ok(0) => self.open = false,
                Ok(count) => self.text.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.text.len() > limit)
    }

    fn into_text(mut self, limit: usize) -> String {
        self.text.truncate(limit);
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// Waits for the end of a program, or makes it. A folder that is given is watched.
pub(super) fn watch(started: Started, limits: &Limits, folder: Option<&Path>, start: Instant) -> io::Result<Outcome> {
    let Started {
        mut child,
        stdout,
        stderr,
    } = started;
    let mut streams = [Stream::new(stdout)?, Stream::new(stderr)?];
    let end = start + limits.wall;
    let mut cut = None;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            cut = Some(Ended::Timeout);
            break;
        }
        let patience = if folder.is_some() { left.min(GLANCE) } else { left };
        let ended = wait(
            [child.ended.as_raw_fd(), streams[0].number(), streams[1].number()],
            patience,
        )?;
        for stream in &mut streams {
            if stream.read(limits.output)? {
                cut = Some(Ended::OutputLimit);
            }
        }
        if folder.is_some_and(|folder| too_much(folder, limits)) {
            cut = cut.or(Some(Ended::DiskLimit));
        }
        if ended || cut.is_some() {
            break;
        }
    }
    child.kill();
    let (status, cpu_seconds) = child.reap()?;
    let wall_seconds = start.elapsed().as_secs_f64();
    for stream in &mut streams {
        if stream.read(limits.output)? {
            cut = cut.or(Some(Ended::OutputLimit));
        }
    }
    let [stdout, stderr] = streams.map(|stream| stream.into_text(limits.output));
    let ended = cut.unwrap_or_else(|| {
        if libc::WIFSIGNALED(status) {
            // The kernel counts ticks for the limit, and time for the usage: on a busy machine they differ.
            let out_of_time = cpu_seconds >= limits.cpu.as_secs_f64() * 0.5;
            match libc::WTERMSIG(status) {
                libc::SIGKILL | libc::SIGXCPU if out_of_time => Ended::Timeout,
                signal => Ended::Signal(signal),
            }
        } else {
            let out_of_memory = stderr
                .lines()
                .next_back()
                .is_some_and(|line| line.starts_with("MemoryError"));
            match libc::WEXITSTATUS(status) {
                1 if out_of_memory => Ended::MemoryLimit,
                status => Ended::Exit(status),
            }
        }
    });
    Ok(Outcome {
        stdout,
        stderr,
        ended,
        cpu_seconds,
        wall_seconds,
    })
}

impl Stream {
    /// What to wait for: nothing more once it is closed.
    fn number(&self) -> RawFd {
        if self.open { self.file.as_raw_fd() } else { -1 }
    }
}

/// Waits until one of the files has something to say. Whether it is the first.
fn wait(files: [RawFd; 3], patience: Duration) -> io::Result<bool> {
    let mut files = files.map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    let milliseconds = patience.as_millis().min(1 << 30) as libc::c_int + 1;
    // SAFETY: the array is valid for its length.
    if unsafe { libc::poll(files.as_mut_ptr(), files.len() as libc::nfds_t, milliseconds) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        return Ok(false);
    }
    Ok(files[0].revents != 0)
}

/// Whether a folder holds more than it may. It has no folders inside: the filter refuses to make them.
fn too_much(folder: &Path, limits: &Limits) -> bool {
    let (mut bytes, mut files) = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        files += 1;
        bytes += entry.metadata().map_or(0, |data| data.len());
        if files > limits.files || bytes > limits.disk {
            return true;
        }
    }
    false
}
