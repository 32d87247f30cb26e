//! Learning conversations, for mid-training and SFT: a recipe to be read from top to bottom.
//!
//! Conversations are rendered, packed into rows, and their masks turned into targets; the loss is the mean
//! over the targets of each micro-batch, then over micro-batches. The two stages differ in their settings.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use ferrochat_data::{Batch, ConversationLoader, ConversationLoaderConfig, ConversationPacking, LoaderState};
use ferrochat_model::{Gpt, Rates, Schedule};
use ferrochat_tokenizer::Tokenizer;
use serde::Serialize;
use serde_json::{Value, json};

use crate::checkpoints::Resumed;
use crate::cli::TuneArgs;
use crate::errors::{refuse, usage};
use crate::eval::{Score, Tally};
use crate::exam::Exam;
use crate::home::Home;
use crate::interrupt::Interrupt;
use crate::metrics::Line;
use crate::output;
use crate::plan::TimePlan;
use crate::record;
use crate::talks::Talks;
use crate::training::{Chain, Learned, Lesson, Moment, Passes, Rows, Weights, is_due};
use crate::tune_settings::{TuneSettings, TuneStep};
use crate::{device, format, presets};

/// What the stage will be.
#[derive(Clone, Debug, Serialize)]
pub struct TunePlan {
    /// Name of the run.
    pub run: String,
    /// `mid` or `sft`
    pub stage: &'static str,
    /// The stage whose model is the beginning.
    pub source: &'static str,
    /// What is learned.
    pub conversations: String,
    /// Rows per forward and backward pass.
    pub device_batch_size: usize,
    /// Forward and backward passes per optimizer step.
    pub grad_accum_steps: usize,
    /// Tokens in the rows of an optimizer step, padding included.
    pub total_batch_size: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Tokens in all rows.
    pub tokens: u64,
    /// For the whole stage.
    pub total_flops: f64,
    /// Most bytes of memory that tensors need at a time.
    pub memory_bytes: u64,
    /// How long it will take, where a rate is known.
    pub time: Option<TimePlan>,
}

/// `train mid|sft`
///
/// # Errors
/// Anything refused, a failure, or an interrupt.
pub fn command(home: &Home, stage: &'static str, sources: &[&'static str], args: &TuneArgs) -> Result<()> {
    let chain = Chain::open(home, stage, sources, &args.stage)?;
    let run = chain.run.clone();
    let interrupt = Interrupt::listen()?;
    let go_on = format::shell_line(["ferrochat", "train", stage, "--run", &run.name, "--resume"]);
    let _lock = (!args.plan.dry_run).then(|| record::lock(&run)).transpose()?;
    train(chain, args, &interrupt, &go_on)
}

/// The stage. The caller holds the run's lock and says which command line goes on after an interrupt.
///
/// # Errors
/// Conversations or a checkpoint that cannot be used, files that cannot be written, or an interrupt.
pub fn train(chain: Chain, args: &TuneArgs, interrupt: &Interrupt, go_on: &str) -> Result<()> {
    let settings = match chain.saved()? {
        Some(saved) => TuneSettings::resumed(&saved, &args.flags, &chain.run.name)?,
        None => TuneSettings::new(chain.stage, &presets::tuning(&chain.settings, chain.stage), &args.flags)?,
    };
    let talks = Talks::open(chain.stage, &chain.settings, &chain.plan, &settings)?;
    let step = settings.step(&chain.plan, &chain.device)?;
    let config = loader_config(&chain, &settings, &step)?;
    let mut plan = plan(&chain, &settings, &step, &talks, &config)?;
    if args.plan.dry_run {
        let rate = match args.plan.assume_tflops {
            Some(tflops) => tflops * 1e12,
            None => device::measure_rate(&chain.device, &chain.plan.model, plan.device_batch_size)?,
        };
        plan.time = Some(time(&plan, rate, args.plan.price_per_hour));
        return print_plan(&plan, args.plan.json);
    }

    let rates = rates(&chain, &settings);
    let loaded = chain.load(&rates, settings.carry_optimizer, settings.save_every)?;
    let state = loaded.resumed.as_ref().map_or(Ok(None), Resumed::loader)?;
    let mut loader =
        ConversationLoader::start(&talks.train, &chain.tokenizer, config.clone(), state.clone()).map_err(usage)?;
    let batch = loader.next_batch().map_err(usage)?;
    let validation = Validation::new(&talks, &chain.tokenizer, &config, &settings);
    let mut exam = Exam::of_run(&chain.settings, &chain.plan)?;
    if let (Some(list), Some(folder)) = (&settings.tasks, &settings.tasks_dir) {
        exam.add(list, Path::new(folder), chain.settings.exam_questions)?;
    }
    eprintln!("{}: learning {}", chain.stage, plan.conversations);
    let mut lesson = Talking {
        tokenizer: Arc::clone(&chain.tokenizer),
        grad_accum_steps: plan.grad_accum_steps,
        sequence_len: config.sequence_len,
        loader,
        batch,
        state,
        eval_every: settings.eval_every,
        validation,
        last_score: None,
        exam,
    };
    let schedule = schedule(&settings, plan.steps);
    let training = chain.start(loaded, schedule, &settings, &plan, args.plan.price_per_hour)?;
    training.run(&mut lesson, interrupt, go_on)
}

