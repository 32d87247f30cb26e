//! Runs every exercise of HumanEval with the solution that comes with it, each in the jail: all of them pass, or
//! the jail is too tight.
//!
//! ```text
//! cargo run --release -p ferrochat-tools --example humaneval -- HumanEval.jsonl.gz
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::Instant;

use ferrochat_tools::{Jail, Limits};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("give the path of HumanEval.jsonl or HumanEval.jsonl.gz")?;
    let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file: Box<dyn Read> = if path.extension().is_some_and(|end| end == "gz") {
        Box::new(flate2::read::GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let jails = [
        Jail::new(Limits::default())?,
        Jail::without_namespaces(Limits::default())?,
    ];
    let mut seconds = [Vec::new(), Vec::new()];
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(file).lines() {
        let exercise: serde_json::Value = serde_json::from_str(&line?)?;
        let field = |name: &str| exercise[name].as_str().unwrap_or_default();
        let program = format!(
            "{}{}\n{}\ncheck({})\n",
            field("prompt"),
            field("canonical_solution"),
            field("test"),
            field("entry_point")
        );
        for (jail, seconds) in jails.iter().zip(&mut seconds) {
            let begin = Instant::now();
            let outcome = jail.run(&program, "")?;
            seconds.push(begin.elapsed().as_secs_f64());
            if outcome.passed() {
                passed += 1;
            } else {
                failed += 1;
                println!("{}: {}\n{}", field("task_id"), outcome.ended, outcome.stderr);
            }
        }
    }
    for (jail, seconds) in jails.iter().zip(&mut seconds) {
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| 1000.0 * seconds[((seconds.len() - 1) as f64 * share) as usize];
        println!(
            "{}: median {:.1} ms, longest {:.1} ms",
            jail.protections(),
            at(0.5),
            at(1.0)
        );
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 {
        Ok(())
    } else {
        Err("a solution that is right did not pass".into())
    }
}
