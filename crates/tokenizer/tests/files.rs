//! `tokenizer.json`: what is written comes back, and nothing that is wrong with a file goes unnoticed.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::fs;
use std::sync::LazyLock;

use ferrochat_tokenizer::{CharTrainer, Kind, Tokenizer, Trainer};
use proptest::prelude::*;
use serde_json::{Value, json};

const TEXT: &str = include_str!("fixtures/text.txt");

fn bpe() -> Tokenizer {
    let mut trainer = Trainer::new(300).unwrap().doc_cap(usize::MAX);
    trainer.feed(TEXT);
    trainer.finish(&mut |_, _| ()).unwrap()
}

fn characters() -> Tokenizer {
    let mut trainer = CharTrainer::new();
    trainer.feed(TEXT);
    trainer.finish().unwrap()
}

fn saved(tokenizer: &Tokenizer) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    tokenizer.save(&path).unwrap();
    fs::read_to_string(path).unwrap()
}

fn load(text: impl AsRef<[u8]>) -> Result<Tokenizer, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, text).unwrap();
    Tokenizer::load(&path).map_err(|error| {
        let message = error.to_string();
        assert!(
            message.contains("tokenizer.json: "),
            "does not name the file: {message}"
        );
        message.split_once("tokenizer.json: ").unwrap().1.to_owned()
    })
}

/// The error after a change to the file, which must begin with `place`.
fn refused(tokenizer: &Tokenizer, change: impl FnOnce(&mut Value), place: &str) {
    let mut file: Value = serde_json::from_str(&saved(tokenizer)).unwrap();
    change(&mut file);
    let error = load(file.to_string()).unwrap_err();
    assert!(error.starts_with(place), "expected {place}, got: {error}");
}

#[test]
fn comes_back_the_same() {
    for (tokenizer, kind) in [(bpe(), Kind::Bpe), (characters(), Kind::Character)] {
        let text = saved(&tokenizer);
        let again = load(&text).unwrap();
        assert_eq!(again.kind(), kind);
        assert_eq!(saved(&again), text);
        assert_eq!(again.fingerprint(), tokenizer.fingerprint());
        assert_eq!(again.byte_lengths(), tokenizer.byte_lengths());
        let ids = tokenizer.encode_ordinary(TEXT);
        assert_eq!(again.encode_ordinary(TEXT), ids);
        assert_eq!(again.decode(&ids), TEXT);
    }
    assert_ne!(bpe().fingerprint(), characters().fingerprint());
}

#[test]
fn reads_merges_as_older_files_spell_them() {
    let mut file: Value = serde_json::from_str(&saved(&bpe())).unwrap();
    for merge in file["model"]["merges"].as_array_mut().unwrap() {
        let spelled = format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap());
        *merge = Value::String(spelled);
    }
    assert_eq!(load(file.to_string()).unwrap().fingerprint(), bpe().fingerprint());
}

