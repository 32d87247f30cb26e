//! A whole chain of records written by hand, and the reports that come of it.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::record::{StageRecord, State};
use crate::settings::Settings;

const EVIL: &str = "</script><b>x</b> `a` ``` | pipe\n## no heading [l](javascript:x)";

/// A stage that began and ended at the given minutes of an hour.
fn stage(home: &Home, name: &str, minutes: (u32, u32), details: Value) {
    let folder = home.runs.join("x").join(name);
    let mut record = StageRecord::begin(name, &Settings::default(), details);
    record.command = format!("ferrochat train {name} --run x");
    record.seconds = 60.0 * f64::from(minutes.1 - minutes.0);
    record.save(&folder, State::Finished).unwrap();
    record.started = format!("2026-07-01T12:{:02}:00Z", minutes.0);
    record.updated = format!("2026-07-01T12:{:02}:00Z", minutes.1);
    record.state = State::Finished;
    std::fs::write(folder.join("stage.json"), serde_json::to_vec(&record).unwrap()).unwrap();
}

fn task(name: &str, score: f64, chance: f64) -> Value {
    json!({"task": name, "score": score, "standard_error": 0.02, "count": 500, "chance": chance, "seconds": 1.0})
}

fn details(tasks: &[Value]) -> Value {
    json!({
        "source": "base",
        "device": "cpu avx512bf16, 2 threads, bfloat16",
        "plan": {"steps": 10, "tokens": 20480, "total_flops": 1e12, "memory_bytes": 1e6},
        "steps_done": 5,
        "val": {"loss": 1.25, "bits_per_byte": 0.5, "oddity": 0.125, "tokens": 7},
        "tasks": tasks,
        "dialogues": [{"prompt": "Who | what?", "reply": EVIL}, {"prompt": "broken"}],
    })
}

fn whole_chain(folder: &Path) -> Home {
    let home = Home {
        runs: folder.join("runs"),
        cache: folder.join("cache"),
    };
    let tokenizer = json!({"kind": "bpe", "vocab_size": 512, "bytes_per_token": 2.5, "data": {"path": "a|b.txt"}});
    stage(&home, "tokenizer", (0, 1), tokenizer);
    let mut base = details(&[task("facts", 0.1, 0.0)]);
    base["samples"] = json!([EVIL]);
    stage(&home, "base", (1, 5), base);
    let lines: Vec<String> = (0..20)
        .map(|step| json!({"step": step, "loss": 5.0 / f64::from(step + 1), "lr_multiplier": 1.0}).to_string())
        .collect();
    std::fs::write(home.runs.join("x/base/metrics.jsonl"), lines.join("\n")).unwrap();
    stage(
        &home,
        "mid",
        (5, 7),
        details(&[task("facts", 0.5, 0.0), task("choice", 0.4, 0.25)]),
    );
    let mut sft = details(&[task("facts", 0.8, 0.0), task("choice", 0.7, 0.25)]);
    sft["false_refusals"] = json!({"value": 0.01, "standard_error": 0.002});
    stage(&home, "sft", (7, 10), sft);
    let mut passes = task("facts", 0.9, 0.0);
    passes["pass_at_k"] = json!([0.9, {"value": 0.95, "standard_error": 0.01}]);
    let mut rl = details(&[passes]);
    let after = json!({"task": "facts", "pass": [{"value": 0.3, "standard_error": 0.02}], "count": 200});
    rl["pass_at_k"] = json!({"before": [0.1], "after": after});
    stage(&home, "rl", (10, 20), rl);
    let share = |value: f64| json!({"value": value, "standard_error": 0.01});
    let wins = json!({"pairs": 300, "before": share(0.5), "after": share(0.75), "gain": share(0.25)});
    stage(&home, "dpo", (20, 22), json!({"val": {"accuracy": 0.75}, "wins": wins}));
    home
}

