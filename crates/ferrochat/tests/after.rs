//! RL and DPO from the command line: what they write, what they refuse, and the same bits whatever interrupts them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use common::{Place, TINY, stderr, with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Short practice on questions of which an untrained model gets one right now and then, by a letter that stands
/// alone.
const RL: &[&str] = &[
    "train",
    "rl",
    "--run",
    "base",
    "--source-stage",
    "base",
    "--task",
    "multiple_choice",
    "--num-questions",
    "8",
    "--examples-per-step",
    "2",
    "--num-samples",
    "16",
    "--top-k",
    "0",
    "--max-new-tokens",
    "24",
    "--epochs",
    "3",
    "--eval-every",
    "5",
    "--eval-examples",
    "3",
    "--init-lr-frac",
    "1",
];

const DPO: &[&str] = &[
    "train",
    "dpo",
    "--run",
    "base",
    "--source-stage",
    "base",
    "--num-pairs",
    "24",
    "--examples-per-step",
    "3",
    "--num-iterations",
    "20",
    "--eval-every",
    "5",
    "--eval-examples",
    "10",
    "--init-lr-frac",
    "0.2",
];

/// A place with a tiny base model of the world, of which others are copies.
fn trained() -> Place {
    let place = Place::new();
    let flags = [
        "--num-iterations",
        "10",
        "--run",
        "base",
        // Else the model is called as its run, and the copy of the run would learn other pairs.
        "--name",
        "Tiny",
        "--exam-questions",
        "0",
        "--max-seq-len",
        "256",
        "--total-batch-size",
        "512",
    ];
    place.succeed(&with(&with(&["train", "base"], TINY), &flags));
    place
}

fn stage(place: &Place, run: &str, stage: &str) -> PathBuf {
    place.home().join("runs").join(run).join(stage)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn metrics(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The lines without what the clock says.
fn learned(folder: &Path) -> Vec<Value> {
    let clock = ["tokens_per_second", "flops_per_second", "elapsed"];
    let mut lines = metrics(folder);
    for line in &mut lines {
        for name in clock {
            line.as_object_mut().unwrap().remove(name);
        }
    }
    lines
}

/// Runs a stage to its end in one run, and in another killed after steps that the clock chooses.
fn ends_with_the_same_bits_when_killed(place: &Place, args: &[&str], name: &str, steps: usize) {
    copy(&place.home().join("runs/base"), &place.home().join("runs/killed"));
    place.succeed(args);
    let killed: Vec<&str> = args
        .iter()
        .map(|&arg| if arg == "base" { "killed" } else { arg })
        .collect();
    // The stage that it begins from is called base in both.
    let at = killed.iter().position(|&arg| arg == "--source-stage").unwrap();
    let mut killed = killed;
    killed[at + 1] = "base";
    let folder = stage(place, "killed", name);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let first = 1 + clock.subsec_nanos() as usize % (steps - 2);
    let mut every = killed.clone();
    every.extend(["--save-every", "2"]);
    let mut child = place
        .command(&every)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while metrics(&folder).len() < first && begun.elapsed() < Duration::from_mins(2) {
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    assert!(metrics(&folder).len() >= first, "{name} took more than two minutes");
    if metrics(&folder).len() <= steps {
        place.succeed(&["train", name, "--run", "killed", "--resume"]);
    }

    let whole = stage(place, "base", name);
    assert_eq!(learned(&whole), learned(&folder));
    assert_eq!(learned(&whole).len(), steps + 1);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read = |folder: &Path| std::fs::read(folder.join(format!("step_{steps:06}")).join(file)).unwrap();
        assert!(read(&whole) == read(&folder), "{file} differs");
    }
}

#[test]
fn rl_writes_what_it_finds_and_ends_with_the_same_bits_when_killed() {
    let place = trained();
    ends_with_the_same_bits_when_killed(&place, RL, "rl", 12);
    let folder = stage(&place, "base", "rl");
    let lines = metrics(&folder);
    for (step, line) in lines.iter().enumerate() {
        let measured = step % 5 == 0 || step == 12;
        assert_eq!(
            line["pass_at_k"].as_array().is_some_and(|shares| shares.len() == 8),
            measured,
            "{line}"
        );
        assert_eq!(line["reward"].is_f64(), step < 12, "{line}");
        assert!(
            step == 12 || (0.0..=24.0).contains(&line["reply_tokens"].as_f64().unwrap()),
            "{line}"
        );
    }
    let record: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("stage.json")).unwrap()).unwrap();
    let details = &record["details"];
    assert_eq!(
        (&details["source"], &details["plan"]["steps"]),
        (&"base".into(), &12.into())
    );
    assert_eq!(details["pass_at_k"]["before"], lines[0]["pass_at_k"]);
    assert_eq!(details["pass_at_k"]["after"]["count"], 3);
    place.refused(&["train", "rl", "--run", "base"], 2, &["rl", "finished", "--fresh"]);
}

