//! The stages after base training: the same bits whatever interrupts them, and one sentence for what
//! cannot be learned.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Place, TINY, stderr, with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const STAGES: [&str; 5] = ["base", "mid", "sft", "rl", "dpo"];

fn speedrun(run: &str) -> Vec<&str> {
    // Word problems must fit.
    let more = [
        "--num-iterations",
        "150",
        "--max-seq-len",
        "192",
        "--total-batch-size",
        "384",
        "--run",
        run,
    ];
    with(&with(&["speedrun"], TINY), &more)
}

/// Steps that a stage has written down.
fn steps(stage: &Path) -> usize {
    let text = std::fs::read_to_string(stage.join("metrics.jsonl")).unwrap_or_default();
    text.lines().count()
}

fn latest(stage: &Path) -> std::path::PathBuf {
    stage.join(std::fs::read_to_string(stage.join("latest")).unwrap().trim())
}

/// Each stage is ended once in its middle: by kill -9, by Ctrl-C, by SIGTERM.
#[test]
fn a_speedrun_interrupted_in_each_stage_ends_with_the_same_bits() {
    let place = Place::new();
    place.succeed(&speedrun("whole"));
    let mut told = String::new();
    for (stage, signal, at) in [
        ("base", Signal::TERM, 40),
        ("mid", Signal::KILL, 60),
        ("mid", Signal::INT, 120),
        ("sft", Signal::KILL, 30),
        ("sft", Signal::TERM, 70),
        ("rl", Signal::KILL, 3),
        ("rl", Signal::INT, 6),
        ("dpo", Signal::TERM, 5),
    ] {
        let mut child = place
            .command(&speedrun("cut"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let folder = place.stage("cut", stage);
        let begun = Instant::now();
        while steps(&folder) < at && begun.elapsed() < Duration::from_mins(2) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(child.try_wait().unwrap().is_none(), "{stage} ended before step {at}");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = stderr(&output);
        let code = match signal {
            Signal::KILL => None,
            Signal::INT => Some(130),
            _ => Some(143),
        };
        assert_eq!(output.status.code(), code);
        let goes_on = said.trim_end().ends_with("ferrochat speedrun --run cut");
        assert!(signal == Signal::KILL || goes_on, "{said}");
        told += &said;
    }
    // Told while base trains: at first of all, then of what is left.
    for words in ["in all at", "of training are left at"] {
        assert_eq!(told.matches(words).count(), 1, "{words}: {told}");
    }
    let shown = place.succeed(&["speedrun", "--run", "cut"]);
    assert_eq!(shown.matches("> ").count(), 3, "three dialogues: {shown}");
    for file in ["report.md", "report.html"] {
        let report = std::fs::read_to_string(place.folder.path().join(file)).unwrap();
        for words in [
            "BASE",
            "MID",
            "SFT",
            "RL",
            "DPO",
            "word_problem",
            "share of the multiply loop",
            "ferrochat eval tasks --run cut",
        ] {
            assert!(report.contains(words), "{words} is not in {file}");
        }
    }
    for stage in STAGES {
        let [whole, cut] = ["whole", "cut"].map(|run| latest(&place.stage(run, stage)));
        assert_eq!(whole.file_name(), cut.file_name());
        for file in ["model.safetensors", "optimizer.safetensors", "loader.bin"] {
            let same = std::fs::read(whole.join(file)).unwrap() == std::fs::read(cut.join(file)).unwrap();
            assert!(same, "{file} of {stage} differs");
        }
        let [whole, cut] = ["whole", "cut"].map(|run| {
            let text = std::fs::read_to_string(place.stage(run, stage).join("stage.json")).unwrap();
            let record: Value = serde_json::from_str(&text).unwrap();
            record["details"]["dialogues"].clone()
        });
        assert!(whole.as_array().is_some_and(|all| !all.is_empty()));
        assert_eq!(whole, cut, "the answers after {stage}");
    }
}

/// What is asked of a run whose base model is finished holds for the stages to come, and nothing is passed over in silence.
#[test]
fn flags_that_come_after_base_training_are_heeded_or_named() {
    let place = Place::new();
    let first = with(&["speedrun", "--num-iterations", "3", "--run", "x"], TINY);
    let base = with(&first, &["--max-seq-len", "64", "--stages", "base"]);
    place.succeed(&base);
    let later = ["speedrun", "--run", "x", "--stages", "mid", "--mid-iterations", "2"];
    let output = place.run(&with(
        &later,
        &[
            "--exam-questions",
            "3",
            "--eval-every",
            "5",
            "--save-every",
            "-1",
            "--dtype",
            "f32",
        ],
    ));
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    for words in [
        "--eval-every is for base training",
        "asked 3 questions of each kind",
        "--stage base --count 3",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert!(!said.contains("--save-every"), "as base training had it: {said}");
    let mid = place.record("x", "mid");
    assert_eq!(mid["details"]["tasks"][0]["count"], 3);
    assert!(mid["details"]["device"].as_str().unwrap().contains("float32"), "{mid}");
    // Remembered without being said again, and what was asked at the first start gives way.
    place.succeed(&["train", "sft", "--run", "x", "--num-iterations", "2"]);
    assert_eq!(place.record("x", "sft")["details"]["tasks"][0]["count"], 3);
    // What comes too late for a stage is named, what is as it was is not.
    let stages = ["speedrun", "--run", "x", "--stages", "mid,sft"];
    let output = place.run(&with(&stages, &["--mid-iterations", "2", "--sft-iterations", "7"]));
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("--sft-iterations comes too late for sft") && !said.contains("--mid-iterations"),
        "{said}"
    );
    // The line that is offered does what was asked.
    let line = "`ferrochat train sft --run x --fresh --num-iterations 7` begins it again)";
    assert!(said.contains(line), "{said}");
    let output = place.run(&with(&stages, &["--mid-iterations", "4", "--dtype", "bf16"]));
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    for words in [
        "--mid-iterations, --dtype comes too late for mid",
        "`ferrochat train mid --run x --fresh --num-iterations 4 --dtype bf16` begins it again and removes sft",
        "note: --dtype comes too late for sft",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let plan = place.succeed(&with(&stages, &["--dry-run", "--json", "--assume-tflops", "1"]));
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["stages"][3]["steps"], 2, "of what was done: {plan}");
}

#[test]
fn what_was_asked_at_the_first_start_gives_way_to_what_is_said_now() {
    let place = Place::new();
    let first = with(&["speedrun", "--num-iterations", "3", "--run", "x"], TINY);
    place.succeed(&with(
        &first,
        &["--max-seq-len", "64", "--stages", "mid", "--mid-iterations", "2"],
    ));
    std::fs::remove_dir_all(place.stage("x", "mid")).unwrap();
    place.succeed(&["speedrun", "--run", "x", "--mid-iterations", "4"]);
    assert_eq!(steps(&place.stage("x", "mid")), 5);
}

/// The line that is printed goes on with what was asked last, though base training, which remembers it, was over.
#[test]
fn a_line_printed_after_base_training_goes_on_with_what_was_asked() {
    let place = Place::new();
    let first = with(&["speedrun", "--num-iterations", "3", "--run", "x"], TINY);
    place.succeed(&with(&first, &["--max-seq-len", "64", "--stages", "base"]));
    let later = ["speedrun", "--run", "x", "--stages", "mid", "--mid-iterations", "300"];
    let child = place
        .command(&with(&later, &["--dtype", "f32"]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mid, begun) = (place.stage("x", "mid"), Instant::now());
    while steps(&mid) < 5 && begun.elapsed() < Duration::from_mins(2) {
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    let line = "speedrun --run x";
    assert!(said.trim_end().ends_with(&format!("ferrochat {line}")), "{said}");

    // What is refused is not remembered.
    let other = place.run(&["speedrun", "--run", "x", "--mid-iterations", "9"]);
    let said = stderr(&other);
    assert_eq!(other.status.code(), Some(2), "{said}");
    assert!(said.contains("--num-iterations 300, not 9"), "{said}");
    assert!(steps(&mid) < 300);
    place.succeed(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(steps(&mid), 301);
    assert!(!place.stage("x", "sft").exists(), "only mid was asked for");
    // The element type is remembered too, and handed on.
    place.succeed(&["train", "sft", "--run", "x", "--num-iterations", "2"]);
    for stage in ["mid", "sft"] {
        let record = place.record("x", stage);
        assert!(
            record["details"]["device"].as_str().unwrap().ends_with("float32"),
            "{record}"
        );
        assert_eq!(record["settings"]["dtype"], "f32");
    }
}

#[test]
fn what_cannot_be_learned_is_refused_in_one_sentence() {
    let place = Place::new();
    place.refused(&["train", "mid", "--run", "none"], 2, &["no run \"none\""]);
    let base = with(&["train", "base"], TINY);
    place.succeed(&with(&base, &["--num-iterations", "3", "--run", "x"]));
    let mid = ["train", "mid", "--run", "x", "--num-iterations", "2"];
    for (text, words) in [
        ("", &["talks.jsonl"][..]),
        ("{\"messages\": []}\n", &["line 1"]),
        (
            "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}\n",
            &["line 1", "assistant"],
        ),
        (
            "\n{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"b\"}]}\n",
            &["line 2"],
        ),
        ("{\"messages\": \n", &["line 1"]),
    ] {
        let file = place.file("talks.jsonl", text);
        place.refused(&with(&mid, &["--conversations", &file]), 2, words);
    }
    let bytes = place.folder.path().join("bytes.jsonl");
    std::fs::write(&bytes, b"{\"messages\": \"\xff\xfe\"}\n").unwrap();
    let bytes = bytes.to_str().unwrap().to_owned();
    place.refused(&with(&mid, &["--conversations", &bytes]), 2, &["line 1", "UTF-8"]);
    place.refused(
        &with(&mid, &["--conversations", "nowhere.jsonl"]),
        2,
        &["nowhere.jsonl"],
    );
    place.refused(&with(&mid, &["--source-stage", "sft"]), 2, &["begin from base"]);
    place.refused(&with(&mid, &["--packing", "tight"]), 2, &["best-fit"]);
    place.refused(&with(&mid, &["--rows-per-step", "3"]), 2, &["divisible"]);
    assert!(!place.stage("x", "mid").exists());
}

/// A conversation far longer than the context loses its end; one whose rows hold no target teaches nothing; neither
/// makes a number that is none.
#[test]
fn long_and_fully_masked_conversations_are_harmless() {
    let place = Place::new();
    let base = with(&["train", "base"], TINY);
    place.succeed(&with(&base, &["--num-iterations", "3", "--run", "x"]));
    let long = "word ".repeat(200_000);
    let line = |question: &str, answer: &str| {
        serde_json::json!({"messages": [
            {"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
        .to_string()
    };
    // The question alone fills the row: no target is left of the answer.
    let talks = format!("{}\n{}\n", line(&long, "yes"), line(&long, "no")).repeat(3);
    let file = place.file("long.jsonl", &talks);
    for (packing, run) in [("best-fit", "sft"), ("one-per-row", "sft"), ("stream", "mid")] {
        place.succeed(&[
            "train",
            run,
            "--run",
            "x",
            "--conversations",
            &file,
            "--identity-epochs",
            "0",
            "--packing",
            packing,
            "--num-iterations",
            "4",
            "--eval-tokens",
            "64",
            "--fresh",
        ]);
        let text = std::fs::read_to_string(place.stage("x", run).join("metrics.jsonl")).unwrap();
        assert!(!text.contains("null") && !text.contains("NaN"), "{text}");
    }
}
