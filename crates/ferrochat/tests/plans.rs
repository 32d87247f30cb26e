//! Plans state the published counts, and a dry run does nothing else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Place, TINY, listing, with};
use serde_json::Value;

fn plan(flags: &[&str]) -> Value {
    let place = Place::new();
    let args = [&["speedrun", "--dry-run", "--json", "--assume-tflops", "3956"], flags].concat();
    let plan = place.succeed(&args);
    assert!(listing(place.folder.path()).is_empty(), "a dry run writes nothing");
    serde_json::from_str(&plan).unwrap()
}

#[test]
fn d20_of_2025_10_is_the_published_100_dollar_run() {
    let plan = plan(&["--preset", "d20", "--arch", "2025-10"]);
    assert_eq!(plan["parameters"]["total"], 560_988_160);
    assert_eq!(plan["tokens"], 11_219_763_200_u64);
    assert_eq!(plan["steps"], 21_400);
    assert_eq!(plan["total_batch_size"], 524_288);
    assert_eq!(plan["data"]["shards"], 240);
    assert_eq!(plan["model"]["vocab_size"], 65_536);
}

/// Counts of nanochat 92d63d4 with `--depth=24 --target-param-data-ratio=8`.
#[test]
fn d24_of_2026_07_is_the_reference_speedrun() {
    let plan = plan(&["--preset", "d24", "--price-per-hour", "24"]);
    assert_eq!(plan["parameters"]["matrices"], 679_478_976);
    assert_eq!(plan["parameters"]["head"], 50_331_648);
    assert_eq!(plan["parameters"]["total"], 1_384_122_122);
    assert_eq!(plan["total_batch_size"], 1_048_576);
    assert_eq!(plan["steps"], 5_568);
    assert_eq!(plan["data"]["shards"], 170);
    // 99 minutes at 59% in the record; at 50% it must be longer, and 8 cards at $3 cost accordingly.
    let minutes = plan["time"]["minutes"].as_f64().unwrap();
    assert!((105.0..130.0).contains(&minutes), "{minutes}");
    assert!((plan["time"]["cost"].as_f64().unwrap() - minutes / 60.0 * 24.0).abs() < 1e-9);
}

