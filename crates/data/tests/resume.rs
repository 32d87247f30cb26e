//! Stopping after any batch and going on from its saved state gives the batches
//! of a run that never stopped: every kind, every packing, any thread count.

// Clippy's allow-unwrap-in-tests does not reach helper functions.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{open, start, tokens};
use ferrochat_data::{
    Corpus, CorpusOptions, DataError, LoaderConfig, LoaderState, Packing, Split, TextDocuments, generator::small_text,
};

const PACKINGS: [Packing; 3] = [Packing::BestFit, Packing::Stream, Packing::RandomWindows { seed: 5 }];

fn corpora(root: &Path) -> Vec<Corpus> {
    let path = |name: &str| -> PathBuf { root.join(name) };
    for folder in ["parquet", "texts/inner", "jsonl"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    common::parquet_folder(&path("parquet"));
    for part in 0..3 {
        let name = path(&format!("jsonl/part{part}.jsonl"));
        common::write_jsonl(&name, &common::texts(part * 200, 200));
    }
    fs::write(path("one.txt"), small_text(1, 300_000)).unwrap();
    for file in 0..12 {
        let name = path(&format!("texts/inner/{file:02}.txt"));
        fs::write(name, small_text(file, 2_000 + 9_000 * file as usize)).unwrap();
    }
    let paragraphs = CorpusOptions {
        text_documents: TextDocuments::Paragraphs,
        ..CorpusOptions::default()
    };
    vec![
        open(&path("parquet")),
        open(&path("parquet/shard_1.parquet")),
        open(&path("jsonl")),
        open(&path("jsonl/part1.jsonl")),
        open(&path("one.txt")),
        Corpus::open(&path("one.txt"), paragraphs.clone()).unwrap(),
        open(&path("texts")),
        Corpus::from_text("memory", small_text(2, 100_000), paragraphs).unwrap(),
    ]
}

#[test]
fn resuming_is_bit_exact_for_all_kinds_packings_and_thread_counts() {
    let root = tempfile::tempdir().unwrap();
    for corpus in corpora(root.path()) {
        for packing in PACKINGS {
            for split in [Split::Train, Split::Validation] {
                let mut config = LoaderConfig::new(3, 50, split, packing);
                let context = format!("{}, {packing}, {split}", corpus.describe());
                let mut whole = start(&corpus, &config, None);
                let mut batches = Vec::new();
                // Long enough for several epochs of the smaller ones.
                for _ in 0..120 {
                    batches.push(whole.next_batch().unwrap());
                }
                for (stop, threads) in [(1, 3), (7, 1), (100, 3)] {
                    config.threads = threads;
                    let saved = batches[stop - 1].state.to_bytes();
                    let state = LoaderState::from_bytes(&saved).unwrap();
                    let mut resumed = start(&corpus, &config, Some(state));
                    for expected in &batches[stop..stop + 15] {
                        let batch = resumed.next_batch().unwrap();
                        assert_eq!(tokens(&batch), tokens(expected), "{context} {stop}");
                        assert_eq!(batch.state, expected.state, "{context} {stop}");
                    }
                }
            }
        }
    }
}

#[test]
fn batches_do_not_depend_on_the_number_of_threads() {
    let root = tempfile::tempdir().unwrap();
    common::parquet_folder(root.path());
    let corpus = open(root.path());
    for packing in PACKINGS {
        let run = |threads| {
            let config = LoaderConfig {
                threads,
                ..LoaderConfig::new(4, 33, Split::Train, packing)
            };
            let mut loader = start(&corpus, &config, None);
            let batches: Vec<_> = (0..50).map(|_| loader.next_batch().unwrap()).collect();
            batches
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            let several = run(threads);
            for (a, b) in one.iter().zip(&several) {
                assert_eq!((tokens(a), &a.state), (tokens(b), &b.state));
            }
        }
    }
}

#[test]
fn ranks_share_the_rows_of_one_rank_and_a_run_may_change_their_number() {
    let root = tempfile::tempdir().unwrap();
    common::parquet_folder(root.path());
    let corpus = open(root.path());
    for packing in PACKINGS {
        let config = LoaderConfig::new(2, 20, Split::Train, packing);
        let mut alone = start(&corpus, &config, None);
        let rows: Vec<Vec<u32>> = (0..9)
            .flat_map(|_| {
                let batch = alone.next_batch().unwrap();
                batch.inputs.chunks(20).map(<[u32]>::to_vec).collect::<Vec<_>>()
            })
            .collect();
        let mut states = Vec::new();
        for rank in 0..3 {
            let config = LoaderConfig {
                ranks: (rank, 3),
                ..config.clone()
            };
            let mut loader = start(&corpus, &config, None);
            for step in 0..2 {
                let batch = loader.next_batch().unwrap();
                for (index, row) in batch.inputs.chunks(20).enumerate() {
                    assert_eq!(row, rows[step * 6 + index * 3 + rank], "{packing}");
                }
                states.push(batch.state);
            }
        }
        assert_eq!(states[1], states[3]);
        assert_eq!(states[1], states[5]);
        let mut alone = start(&corpus, &config, Some(states[1].clone()));
        let batch = alone.next_batch().unwrap();
        assert_eq!(batch.inputs, rows[12..14].concat(), "{packing}");
    }
}

#[test]
fn a_state_of_something_else_is_refused_in_one_sentence() {
    let root = tempfile::tempdir().unwrap();
    let all = corpora(root.path());
    let config = LoaderConfig::new(3, 50, Split::Train, Packing::BestFit);
    let state = start(&all[0], &config, None).next_batch().unwrap().state;
    let refuse = |corpus: &Corpus, config: &LoaderConfig, word: &str| {
        let tokenizer = std::sync::Arc::new(common::Characters);
        let started = ferrochat_data::Loader::start(corpus, tokenizer, config.clone(), Some(state.clone()));
        let error = started.err().expect(word);
        assert!(matches!(error, DataError::State(_)), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    };
    refuse(&all[2], &config, "data set");
    struct Other;
    impl ferrochat_data::Encode for Other {
        fn bos(&self) -> u32 {
            0
        }
        fn vocab_size(&self) -> usize {
            256
        }
        fn encode_ordinary_into(&self, _: &str, _: &mut Vec<u32>) {}
        fn fingerprint(&self) -> String {
            "other".into()
        }
    }
    let tokenizer = std::sync::Arc::new(Other);
    let started = ferrochat_data::Loader::start(&all[0], tokenizer, config.clone(), Some(state.clone()));
    assert!(started.err().unwrap().to_string().contains("another tokenizer"));
    let mut other = config.clone();
    other.split = Split::Validation;
    refuse(&all[0], &other, "part of the data");
    other = config.clone();
    other.packing = Packing::Stream;
    refuse(&all[0], &other, "packing");
    other = config.clone();
    other.sequence_len = 51;
    refuse(&all[0], &other, "sequence length");
}
