//! Batches against those of nanochat's own loaders, run by `fixtures/reference_loader.py`: on documents and
//! conversations made here, and, by hand, on stored ones:
//!
//! `FERROCHAT_REFERENCE_DATA=DIR cargo test --release -p ferrochat-data --test reference_loader -- --ignored`
//!
//! DIR holds what the script calls DATA.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferrochat_chat::Conversation;
use ferrochat_data::{
    Batch, ConversationLoader, ConversationLoaderConfig, ConversationPacking, ConversationSource, Corpus,
    CorpusOptions, Encode, InMemory, Loader, LoaderConfig, Mixture, Packing, Split, open_conversations,
};
use ferrochat_tokenizer::{SPLIT_PATTERN, Tokenizer};
use parquet::basic::Compression;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Fixture {
    stored: BTreeMap<String, String>,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    data: String,
    packing: String,
    split: String,
    rows: usize,
    length: usize,
    batches: Vec<String>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/reference_loader.json")).unwrap()
}

impl Run {
    fn title(&self) -> String {
        let Run {
            data, packing, split, ..
        } = self;
        format!("{data}, {packing}, {split}, {} rows of {}", self.rows, self.length)
    }

    /// Compares with the batches that `next` gives.
    fn check(&self, mut next: impl FnMut() -> Batch) {
        assert!(self.batches.len() >= 50, "{}", self.title());
        for (index, expected) in self.batches.iter().enumerate() {
            let batch = next();
            let found = if self.packing == "conversations_one_per_row" {
                to_last_targets(&batch, self.length)
            } else {
                fingerprint([(&batch.inputs[..], &batch.targets[..])].into_iter())
            };
            assert_eq!(&found, expected, "{}: batch {index}", self.title());
        }
    }

    fn documents<E: Encode + 'static>(&self, corpus: &Corpus, tokenizer: &Arc<E>) {
        let packing = match self.packing.as_str() {
            "best_fit" => Packing::BestFit,
            "stream" => Packing::Stream,
            other => panic!("{other}"),
        };
        let split = match self.split.as_str() {
            "train" => Split::Train,
            _ => Split::Validation,
        };
        let config = LoaderConfig {
            threads: 2,
            ..LoaderConfig::new(self.rows, self.length, split, packing)
        };
        let mut loader = Loader::start(corpus, Arc::clone(tokenizer), config, None).unwrap();
        self.check(|| loader.next_batch().unwrap());
    }

    fn conversations(&self, source: &Arc<dyn ConversationSource>, tokenizer: &Arc<Tokenizer>) {
        let packing = match self.packing.as_str() {
            "conversations_best_fit" => ConversationPacking::BestFit,
            "conversations_stream" => ConversationPacking::Stream,
            "conversations_one_per_row" => ConversationPacking::OnePerRow,
            other => panic!("{other}"),
        };
        let mixture = Mixture::new(42).with("talks", Arc::clone(source), 1).unwrap();
        let config = ConversationLoaderConfig {
            threads: 2,
            ..ConversationLoaderConfig::new(self.rows, self.length, packing)
        };
        let mut loader = ConversationLoader::start(&mixture, tokenizer, config, None).unwrap();
        self.check(|| loader.next_batch().unwrap().unwrap());
    }
}

