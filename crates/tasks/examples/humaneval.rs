//! Hands in the solutions that come with HumanEval, as a model's replies: all of them are right, or the task or the
//! jail is wrong.
//!
//! ```text
//! cargo run --release -p ferrochat-tasks --example humaneval -- FOLDER
//! ```
//!
//! FOLDER is where `eval tasks --tasks-dir` would look for it.

use std::path::PathBuf;
use std::time::Instant;

use ferrochat_chat::{Message, Part, Reply, Role, Stopped};
use ferrochat_tasks::{Dataset, Task, TaskSplit};

fn reply(text: String) -> Reply {
    Reply {
        ids: Vec::new(),
        mask: Vec::new(),
        text: text.clone(),
        parts: vec![Part::Text(text)],
        stopped: Stopped::Length,
    }
}

fn solution(task: &dyn Task, index: usize) -> String {
    let messages = task.answered(index).messages;
    let answer = messages.iter().find(|message| message.role == Role::Assistant);
    answer.map_or_else(String::new, Message::text)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let folder = folder.ok_or("give the folder that has humaneval/HumanEval.jsonl.gz or its Parquet shards")?;
    let task = Dataset::HumanEval.open(&folder, TaskSplit::Test)?;
    println!("{} items of {}", task.count(), task.origin());
    let start = Instant::now();
    let mut passed = [0; 3];
    for index in 0..task.count() {
        let whole = solution(task.as_ref(), index);
        let fenced = format!("Here it is:\n```python\n{whole}\n```\nIt works.");
        // The function is there and says nothing: no test may pass by itself.
        let empty = format!("{}    return None\n", task.prompt(index).messages[0].text());
        for (passed, (kind, said)) in passed
            .iter_mut()
            .zip([("plain", whole), ("fenced", fenced), ("empty", empty)])
        {
            let right = task.grade(index, &reply(said))?;
            *passed += usize::from(right);
            if right == (kind == "empty") {
                println!("item {index}, {kind}: {right}");
            }
        }
    }
    let [plain, fenced, empty] = passed;
    println!(
        "{plain} plain and {fenced} fenced solutions passed, {empty} that do nothing; {:.1} s",
        start.elapsed().as_secs_f64()
    );
    if [plain, fenced, empty] == [task.count(), task.count(), 0] {
        Ok(())
    } else {
        Err("a solution that is right did not pass, or one that is not did".into())
    }
}
