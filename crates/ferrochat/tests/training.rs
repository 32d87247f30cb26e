//! Training from the command line: from text to a report, and the same bits whatever interrupts it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Place, TINY, stderr, with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const STEPS: usize = 400;

fn train<'a>(run: &'a str, flags: &[&'a str]) -> Vec<&'a str> {
    let more = [
        "--num-iterations",
        "400",
        "--save-every",
        "7",
        "--eval-every",
        "50",
        "--run",
        run,
    ];
    with(&with(&with(&["train", "base"], TINY), &more), flags)
}

/// Starts a run and waits until it has done `steps` steps.
fn start_and_wait(place: &Place, run: &str, args: &[&str], steps: usize) -> Child {
    let mut child = place
        .command(args)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = place.base(run).join("metrics.jsonl");
    let begun = Instant::now();
    let done = || std::fs::read_to_string(&metrics).unwrap_or_default().lines().count();
    while done() < steps && begun.elapsed() < Duration::from_mins(2) {
        std::thread::sleep(Duration::from_millis(1));
    }
    if done() < steps {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("{} of {steps} steps after two minutes", done());
    }
    child
}

fn assert_same_model(a: &Path, b: &Path) {
    let name = format!("step_{STEPS:06}");
    for file in ["model.safetensors", "optimizer.safetensors", "loader.bin"] {
        let (one, other) = (a.join(&name).join(file), b.join(&name).join(file));
        assert!(
            std::fs::read(one).unwrap() == std::fs::read(other).unwrap(),
            "{file} differs"
        );
    }
}

fn losses(base: &Path) -> Vec<(u64, String)> {
    let text = std::fs::read_to_string(base.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| {
            (
                line["step"].as_u64().unwrap(),
                format!("{} {}", line["loss"], line["val_bpb"]),
            )
        })
        .collect()
}

#[test]
fn killed_at_five_steps_it_ends_with_the_same_bits() {
    let place = Place::new();
    place.succeed(&train("whole", &[]));
    // Any five steps will do; these come from the clock, so that they differ from test to test.
    let mut random = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .subsec_nanos() as usize;
    let mut steps = 0;
    for start in 0..5 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        steps += 8 + (random >> 33) % 30;
        let mut child = start_and_wait(&place, "killed", &train("killed", &[]), steps);
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(steps < STEPS && start < 5);
    }
    place.succeed(&["train", "base", "--run", "killed", "--resume"]);
    assert_same_model(&place.base("whole"), &place.base("killed"));
    assert_eq!(losses(&place.base("whole")), losses(&place.base("killed")));
    assert_eq!(losses(&place.base("whole")).len(), STEPS + 1);
}

#[test]
fn a_signal_ends_it_after_a_checkpoint_and_says_how_to_go_on() {
    let place = Place::new();
    place.succeed(&train("whole", &[]));
    for (signal, code, steps) in [(Signal::INT, 130, 20), (Signal::TERM, 143, 60)] {
        let child = start_and_wait(&place, "stopped", &train("stopped", &[]), steps);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("ferrochat train base --run stopped --resume"), "{said}");
        let shown = place.succeed(&["runs", "show", "stopped"]);
        assert!(shown.contains("base: interrupted"), "{shown}");
    }
    place.succeed(&["train", "base", "--run", "stopped", "--resume"]);
    assert_same_model(&place.base("whole"), &place.base("stopped"));
}

