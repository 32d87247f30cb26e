//! The loader as the training loop meets it: memory, ends, errors, validation.

// Clippy's allow-unwrap-in-tests does not reach helper functions.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Characters, open, start, tokens};
use ferrochat_data::{
    Corpus, CorpusOptions, DataError, Encode, Loader, LoaderConfig, Packing, Split, generator::small_text,
};

const PACKINGS: [Packing; 3] = [Packing::BestFit, Packing::Stream, Packing::RandomWindows { seed: 5 }];

fn memory(bytes: usize) -> Corpus {
    Corpus::from_text("memory", small_text(1, bytes), CorpusOptions::default()).unwrap()
}

#[test]
fn targets_are_the_inputs_one_later() {
    let corpus = memory(100_000);
    for packing in PACKINGS {
        let mut loader = start(&corpus, &LoaderConfig::new(5, 31, Split::Train, packing), None);
        for _ in 0..20 {
            let batch = loader.next_batch().unwrap();
            assert_eq!((batch.inputs.len(), batch.targets.len()), (5 * 31, 5 * 31));
            for (inputs, targets) in batch.inputs.chunks(31).zip(batch.targets.chunks(31)) {
                let next: Vec<i32> = inputs[1..].iter().map(|&id| id as i32).collect();
                assert_eq!(next, targets[..30], "{packing}");
            }
            if packing == Packing::BestFit {
                assert!(batch.inputs.chunks(31).all(|row| row[0] == 0));
            }
        }
    }
}

#[test]
fn a_stream_loses_nothing_between_batches() {
    let text = small_text(1, 60_000);
    let corpus = memory(60_000);
    let config = LoaderConfig::new(4, 25, Split::Validation, Packing::Stream);
    let mut loader = start(&corpus, &config, None);
    let mut stream = Vec::new();
    loop {
        let batch = loader.next_batch().unwrap();
        if batch.state.position().epoch > 0 {
            break;
        }
        stream.extend(&batch.inputs);
        stream.push(*batch.targets.last().unwrap() as u32);
    }
    let part = &text[text.len() * 9 / 10..];
    let expected: Vec<u32> = std::iter::once(0).chain(part.chars().map(u32::from)).collect();
    assert_eq!(stream.len(), expected.len() / 101 * 101);
    assert_eq!(stream, expected[..stream.len()]);
}

#[test]
fn best_fit_loses_little_of_long_text_files() {
    let corpus = memory(400_000);
    let config = LoaderConfig::new(8, 64, Split::Train, Packing::BestFit);
    let mut loader = start(&corpus, &config, None);
    let counters = (0..500)
        .map(|_| loader.next_batch().unwrap().state.counters())
        .last()
        .unwrap();
    assert!(counters.tokens_dropped * 100 < counters.tokens_read, "{counters:?}");
    assert_eq!(counters.rows, 4000);
}

#[test]
fn returned_batches_are_used_again() {
    let corpus = memory(50_000);
    for packing in PACKINGS {
        let config = LoaderConfig {
            prefetch: 2,
            ..LoaderConfig::new(4, 64, Split::Train, packing)
        };
        let mut loader = start(&corpus, &config, None);
        let mut seen = std::collections::HashSet::new();
        let mut reference = start(&corpus, &config, None);
        for step in 0..100 {
            let batch = loader.next_batch().unwrap();
            assert_eq!(tokens(&batch), tokens(&reference.next_batch().unwrap()));
            seen.insert(batch.inputs.as_ptr());
            // Let the packer wait for us, as it does in training.
            if step % 10 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
            loader.recycle(batch);
        }
        assert!(seen.len() <= 12, "{packing}: {} buffers for 100 batches", seen.len());
    }
}

/// A tokenizer that takes a tenth of a second for every piece of text.
struct Slow;

impl Encode for Slow {
    fn bos(&self) -> u32 {
        0
    }

    fn vocab_size(&self) -> usize {
        256
    }

