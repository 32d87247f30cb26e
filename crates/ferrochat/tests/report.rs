//! The card of a report: every figure is measured again by the line that stands under it, and comes to the same.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Place, TINY, stderr, with};
use serde_json::Value;

/// Two tasks of CORE and two of the public data sets, a few items of each, in the folder that `data fetch` fills.
fn fetched(place: &Place) {
    let sets = place.home().join("cache/datasets");
    let bundle = sets.join("core/eval_bundle");
    fs::create_dir_all(bundle.join("eval_data")).unwrap();
    let mut config = "icl_tasks:\n".to_owned();
    for task in ["sky", "sea"] {
        let entry = format!(
            "-\n  label: {task}\n  dataset_uri: {task}.jsonl\n  num_fewshot: [1]\n  icl_task_type: multiple_choice\n"
        );
        config.push_str(&entry);
        let line = |i: usize| {
            let gold = i % 2;
            format!("{{\"query\": \"The {task} {i} is\", \"choices\": [\"blue\", \"green\"], \"gold\": {gold}}}\n")
        };
        let lines: String = (0..9).map(line).collect();
        fs::write(bundle.join(format!("eval_data/{task}.jsonl")), lines).unwrap();
    }
    fs::write(bundle.join("core.yaml"), config).unwrap();
    fs::write(
        bundle.join("eval_meta_data.csv"),
        "Eval Task,Random baseline\nsky,50\nsea,50\n",
    )
    .unwrap();
    let arc = |i: usize| {
        let key = ["A", "B"][i % 2];
        format!(
            "{{\"id\": \"{i}\", \"question\": \"What is {i}?\", \"choices\": {{\"text\": [\"odd\", \"even\"], \"label\": \
             [\"A\", \"B\"]}}, \"answerKey\": \"{key}\"}}\n"
        )
    };
    let gsm8k = |i: usize| format!("{{\"question\": \"{i} + 1?\", \"answer\": \"#### {}\"}}\n", i + 1);
    let write = |folder: &str, lines: String| {
        fs::create_dir_all(sets.join(folder)).unwrap();
        fs::write(sets.join(folder).join("test.jsonl"), lines).unwrap();
    };
    write("arc/ARC-Easy", (0..7).map(arc).collect());
    write("gsm8k", (0..4).map(gsm8k).collect());
}

/// The figures of the card: (stage, task) and the cell.
fn card(report: &str) -> BTreeMap<(String, String), String> {
    let mut cells = BTreeMap::new();
    let scores = report
        .split_once("## Scores\n")
        .unwrap()
        .1
        .split_once("\n## ")
        .unwrap()
        .0;
    let mut stages: Vec<&str> = Vec::new();
    for line in scores.lines().filter(|line| line.starts_with('|')) {
        let row: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match row[0] {
            "task" => stages = row[3..].to_vec(),
            "---" => {}
            task => {
                for (stage, cell) in stages.iter().zip(&row[3..]).filter(|(_, cell)| **cell != "-") {
                    let task = task.replace(['*', '\\'], "");
                    cells.insert(((*stage).to_owned(), task), (*cell).to_owned());
                }
            }
        }
    }
    cells
}

/// The words of a line of the report, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    line.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
}

