//! `data list`, `fetch`, `inspect` and `verify` as a user runs them, against a server in the test.

#![allow(clippy::unwrap_used, reason = "a test fails where it happens")]

mod common;
#[path = "../../data/tests/unruly/mod.rs"]
mod unruly;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use common::{Place, stderr};
use serde_json::Value;
use unruly::{Answer, Server};

type Files = Arc<BTreeMap<String, Vec<u8>>>;

/// A folder as `task_data` is: tables with a manifest in each folder. The bytes are no Parquet but for their ends.
fn task_data() -> Files {
    let mut files = BTreeMap::new();
    let mut state = 7_u64;
    let tables = [
        ("openai--gsm8k/main/train", 3),
        ("openai--gsm8k/main/test", 1),
        ("cais--mmlu/all/auxiliary_train", 4),
        ("cais--mmlu/all/dev", 1),
        ("cais--mmlu/all/validation", 1),
        ("cais--mmlu/all/test", 2),
    ];
    for (folder, count) in tables {
        let names: Vec<String> = (0..count).map(|number| format!("{number:05}.parquet")).collect();
        for name in &names {
            let mut bytes = b"PAR1".to_vec();
            for _ in 0..40_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes.extend_from_slice(&state.to_le_bytes());
            }
            bytes.extend_from_slice(b"PAR1");
            files.insert(format!("/{folder}/{name}"), bytes);
        }
        let manifest = serde_json::to_vec(&names).unwrap();
        files.insert(format!("/{folder}/manifest.json"), manifest);
    }
    Arc::new(files)
}

/// Serves the files; `pause` is what it waits after every 16 KB, in milliseconds.
fn mirror(files: &Files, pause: &Arc<AtomicU64>) -> Server {
    let (files, pause) = (Arc::clone(files), Arc::clone(pause));
    Server::start(move |request| match files.get(&request.path) {
        Some(contents) => {
            let etag = format!("\"{}\"", request.path);
            Answer::of(contents, &etag, request).pace(16_000, Duration::from_millis(pause.load(Relaxed)))
        }
        None => Answer::status(404),
    })
}