    fn encode_ordinary_into(&self, text: &str, ids: &mut Vec<u32>) {
        std::thread::sleep(Duration::from_millis(100));
        ids.extend(text.bytes().map(u32::from));
    }

    fn fingerprint(&self) -> String {
        "bytes".to_owned()
    }
}

#[test]
fn dropping_stops_all_threads_at_once() {
    let folder = tempfile::tempdir().unwrap();
    common::parquet_folder(folder.path());
    let corpus = open(folder.path());
    for take_one in [false, true] {
        let config = LoaderConfig {
            threads: 3,
            ..LoaderConfig::new(2, 16, Split::Train, Packing::Stream)
        };
        let slow = Loader::start(&corpus, Arc::new(Slow), config.clone(), None).unwrap();
        let mut quick = start(&corpus, &config, None);
        if take_one {
            quick.next_batch().unwrap();
        } else {
            std::thread::sleep(Duration::from_millis(50));
        }
        let begun = Instant::now();
        drop(slow);
        drop(quick);
        // One chunk of 128 documents would take the slow one 13 seconds.
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

#[test]
fn too_little_data_is_said_with_numbers() {
    let corpus = memory(2_000);
    let [best_fit, stream, windows] = PACKINGS;
    for (packing, length, needed) in [
        (best_fit, 512, 8 * 513),
        (stream, 512, 8 * 512 + 1),
        (windows, 4096, 4097),
    ] {
        let config = LoaderConfig::new(8, length, Split::Train, packing);
        let error = start(&corpus, &config, None).next_batch().unwrap_err();
        assert!(matches!(error, DataError::TooSmall { .. }), "{packing}: {error}");
        assert!(error.to_string().contains(&format!("needs {needed}")), "{error}");
    }
}

#[test]
fn an_error_arrives_after_the_batches_before_it_and_then_the_loader_has_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let mut lines: Vec<String> = (0..400)
        .map(|n| format!("{{\"text\": \"number {n} and some more\"}}"))
        .collect();
    lines[300] = "broken".into();
    fs::write(&path, lines.join("\n")).unwrap();
    fs::copy(&path, folder.path().join("b.jsonl")).unwrap();
    let corpus = open(folder.path());
    for threads in [1, 3] {
        let config = LoaderConfig {
            threads,
            ..LoaderConfig::new(4, 32, Split::Train, Packing::Stream)
        };
        let mut loader = start(&corpus, &config, None);
        let mut good = 0;
        let error = loop {
            match loader.next_batch() {
                Ok(_) => good += 1,
                Err(error) => break error.to_string(),
            }
        };
        // Two whole chunks of 128 lines lie before the broken one.
        assert!(good > 40, "{good} batches before the error");
        assert!(error.contains("a.jsonl") && error.contains("line 301"), "{error}");
        assert!(matches!(loader.next_batch(), Err(DataError::Stopped)));
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let corpus = memory(10_000);
    let good = LoaderConfig::new(2, 16, Split::Train, Packing::Stream);
    let refuse = |config: LoaderConfig, word: &str| {
        let error = Loader::start(&corpus, Arc::new(Characters), config, None).err();
        let error = error.expect(word).to_string();
        assert!(error.contains(word), "{error}");
    };
    let with = |change: &dyn Fn(&mut LoaderConfig)| {
        let mut config = good.clone();
        change(&mut config);
        config
    };
    refuse(with(&|c| c.batch_size = 0), "at least 1");
    refuse(with(&|c| c.sequence_len = 0), "at least 1");
    refuse(with(&|c| c.sequence_len = usize::MAX), "smaller");
    refuse(with(&|c| c.batch_size = usize::MAX), "smaller");
    refuse(with(&|c| c.ranks = (2, 2)), "rank 2");
    refuse(with(&|c| c.ranks = (0, 0)), "rank 0");
    refuse(with(&|c| c.threads = 0), "1 thread");
    refuse(with(&|c| c.prefetch = 0), "1 batch");
}