#[test]
fn a_plan_for_people_says_the_same() {
    let place = Place::new();
    let args = [
        "speedrun",
        "--preset",
        "d20",
        "--arch",
        "2025-10",
        "--dry-run",
        "--assume-tflops",
        "3956",
    ];
    let text = place.succeed(&args);
    for words in ["561.0M", "11.2B", "21,400", "240 of karpathy/fineweb-edu-100b-shuffle"] {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
}

#[test]
fn a_character_vocabulary_is_counted_before_training() {
    let place = Place::new();
    let data = place.file("text.txt", &"abcde fgh\n".repeat(500));
    let args = [
        "train",
        "base",
        "--preset",
        "nanogpt-char",
        "--data",
        &data,
        "--dry-run",
        "--json",
        "--assume-tflops",
        "1",
    ];
    let plan: Value = serde_json::from_str(&place.succeed(&args)).unwrap();
    assert_eq!(plan["model"]["vocab_size"], 10 + 9);
}

/// Stages with what is said of them.
fn stages(plan: &Value, field: &str) -> Vec<(String, Value)> {
    let stages = plan["stages"].as_array().unwrap().iter();
    stages
        .map(|stage| (stage["stage"].as_str().unwrap().to_owned(), stage[field].clone()))
        .collect()
}

fn expected(values: &[(&str, Value)]) -> Vec<(String, Value)> {
    values
        .iter()
        .map(|(stage, value)| ((*stage).to_owned(), value.clone()))
        .collect()
}

#[test]
fn a_speedrun_is_planned_stage_by_stage() {
    let spark = plan(&[]);
    let none = Value::Null;
    let steps = [
        ("tokenizer", none.clone()),
        ("base", 800.into()),
        ("mid", 650.into()),
        ("sft", 500.into()),
        ("rl", 40.into()),
        ("dpo", 40.into()),
        ("report", none.clone()),
    ];
    assert_eq!(stages(&spark, "steps"), expected(&steps));
    assert_eq!(spark["stages"][2]["tokens"], 650 * 2048);
    assert!(spark["stages"][3]["memory_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(stages(&spark, "state").iter().all(|(_, state)| state.is_null()));
    // Of a real run without conversations there is nothing after base training.
    let d20 = plan(&["--preset", "d20"]);
    let names: Vec<String> = stages(&d20, "steps").into_iter().map(|(stage, _)| stage).collect();
    assert_eq!(names, ["tokenizer", "base", "report"]);
}

#[test]
fn a_plan_says_what_is_done() {
    let place = Place::new();
    let run = with(
        &["speedrun", "--run", "x", "--num-iterations", "4", "--stages", "mid,sft"],
        TINY,
    );
    let run = with(
        &run,
        &["--max-seq-len", "64", "--mid-iterations", "2", "--sft-iterations", "3"],
    );
    place.succeed(&run);
    std::fs::remove_dir_all(place.stage("x", "sft")).unwrap();
    let before = listing(&place.home());
    let dry = ["speedrun", "--run", "x", "--dry-run", "--assume-tflops", "1"];
    let plan: Value = serde_json::from_str(&place.succeed(&with(&dry, &["--json"]))).unwrap();
    let done = Value::from("finished");
    let states = [
        ("tokenizer", done.clone()),
        ("base", done.clone()),
        ("mid", done),
        ("sft", Value::Null),
        ("report", Value::Null),
    ];
    assert_eq!(stages(&plan, "state"), expected(&states));
    assert_eq!(plan["stages"][3]["steps"], 3);
    // The stage alone plans the same.
    let mut alone = vec!["train", "sft", "--run", "x", "--num-iterations", "3"];
    alone.extend(["--dry-run", "--json", "--assume-tflops", "1"]);
    let alone: Value = serde_json::from_str(&place.succeed(&alone)).unwrap();
    for field in ["tokens", "memory_bytes"] {
        assert!(alone[field].is_u64(), "{alone}");
        assert_eq!(plan["stages"][3][field], alone[field]);
    }
    // Settings of another version are planned as little as they are trained with, unless the stage is over.
    let file = place.stage("x", "mid").join("stage.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    record["details"]["settings"] = Value::Null;
    std::fs::write(&file, record.to_string()).unwrap();
    place.succeed(&dry);
    record["state"] = "interrupted".into();
    std::fs::write(&file, record.to_string()).unwrap();
    let fresh = "ferrochat train mid --run x --fresh";
    place.refused(&dry, 2, &["mid", "another version", fresh]);
    place.refused(&["train", "mid", "--run", "x"], 2, &["mid", "another version", fresh]);
    std::fs::write(&file, text).unwrap();
    let file = place.stage("x", "base").join("stage.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    record["details"]["speedrun"] = true.into();
    std::fs::write(&file, record.to_string()).unwrap();
    place.refused(&dry, 2, &["\"x\"", "another version", "--fresh"]);
    std::fs::write(&file, text).unwrap();
    // Which stages is one thing, what they learn from and how long another.
    let one = place.succeed(&with(&dry, &["--json", "--stages", "sft"]));
    let one: Value = serde_json::from_str(&one).unwrap();
    let steps = [
        ("tokenizer", Value::Null),
        ("base", 4.into()),
        ("sft", 3.into()),
        ("report", Value::Null),
    ];
    assert_eq!(stages(&one, "steps"), expected(&steps));
    let text = place.succeed(&dry);
    for words in [
        "mid        finished",
        "sft        to do",
        "what cannot be told beforehand: report",
    ] {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
    let fresh = place.succeed(&with(&run, &["--dry-run", "--fresh", "--assume-tflops", "1"]));
    assert!(!fresh.contains("finished"), "{fresh}");
    assert_eq!(listing(&place.home()), before, "a dry run writes nothing");
}