#[test]
fn every_figure_of_the_card_is_measured_again_by_its_line() {
    let place = Place::new();
    fetched(&place);
    let more = [
        "--run",
        "tiny",
        "--num-iterations",
        "40",
        "--max-seq-len",
        "192",
        "--total-batch-size",
        "384",
    ];
    // f32, which is not what `eval` takes by itself everywhere.
    let more = with(
        &more,
        &["--exam-questions", "12", "--dtype", "f32", "--stages", "mid,sft"],
    );
    place.succeed(&with(&with(&["speedrun"], TINY), &more));
    for stage in ["base", "sft"] {
        let core = ["eval", "core", "--run", "tiny", "--stage", stage, "--max-per-task", "5"];
        place.succeed(&with(&core, &["--dtype", "f32"]));
    }
    let tasks = ["eval", "tasks", "--run", "tiny", "--tasks", "arc-easy,gsm8k,arithmetic"];
    place.succeed(&with(&tasks, &["--count", "6", "--max-new-tokens", "9", "--seed", "3"]));
    place.succeed(&with(&tasks[..4], &["--tasks", "arithmetic", "--temperature", "1"]));
    place.succeed(&["report", "--run", "tiny"]);
    let file = place.home().join("runs/tiny/report.md");
    let report = fs::read_to_string(&file).unwrap();
    let page = fs::read_to_string(file.with_extension("html")).unwrap();
    let cells = card(&report);
    let known =
        |stage: &str, task: &str| assert!(cells.contains_key(&(stage.into(), task.into())), "{task} in {report}");
    for (stage, task) in [
        ("BASE", "CORE"),
        ("SFT", "sea"),
        ("BASE", "arithmetic"),
        ("MID", "word_problem"),
        ("SFT", "GSM8K (9 tokens)"),
        ("SFT", "ARC-Easy"),
        ("SFT", "arithmetic (seed 3; 9 tokens)"),
        ("SFT", "arithmetic (temperature 1)"),
    ] {
        known(stage, task);
    }
    let tables = report.lines().filter(|line| line.starts_with("| --- |")).count();
    assert_eq!(page.matches("<table>").count(), tables, "every table is in the page");

    let mut measured = 0;
    let lines: Vec<&str> = report.lines().collect();
    for pair in lines
        .windows(2)
        .filter(|pair| pair[1].starts_with("ferrochat eval ") && pair[0].starts_with("# "))
    {
        let (stage, names) = pair[0].trim_start_matches("# ").split_once(": ").unwrap();
        let words = words(pair[1]);
        // From a folder, and an environment, that say nothing.
        let mut command = place.command(&[]);
        command
            .args(&words[1..])
            .arg("--json")
            .current_dir("/")
            .env_remove("FERROCHAT_DEVICE");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}: {}", pair[1], stderr(&output));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut again = BTreeMap::new();
        let text =
            |value: &Value, error: &Value| format!("{:.4} ± {:.4}", value.as_f64().unwrap(), error.as_f64().unwrap());
        for task in found["tasks"].as_array().unwrap() {
            let name = task["task"].as_str().unwrap();
            let cell = match &task["centered"] {
                Value::Null => text(&task["score"], &task["standard_error"]),
                centered => format!(
                    "{} ({:.4})",
                    text(&task["accuracy"], &task["standard_error"]),
                    centered.as_f64().unwrap()
                ),
            };
            again.insert(name.to_owned(), cell);
        }
        if words[2] == "core" {
            again.insert(
                "CORE".into(),
                text(&found["core_metric"], &found["core_standard_error"]),
            );
        }
        // One line asks all that these are of, and a line for a variant something else.
        let usual = |name: &str| !names.contains('(') && !found[name].is_null();
        for (name, cell) in [
            ("chat_core", "ChatCORE"),
            ("false_refusals", "false refusals, less is better"),
        ] {
            if usual(name) {
                let figure = &found[name];
                let key = (stage.to_owned(), cell.to_owned());
                assert_eq!(
                    text(&figure["value"], &figure["standard_error"]),
                    cells[&key],
                    "{cell} of {stage}"
                );
                measured += 1;
            }
        }
        let core: Vec<String> = again.keys().cloned().collect();
        let names: Vec<&str> = match names {
            "CORE and its 2 tasks" => core.iter().map(String::as_str).collect(),
            names => names.split(", ").collect(),
        };
        for name in names {
            let cell = &cells[&(stage.to_owned(), name.to_owned())];
            let task = name.split(" (").next().unwrap();
            assert_eq!(&again[task], cell, "{name} of {stage} by {}", pair[1]);
            measured += 1;
        }
    }
    assert_eq!(measured, cells.len(), "{cells:?}");
}
