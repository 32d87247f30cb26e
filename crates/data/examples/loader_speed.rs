//! How fast text becomes packed batches, and which part of the way takes how much of a processor: the reader (files,
//! decompression, checks), the tokenizer, and the rest (packing, handing over). One JSON line:
//!
//! `cargo run --release -p ferrochat-data --example loader_speed -- DATA RANKS.tiktoken [THREADS] [MIB] [ROWS] [LENGTH]`
//!
//! Rates are of tokens that are read. Reader and tokenizer are also measured alone, on one thread. Medians of five.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ferrochat_data::{Corpus, CorpusOptions, DataError, Loader, LoaderConfig, Split};
use ferrochat_tokenizer::Tokenizer;
use rustix::time::{ClockId, clock_gettime};

const SAMPLES: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, ranks, numbers @ ..] = arguments.as_slice() else {
        return Err("give a data path and a tiktoken rank file".into());
    };
    let number = |index: usize, usual: usize| numbers.get(index).map_or(Ok(usual), |text| text.parse::<usize>());
    let (threads, mebibytes) = (number(0, 1)?, number(1, 64)?);
    let (rows, length) = (number(2, 32)?, number(3, 2048)?);
    let opened = Instant::now();
    let corpus = Corpus::open(Path::new(data), CorpusOptions::default())?;
    let opened = opened.elapsed().as_secs_f64();
    let ranks = std::fs::read(ranks)?;
    let tokenizer = Arc::new(Tokenizer::from_tiktoken(&ranks, ferrochat_tokenizer::SPLIT_PATTERN)?);
    let config = LoaderConfig {
        threads,
        ..LoaderConfig::new(rows, length, Split::Train, corpus.default_packing())
    };
    let mut figures: [Vec<f64>; 5] = std::array::from_fn(|_| Vec::new());
    let mut bytes_per_token = 0.0;
    for _ in 0..SAMPLES {
        let (texts, reading) = read(&corpus, mebibytes << 20)?;
        let (tokens, encoding) = tokenise(&texts, &tokenizer);
        bytes_per_token = texts.iter().map(String::len).sum::<usize>() as f64 / tokens as f64;
        let run = load(&corpus, &tokenizer, &config, tokens)?;
        let whole = run.tokens as f64;
        let rates = [
            tokens as f64 / reading,
            tokens as f64 / encoding,
            whole / run.wall,
            whole / run.processor,
            run.first,
        ];
        for (all, rate) in figures.iter_mut().zip(rates) {
            all.push(rate);
        }
    }
    let [reader, alone, wall, processor, first] = figures.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all[SAMPLES / 2]
    });
    let shares = [processor / reader, processor / alone];
    let line = serde_json::json!({
        "data": corpus.describe().to_string(),
        "packing": config.packing.to_string(),
        "threads": threads,
        "bytes_per_token": bytes_per_token,
        "open_seconds": opened,
        "first_batch_seconds": first,
        "tokens_per_second": wall.round(),
        "tokens_per_processor_second": processor.round(),
        "reader_tokens_per_second": reader.round(),
        "tokenizer_tokens_per_second": alone.round(),
        "shares": {"reader": shares[0], "tokenizer": shares[1], "rest": 1.0 - shares[0] - shares[1]},
        "processors_for_1m_tokens_per_second": 1e6 / processor,
    });
    println!("{line}");
    Ok(())
}

/// Processor seconds of this process: other programs do not count.
fn processor() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The first documents of the training part, and how long reading them took.
fn read(corpus: &Corpus, most: usize) -> Result<(Vec<String>, f64), DataError> {
    let begun = processor();
    let (mut texts, mut bytes) = (Vec::new(), 0);
    for document in corpus.one_pass(Split::Train)? {
        let document = document?;
        bytes += document.text.len();
        texts.push(document.text);
        if bytes >= most {
            break;
        }
    }
    Ok((texts, processor() - begun))
}

/// Their tokens, and how long one thread takes.
fn tokenise(texts: &[String], tokenizer: &Tokenizer) -> (u64, f64) {
    let begun = processor();
    let (mut ids, mut count) = (Vec::new(), 0);
    for text in texts {
        ids.clear();
        tokenizer.encode_ordinary_into(text, &mut ids);
        count += ids.len() as u64 + 1;
    }
    (count, processor() - begun)
}

/// What the loader did.
struct Run {
    tokens: u64,
    wall: f64,
    processor: f64,
    first: f64,
}

/// Takes batches as fast as they come until `most` tokens were read.
fn load(corpus: &Corpus, tokenizer: &Arc<Tokenizer>, config: &LoaderConfig, most: u64) -> Result<Run, DataError> {
    let (begun, busy) = (Instant::now(), processor());
    let mut loader = Loader::start(corpus, Arc::clone(tokenizer), config.clone(), None)?;
    let mut first = None;
    loop {
        let batch = loader.next_batch()?;
        let wall = begun.elapsed().as_secs_f64();
        let first = *first.get_or_insert(wall);
        let tokens = batch.state.counters().tokens_read;
        if tokens >= most {
            return Ok(Run {
                tokens,
                wall,
                processor: processor() - busy,
                first,
            });
        }
        loader.recycle(batch);
    }
}
