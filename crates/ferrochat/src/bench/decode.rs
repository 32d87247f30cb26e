//! `bench decode`: reading a prompt, then writing tokens one by one, at several batch sizes.
//!
//! A token cannot be written faster than the weights and the keys and values it attends to can be read, and a batch not
//! faster than its products can be multiplied; the percentage is of the greater of these times. Reading a prompt computes
//! the logits of its last position alone, and of the last layer only keys and values for the others: that is what its
//! FLOPs are counted for.

use std::time::Instant;

use anyhow::Result;
use ferrochat_model::{Decoder, Facts, Gpt, GptConfig};
use ferrochat_tensor::{Choice, Device, OpUse};
use serde_json::{Map, Value, json};

use super::ceilings::Ceilings;
use super::lines::Lines;
use super::shape::{self, DECODING};
use super::timing::Timing;
use super::tokens::Tokens;
use crate::cli::BenchDecodeArgs;
use crate::device;
use crate::errors::{refuse, usage};

/// `bench decode`
///
/// # Errors
/// A flag that cannot be, or stdout cannot be written to.
pub fn command(args: &BenchDecodeArgs) -> Result<()> {
    if args.samples == 0 || args.tokens == 0 || args.prompt_tokens == 0 {
        refuse!("--samples, --tokens and --prompt-tokens must be at least 1");
    }
    if args.batch.contains(&0) {
        refuse!("--batch must be numbers from 1 on, such as 1,8,64");
    }
    let (arch, _, config) = shape::model(&args.model, DECODING)?;
    let device = device::open(&args.machine)?;
    let gpt = Gpt::new(&device, &config).map_err(usage)?;
    gpt.initialize(42);
    let mut bench = Bench {
        facts: Facts::of_model(&gpt),
        about: json!({
            "device": device.name(), "dtype": device.compute_dtype().name(),
            "model": shape::describe(arch, &config), "prompt_tokens": args.prompt_tokens,
        }),
        ceilings: Ceilings::new(&device),
        lines: Lines::new("decode", args.json),
        device: &device,
        gpt: &gpt,
        config: &config,
        args,
    };
    bench.prefill()?;
    for &batch in &args.batch {
        bench.decode(batch)?;
    }
    bench
        .lines
        .finish(&format!("{}\n{}\n", device.name(), shape::sentence(&config)))
}

struct Bench<'a> {
    device: &'a Device,
    gpt: &'a Gpt,
    config: &'a GptConfig,
    facts: Facts,
    args: &'a BenchDecodeArgs,
    about: Value,
    ceilings: Ceilings<'a>,
    lines: Lines,
}

