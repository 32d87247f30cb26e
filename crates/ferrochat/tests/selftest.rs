//! `selftest`: passes on a sound device, says what it did, and refuses what cannot be.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::Place;
use serde_json::Value;

fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All of it, small, on the CPU: every line has a verdict, every part is there, the summary counts them.
#[test]
fn the_cpu_passes() {
    let place = Place::new();
    let output = place.run(&["selftest", "--quick", "--json", "--device", "cpu"]);
    let error = String::from_utf8_lossy(&output.stderr);
    let lines = lines(&output.stdout);
    let failed: Vec<&Value> = lines.iter().filter(|line| line["verdict"] == "fail").collect();
    assert!(failed.is_empty() && output.status.success(), "{failed:#?}\n{error}");
    for part in ["operations", "fixtures", "training", "decoding", "memory", "speed"] {
        for dtype in ["float32", "bfloat16"] {
            let found = lines.iter().any(|line| line["part"] == part && line["dtype"] == dtype);
            assert!(found, "{part} in {dtype}");
        }
    }
    let operations = lines.iter().filter(|line| line["part"] == "operations");
    let mut checked = 0;
    for line in operations {
        assert_eq!(line["verdict"], "ok");
        assert!(
            line["error"].as_f64().unwrap() <= line["tolerance"].as_f64().unwrap(),
            "{line}"
        );
        checked += 1;
    }
    assert!(checked > 400, "{checked} operations");
    let summary = lines.last().unwrap();
    assert_eq!(
        (&summary["part"], &summary["verdict"]),
        (&"summary".into(), &"ok".into())
    );
    assert!(summary["checks"].as_u64().unwrap() > 420, "{summary}");
}

/// People read a table and one sentence; only what was asked for is done.
#[test]
fn one_part_as_a_table() {
    let place = Place::new();
    let output = place.run(&[
        "selftest", "--quick", "--only", "fixtures", "--dtype", "f32", "--device", "cpu",
    ]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let ok = text
        .lines()
        .filter(|line| line.starts_with("ok  ") && line.contains("float32"));
    assert_eq!(ok.count(), 6, "{text}");
    assert!(
        !text.contains("bfloat16") || text.lines().next().unwrap().contains("bfloat16"),
        "{text}"
    );
    assert!(
        text.trim_end()
            .lines()
            .last()
            .unwrap()
            .starts_with("All 6 checks passed on "),
        "{text}"
    );
}

#[test]
fn parts_that_do_not_exist_are_refused() {
    let place = Place::new();
    place.refused(&["selftest", "--only", "everything"], 2, &["everything", "operations"]);
    place.refused(&["selftest", "--dtype", "fp8"], 2, &["fp8", "bf16 or f32"]);
}