fn loader_config(chain: &Chain, settings: &TuneSettings, step: &TuneStep) -> Result<ConversationLoaderConfig> {
    let packing = match settings.packing.as_str() {
        "best-fit" => ConversationPacking::BestFit,
        "one-per-row" => ConversationPacking::OnePerRow,
        "stream" => ConversationPacking::Stream,
        other => refuse!("--packing {other:?} is unknown; it must be best-fit, one-per-row or stream"),
    };
    let mut config = ConversationLoaderConfig::new(step.device_batch_size, chain.plan.model.sequence_len, packing);
    // The number of steps says where it ends; the last step may need a little of the next epoch.
    config.passes = None;
    Ok(config)
}

fn plan(
    chain: &Chain,
    settings: &TuneSettings,
    step: &TuneStep,
    talks: &Talks,
    config: &ConversationLoaderConfig,
) -> Result<TunePlan> {
    let steps = match usize::try_from(settings.num_iterations) {
        Ok(steps) => steps,
        Err(_) if talks.endless => refuse!("the world's conversations never end: give --num-iterations"),
        Err(_) => {
            let mut once = config.clone();
            once.passes = Some(settings.epochs);
            let survey = ConversationLoader::survey(&talks.train, &chain.tokenizer, &once).map_err(usage)?;
            (survey.batches as usize / step.grad_accum_steps).max(1)
        }
    };
    let tokens = step.tokens_of(steps as u64);
    Ok(TunePlan {
        run: chain.run.name.clone(),
        stage: chain.stage,
        source: chain.source,
        conversations: talks.describe(),
        device_batch_size: step.device_batch_size,
        grad_accum_steps: step.grad_accum_steps,
        total_batch_size: step.total_batch_size,
        steps,
        tokens,
        total_flops: tokens as f64 * chain.plan.flops_per_token,
        memory_bytes: step.memory_bytes,
        time: None,
    })
}

fn time(plan: &TunePlan, flops_per_second: f64, price_per_hour: Option<f64>) -> TimePlan {
    let minutes = plan.total_flops / flops_per_second / 60.0;
    TimePlan {
        flops_per_second,
        source: "training alone".to_owned(),
        minutes,
        cost: price_per_hour.map(|price| price * minutes / 60.0),
    }
}

fn print_plan(plan: &TunePlan, as_json: bool) -> Result<()> {
    if as_json {
        return output::print_json(plan);
    }
    let minutes = plan.time.as_ref().map_or(0.0, |time| time.minutes);
    output::print(&format!(
        "run             {}\nstage           {}, from {}\nconversations   {}\nbatch           {} tokens = {} rows × {} passes\nsteps           {}\ntokens          {}\nmemory          {}\ntime            {} predicted\n",
        plan.run,
        plan.stage,
        plan.source,
        plan.conversations,
        format::thousands(plan.total_batch_size as u64),
        plan.device_batch_size,
        plan.grad_accum_steps,
        format::thousands(plan.steps as u64),
        format::thousands(plan.tokens),
        format::bytes(plan.memory_bytes),
        format::duration(minutes * 60.0),
    ))
}

/// A part of the base model's rates. The reference takes those for a batch of 2¹⁹ tokens whatever the batch is;
/// far smaller batches would not bear them, so theirs stay scaled.
fn rates(chain: &Chain, settings: &TuneSettings) -> Rates {
    let scale = if settings.unscaled_rates {
        (1.0 / chain.plan.lr_scale).min(1.0)
    } else {
        1.0
    };
    let rates = chain.plan.rates(&chain.settings);
    Rates {
        // Not scaled by the batch, and so not to be scaled back.
        smear: rates.smear * settings.init_lr_frac,
        ..rates.scaled(settings.init_lr_frac * scale)
    }
}