#[test]
fn dpo_wins_pairs_and_ends_with_the_same_bits_when_killed() {
    let place = trained();
    ends_with_the_same_bits_when_killed(&place, DPO, "dpo", 20);
    let folder = stage(&place, "base", "dpo");
    let lines = metrics(&folder);
    let loss = |step: usize| lines[step]["loss"].as_f64().unwrap();
    assert!((loss(0) - std::f64::consts::LN_2).abs() < 1e-9, "{}", loss(0));
    assert_eq!(lines[0]["margin"], 0.0);
    assert!(loss(19) < loss(0), "{}", loss(19));
    let record: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("stage.json")).unwrap()).unwrap();
    let wins = &record["details"]["wins"];
    assert_eq!(wins["pairs"], record["details"]["plan"]["eval_examples"]);
    assert_eq!(wins["before"]["value"], lines[0]["val_wins"]);
    assert_eq!(wins["after"]["value"], lines[20]["val_wins"]);
    assert!(wins["accuracy"]["value"].as_f64().unwrap() > 0.5, "{wins}");
}

#[test]
fn pairs_of_a_file_are_learned_and_must_stay_the_same() {
    let place = trained();
    let pair = |number: usize| {
        format!("{{\"prompt\": \"Say {number}.\", \"chosen\": \"It is {number}.\", \"rejected\": \"No.\"}}\n")
    };
    let text: String = (0..20).map(pair).collect();
    let file = place.file("pairs.jsonl", &text);
    let flags = ["--pairs", &file, "--num-iterations", "2000"];
    let args = with(DPO, &flags);
    let child = place.command(&args).stderr(Stdio::piped()).spawn().unwrap();
    let folder = stage(&place, "base", "dpo");
    while metrics(&folder).len() < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("ferrochat train dpo --run base --resume"));

    std::fs::write(&file, text.replace("No.", "Never.")).unwrap();
    place.refused(
        &["train", "dpo", "--run", "base", "--resume"],
        2,
        &["pairs are not those", "--fresh"],
    );
    std::fs::write(&file, format!("{text}{{\"prompt\": \"x\"}}\n")).unwrap();
    place.refused(&["train", "dpo", "--run", "base"], 2, &["line 21", "no \"chosen\""]);
}

#[test]
fn gsm8k_is_practised_from_a_folder() {
    let place = trained();
    // Where `data fetch gsm8k` would bring it.
    let folder = place.home().join("cache/datasets/gsm8k");
    std::fs::create_dir_all(&folder).unwrap();
    let items = "{\"question\": \"1 + 1?\", \"answer\": \"It is <<1+1=2>>2.\\n#### 2\"}\n".repeat(3);
    for split in ["train", "test"] {
        std::fs::write(folder.join(format!("{split}.jsonl")), &items).unwrap();
    }
    let flags = ["--task", "gsm8k", "--num-iterations", "2"];
    let mut args = RL.to_vec();
    let task = args.iter().position(|&arg| arg == "--task").unwrap();
    args.drain(task..task + 4);
    place.succeed(&with(&args, &flags));
    assert_eq!(metrics(&stage(&place, "base", "rl")).len(), 3);

    // The other stages learn from the same folder, and remember where it was.
    let sft = [
        "train",
        "sft",
        "--run",
        "base",
        "--tasks",
        "gsm8k",
        "--identity-epochs",
        "0",
    ];
    place.succeed(&with(
        &sft,
        &["--num-iterations", "2", "--eval-tokens", "64", "--fresh"],
    ));
    let record = std::fs::read_to_string(stage(&place, "base", "sft").join("stage.json")).unwrap();
    assert!(record.contains("cache/datasets\""), "{record}");
    std::fs::remove_dir_all(&folder).unwrap();
    place.refused(&with(&sft, &["--fresh"]), 2, &["GSM8K", "data fetch gsm8k"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let place = trained();
    let rl = |flags: &[&str], about: &[&str]| place.refused(&with(RL, flags), 2, about);
    rl(&["--task", "poems"], &["\"poems\"", "word_problem"]);
    rl(&["--task", "gsm8k"], &["GSM8K", "data fetch gsm8k"]);
    rl(&["--num-samples", "1"], &["--num-samples 1"]);
    rl(&["--examples-per-step", "9"], &["--examples-per-step 9", "8"]);
    rl(&["--max-new-tokens", "257"], &["--max-new-tokens 257", "256"]);
    rl(&["--max-new-tokens", "256"], &["leaves room", "--max-new-tokens"]);
    let dpo = |flags: &[&str], about: &[&str]| place.refused(&with(DPO, flags), 2, about);
    dpo(&["--beta", "0"], &["--beta 0"]);
    dpo(&["--pairs", "nowhere.jsonl"], &["nowhere.jsonl", "does not exist"]);
    dpo(&["--examples-per-step", "25"], &["--examples-per-step 25", "24"]);
    for stage in ["rl", "dpo"] {
        let plan = if stage == "rl" { RL } else { DPO };
        let text = place.succeed(&with(plan, &["--dry-run"]));
        assert!(text.contains(stage) && text.contains("steps"), "{text}");
        serde_json::from_str::<Value>(&place.succeed(&with(plan, &["--dry-run", "--json"]))).unwrap();
    }
}
