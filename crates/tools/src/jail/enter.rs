//! What happens in the new process between `clone` and `execve`: it locks itself in, layer by layer.
//!
//! The process is a copy of one that may have had other threads, so that nothing here may allocate, lock or panic:
//! system calls on memory that the parent prepared, and nothing else. User and group are changed by bare system calls,
//! since the C library would ask threads that are not there.

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::ptr;

use libc::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use seccompiler::sock_filter;

use super::filter::OWN_NUMBER;
use super::root::Root;

/// The user and group inside.
pub(super) const INSIDE: u32 = 1000;

/// Which layer a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Process,
    Namespaces,
    Landlock,
    Seccomp,
}

/// The steps that may fail, as the report pipe names them by number.
pub(super) const STEPS: &[(Layer, &str)] = &[
    (Layer::Process, "handing over its files"),
    (Layer::Process, "closing inherited files"),
    (Layer::Process, "starting a session"),
    (Layer::Process, "dying with its parent"),
    (Layer::Process, "entering its folder"),
    (Layer::Process, "limiting its resources"),
    (Layer::Process, "dropping capabilities"),
    (Layer::Process, "forgoing new privileges"),
    (Layer::Process, "starting Python"),
    (Layer::Namespaces, "waiting for its user"),
    (Layer::Namespaces, "taking Python's files along"),
    (Layer::Namespaces, "changing its user"),
    (Layer::Namespaces, "making mounts private"),
    (Layer::Namespaces, "mounting a root"),
    (Layer::Namespaces, "filling the root"),
    (Layer::Namespaces, "mounting its folder"),
    (Layer::Namespaces, "making the root read-only"),
    (Layer::Namespaces, "changing the root"),
    (Layer::Namespaces, "naming its host"),
    (Layer::Landlock, "allowing its folder"),
    (Layer::Landlock, "restricting itself"),
    (Layer::Seccomp, "installing the filter"),
];

const FILES: u8 = 0;
const CLOSE: u8 = 1;
const SESSION: u8 = 2;
const PARENT: u8 = 3;
const FOLDER: u8 = 4;
const LIMITS: u8 = 5;
const CAPABILITIES: u8 = 6;
const PRIVILEGES: u8 = 7;
const EXEC: u8 = 8;
const GO: u8 = 9;
const TAKE: u8 = 10;
const USER: u8 = 11;
const PRIVATE: u8 = 12;
const ROOT: u8 = 13;
const FILL: u8 = 14;
const MOUNT_FOLDER: u8 = 15;
const READ_ONLY: u8 = 16;
const PIVOT: u8 = 17;
const HOST: u8 = 18;
const LANDLOCK_FOLDER: u8 = 19;
const LANDLOCK: u8 = 20;
const SECCOMP: u8 = 21;

/// A root of its own, with room for the trees that are carried over into it.
pub(super) struct NewRoot<'a> {
    pub root: &'a Root,
    /// As long as `root.binds`.
    pub trees: Vec<c_int>,
    /// Options of the file system in memory that becomes `/tmp`.
    pub folder: &'a CStr,
    /// Whether the caller is root: then there are groups to be rid of.
    pub drop_groups: bool,
}

/// All that the new process needs.
pub(super) struct Entry<'a> {
    /// Standard input, output, error, and the program's text: to be files 0 to 3.
    pub files: [RawFd; 4],
    /// Where a failed step is reported; closed by a successful start.
    pub report: RawFd,
    /// Gives a byte once the user's numbers are mapped.
    pub go: RawFd,
    pub new_root: Option<NewRoot<'a>>,
    /// The folder to work in, where there is no root of its own.
    pub folder: Option<&'a CStr>,
    pub limits: &'a [(c_int, u64)],
    pub landlock: Option<RawFd>,
    /// What Landlock allows in `/tmp`.
    pub in_folder: u64,
    pub filter: Option<&'a mut [sock_filter]>,
    /// Python's path, at the address that the filter knows.
    pub program: *const c_char,
    /// Ends with a null pointer.
    pub arguments: *const *const c_char,
}

/// The number and reason of a step that failed.
struct Failed(u8, c_int);

type Step = Result<(), Failed>;

/// Locks the process in and becomes Python. Reports what failed and ends otherwise.
///
/// # Safety
/// To be called in a process that `clone` just made, with pointers that are valid there.
pub(super) unsafe fn enter(entry: &mut Entry) -> ! {
    // SAFETY: as promised by the caller.
    let Err(Failed(step, errno)) = unsafe { lock_in(entry) };
    let [a, b, c, d] = errno.to_le_bytes();
    let message = [step, a, b, c, d];
    // SAFETY: the message is valid for its length; nothing runs after `_exit`.
    unsafe {
        libc::write(entry.report, message.as_ptr().cast(), message.len());
        libc::_exit(127)
    }
}

