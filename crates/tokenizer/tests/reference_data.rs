//! The larger checks against rustbpe and tiktoken, on data that is not part of the project. Run by hand:
//!
//! `FERROCHAT_REFERENCE_DATA=DIR cargo test --release -p ferrochat-tokenizer --test reference_data -- --ignored`
//!
//! DIR holds `text/*.txt`, `tokenizer/encodings.json`, `tokenizer/reference_encodings.jsonl`,
//! `tokenizer/reference_counts.json` and the rank files they name. For the shards,
//! `FERROCHAT_REFERENCE_DOCUMENTS` names a file with a document per line, as JSON strings.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use ferrochat_tokenizer::{Tokenizer, Trainer};
use serde_json::Value;

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("set {name}")).into()
}

fn data(name: &str) -> String {
    let path = variable("FERROCHAT_REFERENCE_DATA").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn encodings() -> HashMap<String, Tokenizer> {
    let described: Value = serde_json::from_str(&data("tokenizer/encodings.json")).unwrap();
    let described = described.as_object().unwrap().iter();
    described
        .map(|(name, encoding)| {
            let ranks = data(&format!("tokenizer/{}", encoding["ranks_file"].as_str().unwrap()));
            let pattern = encoding["pattern"].as_str().unwrap();
            (
                name.clone(),
                Tokenizer::from_tiktoken(ranks.as_bytes(), pattern).unwrap(),
            )
        })
        .collect()
}

#[test]
#[ignore = "needs FERROCHAT_REFERENCE_DATA"]
fn reads_gpt2_as_its_ranks() {
    let folder = variable("FERROCHAT_REFERENCE_DATA").join("tokenizer");
    let published = Tokenizer::load_gpt2(&folder.join("gpt2_vocab.bpe"), &folder.join("gpt2_encoder.json")).unwrap();
    let text = data("text/taylorswift.txt");
    assert_eq!(published.vocab_size(), 50_256 + 9);
    // The files number the single bytes in another order than some; the ranks are checked equal.
    assert!(published.to_tiktoken().unwrap() == data("tokenizer/r50k_base.tiktoken"));
    assert_eq!(
        published.encode_ordinary(&text),
        encodings()["gpt2"].encode_ordinary(&text)
    );
}

fn trained_on(name: &str, vocab_size: usize) -> String {
    let mut trainer = Trainer::new(vocab_size).unwrap().doc_cap(usize::MAX);
    trainer.feed(&data(name));
    trainer.finish(&mut |_, _| ()).unwrap().to_tiktoken().unwrap()
}

#[test]
#[ignore = "needs FERROCHAT_REFERENCE_DATA"]
fn learns_the_reference_ranks() {
    let swift = data("tokenizer/nanochat_taylorswift_521.tiktoken");
    assert!(trained_on("text/taylorswift.txt", 521) == swift);
    let shakespeare = data("tokenizer/nanochat_shakespeare_1024.tiktoken");
    assert!(trained_on("text/tinyshakespeare.txt", 1024) == shakespeare);
}

#[test]
#[ignore = "needs FERROCHAT_REFERENCE_DATA and FERROCHAT_REFERENCE_DOCUMENTS"]
fn learns_the_reference_ranks_of_the_shards() {
    let documents = fs::read_to_string(variable("FERROCHAT_REFERENCE_DOCUMENTS")).unwrap();
    let mut trainer = Trainer::new(32_768).unwrap();
    for line in documents.lines() {
        trainer.feed(&serde_json::from_str::<String>(line).unwrap());
    }
    let ranks = trainer.finish(&mut |_, _| ()).unwrap().to_tiktoken().unwrap();
    assert!(ranks == data("tokenizer/nanochat_shards_32768.tiktoken"));
}

#[test]
#[ignore = "needs FERROCHAT_REFERENCE_DATA"]
fn encodes_the_reference_texts() {
    let encodings = encodings();
    let mut cases = 0;
    for line in data("tokenizer/reference_encodings.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let tokenizer = &encodings[case["encoding"].as_str().unwrap()];
        assert_eq!(tokenizer.encode_ordinary(text), expected, "{text:?}");
        assert_eq!(tokenizer.decode(&expected), text);
        cases += 1;
    }
    assert!(cases >= 215, "only {cases} cases");
}

#[test]
#[ignore = "needs FERROCHAT_REFERENCE_DATA"]
fn counts_the_tokens_of_whole_texts() {
    let counts: Value = serde_json::from_str(&data("tokenizer/reference_counts.json")).unwrap();
    let mut checked = 0;
    for (name, tokenizer) in encodings() {
        let Some(texts) = counts[&name].as_object() else {
            continue;
        };
        for (text, expected) in texts.iter().filter(|(text, _)| *text != "base_data val shard") {
            let tokens = tokenizer.encode_ordinary(&data(&format!("text/{text}"))).len();
            assert_eq!(tokens as u64, expected["tokens"].as_u64().unwrap(), "{name}, {text}");
            checked += 1;
        }
    }
    assert!(checked >= 12, "only {checked} texts");
}