#[test]
fn faults_in_a_bpe_name_their_place() {
    let bpe = bpe();
    refused(&bpe, |file| file["normalizer"] = json!({"type": "NFC"}), "normalizer");
    refused(&bpe, |file| file["truncation"] = json!({"max_length": 8}), "truncation");
    let evil = json!("(a|aa+$");
    refused(
        &bpe,
        |file| file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = evil,
        "pre_tokenizer",
    );
    refused(&bpe, |file| file["pre_tokenizer"] = Value::Null, "pre_tokenizer");
    refused(&bpe, |file| file["model"]["type"] = json!("Unigram"), "model.type");
    refused(&bpe, |file| file["model"]["dropout"] = json!(0.1), "model:");
    refused(&bpe, |file| file["model"]["byte_fallback"] = json!(true), "model:");
    refused(
        &bpe,
        |file| file["model"]["vocab"]["a"] = json!(4_000_000_000_u32),
        "model.vocab[\"a\"]",
    );
    refused(&bpe, |file| file["model"]["vocab"]["a"] = json!(98), "model.vocab[");
    refused(&bpe, |file| file["model"]["vocab"]["a"] = json!(-1), "line 1");
    refused(
        &bpe,
        |file| {
            let vocab = file["model"]["vocab"].as_object_mut().unwrap();
            vocab.remove("a");
            vocab.insert("中".into(), json!(97));
        },
        "model.vocab[\"中\"]",
    );
    refused(&bpe, |file| file["model"]["vocab"] = json!({}), "model.vocab");
    refused(
        &bpe,
        |file| file["model"]["merges"] = json!([]),
        "model.merges: 0 merges for 291",
    );
    refused(&bpe, |file| file["model"]["merges"] = Value::Null, "model.merges");
    refused(
        &bpe,
        |file| file["model"]["merges"][17] = json!("x"),
        "model.merges[17]",
    );
    refused(
        &bpe,
        |file| file["model"]["merges"][17] = json!(["q", "z"]),
        "model.merges[17]",
    );
    refused(
        &bpe,
        |file| file["model"]["merges"][17] = json!(["中", "z"]),
        "model.merges[17]",
    );
    refused(&bpe, |file| file["model"]["merges"][17] = json!([1, 2]), "line 1");
    refused(
        &bpe,
        |file| file["model"]["merges"].as_array_mut().unwrap().swap(3, 4),
        "model.merges[3]",
    );
    refused(&bpe, |file| file["added_tokens"] = json!([]), "added_tokens");
    refused(&bpe, |file| file["added_tokens"][1]["id"] = json!(5), "added_tokens[1]");
    refused(
        &bpe,
        |file| file["added_tokens"][1]["content"] = json!("<x>"),
        "added_tokens[1]",
    );
}

#[test]
fn faults_in_a_character_vocabulary_name_their_place() {
    let characters = characters();
    refused(&characters, |file| file["pre_tokenizer"] = Value::Null, "pre_tokenizer");
    refused(
        &characters,
        |file| file["model"]["vocab"]["ab"] = json!(0),
        "model.vocab[",
    );
    refused(
        &characters,
        |file| file["model"]["unk_token"] = json!("a"),
        "model.unk_token",
    );
    refused(
        &characters,
        |file| {
            let vocab = file["model"]["vocab"].as_object_mut().unwrap();
            let (a, b) = (vocab["a"].clone(), vocab["b"].clone());
            vocab.insert("a".into(), b);
            vocab.insert("b".into(), a);
        },
        "model.vocab",
    );
    refused(
        &characters,
        |file| {
            file["model"]["vocab"] = json!({});
            file["model"]["unk_token"] = json!("");
        },
        "model.vocab",
    );
}

#[test]
fn what_is_not_json_at_all() {
    assert!(load("").unwrap_err().starts_with("line 1, column 0"));
    assert!(load("{\n  \"model\": oops").unwrap_err().starts_with("line 2, column"));
    assert!(load([b'"', 0xFF]).unwrap_err().starts_with("byte 1"));
    assert!(load("[".repeat(100_000)).is_err());
    let path = std::path::Path::new("no/such/tokenizer.json");
    assert!(
        Tokenizer::load(path)
            .unwrap_err()
            .to_string()
            .contains("no/such/tokenizer.json")
    );
}

#[test]
fn a_doubled_key_is_seen() {
    let doubled = saved(&bpe()).replacen("\"!\": 33,", "\"!\": 33,\n      \"!\": 291,", 1);
    assert!(load(doubled).is_err());
}

#[test]
fn half_a_file_is_refused() {
    let text = saved(&bpe());
    for end in (0..text.trim_end().len()).step_by(97) {
        assert!(load(&text.as_bytes()[..end]).is_err(), "{end}");
    }
}

proptest! {
    #[test]
    fn damage_never_panics(at in 0.0..1.0, byte in any::<u8>(), cut in 0..40_usize) {
        static SAVED: LazyLock<[String; 2]> = LazyLock::new(|| [saved(&bpe()), saved(&characters())]);
        for file in &*SAVED {
            let mut file = file.clone().into_bytes();
            let at = (at * file.len() as f64) as usize;
            let end = (at + cut).min(file.len());
            file.splice(at..end, [byte]);
            if let Ok(tokenizer) = load(&file) {
                tokenizer.decode(&tokenizer.encode_ordinary("What is left of it? 🌍"));
            }
        }
    }
}
