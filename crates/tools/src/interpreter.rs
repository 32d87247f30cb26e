//! Python as a tool in a talk: a few lines in, what they say out, like at Python's prompt. This room must never know
//! who asks.

use std::time::Duration;

use crate::jail::{Ended, Jail, JailError, Limits, Protections};

/// Characters of a result at most: it goes into the model's context.
const LONGEST: usize = 1000;

/// Runs what stands on standard input. Like at the prompt, the value of the last line counts as said; like in the
/// reference's calculator, it is said as `str` writes it.
const PROMPT: &str = r#"
import ast, sys
lines = ast.parse(sys.stdin.read(), "<tool>").body
last = lines.pop() if lines and isinstance(lines[-1], ast.Expr) else None
names = {"__name__": "__main__", "__builtins__": __builtins__}
exec(compile(ast.Module(lines, []), "<tool>", "exec"), names)
if last is not None:
    last = eval(compile(ast.Expression(last.value), "<tool>", "eval"), names)
    if last is not None:
        print(last)
"#;

/// An interpreter that forgets everything after each call. Several threads may call it at a time.
#[derive(Debug)]
pub struct Interpreter {
    jail: Jail,
}

impl Interpreter {
    /// An interpreter in a jail with the reference's limits: 3 seconds, 256 MiB.
    ///
    /// # Errors
    /// The protection that this machine lacks, unless `unsafe_python` does without; or there is no Python.
    pub fn new(unsafe_python: bool) -> Result<Interpreter, JailError> {
        let limits = Limits {
            wall: Duration::from_secs(3),
            cpu: Duration::from_secs(3),
            memory: 256 << 20,
            ..Limits::default()
        };
        let jail = if unsafe_python {
            Jail::without_protection(limits)?
        } else {
            Jail::new(limits)?
        };
        Ok(Interpreter { jail })
    }

    /// What keeps programs from doing harm.
    pub fn protections(&self) -> &Protections {
        self.jail.protections()
    }

    /// What a program says: its output, the value of its last line, and the last line of an error. Nothing where it
    /// says nothing. Long results are cut.
    pub fn run(&self, code: &str) -> Option<String> {
        if code.trim().is_empty() {
            return None;
        }
        let said = match self.jail.run(PROMPT, code) {
            Err(error) => error.to_string(),
            Ok(outcome) => {
                let error = match outcome.ended {
                    Ended::Exit(0) => String::new(),
                    Ended::Exit(_) | Ended::MemoryLimit => {
                        outcome.stderr.trim_end().lines().next_back().unwrap_or("").to_owned()
                    }
                    ended => format!("error: {ended}"),
                };
                outcome.stdout + &error
            }
        };
        let said = said.trim_end();
        let cut = said.char_indices().nth(LONGEST).map(|(at, _)| &said[..at]);
        let said = cut.map_or_else(|| said.to_owned(), |cut| format!("{cut}…"));
        (!said.is_empty()).then_some(said)
    }
}
