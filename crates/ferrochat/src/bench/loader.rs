//! `bench loader`: how fast text becomes packed batches, and which part of the way takes how much of a processor:
//! the reader (files, decompression, checks), the tokenizer, and the rest (packing, handing over). Each part is also
//! measured alone, so that the rate at which it would hold up training stands beside the whole.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use ferrochat_data::{Corpus, CorpusOptions, Loader, LoaderConfig, Split};
use ferrochat_tokenizer::Tokenizer;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::samples::Samples;
use crate::cli::BenchLoaderArgs;
use crate::errors::{refuse, usage};
use crate::home::Home;
use crate::{format, output};

/// `bench loader`
///
/// # Errors
/// A flag that cannot be, data or a tokenizer that cannot be read.
pub fn command(home: &Home, args: &BenchLoaderArgs) -> Result<()> {
    if args.megabytes == 0 || args.samples == 0 {
        refuse!("--megabytes and --samples must be at least 1");
    }
    let path = crate::data_sets::resolve("data", &args.data)?;
    let options = CorpusOptions {
        text_field: args.text_field.clone(),
        ..CorpusOptions::default()
    };
    let opened = Instant::now();
    let corpus = Corpus::open(&path, options).map_err(usage)?;
    let opened = opened.elapsed().as_secs_f64();
    let tokenizer = Arc::new(args.tokenizer.load(home)?);
    let packing = crate::source::packing(&corpus, 1);
    let config = LoaderConfig {
        threads: args.threads,
        ..LoaderConfig::new(args.device_batch_size, args.max_seq_len, Split::Train, packing)
    };

    let (mut reader, mut alone) = (Samples::default(), Samples::default());
    let (mut whole, mut busy, mut first) = (Samples::default(), Samples::default(), Samples::default());
    let (mut bytes_per_token, mut tokens) = (0.0, 0);
    for _ in 0..args.samples {
        let (texts, seconds) = read(&corpus, args.megabytes << 20)?;
        let bytes: usize = texts.iter().map(String::len).sum();
        let (count, encoding) = tokenise(&texts, &tokenizer);
        bytes_per_token = bytes as f64 / count as f64;
        reader.push(count as f64 / seconds);
        alone.push(count as f64 / encoding);
        let run = load(&corpus, &tokenizer, &config, count)?;
        tokens = run.tokens;
        whole.push(run.tokens as f64 / run.wall);
        busy.push(run.tokens as f64 / run.processor);
        first.push(run.first);
    }
    let middle = |samples: &Samples| samples.median().unwrap_or(f64::NAN);
    let share = |part: &Samples| (middle(&busy) / middle(part)).min(1.0);
    let (reading, encoding) = (share(&reader), share(&alone));
    let rest = (1.0 - reading - encoding).max(0.0);
    // One thread reads and one packs, so that more threads speed up the tokenizer alone.
    let one_thread = middle(&reader).min(middle(&busy) / rest.max(1e-9));
    let bound = if one_thread < middle(&alone) * args.threads as f64 {
        "reader"
    } else {
        "tokenizer"
    };
    if args.json {
        let line = json!({
            "bench": "loader",
            "data": corpus.describe(),
            "packing": packing.to_string(),
            "rows": args.device_batch_size,
            "sequence_len": args.max_seq_len,
            "threads": args.threads,
            "tokens": tokens,
            "bytes_per_token": bytes_per_token,
            "open_seconds": opened,
            "first_batch_seconds": first.json(),
            "tokens_per_second": whole.json(),
            "tokens_per_processor_second": busy.json(),
            "reader_tokens_per_second": reader.json(),
            "tokenizer_tokens_per_second": alone.json(),
            "shares": {"reader": reading, "tokenizer": encoding, "rest": rest},
            "bound": bound,
            "processors_for_1m_tokens_per_second": 1e6 / middle(&busy),
        });
        return output::print(&(line.to_string() + "\n"));
    }
    let row = |name: &str, rate: f64, share: f64| {
        let cells = [
            name.to_owned(),
            format!("{} tokens/s", format::short(rate)),
            format!("{:.0} MB/s", rate * bytes_per_token / 1e6),
            format!("{:.0}%", 100.0 * share),
        ];
        cells.to_vec()
    };
    let rows = [
        row("reader, alone", middle(&reader), reading),
        row("tokenizer, alone", middle(&alone), encoding),
        row("all, of one processor", middle(&busy), 1.0),
    ];
    output::print(&format!(
        "{}\n{} threads for the tokenizer: {} tokens/s, first batch after {:.2} s; bound by the {bound}\n\
         1M tokens/s take {:.2} processors\n{}",
        corpus.describe(),
        args.threads,
        format::short(middle(&whole)),
        middle(&first),
        1e6 / middle(&busy),
        output::table(&["", "rate", "", "of the work"], &rows),
    ))
}

/// Processor seconds of this process: other programs do not count.
fn processor() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The first documents of the training part, and how long reading them took.
fn read(corpus: &Corpus, most: usize) -> Result<(Vec<String>, f64)> {
    let begun = processor();
    let (mut texts, mut bytes) = (Vec::new(), 0);
    for document in corpus.one_pass(Split::Train).map_err(usage)? {
        let document = document.map_err(usage)?;
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
fn load(corpus: &Corpus, tokenizer: &Arc<Tokenizer>, config: &LoaderConfig, most: u64) -> Result<Run> {
    let (begun, busy) = (Instant::now(), processor());
    let mut loader = Loader::start(corpus, Arc::clone(tokenizer), config.clone(), None).map_err(usage)?;
    let mut first = None;
    loop {
        let batch = loader.next_batch().map_err(usage)?;
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
