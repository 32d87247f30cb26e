//! Data sets in folders of both layouts. The items are invented.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use ferrochat_data::ConversationSource;
use ferrochat_tasks::{Dataset, Judging, TaskConversations, TaskSplit};

fn write(folder: &Path, place: &str, text: &str) {
    let path = folder.join(place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn gsm8k(count: usize) -> String {
    let line = |i: usize| {
        format!(
            "{{\"question\": \"{i} and {i}?\", \"answer\": \"<<{i}+{i}={0}>>{0}\\n#### {0}\"}}\n",
            2 * i
        )
    };
    (0..count).map(line).collect()
}

fn opened(folder: &Path, dataset: Dataset, split: TaskSplit) -> Result<Vec<String>, String> {
    let task = dataset.open(folder, split).map_err(|error| error.to_string())?;
    Ok((0..task.count()).map(|i| task.prompt(i).messages[0].text()).collect())
}

#[test]
fn items_come_in_the_order_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "gsm8k/test.jsonl", &gsm8k(10));
    let questions = opened(folder.path(), Dataset::Gsm8k, TaskSplit::Test).unwrap();
    let order = [5, 6, 0, 7, 3, 2, 4, 9, 1, 8];
    assert_eq!(questions, order.map(|i| format!("{i} and {i}?")));
}

#[test]
fn all_places_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (arc, mmlu) = (
        r#"{"question":"q","choices":{"text":["a","b"],"label":["A","B"]},"answerKey":"B"}"#,
        r#"{"question":"q","choices":["a","b","c","d"],"answer":2,"subject":""}"#,
    );
    for (place, text) in [
        ("tasks/gsm8k/train.jsonl", &gsm8k(3)[..]),
        ("arc/ARC-Easy/test.jsonl", arc),
        ("tasks/arc/ARC-Challenge/validation.jsonl", arc),
        ("tasks/mmlu/auxiliary_train.jsonl", mmlu),
        ("mmlu/test.jsonl", mmlu),
    ] {
        write(folder.path(), place, text);
    }
    let found: BTreeSet<String> = Dataset::ALL
        .into_iter()
        .flat_map(|dataset| {
            let splits = [TaskSplit::Train, TaskSplit::Validation, TaskSplit::Test];
            splits.map(|split| (dataset, split))
        })
        .filter(|&(dataset, split)| opened(folder.path(), dataset, split).is_ok())
        .map(|(dataset, split)| format!("{dataset} {split}"))
        .collect();
    let expected = [
        "ARC-Challenge validation",
        "ARC-Easy test",
        "GSM8K train",
        "MMLU test",
        "MMLU train",
    ];
    assert!(found.iter().eq(expected.iter()), "{found:?}");

    let task = Dataset::Mmlu.open(folder.path(), TaskSplit::Test).unwrap();
    assert_eq!(
        (task.name(), task.judging(), task.chance()),
        ("MMLU", Judging::Letters, 0.25)
    );
    assert!(task.origin().ends_with("mmlu/test.jsonl"), "{}", task.origin());
    let source = TaskConversations::new(Arc::clone(&task));
    assert_eq!(source.count(), 1);
    assert_eq!(source.get(0).unwrap().messages[1].text(), "C");
}

#[test]
fn what_is_missing_or_broken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |dataset, split| opened(folder.path(), dataset, split).unwrap_err();
    let error = refusal(Dataset::Gsm8k, TaskSplit::Test);
    let expected = [
        "the test split of GSM8K is not in",
        "gsm8k/test.jsonl",
        "openai--gsm8k/main/test",
    ];
    assert!(expected.iter().all(|part| error.contains(part)), "{error}");
    assert!(refusal(Dataset::Gsm8k, TaskSplit::Validation).contains("no validation split"));
    for (text, expected) in [
        (String::new(), "has no items"),
        (
            format!("{}\n{{}}\n", gsm8k(2)),
            "line 4: missing field `question` at column 2",
        ),
        (format!("{}{{\n", gsm8k(2)), "line 3: EOF while parsing"),
        (
            r#"{"question":"q","answer":"5"}"#.to_owned(),
            "line 1: its answer does not end with ####",
        ),
        (
            r#"{"question":"","answer":"5"}"#.to_owned(),
            "line 1: its question is empty",
        ),
    ] {
        write(folder.path(), "gsm8k/test.jsonl", &text);
        let error = refusal(Dataset::Gsm8k, TaskSplit::Test);
        assert!(error.contains(expected) && error.contains("test.jsonl"), "{error}");
    }
    let shards = "task_data/openai--gsm8k/main/train";
    write(folder.path(), &format!("{shards}/notes.txt"), "");
    assert!(refusal(Dataset::Gsm8k, TaskSplit::Train).contains("no .parquet files"));
    write(folder.path(), &format!("{shards}/00000.parquet"), "PAR1 and no more");
    assert!(refusal(Dataset::Gsm8k, TaskSplit::Train).contains("00000.parquet is damaged"));
    write(folder.path(), &format!("{shards}/manifest.json"), "{}");
    assert!(refusal(Dataset::Gsm8k, TaskSplit::Train).contains("not a list of file names"));
    write(
        folder.path(),
        &format!("{shards}/manifest.json"),
        r#"["00000.parquet", "00001.parquet"]"#,
    );
    assert!(refusal(Dataset::Gsm8k, TaskSplit::Train).contains("00001.parquet is listed in the manifest"));
}
