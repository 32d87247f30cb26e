//! `speed TOKENIZER FILE...` measures encoding, `speed --train VOCAB_SIZE FILE...` training; each prints JSON
//! lines. `speed --stress TOKENIZER` encodes texts that are hard on tokenizers, a million characters of each and
//! ten million, checks that they come back, and says how many times longer ten times the text takes.
//!
//! TOKENIZER is a `tokenizer.json`, or a `.tiktoken` file with the name of its pattern behind a colon:
//! `cl100k_base.tiktoken:cl100k`. A FILE that ends in `.jsonl` holds a document on each line as a JSON string;
//! any other is one document. `--repeat N` (5) says how many times each figure is taken; the median is
//! printed, with the least and the most.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use ferrochat_tokenizer::{CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, SPLIT_PATTERN, Tokenizer, Trainer};
use serde_json::json;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut repeat = 5;
    let mut vocab_size = None;
    let mut stressed = false;
    let mut rest = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<usize, Failure> {
            let value = arguments.next().ok_or("a number is missing")?;
            Ok(value.parse()?)
        };
        match argument.as_str() {
            "--repeat" => repeat = number()?.max(1),
            "--train" => vocab_size = Some(number()?),
            "--stress" => stressed = true,
            _ => rest.push(argument),
        }
    }
    let usage =
        "usage: speed TOKENIZER FILE... | speed --train VOCAB_SIZE FILE... | speed --stress TOKENIZER [--repeat N]";
    if let Some(vocab_size) = vocab_size {
        return train(vocab_size, &rest, repeat);
    }
    let [tokenizer, files @ ..] = &rest[..] else {
        return Err(usage.into());
    };
    if stressed {
        return stress(tokenizer, repeat);
    }
    encode(tokenizer, files, repeat)
}

fn stress(name: &str, repeat: usize) -> Result<(), Failure> {
    let tokenizer = load(name)?;
    let mut state = 1_u64;
    let mut random = |count: usize| -> String {
        let bytes: Vec<u8> = (0..count)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (less, more) = (1_000_000, 10_000_000);
    let repeated = ["^", "a", "A", " ", "7", "\u{301}", "🌍", "中", "\n", "ab", "\r\n", "é"];
    let mut texts: Vec<(String, String, String)> = repeated
        .iter()
        .map(|&part| {
            let count = part.chars().count();
            (
                format!("{part:?}"),
                part.repeat(less / count),
                part.repeat(more / count),
            )
        })
        .collect();
    texts.push(("random bytes".to_owned(), random(less), random(more)));
    for (text, less, more) in &texts {
        let mut tokens = 0;
        let mut seconds = |text: &str| -> Result<f64, Failure> {
            let mut ids = Vec::new();
            let times = measure(repeat, || {
                ids.clear();
                tokenizer.encode_ordinary_into(text, &mut ids);
            });
            tokens = ids.len();
            if tokenizer.decode(&ids) != *text {
                return Err(format!("{:?}… does not come back", &text.chars().next()).into());
            }
            Ok(times.seconds[0])
        };
        let (less_seconds, more_seconds) = (seconds(less)?, seconds(more)?);
        println!(
            "{}",
            json!({
                "figure": "stress",
                "tokenizer": name,
                "text": text,
                "bytes": more.len(),
                "tokens": tokens,
                "seconds": more_seconds,
                "mb_per_second": more.len() as f64 / 1e6 / more_seconds,
                "times_longer": more_seconds / less_seconds,
            })
        );
    }
    Ok(())
}

fn encode(name: &str, files: &[String], repeat: usize) -> Result<(), Failure> {
    let begun = Instant::now();
    let tokenizer = load(name)?;
    let loading = begun.elapsed().as_secs_f64();
    let texts = documents(files)?;
    let bytes: usize = texts.iter().map(String::len).sum();
    println!("{}", json!({"figure": "load", "tokenizer": name, "seconds": loading}));

    let mut ids = Vec::new();
    let mut tokens = 0;
    let one = measure(repeat, || {
        tokens = 0;
        for text in &texts {
            ids.clear();
            tokenizer.encode_ordinary_into(text, &mut ids);
            tokens += ids.len();
        }
    });
    report("encode, one thread", name, bytes, &one, tokens);
    drop(ids);

    let all = measure(repeat, || {
        tokens = tokenizer.encode_batch(&texts).iter().map(Vec::len).sum();
    });
    report("encode, all cores", name, bytes, &all, tokens);
    Ok(())
}

fn train(vocab_size: usize, files: &[String], repeat: usize) -> Result<(), Failure> {
    let texts = documents(files)?;
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut learned = 0;
    let mut failed = None;
    let seconds = measure(repeat, || {
        let trained = Trainer::new(vocab_size).and_then(|mut trainer| {
            for text in &texts {
                trainer.feed(text);
            }
            trainer.finish(&mut |_, _| ())
        });
        match trained {
            Ok(tokenizer) => learned = tokenizer.vocab_size(),
            Err(error) => failed = Some(error),
        }
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    report("train", &vocab_size.to_string(), bytes, &seconds, learned);
    Ok(())
}

fn load(name: &str) -> Result<Tokenizer, Failure> {
    let Some((path, pattern)) = name.rsplit_once(':') else {
        return Ok(Tokenizer::load(Path::new(name))?);
    };
    let pattern = match pattern {
        "nanochat" => SPLIT_PATTERN,
        "gpt2" => GPT2_PATTERN,
        "cl100k" => CL100K_PATTERN,
        "o200k" => O200K_PATTERN,
        other => other,
    };
    Ok(Tokenizer::from_tiktoken(&std::fs::read(path)?, pattern)?)
}

fn documents(files: &[String]) -> Result<Vec<String>, Failure> {
    let mut documents = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        if Path::new(file)
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            for line in text.lines() {
                documents.push(serde_json::from_str(line)?);
            }
        } else {
            documents.push(text);
        }
    }
    Ok(documents)
}

/// Seconds of each run by the clock, ascending, and the least that this thread spent on a processor, where the
/// system tells (a busy machine hardly changes that one).
struct Times {
    seconds: Vec<f64>,
    processor: Option<f64>,
}

fn measure(repeat: usize, mut work: impl FnMut()) -> Times {
    let on_processor = || -> Option<f64> {
        let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        Some(line.split(' ').next()?.parse::<f64>().ok()? / 1e9)
    };
    let mut times = Times {
        seconds: Vec::new(),
        processor: None,
    };
    for _ in 0..repeat {
        let before = on_processor();
        let begun = Instant::now();
        work();
        times.seconds.push(begun.elapsed().as_secs_f64());
        if let (Some(before), Some(after)) = (before, on_processor()) {
            let least = times.processor.unwrap_or(f64::INFINITY);
            times.processor = Some(least.min(after - before));
        }
    }
    times.seconds.sort_by(f64::total_cmp);
    times
}

fn report(figure: &str, tokenizer: &str, bytes: usize, times: &Times, tokens: usize) {
    let seconds = &times.seconds;
    let median = seconds[seconds.len() / 2];
    println!(
        "{}",
        json!({
            "figure": figure,
            "tokenizer": tokenizer,
            "bytes": bytes,
            "tokens": tokens,
            "seconds": median,
            "least": seconds[0],
            "most": seconds[seconds.len() - 1],
            "processor_seconds": times.processor,
            "mb_per_second": bytes as f64 / 1e6 / median,
        })
    );
}
