//! `eval compare` on the exams of a tiny run.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Place, TINY, with};
use serde_json::{Value, json};

#[test]
fn differences_are_taken_item_by_item_where_items_are_known() {
    let place = Place::new();
    let run = [
        "speedrun",
        "--run",
        "x",
        "--stages",
        "mid",
        "--num-iterations",
        "4",
        "--max-seq-len",
        "64",
    ];
    place.succeed(&with(
        &with(&run[..1], TINY),
        &with(&run[1..], &["--mid-iterations", "2", "--exam-questions", "20"]),
    ));
    let compared = || -> Value { serde_json::from_str(&place.succeed(&["eval", "compare", "x", "--json"])).unwrap() };
    let path = |stage: &str| place.stage("x", stage).join("stage.json");
    let record =
        |stage: &str| -> Value { serde_json::from_str(&std::fs::read_to_string(path(stage)).unwrap()).unwrap() };
    // A model this small is right by accident alone: outcomes that tell something stand in for its own.
    let keep = |stage: &str, record: &Value| std::fs::write(path(stage), record.to_string()).unwrap();
    let [base, mut mid] = [("base", 3, 1), ("mid", 4, 2)].map(|(stage, of, some)| {
        let mut record = record(stage);
        for (number, task) in record["details"]["tasks"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .enumerate()
        {
            let count = task["items"].as_str().unwrap().len();
            assert_eq!(task["count"], count);
            let right = |item: &usize| (item + number) % of < some;
            task["score"] = json!((0..count).filter(right).count() as f64 / count as f64);
            task["items"] = json!(
                (0..count)
                    .map(|item| if right(&item) { '1' } else { '0' })
                    .collect::<String>()
            );
        }
        keep(stage, &record);
        record
    });
    let right = |record: &Value, task: &str| -> Vec<f64> {
        let tasks = record["details"]["tasks"].as_array().unwrap();
        let found = tasks.iter().find(|found| found["task"] == task).unwrap();
        let items = found["items"].as_str().unwrap().bytes();
        items.map(|item| f64::from(item - b'0')).collect()
    };
    let rows = compared()["tasks"].as_array().unwrap().clone();
    let (mean, tasks) = rows.split_last().unwrap();
    let mut centered = 0.0;
    for row in tasks {
        let task = row["task"].as_str().unwrap();
        let (first, own) = (right(&base, task), right(&mid, task));
        let n = first.len() as f64;
        let differences: Vec<f64> = own.iter().zip(&first).map(|(own, first)| own - first).collect();
        let value = differences.iter().sum::<f64>() / n;
        let variance = differences.iter().map(|one| (one - value).powi(2)).sum::<f64>() / (n - 1.0) / n;
        let difference = &row["models"][1]["difference"];
        assert_eq!(difference["paired"], true, "{row}");
        assert!((difference["value"].as_f64().unwrap() - value).abs() < 1e-9, "{row}");
        assert!(
            (difference["standard_error"].as_f64().unwrap() - variance.sqrt()).abs() < 1e-9,
            "{row}"
        );
        centered += variance / (1.0 - row["chance"].as_f64().unwrap()).powi(2);
    }
    let error = mean["models"][1]["difference"]["standard_error"].as_f64().unwrap();
    assert!((error - centered.sqrt() / tasks.len() as f64).abs() < 1e-9, "{mean}");
    let shown = place.succeed(&["eval", "compare", "x"]);
    assert!(
        shown.contains("items' own differences") && !shown.contains('*'),
        "{shown}"
    );

    // As older versions kept it.
    for task in mid["details"]["tasks"].as_array_mut().unwrap() {
        task.as_object_mut().unwrap().remove("items");
    }
    keep("mid", &mid);
    let shown = place.succeed(&["eval", "compare", "x"]);
    assert!(
        shown.contains("* Which items were right is not known of both"),
        "{shown}"
    );
    assert!(!shown.contains("items' own differences"), "{shown}");
    assert_eq!(compared()["tasks"][0]["models"][1]["difference"]["paired"], false);
}
