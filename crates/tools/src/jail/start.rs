//! Makes the new process, and hands it its namespaces, its user and its files.

use std::ffi::CString;
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use landlock::RulesetError;

use super::enter::{Entry, INSIDE, Layer, NewRoot, STEPS, enter};
use super::filter::{Variable, filter};
use super::rules::{in_folder, rules};
use super::system::Inside;
use super::{JailError, Protections};

/// A process that is killed and reaped when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    /// Its number, as long as it is not reaped.
    number: Option<libc::pid_t>,
    /// Readable once it has ended.
    pub ended: OwnedFd,
    /// Whether its group may hold others.
    group: bool,
}

/// What the parent holds of a running program.
#[derive(Debug)]
pub(super) struct Started {
    pub child: Child,
    pub stdout: fs::File,
    pub stderr: fs::File,
}

/// Why a program did not start.
#[derive(Debug)]
pub(super) struct NotStarted {
    pub layer: Layer,
    pub step: &'static str,
    pub source: io::Error,
}

impl From<NotStarted> for JailError {
    fn from(failed: NotStarted) -> Self {
        Self::Setup {
            step: failed.step,
            source: failed.source,
        }
    }
}

/// A reason with its step, for `map_err`.
fn at(layer: Layer, step: &'static str) -> impl FnOnce(io::Error) -> NotStarted {
    move |source| NotStarted { layer, step, source }
}

/// Starts Python with this text on file 3 and this one as standard input. The folder is where it works, if it has no
/// root of its own.
pub(super) fn start(
    inside: &Inside,
    protections: &Protections,
    code: &str,
    stdin: &str,
    folder: Option<&std::path::Path>,
) -> Result<Started, NotStarted> {
    let pipe = || pipe().map_err(at(Layer::Process, "making a pipe"));
    let text = |text| sealed(text).map_err(at(Layer::Process, "storing the program's text"));
    let (code, stdin) = (text(code)?, text(stdin)?);
    let (stdout, stdout_in) = pipe()?;
    let (stderr, stderr_in) = pipe()?;
    let (report, report_in) = pipe()?;
    let (go, go_in) = pipe()?;

    let landlock = match &protections.landlock {
        Ok(()) => rules(&inside.python, folder).map_err(|error| NotStarted {
            layer: Layer::Landlock,
            step: "making its rules",
            source: match error {
                // What a kernel without any of it is asked first.
                RulesetError::HandleAccesses(_) => io::Error::other("it comes with Linux 5.13 and can be switched off"),
                error => io::Error::other(error),
            },
        })?,
        Err(_) => None,
    };
    let program = Hidden::new(&inside.program).map_err(at(Layer::Seccomp, "hiding a path"))?;
    let mut instructions = match &protections.seccomp {
        Ok(()) => {
            let variable = Variable {
                exec_at: program.text as u64,
                folders: protections.namespaces.is_ok(),
            };
            let made = filter(variable).map_err(io::Error::other);
            Some(made.map_err(at(Layer::Seccomp, "making the filter"))?)
        }
        Err(_) => None,
    };
    let arguments: Vec<_> = inside
        .arguments
        .iter()
        .map(|argument| argument.as_ptr())
        .chain([ptr::null()])
        .collect();
    // SAFETY: the call has no conditions.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let options = CString::new(format!(
        "size={},nr_inodes={},mode=700",
        inside.limits.disk.max(4096),
        // The folder itself counts, too.
        inside.limits.files.max(1) + 1,
    ))
    .expect("no zero");
    let folder = folder.map(super::root::c_string);
    let mut entry = Entry {
        files: [&stdin, &stdout_in, &stderr_in, &code].map(AsRawFd::as_raw_fd),
        report: report_in.as_raw_fd(),
        go: go.as_raw_fd(),
        new_root: (protections.namespaces.is_ok()).then(|| NewRoot {
            root: &inside.root,
            trees: vec![-1; inside.root.binds.len()],
            folder: &options,
            drop_groups: user == 0,
        }),
        folder: folder.as_deref(),
        limits: &inside.resources,
        landlock: landlock.as_ref().map(AsRawFd::as_raw_fd),
        in_folder: in_folder().bits(),
        filter: instructions.as_deref_mut(),
        program: program.text,
        arguments: arguments.as_ptr(),
    };

    let child = clone(&mut entry, protections.seccomp.is_err())?;
    drop((stdout_in, stderr_in, report_in, go, code, stdin));
    if let (Ok(()), Some(number)) = (&protections.namespaces, child.number) {
        map_user(number, user, group)
            .and_then(|()| fs::File::from(go_in).write_all(b"."))
            .map_err(at(Layer::Namespaces, "mapping its user"))?;
    }
    let mut message = Vec::new();
    fs::File::from(report)
        .read_to_end(&mut message)
        .map_err(at(Layer::Process, "waiting for its start"))?;
    if let &[step, a, b, c, d] = &*message {
        let (layer, step) = STEPS
            .get(usize::from(step))
            .copied()
            .unwrap_or((Layer::Process, "an unknown step"));
        let source = io::Error::from_raw_os_error(i32::from_le_bytes([a, b, c, d]));
        return Err(NotStarted { layer, step, source });
    }
    Ok(Started {
        child,
        stdout: stdout.into(),
        stderr: stderr.into(),
    })
}

