//! `eval core` as a user runs it, on a bundle of one task.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, TINY, with};

fn bundle(place: &Place) -> String {
    let folder = place.folder.path().join("bundle");
    fs::create_dir_all(folder.join("eval_data")).unwrap();
    let config =
        "icl_tasks:\n-\n  label: sky\n  dataset_uri: sky.jsonl\n  num_fewshot: [1]\n  icl_task_type: multiple_choice\n";
    fs::write(folder.join("core.yaml"), config).unwrap();
    fs::write(folder.join("eval_meta_data.csv"), "Eval Task,Random baseline\nsky,50\n").unwrap();
    let line = |i: usize| {
        format!(
            "{{\"query\": \"Sky {i} is\", \"choices\": [\"blue\", \"green\"], \"gold\": {}}}\n",
            i % 2
        )
    };
    fs::write(folder.join("eval_data/sky.jsonl"), (0..6).map(line).collect::<String>()).unwrap();
    folder.to_str().unwrap().to_owned()
}

#[test]
fn what_cannot_work_is_refused() {
    let place = Place::new();
    place.refused(&["eval", "core"], 2, &["--run"]);
    place.refused(
        &["eval", "core", "--run", "x"],
        2,
        &["home/cache", "ferrochat data fetch core", "--bundle"],
    );
    place.refused(
        &["eval", "core", "--run", "x", "--bundle", "nowhere"],
        2,
        &["nowhere", "not a folder"],
    );
    let bundle = bundle(&place);
    let core = |more: &[&'static str]| [&["eval", "core", "--bundle", &bundle, "--run", "x"][..], more].concat();
    place.refused(&core(&[]), 2, &["there is no run \"x\""]);
    place.refused(&core(&["--tasks", "sea"]), 2, &["no task \"sea\"; it has sky"]);
    place.refused(&core(&["--max-per-task", "0"]), 2, &["--max-per-task 0"]);
    place.refused(&core(&["--compare", "none.csv"]), 2, &["none.csv"]);
}

#[test]
fn prompts_need_no_model() {
    let place = Place::new();
    let bundle = bundle(&place);
    let file = place.folder.path().join("prompts.jsonl");
    let dump = [
        "eval",
        "core",
        "--bundle",
        &bundle,
        "--max-per-task",
        "3",
        "--dump-prompts",
        file.to_str().unwrap(),
    ];
    assert_eq!(place.succeed(&dump), "");
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[2]["task"], &lines[2]["item"]), (&"sky".into(), &2.into()));
    let prompts = lines[2]["prompts"].as_array().unwrap();
    assert_eq!(prompts.len(), 2);
    assert!(prompts[0].as_str().unwrap().ends_with(" is blue"), "{prompts:?}");
}

#[test]
fn a_model_is_scored_shown_and_compared() {
    let place = Place::new();
    let bundle = bundle(&place);
    let text = place.file("text.txt", &"The sky is blue and the grass is green. ".repeat(400));
    place.succeed(&with(
        &["train", "base", "--run", "t", "--num-iterations", "2", "--data", &text],
        TINY,
    ));
    let core = ["eval", "core", "--run", "t", "--bundle", &bundle];
    let shown = place.succeed(&with(&core, &["--csv", "t.csv", "--dump-scores", "items.jsonl"]));
    assert!(shown.contains("sky") && shown.contains("CORE"), "{shown}");
    let table = fs::read_to_string(place.folder.path().join("t.csv")).unwrap();
    assert!(
        table.starts_with("Task                               , Accuracy  , Centered  \nsky   "),
        "{table}"
    );
    let items = fs::read_to_string(place.folder.path().join("items.jsonl")).unwrap();
    assert_eq!(items.lines().count(), 6);
    let shown = place.succeed(&with(&core, &["--compare", "t.csv"]));
    let last: Vec<&str> = shown.lines().last().unwrap().split_whitespace().collect();
    // CORE, its error, its value, the time, and the value of the table.
    assert_eq!(last[2], last[4], "{shown}");
    let json: serde_json::Value = serde_json::from_str(&place.succeed(&with(&core, &["--json"]))).unwrap();
    assert_eq!(json["core_metric"], json["centered_results"]["sky"]);
    assert_eq!(json["tasks"][0]["count"], 6);
}
