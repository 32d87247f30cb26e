//! Everything that cannot work is refused with one sentence and the right exit code before any work.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Place, TINY, with};

fn train<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    with(&with(&["train", "base"], TINY), flags)
}

#[test]
fn what_was_probably_meant_is_said() {
    let place = Place::new();
    place.refused(&["speedrun", "--dept", "3"], 2, &["'--dept'", "did you mean --depth?"]);
    place.refused(&["speedrum"], 2, &["'speedrum'", "did you mean speedrun?"]);
    let decode = "did you mean decode?";
    place.refused(&["tokenizer", "decod"], 2, &["'decod'", decode]);
    place.refused(&["xyzzy"], 2, &["'xyzzy'", "try --help"]);
}

#[test]
fn flags_that_cannot_work() {
    let place = Place::new();
    let refused = |flags: &[&str], about: &[&str]| place.refused(&with(&["train", "base"], flags), 2, about);
    refused(
        &[
            "--depth",
            "4",
            "--max-seq-len",
            "64",
            "--device-batch-size",
            "12",
            "--total-batch-size",
            "1000",
        ],
        &["--total-batch-size 1000", "not divisible", "768"],
    );
    refused(&["--preset", "d21"], &["d21", "spark, nanogpt-char, d12, d20"]);
    refused(&["--vocab-size", "264"], &["--vocab-size 264", "265"]);
    refused(
        &["--depth", "2", "--n-embd", "100", "--head-dim", "32"],
        &["100", "96", "128"],
    );
    refused(
        &[
            "--depth",
            "2",
            "--n-embd",
            "128",
            "--head-dim",
            "32",
            "--n-kv-head",
            "3",
        ],
        &["4 query heads", "3 key-value heads"],
    );
    refused(&["--depth", "0"], &["--depth 0", "from 1"]);
    refused(&["--arch", "2025-11"], &["2025-11", "2026-07"]);
    refused(&["--window-pattern", "SXL"], &["SXL"]);
    refused(&["--tokenizer", "words"], &["words", "bpe or char"]);
    refused(&["--dtype", "int3"], &["int3", "bf16 or f32"]);
    refused(&["--threads", "0"], &["--threads"]);
    refused(&["--num-iterations", "0"], &["--num-iterations 0"]);
    let most = "9223372036854775807";
    refused(
        &["--num-iterations", most],
        &["--num-iterations", "from 1 to 1073741824"],
    );
    refused(&["--total-batch-size", most], &["--total-batch-size", "from 1 to"]);
    for flag in ["--mid-iterations", "--sft-iterations", "--rl-iterations"] {
        place.refused(&["speedrun", flag, most], 2, &[flag, "from 1 to 1073741824"]);
    }
    refused(&["--matrix-lr", "NaN"], &["--matrix-lr"]);
    refused(&["--warmdown-ratio", "1.5"], &["--warmdown-ratio 1.5"]);
    refused(&["--depth", "four"], &["--depth", "four"]);
    refused(&["--deepness", "4"], &["--deepness"]);
    refused(&["--run", "../elsewhere"], &["../elsewhere"]);
    refused(&["--run", "nothing", "--resume"], &["nothing", "to go on with"]);
    refused(&["--preset", "d20"], &["d20", "--data"]);
    refused(&["--price-per-hour", "-3"], &["--price-per-hour"]);
    refused(&["--json"], &["--dry-run"]);
}

#[test]
fn data_that_is_missing_empty_or_too_small() {
    let place = Place::new();
    let empty = place.file("empty.txt", "");
    let short = place.file("short.txt", &"a few words, and then some more. ".repeat(8));
    std::fs::create_dir(place.folder.path().join("folder")).unwrap();
    let folder = place.folder.path().join("folder");
    place.refused(
        &train(&["--data", "nowhere.txt"]),
        2,
        &["nowhere.txt", "does not exist"],
    );
    place.refused(&train(&["--data", &empty]), 2, &["empty.txt", "no text"]);
    place.refused(&train(&["--data", folder.to_str().unwrap()]), 2, &["holds no data"]);
    place.refused(&train(&["--data", &short]), 2, &["validation", "needs"]);
}

#[test]
fn machines_that_are_too_small() {
    let place = Place::new();
    let huge = [
        "train",
        "base",
        "--depth",
        "100",
        "--max-seq-len",
        "4096",
        "--device-batch-size",
        "4096",
    ];
    place.refused(&huge, 2, &["memory", "--device-batch-size"]);
}

#[test]
fn folders_that_cannot_be_written() {
    let place = Place::new();
    std::fs::write(place.home(), "a file is in the way").unwrap();
    place.refused(&train(&[]), 2, &["not a folder"]);
    if cfg!(target_os = "linux") {
        let output = place
            .command(&train(&[]))
            .env("FERROCHAT_HOME", "/proc/ferrochat")
            .output()
            .unwrap();
        let sentence = common::stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{sentence}");
        assert!(
            sentence.contains("cannot write in /proc") && sentence.lines().count() == 1,
            "{sentence}"
        );
    }
}

#[test]
fn runs_and_checkpoints_that_do_not_fit() {
    let place = Place::new();
    place.succeed(&train(&["--run", "first", "--num-iterations", "2"]));
    place.succeed(&train(&[
        "--run",
        "second",
        "--num-iterations",
        "2",
        "--seed",
        "7",
        "--vocab-size",
        "310",
    ]));

    place.refused(&train(&["--run", "first"]), 2, &["first", "finished", "--fresh"]);
    place.refused(
        &["train", "base", "--run", "first", "--depth", "3"],
        2,
        &["--depth 2", "not 3", "--fresh"],
    );
    place.refused(&["sample", "--run", "third"], 2, &["third", "first, second"]);
    place.refused(&["sample", "--run", "first", "--step", "9"], 2, &["step 9", "2"]);
    place.refused(
        &["sample", "--run", "first", "--temperature", "-1"],
        2,
        &["temperature"],
    );

    // Foreign: the model of one run in the folder of another, whose tokenizer it does not know.
    let (first, second) = (
        place.base("first").join("step_000002"),
        place.base("second").join("step_000002"),
    );
    let model = std::fs::read(first.join("model.safetensors")).unwrap();
    let aside = place.folder.path().join("aside");
    std::fs::rename(&first, &aside).unwrap();
    copy(&second, &first);
    place.refused(&["sample", "--run", "first"], 2, &["step_000002", "tokenizer"]);
    std::fs::remove_dir_all(&first).unwrap();
    std::fs::rename(&aside, &first).unwrap();

    // Damaged: one flipped bit.
    let mut damaged = model;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(first.join("model.safetensors"), &damaged).unwrap();
    place.refused(&["sample", "--run", "first"], 1, &["model.safetensors", "damaged"]);
    std::fs::remove_file(first.join("model.safetensors")).unwrap();
    place.refused(&["eval", "bpb", "--run", "first"], 1, &["model.safetensors"]);

    // Gone: an interrupted run does not silently begin again.
    let record = place.base("second").join("stage.json");
    let interrupted = std::fs::read_to_string(&record)
        .unwrap()
        .replace("finished", "interrupted");
    std::fs::write(&record, interrupted).unwrap();
    std::fs::remove_dir_all(&second).unwrap();
    place.refused(
        &["train", "base", "--run", "second", "--resume"],
        2,
        &["2 steps", "gone", "--fresh"],
    );
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
