//! No file outside the program's folder can be read, but Python's; none can be changed.

use std::path::Path;

use crate::world::{assert_nothing_in, attempt, holds, jails, patient, refuses};

#[test]
fn passwords() {
    holds(
        4,
        "for name in 'passwd', 'shadow', 'hostname', 'ssl/openssl.cnf': held(lambda: open('/etc/' + name).read())",
    );
}

#[test]
fn home() {
    holds(
        4,
        "
held(lambda: os.listdir('/root'))
held(lambda: os.listdir('/home'))
held(lambda: open('/root/.bashrc').read())
held(lambda: open('/root/.ssh/id_rsa').read())",
    );
}

#[test]
fn secret_of_another_folder() {
    holds(
        3,
        "
held(lambda: print(open('@OUTSIDE@/secret').read()))
held(lambda: os.listdir('@OUTSIDE@'))
held(lambda: open('../../../..@OUTSIDE@/secret').read())",
    );
}

#[test]
fn root_is_not_listed() {
    holds(3, "for name in '/', '/usr', '/..': held(lambda: os.listdir(name))");
}

#[test]
fn installed_packages() {
    holds(
        1,
        "
from os.path import dirname, join
here = dirname(os.__file__)
held(lambda: [open(join(here, d, f)).read()
              for d in ('site-packages', 'dist-packages') for f in ('README.txt', 'README')
              if os.path.exists(join(here, d, f))] or open(join(here, 'site-packages', 'x')))",
    );
}

#[test]
fn writing_outside() {
    holds(
        9,
        "
for folder in '/', '/usr', '/var/tmp', '/dev/shm', '/run', '/dev/mqueue', '@OUTSIDE@', '/root', '/etc':
    held(lambda: open(folder + '/' + MARK, 'w'))",
    );
}

#[test]
fn writing_to_the_outside_s_tmp() {
    // With namespaces this is the program's own folder; either way nothing appears outside.
    attempt(
        &patient(),
        "
try: open('/tmp/' + MARK, 'w').write('x')
except OSError: pass",
        |_| assert_nothing_in(Path::new("/tmp")),
    );
}

#[test]
fn changing_the_outside() {
    holds(
        7,
        "
held(lambda: os.truncate('@OUTSIDE@/secret', 0))
held(lambda: os.remove('@OUTSIDE@/secret'))
held(lambda: os.rename('@OUTSIDE@/secret', '@OUTSIDE@/other'))
held(lambda: os.chmod('@OUTSIDE@/secret', 0o777))
held(lambda: os.utime('@OUTSIDE@/secret', (0, 0)))
held(lambda: os.chown('@OUTSIDE@/secret', 1, 1))
held(lambda: os.setxattr('@OUTSIDE@/secret', 'user.x', b'x'))",
    );
}

#[test]
fn python_s_own_files() {
    holds(
        5,
        "
folder = os.path.dirname(os.__file__)
held(lambda: open(folder + '/' + MARK, 'w'))
held(lambda: open(folder + '/os.py', 'a'))
held(lambda: os.rename(folder + '/this.py', folder + '/this.py'))
held(lambda: os.mkdir(folder + '/__pycache__/' + MARK))
held(lambda: open(sys.executable, 'r+b'))",
    );
    // Nor bytecode, by importing what nobody has imported yet.
    for jail in jails(&patient()).iter() {
        let outcome = jail.run("import os; print(os.path.dirname(os.__file__))", "");
        assert_nothing_in(Path::new(outcome.unwrap().stdout.trim()));
    }
}

#[test]
fn symbolic_links() {
    holds(
        3,
        "
held(lambda: os.symlink('/etc/passwd', 'link'))
held(lambda: os.symlink('@OUTSIDE@', 'folder'))
held(lambda: open('link').read())",
    );
}

#[test]
fn hard_links() {
    holds(
        2,
        "
held(lambda: os.link('@OUTSIDE@/secret', 'link'))
held(lambda: os.link(os.__file__, 'link'))",
    );
}

#[test]
fn special_files() {
    holds(
        3,
        "
import stat
held(lambda: os.mkfifo('pipe'))
held(lambda: os.mknod('memory', stat.S_IFCHR | 0o600, os.makedev(1, 1)))
held(lambda: os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(8, 0)))",
    );
}

#[test]
fn devices() {
    holds(
        8,
        "for name in 'mem', 'kmem', 'kmsg', 'port', 'sda', 'vda', 'tty', 'fuse': held(lambda: open('/dev/' + name, 'r+b', 0))",
    );
}

#[test]
fn kernel_s_files() {
    holds(
        5,
        "
held(lambda: open('/sys/kernel/profiling').read())
held(lambda: os.listdir('/sys/fs/cgroup'))
held(lambda: open('/proc/sys/kernel/core_pattern', 'w'))
held(lambda: open('/proc/sysrq-trigger', 'w'))
held(lambda: open('/proc/kcore', 'rb'))",
    );
}

#[test]
fn up_and_out_of_the_folder() {
    holds(
        2,
        "
for _ in range(50): os.chdir('..')
held(lambda: os.listdir('.'))
held(lambda: open('etc/passwd').read())",
    );
}

#[test]
fn moving_python_s_files_into_the_folder() {
    holds(1, "held(lambda: os.rename(os.__file__, 'mine.py'))");
}

#[test]
fn bare_calls_on_files() {
    refuses(&[
        libc::SYS_truncate,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_utimensat,
        libc::SYS_setxattr,
        libc::SYS_symlinkat,
        libc::SYS_linkat,
        libc::SYS_mknodat,
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at,
        libc::SYS_openat2,
        libc::SYS_inotify_init1,
        libc::SYS_fanotify_init,
        libc::SYS_fallocate,
        libc::SYS_memfd_create,
        libc::SYS_quotactl,
        libc::SYS_flock,
    ]);
}
