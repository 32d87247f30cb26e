//! Ordinary programs work, and are told apart by how they end.

use std::time::Duration;

use ferrochat_tools::{Ended, Jail, JailError, Limits, Outcome};

use crate::world::{jails, patient};

fn each(code: &str, stdin: &str, check: impl Fn(&Outcome)) {
    for jail in jails(&patient()).iter() {
        let outcome = jail.run(code, stdin).unwrap();
        eprintln!("with {}: {outcome:#?}", jail.protections());
        check(&outcome);
    }
}

fn prints(code: &str, expected: &str) {
    each(code, "", |outcome| {
        assert!(outcome.passed());
        assert_eq!(outcome.stdout, expected);
        assert_eq!(outcome.stderr, "");
    });
}

#[test]
fn the_standard_library() {
    prints(
        r#"
import array, base64, bisect, calendar, collections, copy, csv, dataclasses, datetime, decimal, enum, fractions
import functools, hashlib, heapq, io, itertools, json, math, operator, pickle, pprint, queue, random, re, secrets
import statistics, string, struct, sys, tempfile, textwrap, time, typing, uuid, zlib, sqlite3, contextlib, zipfile
assert json.loads(json.dumps({"a": [1, 2.5, None, "é"]})) == {"a": [1, 2.5, None, "é"]}
assert math.isclose(math.sin(math.pi / 2), 1)
assert re.findall(r"\d+", "1 and 22") == ["1", "22"]
assert collections.Counter("abracadabra").most_common(1) == [("a", 5)]
assert list(itertools.permutations([1, 2])) == [(1, 2), (2, 1)]
assert hashlib.sha256(b"x").hexdigest().startswith("2d711642") and hashlib.md5(b"x").hexdigest().startswith("9dd4")
random.seed(1)
assert 0 <= random.random() < 1 and random.SystemRandom().random() < 1
assert (datetime.date(2024, 3, 1) - datetime.timedelta(1)).day == 29 and datetime.datetime.now().year > 2000
@functools.lru_cache
def fib(n: int) -> typing.Optional[int]: return n if n < 2 else fib(n - 1) + fib(n - 2)
assert fib(90) == 2880067194370816120
@dataclasses.dataclass
class Point:
    x: int
assert pickle.loads(pickle.dumps(Point(3))) == Point(3)
with tempfile.TemporaryFile() as file:
    file.write(b"x")
database = sqlite3.connect(":memory:")
assert database.execute("select 1 + 1").fetchone() == (2,)
assert __name__ == "__main__" and sys.modules["__main__"].Point is Point
print("fine", uuid.uuid4().version, fractions.Fraction(1, 3))
"#,
        "fine 4 1/3\n",
    );
}

#[test]
fn unit_tests() {
    each(
        "
import unittest
class Test(unittest.TestCase):
    def test_one(self): self.assertEqual(1 + 1, 2)
    def test_two(self): self.assertRaises(ValueError, int, 'x')
unittest.main()",
        "",
        |outcome| {
            assert!(outcome.passed());
            assert!(outcome.stderr.contains("Ran 2 tests"));
        },
    );
}

#[test]
fn a_million_rounds() {
    prints("x = 0\nfor i in range(1000000): x += i\nprint(x)", "499999500000\n");
}

#[test]
fn files_in_the_folder() {
    prints(
        "
import os
with open('a.txt', 'w') as file: file.write('line\\n' * 1000)
with open('a.txt') as file: print(sum(1 for _ in file))
os.rename('a.txt', 'b.txt')
print(os.listdir())
os.remove('b.txt')
print(os.listdir('.'))",
        "1000\n['b.txt']\n[]\n",
    );
}

#[test]
fn signals_to_oneself() {
    prints(
        "
import os, signal, time
signal.signal(signal.SIGALRM, lambda *_: print('alarm'))
signal.setitimer(signal.ITIMER_REAL, 0.01)
time.sleep(0.1)
signal.raise_signal(signal.SIGALRM)",
        "alarm\nalarm\n",
    );
}

#[test]
fn text_of_all_languages() {
    prints("print('naïve – 漢字 🦀')", "naïve – 漢字 🦀\n");
}

#[test]
fn a_long_program() {
    let code = format!("x = '{}'\nprint(len(x))", "y".repeat(1 << 20));
    prints(&code, "1048576\n");
}

#[test]
fn standard_input_is_what_was_given() {
    each("print(sum(map(int, input().split())))", "1 2 3\n", |outcome| {
        assert_eq!(outcome.stdout, "6\n");
    });
}

#[test]
fn errors_are_told() {
    each("x = 1\nassert x == 2, 'wrong'", "", |outcome| {
        assert_eq!(outcome.ended, Ended::Exit(1));
        assert!(outcome.stderr.contains("AssertionError: wrong"));
        assert!(outcome.stderr.contains("\"<program>\", line 2"));
    });
    each("print('a'", "", |outcome| {
        assert_eq!(outcome.ended, Ended::Exit(1));
        assert!(outcome.stderr.contains("SyntaxError"));
    });
    each("import sys; sys.exit(7)", "", |outcome| {
        assert_eq!(outcome.ended, Ended::Exit(7));
    });
}

#[test]
fn a_crash_is_a_signal() {
    each("import ctypes; ctypes.string_at(0)", "", |outcome| {
        assert_eq!(outcome.ended, Ended::Signal(libc::SIGSEGV));
    });
}

#[test]
fn many_at_a_time() {
    for jail in jails(&patient()).iter() {
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    let outcome = jail.run(&format!("print({number} ** 2)"), "").unwrap();
                    assert_eq!(outcome.stdout, format!("{}\n", number * number));
                });
            }
        });
    }
}

#[test]
fn limits_that_cannot_be_kept_are_refused() {
    let none = Limits {
        wall: Duration::ZERO,
        ..Limits::default()
    };
    assert!(matches!(Jail::new(none), Err(JailError::Limits(_))));
}

#[test]
fn too_little_memory_for_python_is_an_error() {
    let little = Limits {
        memory: 4 << 20,
        ..Limits::default()
    };
    assert!(Jail::new(little).is_err());
}

#[test]
fn times_are_measured() {
    each("import time\ntime.sleep(0.2)", "", |outcome| {
        assert!(outcome.wall_seconds >= 0.2);
        assert!(outcome.cpu_seconds > 0.0 && outcome.cpu_seconds < outcome.wall_seconds);
    });
}

#[test]
fn without_protection_there_may_still_be_some() {
    if let Ok(jail) = Jail::without_protection(patient()) {
        assert_eq!(jail.run("print(1)", "").unwrap().stdout, "1\n");
    }
}
