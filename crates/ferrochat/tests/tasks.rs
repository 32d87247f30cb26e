//! `eval tasks` as a user types it: what is asked, what is refused, what stays behind.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, TINY, stderr, with};
use serde_json::{Value, json};

/// A run with a base model that has learned next to nothing.
fn place() -> Place {
    let place = Place::new();
    let text = "The birds are at home, and the door is shut.\n\n".repeat(400);
    let data = place.file("birds.txt", &text);
    let train = ["train", "base", "--run", "t", "--data", &data, "--num-iterations", "2"];
    place.succeed(&with(&train, TINY));
    std::fs::create_dir_all(place.folder.path().join("sets/humaneval")).unwrap();
    let row = |name: &str| {
        let row = json!({
            "task_id": name,
            "prompt": format!("def {name}(x):\n"),
            "canonical_solution": "    return x + x\n",
            "test": "def check(f):\n    assert f('a') == 'aa'\n",
            "entry_point": name,
        });
        format!("{row}\n")
    };
    place.file(
        "sets/humaneval/HumanEval.jsonl",
        &(row("twice") + &row("double") + &row("both")),
    );
    place
}

const EVAL: &[&str] = &["eval", "tasks", "--run", "t"];

#[cfg(target_os = "linux")]
#[test]
fn scores_are_shown_and_remembered() {
    let place = place();
    let sets = ["--tasks-dir", "sets", "--count", "3", "--max-new-tokens", "8"];
    let asked = with(&with(EVAL, &["--tasks", "humaneval,spelling-bee,SpellingBee"]), &sets);
    let output = place.run(&asked);
    let (shown, told) = (String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output));
    assert!(output.status.success(), "{told}");
    for words in [
        "HumanEval            0.0% ± 0.0 of 3",
        "SpellingBee",
        "ChatCORE                - until ARC-Easy, ARC-Challenge, MMLU, GSM8K is asked, too",
    ] {
        assert!(shown.contains(words), "{words:?} is not in {shown}");
    }
    assert_eq!(shown.matches("SpellingBee").count(), 1, "asked once: {shown}");
    assert!(
        told.contains("words of the world") && told.contains("data fetch spelling"),
        "{told}"
    );

    let several = ["--samples", "4", "--k", "1,4", "--temperature", "1", "--json"];
    let several = with(&with(EVAL, &["--task", "humaneval"]), &with(&sets, &several));
    let seven = ["--sample-seed", "7", "--dump", "said.jsonl"];
    let json = place.succeed(&with(&several, &seven));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tasks"][0]["samples"], 4);
    assert_eq!(json["tasks"][0]["pass_at_k"].as_array().unwrap().len(), 4);
    assert!(
        json["tasks"][0]["origin"]
            .as_str()
            .unwrap()
            .ends_with("HumanEval.jsonl")
    );
    assert_eq!(json["chat_core"], Value::Null);
    assert_eq!(json["chat_core_missing"].as_array().unwrap().len(), 4);
    let said = std::fs::read_to_string(place.folder.path().join("said.jsonl")).unwrap();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["said"].as_array().unwrap().len() == 4));
    assert!(lines.iter().any(|line| line["asked"] == "def both(x):\n"), "{said}");

    let remembered = std::fs::read_to_string(place.base("t").join("evaluations.jsonl")).unwrap();
    let tasks: Vec<Value> = remembered
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = tasks.iter().map(|task| task["task"].as_str().unwrap()).collect();
    assert_eq!(names, ["HumanEval", "SpellingBee", "HumanEval"]);
    let command: Vec<&str> = tasks[2]["command"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    for word in ["--samples", "--temperature", "--max-new-tokens"] {
        assert!(command.contains(&word), "{command:?}");
    }
    assert!(command.windows(2).any(|pair| pair == &seven[..2]), "{command:?}");
    // The line does what it says, and comes to the same.
    let again = place.succeed(&with(&command, &["--json"]));
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["tasks"][0]["pass_at_k"], json["tasks"][0]["pass_at_k"]);
    place.succeed(&with(&several, &["--dump", "other.jsonl"]));
    let other = std::fs::read_to_string(place.folder.path().join("other.jsonl")).unwrap();
    assert_ne!(said, other, "another seed draws other answers");
}

#[test]
fn what_cannot_be_asked_is_refused_in_one_sentence() {
    let place = place();
    for (flags, about) in [
        (
            &["--tasks", "gsm9k"][..],
            &["gsm9k", "gsm8k", "humaneval", "word_problem"][..],
        ),
        (&["--tasks", "gsm8k"], &["GSM8K", "data fetch gsm8k", "--tasks-dir"]),
        (
            &["--tasks", "arc-challenge", "--tasks-dir", "sets"],
            &["ARC-Challenge", "data fetch arc"],
        ),
        (&["--samples", "4"], &["--samples 4", "--temperature"]),
        (&["--samples", "4", "--temperature", "1", "--k", "8"], &["--k 8"]),
        (&["--k", "0"], &["--k 0"]),
        (&["--temperature", "-1"], &["--temperature"]),
        (&["--count", "0"], &["--count"]),
        (&["--tasks", "spellingbee", "--dump", "none/x"], &["none/x"]),
    ] {
        place_refused(&place, &with(EVAL, flags), about);
    }
    place.refused(
        &["chat", "--run", "t", "-p", "hello", "--unsafe-python"],
        2,
        &["--unsafe-python", "--python"],
    );
}

/// The last of several lines says why; notes may come before.
fn place_refused(place: &Place, args: &[&str], about: &[&str]) {
    let output = place.run(args);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
    let last = told.lines().next_back().unwrap();
    assert!(about.iter().all(|word| last.contains(word)), "{args:?}: {told}");
}

#[cfg(target_os = "linux")]
#[test]
fn without_python_nothing_is_run() {
    let place = place();
    let without = |args: &[&str]| {
        let output = place.command(args).env("PATH", "/nowhere").output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert_eq!(told.trim_end().lines().count(), 1, "{told}");
        assert!(told.contains("python3 cannot be used"), "{told}");
    };
    let humaneval = with(EVAL, &["--tasks", "humaneval", "--tasks-dir", "sets"]);
    without(&humaneval);
    without(&with(&humaneval, &["--unsafe-python"]));
    without(&["chat", "--run", "t", "-p", "hello", "--python"]);
    without(&["serve", "--run", "t", "--port", "0", "--python"]);
    let said = place.succeed(&["chat", "--run", "t", "-p", "hello", "--python", "--max-tokens", "4"]);
    assert!(said.ends_with('\n'));
}