/// The program without the proxies and tokens of whoever runs the test.
fn command(place: &Place, args: &[&str]) -> Command {
    let mut command = place.command(args);
    for name in [
        "ALL_PROXY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "HF_TOKEN",
        "HF_ENDPOINT",
        "SSL_CERT_FILE",
    ] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

fn succeed(place: &Place, args: &[&str]) -> String {
    let output = command(place, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn check(place: &Place, files: &Files) {
    for (path, contents) in files.iter().filter(|(path, _)| path.ends_with(".parquet")) {
        let found = std::fs::read(place.home().join("cache/datasets/task_data").join(&path[1..])).unwrap();
        assert!(&found == contents, "{path} has other bytes");
    }
}

#[test]
fn a_fetch_that_is_killed_ten_times_ends_with_the_right_files() {
    let files = task_data();
    // All files take longer than all rounds together, and a round's moment is counted from its first request: neither a
    // fast machine nor a slow one changes what is tested.
    let pause = Arc::new(AtomicU64::new(100));
    let server = mirror(&files, &pause);
    let place = Place::new();
    let args = [
        "data",
        "fetch",
        "gsm8k",
        "mmlu",
        "--jobs",
        "3",
        "--mirror",
        &server.address,
    ];
    for round in 0..10_u64 {
        let before = server.asked().len();
        let mut child = command(&place, &args)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while server.asked().len() == before {
            assert!(
                child.try_wait().unwrap().is_none(),
                "round {round} ended without a request"
            );
            thread::sleep(Duration::from_millis(1));
        }
        // Moments that look random and are the same each time.
        thread::sleep(Duration::from_millis(20 + round * 7919 % 130));
        assert!(child.try_wait().unwrap().is_none(), "round {round} was over too soon");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    pause.store(0, Relaxed);
    let said = succeed(&place, &args);
    assert!(said.contains("mmlu: 8 files") && said.contains("--tasks-dir"), "{said}");
    check(&place, &files);
    let resumed = server
        .asked()
        .iter()
        .filter(|request| request.header("range").is_some())
        .count();
    assert!(resumed > 0, "nothing was gone on with");

    let verdicts: Value = serde_json::from_str(&succeed(&place, &["data", "verify", "--json"])).unwrap();
    let verdicts = verdicts.as_array().unwrap();
    assert_eq!(verdicts.len(), 12);
    assert!(verdicts.iter().all(|verdict| verdict["good"] == true));
    let list: Value = serde_json::from_str(&succeed(&place, &["data", "list", "--json"])).unwrap();
    let here = |name: &str| {
        let sets = list.as_array().unwrap();
        sets.iter().find(|set| set["name"] == name).unwrap()["files_here"].clone()
    };
    assert_eq!(
        (here("mmlu"), here("gsm8k"), here("arc")),
        (8.into(), 4.into(), 0.into())
    );
}

#[test]
fn damage_is_named_and_mended() {
    let files = task_data();
    let server = mirror(&files, &Arc::default());
    let place = Place::new();
    let args = ["data", "fetch", "gsm8k:test", "--mirror", &server.address];
    let plan = succeed(
        &place,
        &["data", "fetch", "gsm8k:test", "--dry-run", "--mirror", &server.address],
    );
    assert!(plan.contains("1 to come (320.0 kB)"), "{plan}");
    succeed(&place, &args);
    let file = place
        .home()
        .join("cache/datasets/task_data/openai--gsm8k/main/test/00000.parquet");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[77] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let output = command(&place, &["data", "verify", "gsm8k"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let sentence = stderr(&output);
    assert!(
        sentence.contains("00000.parquet") && sentence.contains("--check"),
        "{sentence}"
    );
    succeed(&place, &[&args[..], &["--check"]].concat());
    succeed(&place, &["data", "verify", "gsm8k"]);
}

#[test]
fn wrong_names_and_flags_are_refused() {
    let place = Place::new();
    place.refused(&["data", "fetch", "mnist"], 2, &["mnist", "smoltalk"]);
    place.refused(&["data", "fetch", "mmlu:tset"], 2, &["tset", "validation"]);
    place.refused(&["data", "fetch", "mmlu", "--shards", "3"], 2, &["--shards"]);
    place.refused(
        &["data", "fetch", "climbmix", "--shards", "0"],
        2,
        &["--shards", "6542"],
    );
    place.refused(&["data", "fetch", "core", "--revision", "x"], 2, &["--revision"]);
    place.refused(&["data", "fetch", "arc", "--jobs", "0"], 2, &["--jobs"]);
    place.refused(
        &["data", "fetch", "arc", "--mirror", "there"],
        2,
        &["--mirror", "http://"],
    );
    place.refused(&["data", "verify", "no/such/folder"], 2, &["no/such/folder"]);
    place.refused(&["data", "inspect", "gsm8k"], 2, &["data fetch"]);
    place.refused(&["speedrun", "--data", "climbmix"], 2, &["data fetch climbmix"]);
    let output = command(&place, &["data", "fetch", "arc"])
        .env("HF_ENDPOINT", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("HF_ENDPOINT"), "{}", stderr(&output));
}

#[test]
fn any_file_can_be_looked_at() {
    let place = Place::new();
    let path = place.file("notes.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    let facts: Value = serde_json::from_str(&succeed(&place, &["data", "inspect", &path, "--json"])).unwrap();
    assert_eq!(facts[0]["records"], 2);
    succeed(&place, &["data", "verify", &path]);
    let bad = place.file("bad.jsonl", "{\"text\": \"one\"}\n{\"text\n");
    let output = command(&place, &["data", "verify", &bad]).output().unwrap();
    assert!(stderr(&output).contains("line 2"), "{}", stderr(&output));
}