#[test]
fn an_interrupted_speedrun_goes_on_as_a_speedrun() {
    let place = Place::new();
    let args = with(
        &with(&["speedrun"], TINY),
        &["--num-iterations", "5000", "--run", "cut"],
    );
    let child = start_and_wait(&place, "cut", &args, 3);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = stderr(&output);
    assert!(said.trim_end().ends_with("ferrochat speedrun --run cut"), "{said}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_with_the_line_that_goes_on() {
    let place = Place::new();
    // As a full disk would, at the first checkpoint.
    let in_the_way = place.base("x").join("latest");
    std::fs::create_dir_all(in_the_way.join("folder")).unwrap();
    let args = with(
        &with(&["train", "base"], TINY),
        &["--num-iterations", "4", "--run", "x"],
    );
    let output = place.run(&args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = said.lines().rev().nth(1).unwrap();
    assert!(
        line.ends_with("this goes on: ferrochat train base --run x --resume"),
        "{said}"
    );
    std::fs::remove_dir_all(in_the_way).unwrap();
    place.succeed(&["train", "base", "--run", "x", "--resume"]);

    // The only run there is, damaged.
    std::fs::write(place.base("x").join("stage.json"), "{").unwrap();
    place.refused(&["chat", "-p", "hi"], 1, &["stage.json is damaged"]);
}

#[test]
fn threads_do_not_change_bits() {
    let place = Place::new();
    for (run, threads) in [("one", "1"), ("two", "2")] {
        place.succeed(&train(run, &["--threads", threads]));
    }
    assert_same_model(&place.base("one"), &place.base("two"));
}

#[test]
fn speedrun_goes_from_nothing_to_a_report_and_skips_what_is_done() {
    let place = Place::new();
    let args = with(
        &with(&["speedrun"], TINY),
        &[
            "--num-iterations",
            "60",
            "--stages",
            "base",
            "--run",
            "all",
            "--price-per-hour",
            "2",
        ],
    );
    let samples = place.succeed(&args);
    assert!(samples.matches("---").count() >= 3, "{samples}");
    let report = std::fs::read_to_string(place.folder.path().join("report.md")).unwrap();
    for words in [
        "bits per byte",
        "report_files/base_loss.svg",
        "## Samples",
        "ferrochat eval bpb --run all",
        "$0.",
    ] {
        assert!(report.contains(words), "{words} is not in the report");
    }
    assert!(place.folder.path().join("report_files/base_loss.svg").exists());

    let again = place.run(&args);
    assert!(again.status.success());
    assert!(stderr(&again).contains("skipped"), "{}", stderr(&again));

    // A report of somebody else's is not overwritten.
    std::fs::write(place.folder.path().join("report.md"), "mine").unwrap();
    place.succeed(&["report", "--run", "all", "--output", "."]);
    assert_eq!(
        std::fs::read_to_string(place.folder.path().join("report.md")).unwrap(),
        "mine"
    );
    assert!(place.folder.path().join("report-all.md").exists());
}

#[test]
fn a_trained_model_is_measured_and_sampled_alike_every_time() {
    let place = Place::new();
    let data = place.file(
        "verse.txt",
        &"the cat sat on the mat and the dog sat on the log.\n".repeat(200),
    );
    let flags = [
        "--data",
        &data,
        "--tokenizer",
        "char",
        "--num-iterations",
        "120",
        "--run",
        "verse",
    ];
    place.succeed(&with(&with(&["train", "base"], TINY), &flags));

    let score: Value = serde_json::from_str(&place.succeed(&["eval", "bpb", "--run", "verse", "--json"])).unwrap();
    let metrics = std::fs::read_to_string(place.base("verse").join("metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!(score["bits_per_byte"], last["val_bpb"]);
    assert!(score["bits_per_byte"].as_f64().unwrap() < 3.5, "{score}");

    let sample = [
        "sample",
        "--run",
        "verse",
        "-p",
        "the cat",
        "--max-tokens",
        "30",
        "--json",
    ];
    let text = place.succeed(&sample);
    assert_eq!(text, place.succeed(&sample));
    let line: Value = serde_json::from_str(&text).unwrap();
    assert!(line["text"].as_str().unwrap().starts_with("the cat"), "{line}");

    place.refused(&["sample", "--run", "verse", "-p", "zebra!"], 2, &["'z'", "vocabulary"]);
    // The run that was worked on last.
    let unnamed: Value =
        serde_json::from_str(&place.succeed(&["sample", "-p", "th", "--max-tokens", "5", "--json"])).unwrap();
    assert_eq!(unnamed["run"], "verse");
    let list: Value = serde_json::from_str(&place.succeed(&["runs", "list", "--json"])).unwrap();
    assert_eq!(
        (&list[0]["run"], &list[0]["state"]),
        (&"verse".into(), &"finished".into())
    );
}

#[test]
fn two_processes_do_not_work_on_one_run() {
    let place = Place::new();
    let mut child = start_and_wait(&place, "busy", &train("busy", &["--num-iterations", "100000"]), 3);
    let second = place.run(&train("busy", &["--num-iterations", "100000"]));
    assert_eq!(second.status.code(), Some(2));
    assert!(stderr(&second).contains("another ferrochat"), "{}", stderr(&second));
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_tokenizer_trained_by_hand_is_used_and_survives_a_fresh_start() {
    let place = Place::new();
    place.succeed(&["tokenizer", "train", "--vocab-size", "290", "--run", "own"]);
    let ids = place.succeed(&["tokenizer", "encode", "--run", "own", "the tokenizer"]);
    let ids: Vec<&str> = ids.split_whitespace().collect();
    let text = place.succeed(&with(&["tokenizer", "decode", "--run", "own"], &ids));
    assert_eq!(text, "the tokenizer\n");
    place.refused(
        &["tokenizer", "train", "--vocab-size", "290", "--run", "own"],
        2,
        &["exists", "--fresh"],
    );
    place.refused(&["tokenizer", "decode", "--run", "own", "290"], 2, &["below 290"]);

    let flags = ["train", "base", "--run", "own", "--num-iterations", "2"];
    let tiny = with(&flags, &with(&TINY[..14], &TINY[16..]));
    place.succeed(&tiny);
    place.succeed(&with(&tiny, &["--fresh"]));
    let shown: Value = serde_json::from_str(&place.succeed(&["runs", "show", "own", "--json"])).unwrap();
    assert_eq!(shown["stages"][1]["details"]["plan"]["model"]["vocab_size"], 290);
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_counted_or_ends_the_run() {
    let place = Place::new();
    let folder = place.folder.path().join("shards");
    std::fs::create_dir(&folder).unwrap();
    let good = "{\"text\": \"a few words to learn, again and again\"}\n".repeat(300);
    for name in ["a", "c", "d"] {
        std::fs::write(folder.join(format!("{name}.jsonl")), &good).unwrap();
    }
    std::fs::write(folder.join("b.jsonl"), good.replacen("\"text\"", "text", 1)).unwrap();
    let args = with(
        &with(&["train", "base"], TINY),
        &["--num-iterations", "12", "--data", "shards", "--run", "r"],
    );
    let strict = place.run(&with(&args, &["--strict"]));
    let said = stderr(&strict);
    assert!(
        !strict.status.success() && said.contains("b.jsonl") && said.contains("line 1"),
        "{said}"
    );
    assert!(!place.base("r").exists());
    let output = place.run(&args);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("tokenizer: ") && said.contains("unreadable files so far: 1"),
        "{said}"
    );
    assert_eq!(said.matches("b.jsonl").count(), 2, "{said}");
    let read = |name: &str| std::fs::read_to_string(place.base("r").join(name)).unwrap();
    let record: Value = serde_json::from_str(&read("stage.json")).unwrap();
    assert_eq!(record["details"]["skipped_files"][0]["name"], "b.jsonl");
    let last: Value = serde_json::from_str(read("metrics.jsonl").lines().last().unwrap()).unwrap();
    assert_eq!(last["skipped_files"], 1);
}
