//! System calls that would change the machine, or widen what may be attacked, are refused before the kernel looks at
//! their arguments.

use ferrochat_tools::Ended;

use crate::world::{attempt, holds, patient, refuses};

#[test]
fn mounts_and_roots() {
    refuses(&[
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_fsopen,
        libc::SYS_fsmount,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_mount_setattr,
    ]);
    holds(1, "held(lambda: os.chroot('.'))");
}

#[test]
fn namespaces() {
    refuses(&[libc::SYS_unshare, libc::SYS_setns]);
}

#[test]
fn users_and_capabilities() {
    refuses(&[
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
        libc::SYS_setgroups,
        libc::SYS_setfsuid,
        libc::SYS_capset,
    ]);
    holds(2, "held(lambda: os.setuid(0))\nheld(lambda: os.seteuid(0))");
}

#[test]
fn asynchronous_rings() {
    refuses(&[
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_io_setup,
    ]);
}

#[test]
fn programs_in_the_kernel() {
    refuses(&[libc::SYS_bpf, libc::SYS_perf_event_open]);
}

#[test]
fn faults_handled_by_oneself() {
    refuses(&[libc::SYS_userfaultfd]);
}

#[test]
fn keys() {
    refuses(&[libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key]);
}

#[test]
fn clocks() {
    refuses(&[
        libc::SYS_clock_settime,
        libc::SYS_settimeofday,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
    ]);
    holds(
        1,
        "import time\nheld(lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))",
    );
}

#[test]
fn reboot_and_swap() {
    refuses(&[libc::SYS_reboot, libc::SYS_swapon, libc::SYS_swapoff]);
}

#[test]
fn kernel_modules_and_logs() {
    refuses(&[
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_syslog,
        libc::SYS_acct,
    ]);
}

#[test]
fn personality() {
    refuses(&[libc::SYS_personality]);
}

#[test]
fn names_of_the_host() {
    refuses(&[libc::SYS_sethostname, libc::SYS_setdomainname]);
}

#[test]
fn shared_memory_and_queues() {
    refuses(&[
        libc::SYS_shmget,
        libc::SYS_shmat,
        libc::SYS_semget,
        libc::SYS_msgget,
        libc::SYS_mq_open,
    ]);
    holds(
        1,
        "from multiprocessing import shared_memory\nheld(lambda: shared_memory.SharedMemory(MARK, True, 4096))",
    );
}

#[test]
fn typing_into_a_terminal() {
    let (type_in, control) = (libc::TIOCSTI, libc::TIOCSCTTY);
    let (call, linux) = (libc::SYS_ioctl, libc::TIOCLINUX);
    holds(
        4,
        &format!(
            "refused(({call}, 0, {type_in}, 0), ({call}, 0, {control}, 0), ({call}, 0, {linux}, 0),
    ({call}, 0, {type_in} | 1 << 32, 0))"
        ),
    );
}

#[test]
fn limits_and_priorities() {
    refuses(&[
        #[cfg(target_arch = "x86_64")]
        libc::SYS_setrlimit,
        libc::SYS_setpriority,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setaffinity,
        libc::SYS_ioprio_set,
        libc::SYS_mlockall,
        libc::SYS_mbind,
    ]);
    holds(
        3,
        "
import resource
free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
held(lambda: resource.setrlimit(resource.RLIMIT_AS, free))
held(lambda: resource.prlimit(@PARENT@, resource.RLIMIT_AS))
held(lambda: os.nice(-5))",
    );
}

#[test]
fn unlocking_the_jail() {
    refuses(&[
        libc::SYS_seccomp,
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_restrict_self,
        libc::SYS_prctl,
    ]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn system_calls_of_other_interfaces() {
    // The same numbers with the bit of the x32 interface.
    holds(
        3,
        &format!(
            "refused(({} | 1 << 30, 2, 1, 0), ({} | 1 << 30, 0, 0), (520 | 1 << 30, 0, 0, 0))",
            libc::SYS_socket,
            libc::SYS_fork
        ),
    );
    // 32-bit calls have other numbers: 11 there is execve. mov eax, 20; int 0x80; ret.
    attempt(
        &patient(),
        r"
import mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b'\xb8\x14\x00\x00\x00\xcd\x80\xc3')
at = ctypes.addressof(ctypes.c_char.from_buffer(code))
print('TRIED', flush=True)
ctypes.CFUNCTYPE(ctypes.c_int)(at)()
print('ESCAPED')",
        |outcome| {
            assert!(outcome.stdout.contains("TRIED"));
            let killed = [libc::SIGSYS, libc::SIGSEGV].map(Ended::Signal);
            assert!(killed.contains(&outcome.ended), "{}", outcome.ended);
        },
    );
}
