//! How fast a corpus becomes batches on this machine, one JSON line per run:
//!
//! `cargo run --release -p ferrochat-data --example loader_speed -- DATA RANKS.tiktoken`
//!
//! Without a rank file every character is a token. Further arguments: threads,
//! batches, packing (`best_fit`, `stream`, `random_windows`), rows, tokens per row.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ferrochat_data::{Corpus, CorpusOptions, Encode, Loader, LoaderConfig, LoaderState, Packing, Split};
use ferrochat_tokenizer::Tokenizer;

struct Characters;

impl Encode for Characters {
    fn bos(&self) -> u32 {
        0
    }

    fn vocab_size(&self) -> usize {
        0x11_0000
    }

    fn encode_ordinary_into(&self, text: &str, ids: &mut Vec<u32>) {
        ids.extend(text.chars().map(u32::from));
    }

    fn fingerprint(&self) -> String {
        "characters".to_owned()
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let number = |index: usize, default: usize| argument(index).map_or(default, |text| text.parse().unwrap());
    let data = argument(0).expect("give a data path");
    let begun = Instant::now();
    let corpus = Corpus::open(Path::new(data), CorpusOptions::default()).unwrap();
    let opened = begun.elapsed();
    let packing = match argument(4) {
        Some("best_fit") => Packing::BestFit,
        Some("stream") => Packing::Stream,
        Some("random_windows") => Packing::RandomWindows { seed: 0 },
        _ => corpus.default_packing(),
    };
    let (rows, length) = (number(5, 32), number(6, 2048));
    let config = LoaderConfig {
        threads: number(2, 1),
        ..LoaderConfig::new(rows, length, Split::Train, packing)
    };
    match argument(1).filter(|path| !path.is_empty()) {
        Some(path) => {
            let ranks = std::fs::read(path).unwrap();
            let tokenizer = Tokenizer::from_tiktoken(&ranks, ferrochat_tokenizer::SPLIT_PATTERN).unwrap();
            measure(&corpus, tokenizer, &config, number(3, 200), opened);
        }
        None => measure(&corpus, Characters, &config, number(3, 200), opened),
    }
}

fn measure<E: Encode + 'static>(
    corpus: &Corpus,
    tokenizer: E,
    config: &LoaderConfig,
    batches: usize,
    opened: std::time::Duration,
) {
    let begun = Instant::now();
    let mut loader = Loader::start(corpus, Arc::new(tokenizer), config.clone(), None).unwrap();
    let first = loader.next_batch().unwrap();
    let ready = begun.elapsed();
    loader.recycle(first);
    let mut state = LoaderState::default();
    for _ in 1..batches {
        let batch = loader.next_batch().unwrap();
        state.clone_from(&batch.state);
        loader.recycle(batch);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let counters = state.counters();
    let line = serde_json::json!({
        "data": corpus.describe().to_string(),
        "packing": config.packing.to_string(),
        "threads": config.threads,
        "open_ms": opened.as_secs_f64() * 1e3,
        "first_batch_ms": ready.as_secs_f64() * 1e3,
        "documents_per_s": (counters.documents_read as f64 / seconds).round(),
        "tokens_read_per_s": (counters.tokens_read as f64 / seconds).round(),
        "tokens_packed_per_s":
            (batches as f64 * (config.batch_size * config.sequence_len) as f64 / seconds).round(),
        "dropped": counters.tokens_dropped as f64 / counters.tokens_read as f64,
        "state_bytes": state.to_bytes().len(),
        "epoch": state.position().epoch,
    });
    println!("{line}");
}