unsafe fn lock_in(entry: &mut Entry) -> Result<std::convert::Infallible, Failed> {
    // SAFETY: system calls on memory that the parent prepared and that this process has a copy of.
    unsafe {
        forget_signals();
        place_files(entry)?;
        die_with_parent()?;
        check(libc::setsid().into(), SESSION)?;
        if let Some(new_root) = &mut entry.new_root {
            change_root(new_root, entry.go)?;
        } else if let Some(folder) = entry.folder {
            check(libc::chdir(folder.as_ptr()).into(), FOLDER)?;
        }
        let limits = entry.limits.iter();
        for &(resource, value) in limits {
            let limit = libc::rlimit64 {
                rlim_cur: value,
                rlim_max: value,
            };
            let none = ptr::null_mut::<c_void>();
            check(
                libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, none),
                LIMITS,
            )?;
        }
        drop_capabilities()?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into(), PRIVILEGES)?;
        // Changing the user made the process forget it.
        die_with_parent()?;
        if let Some(rules) = entry.landlock {
            restrict(rules, entry)?;
        }
        if let Some(filter) = &mut entry.filter {
            install(filter)?;
        }
        let environment = [ptr::null::<c_char>()];
        check(
            libc::execve(entry.program, entry.arguments, environment.as_ptr()).into(),
            EXEC,
        )?;
        Err(Failed(EXEC, 0))
    }
}

fn check(result: c_long, step: u8) -> Step {
    if result < 0 {
        // SAFETY: errno is this thread's own.
        return Err(Failed(step, unsafe { *libc::__errno_location() }));
    }
    Ok(())
}

/// Signals that the parent ignores or blocks would stay so in Python.
unsafe fn forget_signals() {
    // SAFETY: an empty set of signals is valid; numbers without a signal are refused, which is no matter.
    unsafe {
        for signal in 1..65 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Puts the files in their places, those of the jail itself after the program's, and closes all others. They are
/// closed at once, not by `execve`: the limit of open files counts numbers, and the caller may have used up many.
unsafe fn place_files(entry: &mut Entry) -> Step {
    // SAFETY: file numbers only.
    unsafe {
        let [input, output, errors, text] = &mut entry.files;
        let mut nothing = -1;
        let rules = entry.landlock.as_mut().unwrap_or(&mut nothing);
        let files = [input, output, errors, text, &mut entry.report, &mut entry.go, rules];
        let count = files.len() as c_int;
        let mut away = [-1; 7];
        for (away, file) in away.iter_mut().zip(&files) {
            if **file >= 0 {
                *away = libc::fcntl(**file, libc::F_DUPFD_CLOEXEC, count);
                check((*away).into(), FILES)?;
            }
        }
        for (at, (file, away)) in files.into_iter().zip(away).enumerate() {
            let kept = if at < 4 { 0 } else { libc::O_CLOEXEC };
            if away >= 0 {
                check(libc::dup3(away, at as c_int, kept).into(), FILES)?;
                *file = at as c_int;
            }
        }
        check(libc::syscall(libc::SYS_close_range, count, c_uint::MAX, 0), CLOSE)
    }
}

unsafe fn die_with_parent() -> Step {
    // SAFETY: plain numbers.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong, 0, 0, 0) };
    check(result.into(), PARENT)
}

unsafe fn drop_capabilities() -> Step {
    #[repr(C)]
    struct Header {
        version: u32,
        process: c_int,
    }
    // Version 3: two words each of effective, permitted and inheritable.
    let header = Header {
        version: 0x2008_0522,
        process: 0,
    };
    let none = [0u32; 6];
    // SAFETY: the structures are those of the kernel's interface and live through the calls.
    unsafe {
        for capability in 0..64 {
            // Refused for one that is not there, or without the capability to drop any: then there is nothing to lose.
            libc::prctl(libc::PR_CAPBSET_DROP, capability as c_ulong, 0, 0, 0);
        }
        check(
            libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()),
            CAPABILITIES,
        )
    }
}

/// Moves into a root that holds Python and an empty `/tmp`.
unsafe fn change_root(new: &mut NewRoot, go: RawFd) -> Step {
    const CLONE: c_int = 1;
    const MOVE_EMPTY_PATH: c_int = 4;
    const READ_ONLY_MOUNT: u64 = 1;
    const NO_SETUID: u64 = 2;
    const NO_DEVICES: u64 = 4;
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        namespace: u64,
    }
    let attributes = Attributes {
        set: READ_ONLY_MOUNT | NO_SETUID | NO_DEVICES,
        clear: 0,
        propagation: 0,
        namespace: 0,
    };
    let here = libc::AT_FDCWD;
    // SAFETY: all strings end with zero and outlive the calls; structures are those of the kernel's interface.
    unsafe {
        let mut byte = 0u8;
        if libc::read(go, (&raw mut byte).cast(), 1) != 1 {
            return Err(Failed(GO, libc::EPIPE));
        }
        // As the caller's user still, who may read what nobody else may.
        let flags = CLONE | libc::O_CLOEXEC | libc::AT_RECURSIVE;
        for (bind, tree) in new.root.binds.iter().zip(&mut new.trees) {
            let opened = libc::syscall(libc::SYS_open_tree, here, bind.source.as_ptr(), flags);
            check(opened, TAKE)?;
            *tree = opened as c_int;
        }
        if new.drop_groups {
            let none = ptr::null::<c_uint>();
            check(libc::syscall(libc::SYS_setgroups, 0, none), USER)?;
        }
        check(libc::syscall(libc::SYS_setresgid, INSIDE, INSIDE, INSIDE), USER)?;
        check(libc::syscall(libc::SYS_setresuid, INSIDE, INSIDE, INSIDE), USER)?;
        let nothing = ptr::null::<c_char>();
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(
            libc::mount(nothing, c"/".as_ptr(), nothing, private, ptr::null()).into(),
            PRIVATE,
        )?;

        let closed = libc::MS_NOSUID | libc::MS_NODEV;
        let kind = c"tmpfs".as_ptr();
        let small = c"size=256k,nr_inodes=512,mode=755".as_ptr();
        // A folder that is sure to be there, and open to everyone on the way.
        let anchor = c"/proc".as_ptr();
        check(libc::mount(kind, anchor, kind, closed, small.cast()).into(), ROOT)?;
        check(libc::chdir(anchor).into(), ROOT)?;
        for folder in &new.root.folders {
            check(libc::mkdir(folder.as_ptr(), 0o755).into(), FILL)?;
        }
        for (target, name) in &new.root.links {
            check(libc::symlink(target.as_ptr(), name.as_ptr()).into(), FILL)?;
        }
        for (bind, &tree) in new.root.binds.iter().zip(&new.trees) {
            let target = bind.target.as_ptr();
            if !bind.folder {
                let file = libc::open(target, libc::O_CREAT | libc::O_CLOEXEC, 0o644);
                check(file.into(), FILL)?;
                libc::close(file);
            }
            let empty = c"".as_ptr();
            let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
            let size = size_of::<Attributes>();
            check(
                libc::syscall(libc::SYS_mount_setattr, tree, empty, flags, &raw const attributes, size),
                FILL,
            )?;
            check(
                libc::syscall(libc::SYS_move_mount, tree, empty, here, target, MOVE_EMPTY_PATH),
                FILL,
            )?;
        }
        let options = new.folder.as_ptr().cast();
        check(
            libc::mount(kind, c"tmp".as_ptr(), kind, closed | libc::MS_NOEXEC, options).into(),
            MOUNT_FOLDER,
        )?;
        let again = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | closed;
        check(
            libc::mount(nothing, c".".as_ptr(), nothing, again, ptr::null()).into(),
            READ_ONLY,
        )?;

        // The old root comes to lie over the new one, and is taken off.
        let dot = c".".as_ptr();
        check(libc::syscall(libc::SYS_pivot_root, dot, dot), PIVOT)?;
        check(libc::umount2(dot, libc::MNT_DETACH).into(), PIVOT)?;
        check(libc::chdir(c"/tmp".as_ptr()).into(), PIVOT)?;
        let name = c"jail";
        check(libc::sethostname(name.as_ptr(), name.count_bytes()).into(), HOST)
    }
}

