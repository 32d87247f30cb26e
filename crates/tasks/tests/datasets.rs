//! Data sets in folders of both layouts. The items are invented.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use ferrochat_chat::{Part, Reply, Stopped};
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
        ("openai--openai_humaneval/openai_humaneval/test/manifest.json", "[]"),
    ] {
        write(folder.path(), place, text);
    }
    let found: BTreeSet<String> = Dataset::ALL
        .into_iter()
        .flat_map(|dataset| {
            let splits = [TaskSplit::Train, TaskSplit::Validation, TaskSplit::Test];
            splits.map(|split| (dataset, split))
        })
        .filter(|&(dataset, split)| dataset.open(folder.path(), split).is_ok())
        .map(|(dataset, split)| format!("{dataset} {split}"))
        .collect();
    let expected = [
        "ARC-Challenge validation",
        "ARC-Easy test",
        "GSM8K train",
        "MMLU test",
        "MMLU train",
        // Made of words, and words there always are.
        "SimpleSpelling test",
        "SimpleSpelling train",
        "SpellingBee test",
        "SpellingBee train",
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
fn words_are_the_lists_or_the_worlds() {
    let folder = tempfile::tempdir().unwrap();
    let open = |dataset: Dataset, split| dataset.open(folder.path(), split).unwrap();
    let invented = open(Dataset::SpellingBee, TaskSplit::Test);
    assert!(
        invented.origin().contains("words of the world"),
        "{}",
        invented.origin()
    );
    assert!(
        invented.origin().contains("data fetch spelling"),
        "{}",
        invented.origin()
    );
    write(folder.path(), "spelling/words_alpha.txt", "  rhubarb\r\n\r\n");
    let bee = open(Dataset::SpellingBee, TaskSplit::Test);
    assert!(bee.origin().ends_with("words_alpha.txt"), "{}", bee.origin());
    assert_eq!(
        (bee.name(), bee.count(), bee.judging()),
        ("SpellingBee", 256, Judging::Generative)
    );
    assert!((0..10).all(|i| bee.prompt(i).messages[0].text().contains("rhubarb")));
    let simple = open(Dataset::SimpleSpelling, TaskSplit::Train);
    assert_eq!(simple.count(), 200_000);
    assert_eq!(simple.answered(199_999).messages[1].text(), "rhubarb:r,h,u,b,a,r,b");
    write(folder.path(), "spelling/words_alpha.txt", "\n");
    let error = opened(folder.path(), Dataset::SpellingBee, TaskSplit::Train).unwrap_err();
    assert!(error.contains("words_alpha.txt has no words"), "{error}");
    for name in ["spelling-bee", "SpellingBee", "SPELLING_BEE"] {
        assert_eq!(name.parse::<Dataset>().unwrap(), Dataset::SpellingBee);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn functions_are_written_and_tested() {
    let folder = tempfile::tempdir().unwrap();
    let row = serde_json::json!({
        "task_id": "x/0",
        "prompt": "def twice(x):\n",
        "canonical_solution": "    return x + x\n",
        "test": "def check(f):\n    assert f('a') == 'aa'\n",
        "entry_point": "twice",
    });
    write(folder.path(), "humaneval/HumanEval.jsonl", &format!("{row}\n{row}\n"));
    let task = Dataset::HumanEval.open(folder.path(), TaskSplit::Test).unwrap();
    assert_eq!((task.name(), task.count(), task.chance()), ("HumanEval", 2, 0.0));
    let answer = task.answered(1).messages.pop().unwrap();
    let mut reply = Reply {
        ids: Vec::new(),
        mask: Vec::new(),
        text: answer.text(),
        parts: answer.parts,
        stopped: Stopped::Length,
    };
    assert!(task.grade(1, &reply).unwrap());
    reply.parts = vec![Part::Text("def twice(x): return x".to_owned())];
    assert!(!task.grade(1, &reply).unwrap());
    let none = opened(folder.path(), Dataset::HumanEval, TaskSplit::Train).unwrap_err();
    assert_eq!(none, "HumanEval has no train split; use its test split");
    write(folder.path(), "humaneval/HumanEval.jsonl", "{\"prompt\": \"x\"}\n");
    let broken = opened(folder.path(), Dataset::HumanEval, TaskSplit::Test).unwrap_err();
    assert!(
        broken.contains("line 1") && broken.contains("canonical_solution"),
        "{broken}"
    );
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