#[test]
fn a_whole_chain_gets_its_card() {
    let folder = tempfile::tempdir().unwrap();
    let home = whole_chain(folder.path());
    let path = write(&home, "x", Some(6.0)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    // 10 minutes to the end of SFT; (0.8 + (0.7 - 0.25) / 0.75) / 2.
    for words in [
        "**$1.00 / 10.0 minutes / 0.7000 mean of 2 tasks**",
        "22.0 minutes and $2.20 with every stage",
        "| task | items | chance | BASE | MID | SFT | RL | DPO |",
        "| facts | 500 | 0.00 | 0.1000 ± 0.0200 | 0.5000 ± 0.0200 | 0.8000 ± 0.0200 | 0.9000 ± 0.0200 | - |",
        "| facts, pass@2 | 500 | - | - | - | - | 0.9500 ± 0.0100 | - |",
        "| choice | 500 | 0.25 | - | 0.4000 ± 0.0200 | 0.7000 ± 0.0200 | - | - |",
        "| false refusals, less is better | - | - | - | - | 0.0100 ± 0.0020 | - | - |",
        "| **mean of 2 tasks** | - | 0.00 | - | 0.3500 ± 0.0167 | 0.7000 ± 0.0167 | - | - |",
        "# SFT: choice\nferrochat eval tasks --run x --stage sft --step 5 --tasks choice --count 500 --max-new-tokens 256 --device cpu --dtype bf16\n",
        "| steps | 10 | 5 |",
        "| tokens | 20.5k | 10.2k |",
        "| validation oddity | - | 0.1250 |",
        "| validation share of pairs told apart | - | 0.7500 |",
        "| pass@1 of 200 held-out questions | - | 0.1000 before, 0.3000 ± 0.0200 after |",
        "| chosen likelier of 300 held-out pairs | - | 0.5000 ± 0.0100 before, 0.7500 ± 0.0100 after |",
        "![BASE: loss, nats per token](report_files/base_loss.svg)",
        "ferrochat train dpo --run x",
        "| question | BASE | MID | SFT | RL |",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    assert!(home.runs.join("x/report_files/base_loss.svg").exists());
    assert!(!text.contains("NaN") && !text.contains("\n## no heading\n"));
}

#[test]
fn the_page_holds_everything_and_nothing_breaks_out() {
    let folder = tempfile::tempdir().unwrap();
    let home = whole_chain(folder.path());
    let page = std::fs::read_to_string(write(&home, "x", None).unwrap().with_extension("html")).unwrap();
    assert!(page.starts_with(MARK));
    for unsafe_text in [
        "<script",
        "</script",
        "<b>x",
        "<img",
        "<a ",
        "src=",
        "href=",
        "url(",
        "<h2>no heading",
    ] {
        assert!(!page.contains(unsafe_text), "{unsafe_text} is in the page");
    }
    // Said once by each of four stages and once as a sample.
    assert_eq!(page.matches("&lt;/script&gt;").count(), 5);
    assert!(page.contains("<svg") && page.contains("</svg>") && page.contains("prefers-color-scheme"));
}

#[test]
fn a_run_without_tasks_is_scored_by_its_base_model() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home {
        runs: folder.path().join("runs"),
        cache: folder.path().join("cache"),
    };
    stage(
        &home,
        "base",
        (0, 3),
        json!({"val": {"bits_per_byte": 1.5}, "device": "NVIDIA H100 80GB HBM3"}),
    );
    let text = std::fs::read_to_string(write(&home, "x", None).unwrap()).unwrap();
    assert!(
        text.contains("**$0.15 / 3.0 minutes / 1.5000 bits per byte**"),
        "{text}"
    );
    assert!(!text.contains("## Scores") && !text.contains("## Answers"));
    // It was interrupted, and went on the next day.
    let record = home.runs.join("x/base/stage.json");
    let later = std::fs::read_to_string(&record)
        .unwrap()
        .replace("2026-07-01T12:03", "2026-07-02T12:03");
    std::fs::write(&record, later).unwrap();
    let text = std::fs::read_to_string(write(&home, "x", None).unwrap()).unwrap();
    assert!(
        text.contains("/ 3.0 minutes /") && text.contains("without the breaks"),
        "{text}"
    );
}

#[test]
fn copies_replace_reports_only() {
    let folder = tempfile::tempdir().unwrap();
    let home = whole_chain(folder.path());
    let target = folder.path().join("here");
    write(&home, "x", None).unwrap();
    assert_eq!(copy(&home, "x", &target).unwrap(), target.join("report.md"));
    assert_eq!(copy(&home, "x", &target).unwrap(), target.join("report.md"));
    assert!(target.join("report.html").exists() && target.join("report_files/base_loss.svg").exists());
    std::fs::write(target.join("report.html"), "mine").unwrap();
    copy(&home, "x", &target).unwrap();
    assert_eq!(std::fs::read_to_string(target.join("report.html")).unwrap(), "mine");
    assert!(target.join("report-x.html").exists() && !target.join("report-x.md").exists());
}
