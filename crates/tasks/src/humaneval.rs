//! HumanEval: functions to write, judged by their tests (Chen et al. 2021). This room must never know how a program
//! is kept from doing harm.

use std::sync::Arc;
use std::time::Duration;

use ferrochat_chat::{Conversation, Reply};
use ferrochat_tools::{Ended, Jail, Limits};
use serde::Deserialize;

use crate::error::TaskError;
use crate::task::{Task, exchange, transcript};

/// How a program ends that came to its last line: one that leaves early, with success, has passed no test.
const REACHED: i32 = 113;

/// Functions to write.
pub(crate) struct HumanEval {
    origin: String,
    items: Vec<Row>,
    jail: Arc<Jail>,
}

/// A row of the data set.
#[derive(Deserialize)]
pub(crate) struct Row {
    /// The beginning of a program: imports, helpers, the function's head and what it should do.
    prompt: String,
    /// The rest of it.
    canonical_solution: String,
    /// Defines `check`, which takes the function.
    test: String,
    /// Name of the function.
    entry_point: String,
}

impl HumanEval {
    /// The reference's limits on a program: 5 seconds, 256 MiB.
    pub(crate) fn limits() -> Limits {
        Limits {
            wall: Duration::from_secs(5),
            cpu: Duration::from_secs(5),
            memory: 256 << 20,
            ..Limits::default()
        }
    }

    pub(crate) fn new(origin: String, items: Vec<Row>, jail: Arc<Jail>) -> HumanEval {
        HumanEval { origin, items, jail }
    }

    pub(crate) fn item(row: Row) -> Result<Row, String> {
        let empty = [
            ("prompt", &row.prompt),
            ("canonical_solution", &row.canonical_solution),
            ("test", &row.test),
            ("entry_point", &row.entry_point),
        ]
        .into_iter()
        .find(|(_, text)| text.trim().is_empty());
        match empty {
            Some((name, _)) => Err(format!("its {name} is empty")),
            None => Ok(row),
        }
    }
}

impl Row {
    /// What is run for a reply. Of the prompt only the imports are kept: the reply has to write the function's head
    /// itself.
    fn program(&self, said: &str) -> String {
        let (imports, code) = (imports(&self.prompt), code(said));
        let (test, entry_point) = (&self.test, &self.entry_point);
        format!("{imports}\n\n{code}\n\n{test}\ncheck({entry_point})")
    }
}

/// The import lines at the head of a program, among empty lines and comments, without indentation.
fn imports(prompt: &str) -> String {
    let lines = prompt.split('\n').map(strip);
    let head = lines.take_while(|line| line.is_empty() || line.starts_with('#') || is_import(line));
    head.filter(|line| is_import(line)).collect::<Vec<_>>().join("\n")
}

fn is_import(line: &str) -> bool {
    line.starts_with("import ") || line.starts_with("from ")
}

/// The program in a reply: what the first fenced block holds, else all of it.
fn code(said: &str) -> &str {
    let fences = said.match_indices('`').map(|(at, _)| at);
    let block = fences
        .filter(|&at| said[at..].starts_with(FENCE))
        .find_map(|at| fenced(said, at));
    strip(block.unwrap_or(said))
}

const FENCE: &str = "```";

/// The block that a fence at `at` opens: behind it `python` or nothing, then nothing else on its line. It ends before
/// the next line that begins with a fence. Empty lines at its beginning are no part of it, unless it would have no end.
fn fenced(said: &str, at: usize) -> Option<&str> {
    let opened = at + FENCE.len();
    let from = opened
        + if said[opened..].starts_with("python") {
            "python".len()
        } else {
            0
        };
    let space = said[from..].find(|c| !is_space(c)).unwrap_or(said.len() - from);
    let mut starts = said[from..from + space]
        .rmatch_indices('\n')
        .map(|(at, _)| from + at + 1);
    starts.find_map(|start| said[start..].find("\n```").map(|end| &said[start..start + end]))
}

