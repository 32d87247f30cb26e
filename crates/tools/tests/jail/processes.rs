//! No other process can be seen, read, signalled or made; nothing of the parent is handed down.

use std::os::fd::AsRawFd;

use crate::world::{attempt, holds, jails, patient, refuses};

#[test]
fn environment_of_the_parent() {
    attempt(
        &patient(),
        "
kept = {name for name in os.environ if name != 'LC_CTYPE'}
print('ESCAPED' if kept else 'HELD', kept)",
        |outcome| assert!(outcome.stdout.contains("HELD")),
    );
}

#[test]
fn proc_of_others() {
    holds(
        5,
        "
held(lambda: open('/proc/@PARENT@/environ', 'rb').read())
held(lambda: open('/proc/@PARENT@/cmdline', 'rb').read())
held(lambda: os.readlink('/proc/@PARENT@/cwd'))
held(lambda: os.listdir('/proc/@PARENT@/root/'))
held(lambda: os.listdir('/proc'))",
    );
}

#[test]
fn proc_of_oneself() {
    holds(
        6,
        "
held(lambda: open('/proc/self/mem', 'r+b', 0))
held(lambda: open('/proc/self/maps').read())
held(lambda: open('/proc/self/environ', 'rb').read())
held(lambda: open('/proc/self/uid_map', 'w'))
held(lambda: open('/proc/self/oom_score_adj', 'w'))
held(lambda: os.listdir('/proc/self/fd'))",
    );
}

#[test]
fn memory_of_the_parent() {
    holds(
        3,
        &format!(
            "
held(lambda: open('/proc/@PARENT@/mem', 'r+b', 0))
refused(({}, @PARENT@, 0, 1, 0, 1, 0), ({}, @PARENT@, 0, 1, 0, 1, 0))",
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev
        ),
    );
}

#[test]
fn tracing() {
    let (attach, seize) = (libc::PTRACE_ATTACH, libc::PTRACE_SEIZE);
    let call = libc::SYS_ptrace;
    holds(
        4,
        &format!(
            "refused(({call}, {attach}, @PARENT@, 0, 0), ({call}, {seize}, @PARENT@, 0, 0), ({call}, 0, 0, 0, 0),
    ({call}, {attach}, 1, 0, 0))"
        ),
    );
}

#[test]
fn signals_to_the_parent() {
    holds(
        4,
        "
import signal
held(lambda: os.kill(@PARENT@, 0))
held(lambda: os.kill(@PARENT@, signal.SIGCONT))
held(lambda: os.kill(os.getppid() or @PARENT@, signal.SIGCONT))
held(lambda: os.killpg(os.getpgid(0) + 1, 0))",
    );
}

#[test]
fn signals_to_groups_and_everybody() {
    holds(
        4,
        "
import signal
held(lambda: os.kill(-1, 0))
held(lambda: os.kill(-1, signal.SIGCONT))
held(lambda: os.kill(0, signal.SIGCONT))
held(lambda: os.killpg(1, signal.SIGCONT))",
    );
}

#[test]
fn other_ways_to_signal() {
    refuses(&[
        libc::SYS_tkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_send_signal,
        libc::SYS_pidfd_getfd,
        libc::SYS_process_madvise,
        libc::SYS_kcmp,
        libc::SYS_prctl,
        libc::SYS_setpgid,
        libc::SYS_setsid,
    ]);
    // The owner of a file would be signalled when it is ready.
    holds(
        2,
        "
import fcntl
held(lambda: fcntl.fcntl(1, fcntl.F_SETOWN, @PARENT@))
held(lambda: fcntl.fcntl(1, fcntl.F_SETFL, os.O_ASYNC))",
    );
}

#[test]
fn subprocesses() {
    holds(
        6,
        "
import subprocess, multiprocessing
held(lambda: subprocess.run(['/bin/echo', 'out']))
held(lambda: subprocess.run('echo out', shell=True))
held(lambda: subprocess.Popen([sys.executable, '-c', '1']))
held(lambda: os.fork() or os._exit(0))
held(lambda: os.posix_spawn('/bin/echo', ['echo'], {}))
print('ESCAPED' if os.system('true') == 0 else 'HELD')",
    );
}

#[test]
fn becoming_another_program() {
    holds(
        5,
        "
held(lambda: os.execv('/bin/sh', ['sh']))
held(lambda: os.execv(sys.executable, [sys.executable, '-c', 'print(\"ESCAPED\")']))
held(lambda: os.execvp('sh', ['sh']))
open('program', 'w').write('#!/bin/sh\\necho ESCAPED\\n')
held(lambda: os.chmod('program', 0o755))
held(lambda: os.execv('program', ['program']))",
    );
}

#[test]
fn program_in_memory() {
    holds(
        2,
        &format!(
            "held(lambda: os.memfd_create('program'))
refused(({}, 3, 0, 0, 0, 0x1000))",
            libc::SYS_execveat
        ),
    );
}

#[test]
fn threads() {
    holds(
        2,
        "
import threading, _thread
held(lambda: threading.Thread(target=print).start())
held(lambda: _thread.start_new_thread(print, ()))",
    );
}

#[test]
fn bare_calls_for_processes() {
    refuses(&[
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_execveat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
    ]);
}

#[test]
fn inherited_files() {
    // A file that this process would hand down to whatever it starts.
    let file = tempfile::tempfile().unwrap();
    // SAFETY: a number of an open file.
    let number = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, 500) };
    assert!(number >= 500);
    attempt(
        &patient(),
        "
for number in range(3, 5000):
    try: print('ESCAPED', number, os.fstat(number))
    except OSError: pass
print('HELD')",
        |outcome| assert!(outcome.passed() && outcome.stdout.contains("HELD")),
    );
    // SAFETY: opened above.
    unsafe { libc::close(number) };
}

#[test]
fn standard_input() {
    attempt(
        &patient(),
        "
print('HELD' if sys.stdin.read() == '' else 'ESCAPED')
print('HELD' if not os.isatty(0) else 'ESCAPED')
held(lambda: os.write(0, b'x'))
held(lambda: open('/dev/tty'))",
        |outcome| assert_eq!(outcome.stdout.matches("HELD").count(), 4),
    );
}

#[test]
fn one_run_leaves_nothing_for_the_next() {
    for jail in jails(&patient()).iter() {
        let code = "import os; print(os.listdir('.')); open('note', 'w').write('x')";
        for _ in 0..2 {
            assert_eq!(jail.run(code, "").unwrap().stdout, "[]\n");
        }
    }
}

#[test]
fn daemons() {
    holds(
        1,
        "
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            import time
            while True: time.sleep(1)
held(daemon)",
    );
}