/// Landlock. In a root of its own the folder is younger than the rules, and is added here.
unsafe fn restrict(rules: RawFd, entry: &Entry) -> Step {
    #[repr(C, packed)]
    struct Beneath {
        access: u64,
        parent: c_int,
    }
    const PATH_BENEATH: c_int = 1;
    // SAFETY: the structure is that of the kernel's interface; the rest are numbers.
    unsafe {
        if entry.new_root.is_some() {
            let folder = libc::open(c"/tmp".as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
            check(folder.into(), LANDLOCK_FOLDER)?;
            let beneath = Beneath {
                access: entry.in_folder,
                parent: folder,
            };
            check(
                libc::syscall(libc::SYS_landlock_add_rule, rules, PATH_BENEATH, &raw const beneath, 0),
                LANDLOCK_FOLDER,
            )?;
        }
        check(libc::syscall(libc::SYS_landlock_restrict_self, rules, 0), LANDLOCK)
    }
}

/// The filter, with the process's own number in place of the stand-in.
unsafe fn install(filter: &mut [sock_filter]) -> Step {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const sock_filter,
    }
    // SAFETY: the filter outlives the call, and is no longer than its length says (the parent made sure that it fits).
    unsafe {
        let own = libc::syscall(libc::SYS_getpid) as u32;
        for instruction in filter.iter_mut() {
            if instruction.k == OWN_NUMBER {
                instruction.k = own;
            }
        }
        let program = Program {
            length: filter.len() as u16,
            filter: filter.as_ptr(),
        };
        check(
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program),
            SECCOMP,
        )
    }
}
