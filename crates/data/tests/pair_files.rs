//! Files of preference pairs: what is read, and how a fault's file and line are named.

// Clippy's allow-unwrap-in-tests does not reach helper functions.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use ferrochat_data::{DataError, PreferencePair, open_pairs};
use flate2::{Compression, write::GzEncoder};

const GOOD: &str = r#"{"prompt": "u", "chosen": "good", "rejected": "bad"}"#;
const SAME: &str = r#"{"prompt": "u", "chosen": "good", "rejected": "good"}"#;

fn refusal(path: &Path) -> String {
    let error = open_pairs(path).expect_err("it must be refused");
    assert!(matches!(error, DataError::Pairs { .. }), "{error:?}");
    let sentence = error.to_string();
    assert!(sentence.contains(&path.display().to_string()), "{sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence
}

#[test]
fn lines_are_read_packed_or_not() {
    let root = tempfile::tempdir().unwrap();
    let text = format!("\u{feff}{GOOD}\r\n\n  \n{SAME}\n{}", GOOD.replace("\"u\"", "\"v\""));
    let (plain, packed) = (root.path().join("a.jsonl"), root.path().join("b.gz"));
    fs::write(&plain, &text).unwrap();
    let mut encoder = GzEncoder::new(File::create(&packed).unwrap(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let (one, other) = (open_pairs(&plain).unwrap(), open_pairs(&packed).unwrap());
    let expected = ["u", "v"].map(|prompt| PreferencePair::of_texts(prompt, "good", "bad"));
    assert_eq!(one.pairs, expected);
    assert_eq!((one.equal, &one.fingerprint), (1, &other.fingerprint));
    assert_eq!(other.pairs, expected);
    fs::write(&plain, GOOD).unwrap();
    assert_ne!(open_pairs(&plain).unwrap().fingerprint, one.fingerprint);
}

#[test]
fn bad_lines_are_refused_by_number() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pairs.jsonl");
    for (text, about) in [
        (
            format!("{GOOD}\n\n{{\"prompt\": \"u\"}}\n"),
            "line 3: there is no \"chosen\"",
        ),
        (format!("{GOOD}\nhello\n"), "line 2: this is not JSON"),
        (String::new(), "there are none"),
        (format!("{SAME}\n{SAME}\n"), "all 2 of its lines"),
    ] {
        fs::write(&path, text).unwrap();
        let sentence = refusal(&path);
        assert!(sentence.contains(about), "{sentence}");
    }
    fs::write(&path, b"{\"prompt\": \"\xff\"}").unwrap();
    assert!(refusal(&path).contains("line 1: it is not UTF-8 text from byte 13"));
    fs::write(&path, [0x1f, 0x8b, 8, 0, 1, 2]).unwrap();
    assert!(refusal(&path).contains("line 1 cannot be unpacked"));
    assert!(refusal(&root.path().join("none")).contains("does not exist"));
    assert!(refusal(root.path()).contains("it is a folder"));
}

#[test]
fn a_long_line_is_read() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pairs.jsonl");
    fs::write(&path, GOOD.replace("good", &"good ".repeat(300_000))).unwrap();
    assert_eq!(open_pairs(&path).unwrap().pairs[0].chosen.text().len(), 1_500_000);
}