impl Bench<'_> {
    /// Bytes of an element of weights, keys and values.
    fn element(&self) -> f64 {
        self.device.compute_dtype().bytes() as f64
    }

    /// Weights that every token is multiplied by.
    fn weight_bytes(&self) -> f64 {
        self.facts.matmul_parameters as f64 * self.element()
    }

    fn prompt(&self) -> Vec<i32> {
        Tokens::random(self.config.vocab_size, 1)
            .batch(1, self.args.prompt_tokens)
            .0
    }

    fn prefill(&mut self) -> Result<()> {
        let tokens = self.args.prompt_tokens;
        let for_all = self.facts.prompt_parameters;
        let for_last = self.facts.matmul_parameters - for_all;
        let windows = self.config.windows();
        let (last, before) = windows.split_last().expect("a model has a layer");
        let pairs: f64 = (0..tokens).map(|position| seen(before, position)).sum();
        let pairs = pairs + seen(&[*last], tokens - 1);
        let flops = 2.0 * (for_all * tokens + for_last) as f64 + 4.0 * pairs * self.config.n_embd as f64;
        let mut timing = Timing::new(flops, self.weight_bytes());
        let prompt = self.prompt();
        let mut decoder = Decoder::new(self.gpt);
        let mut read = || -> Result<f64> {
            let begun = Instant::now();
            decoder.prefill(&[&prompt])?.choose(&[Choice::greedy(0)]);
            Ok(begun.elapsed().as_secs_f64())
        };
        read()?;
        let mut uses = Uses::new(self.device);
        for _ in 0..self.args.samples {
            let look = self.ceilings.look();
            uses.start();
            let seconds = read()?;
            uses.end(seconds);
            timing.push(seconds, look);
        }
        self.tell(&format!("prompt of {tokens}"), 1, tokens as f64, &timing, 0.0, &uses)
    }

    fn decode(&mut self, batch: usize) -> Result<()> {
        let prompt = self.prompt();
        let mut decoder = Decoder::new(self.gpt);
        let read = decoder.prefill(&[&prompt])?;
        decoder.append(&read, &vec![0; batch])?;
        drop(read);
        let greedy: Vec<Choice> = (0..batch).map(Choice::greedy).collect();
        let mut next = vec![1; batch];
        let mut write = |decoder: &mut Decoder| -> Result<f64> {
            let begun = Instant::now();
            for _ in 0..self.args.tokens {
                decoder.push(&next)?;
                next = decoder.choose(&greedy);
            }
            Ok(begun.elapsed().as_secs_f64())
        };
        write(&mut decoder)?;
        let mut seconds = Vec::new();
        let mut uses = Uses::new(self.device);
        let first = decoder.length(0);
        for _ in 0..self.args.samples {
            let look = self.ceilings.look();
            uses.start();
            let taken = write(&mut decoder)?;
            uses.end(taken);
            seconds.push((taken, look));
        }
        // Keys and values grow by little while this is measured: their mean counts.
        let (positions, windows) = (first..decoder.length(0), self.config.windows());
        let seen = positions.clone().map(|position| seen(&windows, position)).sum::<f64>() / positions.len() as f64;
        let kv_bytes = batch as f64 * seen * 2.0 * self.config.kv_dim() as f64 * self.element();
        let flops = batch as f64 * (2.0 * self.facts.matmul_parameters as f64 + 4.0 * seen * self.config.n_embd as f64);
        let mut timing = Timing::new(flops, self.weight_bytes() + kv_bytes);
        for (taken, look) in seconds {
            timing.push(taken / self.args.tokens as f64, look);
        }
        self.tell(&format!("batch {batch}"), batch, batch as f64, &timing, kv_bytes, &uses)
    }

    fn tell(
        &mut self,
        name: &str,
        batch: usize,
        tokens: f64,
        timing: &Timing,
        kv_bytes: f64,
        uses: &Uses,
    ) -> Result<()> {
        let rate = timing.seconds.median().map(|seconds| tokens / seconds);
        let mut about = self.about.clone();
        about["batch"] = batch.into();
        about["tokens_per_second"] = json!(rate);
        about["weight_bytes"] = json!(self.weight_bytes());
        about["kv_bytes"] = json!(kv_bytes);
        about["share"] = uses.shares();
        let shown = if self.lines.is_json() {
            name.to_owned()
        } else {
            format!("{name}: {:.1} tokens/s", rate.unwrap_or(f64::NAN))
        };
        self.lines.push(&shown, about, timing)
    }
}

/// Keys that the query at `position` sees in layers of these windows.
fn seen(windows: &[usize], position: usize) -> f64 {
    let seen = windows.iter().map(|window| window.saturating_add(1).min(position + 1));
    seen.sum::<usize>() as f64
}

/// Shares of time by operation, where writing them down costs nothing.
struct Uses<'a> {
    device: &'a Device,
    on: bool,
    all: Map<String, Value>,
    seconds: f64,
}

impl<'a> Uses<'a> {
    fn new(device: &'a Device) -> Uses<'a> {
        Uses {
            device,
            on: !device::is_gpu(device),
            all: Map::new(),
            seconds: 0.0,
        }
    }

    fn start(&self) {
        if self.on {
            self.device.start_profile();
        }
    }

    fn end(&mut self, seconds: f64) {
        self.seconds += seconds;
        for OpUse { name, seconds, .. } in self.device.take_profile() {
            let before = self.all.get(name).and_then(Value::as_f64).unwrap_or(0.0);
            self.all.insert(name.to_owned(), json!(before + seconds));
        }
    }

    fn shares(&self) -> Value {
        let share = |seconds: &Value| json!(seconds.as_f64().unwrap_or(0.0) / self.seconds);
        self.all
            .iter()
            .map(|(name, seconds)| (name.clone(), share(seconds)))
            .collect()
    }
}
