//! seccomp: the system calls that a calculation needs. All others fail with EPERM, those of a foreign architecture
//! kill the process.
//!
//! Not on the list, among many more: sockets, new processes and threads, signals to others, ptrace and the memory of
//! others, mounts, namespaces, changed owners, modes, times and attributes of files (which Landlock does not cover),
//! links, memory files, shared memory, keys, BPF, io_uring, userfaultfd, perf events, clocks, limits, modules, reboot.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Stands in the filter for the process's own number, which is known only once the process is there. No number of
/// a process is that large.
pub(super) const OWN_NUMBER: u32 = 0x7e11_0f05;

/// What differs from program to program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variable {
    /// The address of the path that `execve` must be given. It is drawn at random, and the new program cannot learn
    /// it, so that only the start of Python itself passes.
    pub exec_at: u64,
    /// Whether folders may be made: not where the folder lies on a disk that has to be watched and cleared.
    pub folders: bool,
}

/// An argument (by number) that has to have a value: all 64 bits of it, or the lower 32.
enum Condition {
    Wide(u8, u64),
    Narrow(u8, u64),
}
use Condition::{Narrow, Wide};

impl Condition {
    fn made(self) -> Result<SeccompCondition, BackendError> {
        let (argument, width, value) = match self {
            Wide(argument, value) => (argument, SeccompCmpArgLen::Qword, value),
            Narrow(argument, value) => (argument, SeccompCmpArgLen::Dword, value),
        };
        SeccompCondition::new(argument, width, SeccompCmpOp::Eq, value)
    }
}

/// The filter as a program for the kernel; else why there is none for this architecture.
pub(super) fn filter(variable: Variable) -> Result<BpfProgram, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = FREE.iter().map(|&call| (call, Vec::new())).collect();
    if variable.folders {
        rules.insert(libc::SYS_mkdirat, Vec::new());
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_mkdir, Vec::new());
    }
    let mut only = |call, choices: Vec<Vec<Condition>>| {
        let choices = choices.into_iter().map(|choice| {
            let conditions = choice.into_iter().map(Condition::made);
            SeccompRule::new(conditions.collect::<Result<_, _>>()?)
        });
        let choices: Result<Vec<_>, _> = choices.collect();
        choices
            .map(|choices| drop(rules.insert(call, choices)))
            .map_err(|error| error.to_string())
    };
    only(libc::SYS_execve, vec![vec![Wide(0, variable.exec_at)]])?;
    only(libc::SYS_kill, vec![vec![Narrow(0, OWN_NUMBER.into())]])?;
    only(libc::SYS_tgkill, vec![vec![Narrow(0, OWN_NUMBER.into())]])?;
    // Limits may be read, not changed, and one's own only.
    only(libc::SYS_prlimit64, vec![vec![Narrow(0, 0), Wide(2, 0)]])?;
    let requests = [libc::TCGETS, libc::TIOCGWINSZ, libc::FIOCLEX, libc::FIONCLEX];
    let requests = requests.map(|request| vec![Narrow(1, request & 0xffff_ffff)]);
    only(libc::SYS_ioctl, requests.into())?;
    let commands = [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
    ];
    let commands = commands.map(|command| vec![Narrow(1, command as u64)]);
    only(libc::SYS_fcntl, commands.into())?;

    let architecture = std::env::consts::ARCH.try_into().map_err(|error| format!("{error}"))?;
    SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        architecture,
    )
    .and_then(TryInto::try_into)
    .map_err(|error| error.to_string())
}

/// Allowed whatever the arguments.
const FREE: &[i64] = &[
    // Files: paths are Landlock's business.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sendfile,
    libc::SYS_copy_file_range,
    libc::SYS_fadvise64,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_umask,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Signals to oneself, waiting, time.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigsuspend,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_setitimer,
    libc::SYS_getitimer,
    // Oneself.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_sched_getaffinity,
    libc::SYS_getrandom,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The same under the names of an older time.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_alarm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pause,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getpgrp,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
];