fn schedule(settings: &TuneSettings, steps: usize) -> Schedule {
    Schedule {
        warmup_steps: settings.warmup_steps,
        warmdown_ratio: settings.warmdown_ratio,
        final_lr_frac: settings.final_lr_frac,
        momentum: [settings.momentum_start, 0.95, 0.95],
        momentum_warmup_steps: settings.momentum_warmup_steps,
        ..Schedule::pretraining(steps, 0.0)
    }
}

/// Conversations in packed rows.
struct Talking {
    tokenizer: Arc<Tokenizer>,
    grad_accum_steps: usize,
    sequence_len: usize,
    loader: ConversationLoader,
    /// The batch to train on next; its state is not yet consumed.
    batch: Option<Batch>,
    /// State of the loader after the last batch that was trained on; none before the first.
    state: Option<LoaderState>,
    eval_every: i64,
    validation: Validation,
    last_score: Option<Score>,
    exam: Exam,
}

impl Lesson for Talking {
    fn learn(&mut self, gpt: &Gpt, _step: usize, passes: &mut Passes, _line: &mut Line) -> Result<Learned> {
        let (mut loss, mut tokens) = (0.0, 0);
        for _ in 0..self.grad_accum_steps {
            let batch = self.batch.take().expect("the mixture is passed over without end");
            let targets = batch.targets.iter().filter(|&&target| target >= 0).count();
            // Rows may be entirely masked, even all of a batch: it counts for nothing then.
            let weight = 1.0 / (targets.max(1) * self.grad_accum_steps) as f32;
            let rows = Rows {
                inputs: &batch.inputs,
                targets: &batch.targets,
                sequence_len: self.sequence_len,
            };
            loss += passes.learn(gpt, rows, Weights::Same(weight));
            tokens += batch.inputs.len();
            let mut done = batch;
            self.batch = self.loader.next_batch()?;
            std::mem::swap(self.state.get_or_insert_default(), &mut done.state);
            self.loader.recycle(done);
        }
        Ok(Learned { loss, tokens })
    }

    fn measure(&mut self, at: &Moment, line: &mut Line) -> Result<bool> {
        if is_due(self.eval_every, at.step) || at.last {
            let Some(score) = self.validation.measure(at.gpt, at.interrupt)? else {
                return Ok(false);
            };
            (line.val_bpb, line.val_loss) = (Some(score.bits_per_byte), Some(score.loss));
            at.progress.line(&format!(
                "step {}: loss {:.4}, {:.4} bits per byte on {} validation targets",
                at.step, score.loss, score.bits_per_byte, score.tokens
            ));
            self.last_score = Some(score);
        }
        Ok(true)
    }

    fn examine(&mut self, gpt: &Gpt, interrupt: &Interrupt) -> Result<bool> {
        self.exam.sit(gpt, &self.tokenizer, interrupt)
    }

    fn position(&self) -> Vec<u8> {
        self.state.as_ref().map(LoaderState::to_bytes).unwrap_or_default()
    }

    fn findings(&self) -> Vec<(&'static str, Value)> {
        let mut findings = self.exam.findings();
        findings.extend(self.last_score.map(|score| ("val", json!(score))));
        findings
    }
}

/// The loss on conversations that are never learned: always the same ones.
struct Validation {
    mixture: ferrochat_data::Mixture,
    tokenizer: Arc<Tokenizer>,
    config: ConversationLoaderConfig,
    batches: u64,
    byte_lengths: Vec<u32>,
    nll: Vec<f32>,
}

impl Validation {
    fn new(
        talks: &Talks,
        tokenizer: &Arc<Tokenizer>,
        config: &ConversationLoaderConfig,
        settings: &TuneSettings,
    ) -> Validation {
        let config = ConversationLoaderConfig {
            passes: Some(1),
            ..config.clone()
        };
        Validation {
            mixture: talks.validation.clone(),
            tokenizer: Arc::clone(tokenizer),
            batches: (settings.eval_tokens / (config.batch_size * config.sequence_len) as u64).max(1),
            config,
            byte_lengths: tokenizer.byte_lengths(),
            nll: Vec::new(),
        }
    }

    /// Nothing if an interrupt came first.
    fn measure(&mut self, gpt: &Gpt, interrupt: &Interrupt) -> Result<Option<Score>> {
        let mut loader = ConversationLoader::start(&self.mixture, &self.tokenizer, self.config.clone(), None)?;
        let mut passes = Passes::new(gpt);
        let mut tally = Tally::default();
        for _ in 0..self.batches {
            if interrupt.requested().is_some() {
                return Ok(None);
            }
            let Some(batch) = loader.next_batch()? else { break };
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
}