/// Makes the process.
fn clone(entry: &mut Entry, group: bool) -> Result<Child, NotStarted> {
    let mut ended: RawFd = -1;
    let mut flags = libc::CLONE_PIDFD;
    let mut layer = Layer::Process;
    if entry.new_root.is_some() {
        layer = Layer::Namespaces;
        flags |= libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
    }
    #[repr(C)]
    #[derive(Default)]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }
    let arguments = Arguments {
        flags: u64::from(flags as u32),
        pidfd: &raw mut ended as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..Arguments::default()
    };
    // SAFETY: without shared memory and with no stack given, clone3 is a fork: the child goes on with a copy of
    // everything, and runs `enter`, which keeps to what is allowed there.
    let number = unsafe {
        let number = libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<Arguments>());
        if number == 0 {
            enter(entry);
        }
        number
    };
    if number < 0 {
        return Err(at(layer, "making a process")(io::Error::last_os_error()));
    }
    Ok(Child {
        number: Some(number as libc::pid_t),
        // SAFETY: the kernel stored a new file there.
        ended: unsafe { OwnedFd::from_raw_fd(ended) },
        group,
    })
}

/// Lets the process's user be nobody outside where the caller may choose, else the caller.
fn map_user(number: libc::pid_t, user: u32, group: u32) -> io::Result<()> {
    const NOBODY: u32 = 65534;
    let folder = format!("/proc/{number}");
    if user == 0 {
        let mapped = [("gid_map", NOBODY), ("uid_map", NOBODY)]
            .iter()
            .try_for_each(|(map, id)| fs::write(format!("{folder}/{map}"), format!("{INSIDE} {id} 1")));
        if mapped.is_ok() {
            return mapped;
        }
    }
    fs::write(format!("{folder}/setgroups"), "deny")?;
    fs::write(format!("{folder}/gid_map"), format!("{INSIDE} {group} 1"))?;
    fs::write(format!("{folder}/uid_map"), format!("{INSIDE} {user} 1"))
}

impl Child {
    /// Kills the process, and all that it started.
    pub(super) fn kill(&self) {
        if let Some(number) = self.number {
            // SAFETY: the number is still its own, as it is not reaped.
            unsafe {
                libc::kill(number, libc::SIGKILL);
                if self.group {
                    libc::kill(-number, libc::SIGKILL);
                }
            }
        }
    }

    /// Waits for the end: the status and processor seconds.
    pub(super) fn reap(&mut self) -> io::Result<(libc::c_int, f64)> {
        let Some(number) = self.number.take() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut status = 0;
        // SAFETY: plain data, for which zeros are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: both places are valid for the call.
            let reaped = unsafe { libc::wait4(number, &raw mut status, libc::__WALL, &raw mut usage) };
            if reaped == number {
                break;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        Ok((status, seconds(usage.ru_utime) + seconds(usage.ru_stime)))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        // Reaped already, or there is nobody left to tell.
        let _ = self.reap();
    }
}

/// A path at an address drawn at random, so that a filter can tell it from any other.
struct Hidden {
    page: *mut libc::c_void,
    text: *const libc::c_char,
}

/// Bytes of the page that holds the path.
const PAGE: usize = 16 << 10;

impl Hidden {
    fn new(path: &CString) -> io::Result<Self> {
        let bytes = path.as_bytes_with_nul();
        if bytes.len() > PAGE / 2 {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        for _ in 0..64 {
            let mut random = [0u8; 8];
            // SAFETY: the buffer is valid for its length.
            if unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) } != 8 {
                return Err(io::Error::last_os_error());
            }
            let random = usize::from_le_bytes(random);
            // 46 bits of address space are the program's on every architecture that has Landlock; low ones may be
            // reserved.
            let wanted = (random & ((1 << 46) - 1)).max(1 << 32) & !(PAGE - 1);
            // SAFETY: the kernel does not map over anything that is there already.
            let page = unsafe {
                libc::mmap(
                    wanted as *mut libc::c_void,
                    PAGE,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
                    -1,
                    0,
                )
            };
            if page == libc::MAP_FAILED {
                continue;
            }
            let offset = (random >> 46) % (PAGE / 2);
            // SAFETY: the path fits into the second half of the page at the latest.
            let text = unsafe {
                let text = page.cast::<u8>().add(offset);
                ptr::copy_nonoverlapping(bytes.as_ptr(), text, bytes.len());
                text
            };
            return Ok(Self {
                page,
                text: text.cast(),
            });
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nobody else knows of it.
        unsafe { libc::munmap(self.page, PAGE) };
    }
}

/// A pipe: where to read, where to write.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: room for two numbers; both are new files.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// A file in memory that nobody can change.
fn sealed(text: &str) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name ends with zero; the result is a new file.
    let mut file = unsafe {
        let file = libc::memfd_create(c"text".as_ptr(), flags);
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        fs::File::from_raw_fd(file)
    };
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: numbers only.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file.into())
}