/// What Python's `strip` and `\s` take for space.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

impl Task for HumanEval {
    fn name(&self) -> &'static str {
        "HumanEval"
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn count(&self) -> usize {
        self.items.len()
    }

    fn answered(&self, index: usize) -> Conversation {
        let row = &self.items[index];
        exchange(&row.prompt, &format!("{}\n{}", row.prompt, row.canonical_solution))
    }

    fn grade(&self, index: usize, reply: &Reply) -> Result<bool, TaskError> {
        let program = self.items[index].program(&transcript(reply));
        let outcome = self
            .jail
            .run(&format!("{program}\nraise SystemExit({REACHED})\n"), "")?;
        Ok(outcome.ended == Ended::Exit(REACHED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::reply;
    use ferrochat_chat::{Message, Part};

    #[derive(Deserialize)]
    struct Case {
        prompt: String,
        reply: String,
        imports: String,
        code: String,
        program: String,
    }

    /// Replies and what the reference makes of them; `tests/fixtures/humaneval.py` writes it.
    #[test]
    fn programs_are_those_of_the_reference() {
        let cases = include_str!("../tests/fixtures/humaneval.jsonl");
        let cases: Vec<Case> = cases.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(cases.len() > 20, "{}", cases.len());
        for case in cases {
            assert_eq!(imports(&case.prompt), case.imports, "{:?}", case.prompt);
            assert_eq!(code(&case.reply), case.code, "{:?}", case.reply);
            let row = Row {
                prompt: case.prompt,
                canonical_solution: String::new(),
                test: "def check(candidate):\n    assert candidate(2) == 4\n".to_owned(),
                entry_point: "double".to_owned(),
            };
            assert_eq!(row.program(&case.reply), case.program);
        }
    }

    fn double() -> Row {
        HumanEval::item(Row {
            prompt: "import math\n\ndef double(x: int) -> int:\n    \"\"\" Twice x. \"\"\"\n".to_owned(),
            canonical_solution: "    return 2 * x\n".to_owned(),
            test: "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 6\n".to_owned(),
            entry_point: "double".to_owned(),
        })
        .unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn replies_are_run_against_the_tests() {
        let soon = Limits {
            wall: Duration::from_secs(3),
            ..HumanEval::limits()
        };
        let jail = Arc::new(Jail::new(soon).unwrap());
        let task = HumanEval::new("here".to_owned(), vec![double()], jail);
        task.answered(0).validate().unwrap();
        let prompt = &task.prompt(0).messages[0];
        assert_eq!(*prompt, Message::user(double().prompt));
        let right = task.answered(0).messages.pop().unwrap().parts;
        for (said, passes) in [
            (right[0].text(), true),
            (
                "Sure!\n```python\ndef double(x): return int(math.fsum([x, x]))\n```\nDone.",
                true,
            ),
            ("def double(x): return 4", false),
            ("    return 2 * x", false),
            ("```python\ndef double(x): return 2 * x", false),
            ("I do not know.", false),
            ("", false),
            ("raise SystemExit(0)", false),
            ("import os\nos._exit(0)", false),
            ("def double(x):\n    while True: pass", false),
        ] {
            let reply = reply(vec![Part::Text(said.to_owned())]);
            assert_eq!(task.grade(0, &reply).unwrap(), passes, "{said}");
        }
        let called = vec![
            Part::Text("def double(x): return ".to_owned()),
            Part::Python("2".to_owned()),
            Part::Text(" * x".to_owned()),
        ];
        assert!(!task.grade(0, &reply(called)).unwrap(), "marks are no Python");
    }

    #[test]
    fn empty_items_are_refused() {
        let broken = Row {
            test: " \n".to_owned(),
            ..double()
        };
        assert_eq!(HumanEval::item(broken).err().unwrap(), "its test is empty");
    }
}