fn fingerprint<'a>(parts: impl Iterator<Item = (&'a [u32], &'a [i32])>) -> String {
    let mut hash = Sha256::new();
    for (inputs, targets) in parts {
        for id in inputs {
            hash.update(id.to_le_bytes());
        }
        for id in targets {
            hash.update(id.to_le_bytes());
        }
    }
    hex(&hash.finalize()[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn to_last_targets(batch: &Batch, length: usize) -> String {
    let rows = batch.inputs.chunks(length).zip(batch.targets.chunks(length));
    fingerprint(rows.map(|(inputs, targets)| {
        let learned = targets.iter().rposition(|&target| target >= 0);
        let end = learned.map_or(0, |last| last + 1);
        (&inputs[..end], &targets[..end])
    }))
}

fn tokenizer(ranks: &[u8]) -> Arc<Tokenizer> {
    Arc::new(Tokenizer::from_tiktoken(ranks, SPLIT_PATTERN).unwrap())
}

/// The generator of the script.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    fn below_one_of(&mut self, bounds: &[u64]) -> u64 {
        let bound = self.one_of(bounds);
        self.below(bound)
    }

    fn words(&mut self, count: u64) -> String {
        const WORDS: [&str; 16] = [
            "a ", "the ", "river ", "Zürich ", "水 ", "42 ", "\n", "don't ", "🦀 ", "of ", "x", "—", "Mr. ", "", "  ",
            "end.\n\n",
        ];
        (0..count).map(|_| self.one_of(&WORDS)).collect()
    }

    fn document(&mut self) -> String {
        let count = self.below_one_of(&[1, 8, 30, 60, 150, 300, 700, 2000]);
        self.words(count)
    }

    fn said(&mut self, count: u64) -> String {
        format!("so {}", self.words(count))
    }

    fn part(&mut self, kind: &str, count: u64) -> Value {
        json!({"type": kind, "text": self.said(count)})
    }

    fn talk(&mut self) -> Conversation {
        let mut messages = Vec::new();
        if self.below(5) == 0 {
            let count = self.below(20);
            messages.push(json!({"role": "system", "content": self.said(count)}));
        }
        for _ in 0..=self.below(3) {
            let count = self.below_one_of(&[20, 40, 80, 400]);
            messages.push(json!({"role": "user", "content": self.said(count)}));
            let content = if self.below(4) > 0 {
                let count = self.below_one_of(&[20, 40, 80, 400]);
                json!(self.said(count))
            } else {
                let before = self.below(30);
                let mut parts = vec![self.part("text", before), self.part("python", 3)];
                parts.push(self.part("python_output", 2));
                let after = self.below(30);
                parts.push(self.part("text", after));
                json!(parts)
            };
            messages.push(json!({"role": "assistant", "content": content}));
        }
        Conversation::from_json(&json!({"messages": messages}).to_string()).unwrap()
    }
}

#[test]
fn batches_of_made_documents_are_those_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = SplitMix(1);
    for (name, groups) in [("a", &[300, 1000, 129][..]), ("b", &[128, 1, 471]), ("c", &[400, 200])] {
        let groups: Vec<Vec<Option<String>>> = groups
            .iter()
            .map(|&size| (0..size).map(|_| Some(rng.document())).collect())
            .collect();
        let path = folder.path().join(format!("{name}.parquet"));
        common::write_parquet(&path, &groups, Compression::SNAPPY);
    }
    let corpus = common::open(folder.path());
    let characters = Arc::new(common::Characters);
    let mut runs = 0;
    for run in fixture().runs {
        if run.data == "made" && !run.packing.starts_with("conversations") {
            run.documents(&corpus, &characters);
            runs += 1;
        }
    }
    assert_eq!(runs, 5);
}

#[test]
fn batches_of_made_conversations_are_those_of_the_reference() {
    let mut rng = SplitMix(2);
    let talks = (0..1500).map(|_| rng.talk()).collect();
    let source: Arc<dyn ConversationSource> = Arc::new(InMemory::new("made", talks).unwrap());
    let tokenizer = tokenizer(include_bytes!("../../tokenizer/tests/fixtures/ranks.tiktoken"));
    let mut runs = 0;
    for run in fixture().runs {
        if run.data == "made" && run.packing.starts_with("conversations") {
            run.conversations(&source, &tokenizer);
            runs += 1;
        }
    }
    assert_eq!(runs, 4);
}

#[test]
#[ignore = "needs FERROCHAT_REFERENCE_DATA"]
fn batches_of_stored_data_are_those_of_the_reference() {
    let root = PathBuf::from(std::env::var_os("FERROCHAT_REFERENCE_DATA").expect("set FERROCHAT_REFERENCE_DATA"));
    let read = |path: &Path| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let fixture = fixture();
    for (name, expected) in &fixture.stored {
        let digest = Sha256::digest(read(&root.join(name)));
        assert_eq!(
            &hex(&digest),
            expected,
            "{name} is not the file that the fixture was made with"
        );
    }
    let tokenizer = tokenizer(&read(&root.join("tokenizer/nanochat_shards_32768.tiktoken")));
    let corpus = Corpus::open(&root.join("base_data"), CorpusOptions::default()).unwrap();
    let talks = open_conversations(&root.join("sft/conversations_train.jsonl.gz")).unwrap();
    let mut runs = 0;
    for run in fixture.runs.iter().filter(|run| run.data == "stored") {
        if run.packing.starts_with("conversations") {
            run.conversations(&talks, &tokenizer);
        } else {
            run.documents(&corpus, &tokenizer);
        }
        println!("equal: {}, {} batches", run.title(), run.batches.len());
        runs += 1;
    }
    assert_eq!(runs, 9);
}
