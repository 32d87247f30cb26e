//! Python as a tool: what comes back of a few lines.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use ferrochat_tools::Interpreter;

#[test]
fn results_are_what_the_prompt_would_say() {
    let python = Interpreter::new(false).unwrap();
    for (code, expected) in [
        ("sum(range(101))", Some("5050")),
        ("'abc'.upper()", Some("ABC")),
        ("x = [3, 1, 2]\nsorted(x)", Some("[1, 2, 3]")),
        ("print('a')\nprint('b')", Some("a\nb")),
        ("print('a')\n7", Some("a\n7")),
        ("def double(x):\n    return 2 * x\ndouble(21)", Some("42")),
        (
            "[x * y for x in range(3) for y in range(2)]",
            Some("[0, 0, 0, 1, 0, 2]"),
        ),
        ("import math\nmath.isqrt(10**20)", Some("10000000000")),
        ("__name__", Some("__main__")),
        ("x = 1", None),
        ("None", None),
        (" \n", None),
        ("", None),
        ("# nothing", None),
        ("1/0", Some("ZeroDivisionError: division by zero")),
        (
            "print('so far')\nfrobnicate",
            Some("so far\nNameError: name 'frobnicate' is not defined"),
        ),
        ("raise SystemExit", None),
        ("input()", Some("EOFError: EOF when reading a line")),
        ("'é' * 3 + '漢'", Some("ééé漢")),
        ("import ctypes\nctypes.string_at(0)", Some("error: signal 11")),
    ] {
        assert_eq!(python.run(code).as_deref(), expected, "{code}");
    }
}

#[test]
fn errors_of_form_are_told() {
    let said = Interpreter::new(false).unwrap().run("print(").unwrap();
    assert!(said.starts_with("SyntaxError"), "{said}");
}

#[test]
fn nothing_is_remembered_or_reached() {
    let python = Interpreter::new(false).unwrap();
    assert_eq!(python.run("x = 5\nopen('f', 'w').write('5')").as_deref(), Some("1"));
    let forgotten = python.run("import os\nprint(os.listdir('.'))\nx").unwrap();
    assert_eq!(forgotten, "[]\nNameError: name 'x' is not defined");
    for code in [
        "open('/etc/passwd').read()",
        "import socket\nsocket.create_connection(('127.0.0.1', 80))",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.fork()",
    ] {
        let said = python.run(code).unwrap();
        assert!(said.contains("Error"), "{code}: {said}");
    }
}

#[test]
fn what_takes_too_much_is_cut() {
    let python = Interpreter::new(false).unwrap();
    let long = python.run("'x' * 5000").unwrap();
    assert_eq!(long.chars().count(), 1001);
    assert!(long.ends_with("x…"));
    let start = Instant::now();
    assert_eq!(python.run("while True: pass").as_deref(), Some("error: out of time"));
    assert!(start.elapsed().as_secs() < 20);
    let memory = python.run("'x' * 10**9").unwrap();
    assert!(memory.starts_with("MemoryError"), "{memory}");
    let flood = python.run("while True: print('x' * 100)").unwrap();
    assert!(flood.chars().count() == 1001, "{}", flood.chars().count());
}
