//! Bits per byte and perplexity on the validation part: always the same tokens, so that figures of
//! one run can be compared. Knows a model's loss and a loader, not who asks.

use std::sync::Arc;

use anyhow::Result;
use ferrochat_data::{Corpus, Loader, LoaderConfig, Packing, Split};
use ferrochat_model::Gpt;
use ferrochat_tokenizer::Tokenizer;
use serde::Serialize;

use crate::cli::BpbArgs;
use crate::errors::{refuse, usage};
use crate::home::Home;
use crate::interrupt::Interrupt;
use crate::settings::Settings;
use crate::training::{Passes, Rows};
use crate::{format, model, output, source};

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Σ nll / (ln 2 · Σ bytes), special tokens left out of both (REFERENCE.md §2).
    pub bits_per_byte: f64,
    /// Mean negative log-likelihood of all targets in nats per token.
    pub loss: f64,
    /// e to that power.
    pub perplexity: f64,
    /// Targets measured.
    pub tokens: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What has been measured so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    nats: f64,
    /// Targets.
    pub tokens: u64,
    byte_nats: f64,
    bytes: u64,
}

impl Tally {
    /// Adds the targets of a batch; those below 0 do not count.
    pub fn add(&mut self, targets: &[i32], nll: &[f32], byte_lengths: &[u32]) {
        for (&target, &nll) in targets.iter().zip(nll).filter(|(target, _)| **target >= 0) {
            self.nats += f64::from(nll);
            self.tokens += 1;
            let length = byte_lengths[target as usize];
            if length > 0 {
                self.byte_nats += f64::from(nll);
                self.bytes += u64::from(length);
            }
        }
    }

    /// What it comes to.
    pub fn score(&self) -> Score {
        let loss = self.nats / self.tokens.max(1) as f64;
        Score {
            bits_per_byte: self.byte_nats / (std::f64::consts::LN_2 * self.bytes.max(1) as f64),
            loss,
            perplexity: loss.exp(),
            tokens: self.tokens,
            bytes: self.bytes,
        }
    }
}

/// The measure, with its memory.
pub struct Evaluator {
    corpus: Corpus,
    tokenizer: Arc<Tokenizer>,
    config: LoaderConfig,
    batches: u64,
    byte_lengths: Vec<u32>,
    nll: Vec<f32>,
}

impl Evaluator {
    /// Measures about `tokens` tokens in batches of `batch_size` rows, but the validation part once
    /// at most (and at least one batch).
    pub fn new(
        corpus: &Corpus,
        tokenizer: &Arc<Tokenizer>,
        packing: Packing,
        batch_size: usize,
        sequence_len: usize,
        tokens: u64,
    ) -> Evaluator {
        Evaluator {
            corpus: corpus.clone(),
            tokenizer: Arc::clone(tokenizer),
            config: LoaderConfig::new(batch_size, sequence_len, Split::Validation, packing.for_validation()),
            batches: (tokens / (batch_size * sequence_len) as u64).max(1),
            byte_lengths: tokenizer.byte_lengths(),
            nll: Vec::new(),
        }
    }

    /// Checks that there is a batch to measure on.
    ///
    /// # Errors
    /// Too little or unreadable validation data, as usage.
    pub fn check(&self) -> Result<()> {
        let mut loader =
            Loader::start(&self.corpus, Arc::clone(&self.tokenizer), self.config.clone(), None).map_err(usage)?;
        loader.next_batch().map_err(usage)?;
        Ok(())
    }

    /// Measures a model; none if an interrupt came first.
    ///
    /// # Errors
    /// Data that can no longer be read.
    pub fn measure(&mut self, gpt: &Gpt, interrupt: Option<&Interrupt>) -> Result<Option<Score>> {
        let mut passes = Passes::new(gpt);
        let mut loader = Loader::start(&self.corpus, Arc::clone(&self.tokenizer), self.config.clone(), None)?;
        let mut tally = Tally::default();
        for done in 0..self.batches {
            if interrupt.is_some_and(|interrupt| interrupt.requested().is_some()) {
                return Ok(None);
            }
            let batch = loader.next_batch()?;
            if done > 0 && self.is_second_pass(&batch, tally.tokens) {
                break;
            }
            let rows = Rows {
                inputs: &batch.inputs,
                targets: &batch.targets,
                sequence_len: self.config.sequence_len,
            };
            passes.nll(gpt, rows, &mut self.nll);
            tally.add(&batch.targets, &self.nll, &self.byte_lengths);
            loader.recycle(batch);
        }
        Ok(Some(tally.score()))
    }

    /// A stream says exactly when it begins again. Best fit reads ahead, so that there the tokens read
    /// per pass are the measure.
    fn is_second_pass(&self, batch: &ferrochat_data::Batch, tokens: u64) -> bool {
        let epoch = batch.state.position().epoch;
        match self.config.packing {
            Packing::BestFit => epoch > 0 && tokens >= batch.state.counters().tokens_read / (epoch + 1),
            _ => epoch > 0,
        }
    }
}

/// `eval bpb`
///
/// # Errors
/// No such model, or data that does not fit it.
pub fn bpb_command(home: &Home, args: &BpbArgs) -> Result<()> {
    let trained = model::load(home, &args.model)?;
    let settings = &trained.settings;
    let data = args.data.clone().or_else(|| settings.data.clone());
    let corpus = source::open(&Settings {
        data,
        ..settings.clone()
    })?;
    let tokens = args.eval_tokens.or(settings.eval_tokens).unwrap_or(1);
    let batch_size = args.device_batch_size.unwrap_or(settings.device_batch_size);
    if batch_size == 0 || tokens == 0 {
        refuse!("--device-batch-size and --eval-tokens must be at least 1");
    }
    let packing = source::packing(&corpus, settings.seed);
    let sequence_len = trained.gpt.config().sequence_len;
    let mut evaluator = Evaluator::new(&corpus, &trained.tokenizer, packing, batch_size, sequence_len, tokens);
    evaluator.check()?;
    let score = evaluator.measure(&trained.gpt, None)?.expect("nothing interrupts");
    if args.json {
        return output::print_json(&serde_json::json!({
            "run": args.model.run,
            "step": trained.step,
            "data": corpus.describe().path,
            "bits_per_byte": score.bits_per_byte,
            "loss": score.loss,
            "perplexity": score.perplexity,
            "tokens": score.tokens,
            "bytes": score.bytes,
        }));
    }
    output::print(&format!(
        "run {} after {} steps, {} tokens ({} bytes) of {}\nbits per byte  {:.6}\nloss           {:.6} nats per token\nperplexity     {:.4}\n",
        args.model.run,
        format::thousands(trained.step),
        format::thousands(score.tokens),
        format::thousands(score.bytes),
        corpus.describe().path.display(),
        score.bits_per_byte,
        score.loss,
        score.perplexity
    ))
}
