//! The outside that programs try to reach, and how it is checked that none did.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ferrochat_tools::{Ended, Jail, JailError, Limits, Outcome};

/// Part of the name of every file that a program tries to leave behind.
const MARK: &str = "ferrochat-escape";

/// A secret that no program may print.
const SECRET: &str = "the outside's secret";

/// What programs begin with.
const PREAMBLE: &str = r#"
import ctypes, errno, os, sys
MARK = "@MARK@"
def held(attempt):
    try:
        result = attempt()
    except (OSError, ValueError, RuntimeError) as error:
        print("HELD", repr(error))
    else:
        print("ESCAPED", repr(result))
def refused(*calls):
    libc = ctypes.CDLL(None, use_errno=True)
    for call in calls:
        ctypes.set_errno(0)
        result = libc.syscall(*[ctypes.c_long(argument) for argument in call])
        error = ctypes.get_errno()
        print("HELD" if (result, error) == (-1, errno.EPERM) else "ESCAPED", call, result, error)
"#;

/// Programs are run one at a time, so that what is found afterwards can be told to be theirs.
/// The jails that were made stay for the next.
static ONE_AT_A_TIME: Mutex<Kept> = Mutex::new(Vec::new());

type Kept = Vec<(Limits, &'static [Jail])>;

/// Limits that the time of a busy machine does not reach.
pub fn patient() -> Limits {
    Limits {
        wall: Duration::from_mins(1),
        cpu: Duration::from_secs(30),
        ..Limits::default()
    }
}

/// The jails of this kernel, and the turn to use them.
pub struct Jails {
    each: &'static [Jail],
    _alone: MutexGuard<'static, Kept>,
}

impl Jails {
    pub fn iter(&self) -> impl Iterator<Item = &Jail> {
        self.each.iter()
    }
}

/// With namespaces and without. None, with a message, where this kernel is refused.
pub fn jails(limits: &Limits) -> Jails {
    let mut alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let known = alone.iter().find(|(kept, _)| kept == limits);
    if let Some(&(_, each)) = known {
        return Jails { each, _alone: alone };
    }
    let made = [Jail::new(limits.clone()), Jail::without_namespaces(limits.clone())];
    let usable = |jail| match jail {
        Ok(jail) => Some(jail),
        Err(error @ (JailError::Unprotected { .. } | JailError::NoPython(_))) => {
            eprintln!("not tried: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    };
    let each: Vec<_> = made.into_iter().filter_map(usable).collect();
    let each: &'static [Jail] = each.leak();
    alone.push((limits.clone(), each));
    Jails { each, _alone: alone }
}

/// What can be reached outside, and what it looked like before.
struct World {
    folder: tempfile::TempDir,
    tcp: TcpListener,
    udp: UdpSocket,
    local: UnixListener,
    abstract_name: String,
    mounts: String,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), SECRET).unwrap();
        let abstract_name = format!("{MARK}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let world = Self {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            local: UnixListener::bind_addr(&address).unwrap(),
            abstract_name,
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap(),
            folder,
        };
        world.tcp.set_nonblocking(true).unwrap();
        world.udp.set_nonblocking(true).unwrap();
        world.local.set_nonblocking(true).unwrap();
        world
    }

    fn program(&self, code: &str) -> String {
        let port = |address: std::net::SocketAddr| address.port().to_string();
        format!("{PREAMBLE}{code}")
            .replace("@MARK@", MARK)
            .replace("@TCP@", &port(self.tcp.local_addr().unwrap()))
            .replace("@UDP@", &port(self.udp.local_addr().unwrap()))
            .replace("@ABSTRACT@", &self.abstract_name)
            .replace("@OUTSIDE@", self.folder.path().to_str().unwrap())
            .replace("@PARENT@", &std::process::id().to_string())
    }

    /// Whether everything outside is as it was.
    fn assert_untouched(&self) {
        let nobody = |kind| assert_eq!(kind, ErrorKind::WouldBlock, "somebody called");
        nobody(self.tcp.accept().unwrap_err().kind());
        nobody(self.udp.recv(&mut [0]).unwrap_err().kind());
        nobody(self.local.accept().unwrap_err().kind());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(mounts, self.mounts, "something was mounted");

        let secret = self.folder.path().join("secret");
        assert_eq!(fs::read_to_string(&secret).unwrap(), SECRET);
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&secret).unwrap());
        assert_ne!(mode & 0o777, 0o777, "a mode was changed");
        let files = fs::read_dir(self.folder.path()).unwrap().count();
        assert_eq!(files, 1, "a file was left outside");
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let fixed = ["/", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run"];
        let fixed = fixed.into_iter().map(PathBuf::from);
        for folder in fixed.chain(home).chain([std::env::temp_dir()]) {
            assert_nothing_in(&folder);
        }
        let begin = Instant::now();
        while let Some(process) = survivor() {
            assert!(
                begin.elapsed() < Duration::from_secs(5),
                "process {process} is still there"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Neither a program's file nor a jail's folder.
pub fn assert_nothing_in(folder: &Path) {
    let jail = format!("jail-{}-", std::process::id());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            !name.contains(MARK) && !name.starts_with(&jail),
            "{} was left behind",
            entry.path().display()
        );
    }
}

/// A process that runs, or ran, what a jail starts: the text of its command line gives it away.
fn survivor() -> Option<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut names = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|name| {
        let line = fs::read(format!("/proc/{name}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("import os as _os\nwith _os.fdopen(3, 'rb')")
    })
}

/// Runs a program in each jail, and sees to it that nothing outside has changed.
pub fn attempt(limits: &Limits, code: &str, check: impl Fn(&Outcome)) {
    for jail in jails(limits).iter() {
        let world = World::new();
        let outcome = jail.run(&world.program(code), "").unwrap();
        let shown = format!("with {}: {outcome:#?}", jail.protections());
        for sign in ["ESCAPED", SECRET] {
            assert!(
                !outcome.stdout.contains(sign) && !outcome.stderr.contains(sign),
                "{shown}"
            );
        }
        eprintln!("{}", shown.chars().take(2000).collect::<String>());
        check(&outcome);
        world.assert_untouched();
    }
}

/// A program that tries this many things, is refused all of them, and ends by itself.
pub fn holds(attempts: usize, code: &str) {
    attempt(&patient(), code, |outcome| {
        let held = outcome.stdout.lines().filter(|line| line.starts_with("HELD"));
        assert_eq!(held.count(), attempts, "attempts that were made");
        assert_eq!(outcome.ended, Ended::Exit(0));
    });
}

/// As [`holds`], for system calls, each of which has to be refused before the kernel looks at its arguments.
pub fn refuses(calls: &[libc::c_long]) {
    let list: Vec<String> = calls.iter().map(|call| format!("({call}, 0, 0, 0, 0, 0, 0)")).collect();
    holds(calls.len(), &format!("refused({},)", list.join(", ")));
}
