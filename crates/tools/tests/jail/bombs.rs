//! Programs that use up what they can: memory, disk, output, time.

use std::time::Duration;

use ferrochat_tools::{Ended, Limits, Outcome};

use crate::world::{attempt, holds, patient};

/// Limits with a second of time.
fn short() -> Limits {
    Limits {
        wall: Duration::from_secs(1),
        cpu: Duration::from_secs(1),
        ..Limits::default()
    }
}

/// A program that runs out of time and is gone soon after.
fn runs_out_of_time(code: &str) {
    attempt(&short(), code, |outcome| {
        assert_eq!(outcome.ended, Ended::Timeout);
        assert!(outcome.wall_seconds < 5.0, "it took {} s", outcome.wall_seconds);
    });
}

fn out_of_memory(outcome: &Outcome) {
    assert_eq!(outcome.ended, Ended::MemoryLimit);
}

#[test]
fn forks() {
    holds(100, "for _ in range(100): held(lambda: os.fork() or os._exit(0))");
}

#[test]
fn many_threads() {
    holds(
        100,
        "import _thread\nfor _ in range(100): held(lambda: _thread.start_new_thread(print, ()))",
    );
}

#[test]
fn one_large_array() {
    attempt(&patient(), "x = bytearray(1 << 40)", out_of_memory);
}

#[test]
fn many_arrays() {
    attempt(
        &patient(),
        "x = []\nwhile True: x.append(bytearray(1 << 20))",
        out_of_memory,
    );
}

#[test]
fn mapped_memory() {
    attempt(
        &patient(),
        "
import mmap
x = []
held(lambda: x.append(mmap.mmap(-1, 1 << 40)))
try:
    while True: x.append(mmap.mmap(-1, 1 << 24))
except OSError: print('HELD', len(x) << 4)",
        |outcome| assert_eq!(outcome.stdout.matches("HELD").count(), 2),
    );
}

#[test]
fn deep_recursion() {
    attempt(
        &short(),
        "sys.setrecursionlimit(1 << 30)\ndef f(): return f()\nf()",
        |outcome| {
            assert!(!outcome.passed());
            assert!(outcome.wall_seconds < 5.0);
        },
    );
}

#[test]
fn deep_recursion_in_c() {
    attempt(
        &short(),
        "
sys.setrecursionlimit(1 << 30)
class Deep:
    def __repr__(self): return repr(self)
repr(Deep())",
        |outcome| assert!(!outcome.passed()),
    );
}

#[test]
fn enormous_power() {
    attempt(&short(), "x = 7 ** 7 ** 11", |outcome| {
        assert!(
            [Ended::Timeout, Ended::MemoryLimit].contains(&outcome.ended),
            "{}",
            outcome.ended
        );
    });
}

#[test]
fn one_large_file() {
    attempt(
        &patient(),
        "
size = 0
with open('large', 'wb', 0) as file:
    while True:
        try: size += file.write(bytes(1 << 16))
        except OSError: break
print('HELD' if size <= 16 << 20 else 'ESCAPED', size)",
        |outcome| {
            let held = outcome.stdout.contains("HELD") && outcome.passed();
            assert!(held || outcome.ended == Ended::DiskLimit);
        },
    );
}

#[test]
fn many_files() {
    attempt(
        &patient(),
        "
import time
made = 0
try:
    while made < 100000:
        open('%d' % made, 'w').close()
        made += 1
except OSError: pass
time.sleep(0.2)
print('HELD' if made <= 256 else 'ESCAPED', made)",
        |outcome| {
            let held = outcome.stdout.contains("HELD") && outcome.passed();
            assert!(held || outcome.ended == Ended::DiskLimit);
        },
    );
}

#[test]
fn many_large_files() {
    attempt(
        &patient(),
        "
import time
size = 0
try:
    for number in range(100):
        with open('%d' % number, 'wb', 0) as file: size += file.write(bytes(1 << 20))
except OSError: pass
time.sleep(0.2)
print('HELD' if size <= 16 << 20 else 'ESCAPED', size)",
        |outcome| {
            let held = outcome.stdout.contains("HELD") && outcome.passed();
            assert!(held || outcome.ended == Ended::DiskLimit);
        },
    );
}

#[test]
fn deep_folders() {
    attempt(
        &patient(),
        "
depth = 0
try:
    while depth < 100000:
        os.mkdir('d')
        os.chdir('d')
        depth += 1
except OSError: pass
print('HELD' if depth <= 256 else 'ESCAPED', depth)",
        |outcome| assert!(outcome.passed()),
    );
}

#[test]
fn holes() {
    attempt(
        &patient(),
        "
def hole():
    with open('hole', 'wb') as file:
        file.seek(1 << 50)
        file.write(b'x')
held(hole)
held(lambda: os.ftruncate(os.open('hole', os.O_RDWR), 1 << 50))",
        |outcome| assert_eq!(outcome.stdout.matches("HELD").count(), 2),
    );
}

fn output_is_cut(outcome: &Outcome) {
    assert_eq!(outcome.ended, Ended::OutputLimit);
    let limit = Limits::default().output;
    assert!(outcome.stdout.len() <= limit && outcome.stderr.len() <= limit);
}

#[test]
fn endless_output() {
    attempt(&patient(), "while True: print('x' * 1000)", output_is_cut);
}

#[test]
fn endless_errors() {
    attempt(
        &patient(),
        "while True: print('x' * 1000, file=sys.stderr)",
        output_is_cut,
    );
}

#[test]
fn endless_output_and_errors() {
    attempt(
        &patient(),
        "while True: os.write(1, b'\\xff' * 65536); os.write(2, b'x' * 65536)",
        |outcome| assert_eq!(outcome.ended, Ended::OutputLimit),
    );
}

#[test]
fn a_burst_at_the_end() {
    attempt(
        &patient(),
        "os.write(1, b'x' * 65536); os.write(2, b'x' * 65536); os._exit(0)",
        |outcome| {
            assert!(outcome.passed());
            assert_eq!((outcome.stdout.len(), outcome.stderr.len()), (65536, 65536));
        },
    );
}

#[test]
fn sleep() {
    runs_out_of_time("import time\ntime.sleep(1000)");
}

#[test]
fn busy_loop() {
    runs_out_of_time("while True: pass");
}

#[test]
fn busy_loop_longer_than_the_processor_time() {
    let limits = Limits {
        cpu: Duration::from_secs(1),
        ..patient()
    };
    attempt(&limits, "while True: pass", |outcome| {
        assert_eq!(outcome.ended, Ended::Timeout);
        assert!(outcome.cpu_seconds < 2.0);
    });
}

#[test]
fn ignored_signals() {
    runs_out_of_time(
        "
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: pass",
    );
}

#[test]
fn closed_outputs() {
    runs_out_of_time("import time\nfor number in 0, 1, 2: os.close(number)\ntime.sleep(1000)");
}

#[test]
fn time_bomb_at_the_end() {
    runs_out_of_time("import atexit, time\natexit.register(time.sleep, 1000)");
}

#[test]
fn a_pattern_without_end() {
    runs_out_of_time("import re\nre.match('(a+)+$', 'a' * 100 + 'b')");
}

#[test]
fn many_open_files() {
    attempt(
        &patient(),
        "
files = []
def more():
    while True: files.append(os.pipe())
held(more)
print('HELD' if len(files) <= 32 else 'ESCAPED')",
        |outcome| assert_eq!(outcome.stdout.matches("HELD").count(), 2),
    );
}
