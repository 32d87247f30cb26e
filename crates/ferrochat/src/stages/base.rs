//! Base training: from text to a model, a recipe to be read from top to bottom.
//!
//! Each step takes `grad_accum_steps` micro-batches of packed text, adds up their gradients and moves
//! the weights once. Now and then it measures bits per byte and lets the model write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrochat_data::{Batch, Corpus, Loader, LoaderConfig, LoaderState, Packing, Skipped, Split};
use ferrochat_model::{Gpt, Optimizer};
use ferrochat_tokenizer::Tokenizer;
use serde_json::{Value, json};

use crate::checkpoints::{Checkpoints, Resumed, Trainer};
use crate::cli::BaseArgs;
use crate::errors::{refuse, usage};
use crate::eval::{Evaluator, Score};
use crate::exam::Exam;
use crate::home::{Home, RunFolder};
use crate::interrupt::Interrupt;
use crate::metrics::{Line, Metrics};
use crate::plan::Plan;
use crate::prepare::{self, More, Prepared, prepare};
use crate::record::{self, StageRecord, State};
use crate::settings::Settings;
use crate::stages::tokenizer;
use crate::training::{self, Learned, Lesson, Moment, Passes, Rows, Training, Weights, is_due};
use crate::{device, format, sample, source};

/// `train base`
///
/// # Errors
/// Anything refused, a failure, or an interrupt.
pub fn command(home: &Home, args: &BaseArgs) -> Result<()> {
    let mut prepared = prepare(home, &args.flags, &args.run, &args.compute, &args.plan)?;
    if args.plan.dry_run {
        return prepared.print_plan(&args.plan, |_| Ok(More::default()));
    }
    if prepare::is_finished(prepared.base.as_ref()) {
        refuse!(
            "the run {:?} is finished; sample from it, give another --run, or --fresh to begin again",
            prepared.run.name
        );
    }
    let interrupt = Interrupt::listen()?;
    let _lock = record::lock(&prepared.run)?;
    let run = prepared.run.name.clone();
    let go_on = format::shell_line(["ferrochat", "train", "base", "--run", &run, "--resume"]);
    train(prepared, &interrupt, &go_on)
}

/// The stage. The caller holds the run's lock and says which command line goes on after an interrupt.
///
/// # Errors
/// Data or a checkpoint that cannot be used, files that cannot be written, a loss that is no number,
/// or an interrupt.
pub fn train(prepared: Prepared, interrupt: &Interrupt, go_on: &str) -> Result<()> {
    let (training, mut lesson) = begin(prepared, interrupt)?;
    training.run(&mut lesson, interrupt, go_on)
}

/// Text in packed rows, every token a target.
struct Reading {
    settings: Settings,
    plan: Plan,
    tokenizer: Arc<Tokenizer>,
    packing: Packing,
    loader: Loader,
    /// The batch to train on next; its state is not yet consumed.
    batch: Batch,
    /// State of the loader after the last batch that was trained on; none before the first.
    state: Option<LoaderState>,
    /// Unreadable files that have been named here.
    named: usize,
    evaluator: Evaluator,
    last_score: Option<Score>,
    exam: Exam,
}

impl Lesson for Reading {
    /// `grad_accum_steps` micro-batches, whose gradients add up.
    fn learn(&mut self, gpt: &Gpt, _step: usize, passes: &mut Passes, line: &mut Line) -> Result<Learned> {
        let tokens = self.plan.total_batch_size;
        let weight = Weights::Same(1.0 / tokens as f32);
        let (mut loss, mut waited) = (0.0, Duration::ZERO);
        for _ in 0..self.plan.grad_accum_steps {
            let rows = Rows {
                inputs: &self.batch.inputs,
                targets: &self.batch.targets,
                sequence_len: self.settings.max_seq_len,
            };
            loss += passes.learn(gpt, rows, weight);
            let asked = Instant::now();
            let next = self.loader.next_batch()?;
            waited += asked.elapsed();
            let mut done = std::mem::replace(&mut self.batch, next);
            // Swapped, not copied: the state and the memory of the one before go back to the loader.
            std::mem::swap(self.state.get_or_insert_default(), &mut done.state);
            self.loader.recycle(done);
        }
        line.data_wait = Some((waited.as_secs_f64() * 1e6).round() / 1e6);
        Ok(Learned { loss, tokens })
    }

    fn measure(&mut self, at: &Moment, line: &mut Line) -> Result<bool> {
        let skipped = self.skipped();
        for (index, skipped) in skipped.iter().enumerate().skip(self.named) {
            at.progress
                .line(&format!("base: {skipped}; unreadable files so far: {}", index + 1));
        }
        line.skipped_files = (!skipped.is_empty()).then_some(skipped.len());
        self.named = skipped.len();
        if is_due(self.settings.eval_every, at.step) || at.last {
            let Some(score) = self.evaluator.measure(at.gpt, Some(at.interrupt))? else {
                return Ok(false);
            };
            (line.val_bpb, line.val_loss) = (Some(score.bits_per_byte), Some(score.loss));
            at.progress.line(&format!(
                "step {}: {:.4} bits per byte, perplexity {:.2} on {} validation tokens",
                at.step, score.bits_per_byte, score.perplexity, score.tokens
            ));
            self.last_score = Some(score);
        }
        if (is_due(self.settings.sample_every, at.step) && at.step > 0) || at.last {
            line.samples = sample::during_training(at.gpt, &self.tokenizer, sample::start_of(self.packing))?;
            at.progress.line(&format!("step {}: {:?}", at.step, line.samples[0]));
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
        if !self.skipped().is_empty() {
            findings.push(("skipped_files", json!(self.skipped())));
        }
        findings
    }
}

impl Reading {
    /// The files that this run has gone on without.
    fn skipped(&self) -> &[Skipped] {
        self.state.as_ref().map_or(&[], LoaderState::skipped)
    }
}

/// Everything up to the first step. Files are written only once the data have given a batch and the
/// model stands.
fn begin(prepared: Prepared, interrupt: &Interrupt) -> Result<(Training, Reading)> {
    let Prepared {
        run,
        settings,
        base,
        corpus,
        tokenizer,
        device,
        mut plan,
        fresh,
        price_per_hour,
        request,
    } = prepared;
    let corpus = corpus.expect("only a dry run does without data");
    let folder = run.stage("base");
    let obtained = tokenizer::obtain(tokenizer, &corpus, &settings, interrupt)?;
    let seconds = obtained.seconds;
    let tokenizer = Arc::new(obtained.tokenizer);
    if tokenizer.vocab_size() != plan.model.vocab_size {
        let time = plan.time.take();
        plan = Plan::new(
            &run.name,
            &settings,
            tokenizer.vocab_size(),
            &device,
            Some(corpus.describe().clone()),
        )?;
        plan.time = time;
    }

    let packing = source::packing(&corpus, settings.seed);
    let config = LoaderConfig::new(settings.device_batch_size, settings.max_seq_len, Split::Train, packing);
    let evaluator = Evaluator::new(
        &corpus,
        &tokenizer,
        packing,
        settings.device_batch_size,
        settings.max_seq_len,
        plan.eval_tokens,
    );
    let gpt = Gpt::new(&device, &plan.model).map_err(usage)?;
    let mut optimizer = Optimizer::new(&gpt, &plan.rates(&settings));
    let checkpoints = Checkpoints::new(&folder, settings.save_every, &tokenizer);
    // Reading and tokenising the first batches takes as long as making the weights: side by side.
    let started = std::thread::scope(|scope| -> Result<_> {
        let check = scope.spawn(|| evaluator.check());
        let resumed = match &base {
            Some(record) => training::resume(&checkpoints, &gpt, &mut optimizer, record, &run)?,
            None => None,
        };
        let state = resumed.as_ref().map_or(Ok(None), Resumed::loader)?;
        let mut loader = Loader::start(&corpus, Arc::clone(&tokenizer), config, state.clone()).map_err(usage)?;
        if resumed.is_none() {
            gpt.initialize(settings.seed);
        }
        let batch = loader.next_batch().map_err(usage)?;
        check.join().expect("the check's errors are results")?;
        Ok((resumed, loader, batch, state))
    });
    let (resumed, loader, batch, state) = started?;
    let step = resumed.as_ref().map_or(0, |resumed| resumed.step);
    let trainer = resumed.map_or_else(|| Trainer::begin(&settings, packing), |resumed| resumed.trainer);

    // Nothing has been written until here.
    if fresh {
        remove_old(&run)?;
    }
    tokenizer::keep(&run, &tokenizer, seconds, &corpus, &settings)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let metrics = Metrics::open(&folder, step as u64)?;
    let mut record = base.unwrap_or_else(|| {
        StageRecord::begin(
            "base",
            &settings,
            details(&plan, &device.name(), packing, price_per_hour),
        )
    });
    device::note_move(&mut record, "base", step, &device);
    record.settings = settings.clone();
    if let Some(request) = request {
        record.details["speedrun"] = request;
    }
    record.save(&folder, State::Begun)?;

    announce(&run, &plan, &corpus, step);
    let training = Training {
        stage: "base",
        schedule: plan.schedule(&settings),
        flops_per_token: plan.flops_per_token,
        trainer: Trainer {
            settings: settings.clone(),
            ..trainer
        },
        exam_seconds: 0.0,
        run,
        gpt,
        optimizer,
        checkpoints,
        metrics,
        record,
        step,
    };
    let exam = Exam::of_run(&settings, &plan)?;
    let reading = Reading {
        settings,
        plan,
        tokenizer,
        packing,
        loader,
        batch,
        state,
        named: 0,
        evaluator,
        last_score: None,
        exam,
    };
    Ok((training, reading))
}

fn details(plan: &Plan, device: &str, packing: Packing, price_per_hour: Option<f64>) -> Value {
    json!({
        "plan": plan,
        "device": device,
        "packing": packing,
        "price_per_hour": price_per_hour,
        "steps_done": 0,
    })
}

fn announce(run: &RunFolder, plan: &Plan, corpus: &Corpus, step: usize) {
    if step > 0 {
        eprintln!("base: going on after step {step} of {}", plan.steps);
    }
    eprintln!(
        "base: {} parameters, {} steps of {} tokens on {}; files in {}",
        format::short(plan.parameters.total as f64),
        format::thousands(plan.steps as u64),
        format::thousands(plan.total_batch_size as u64),
        corpus.describe(),
        run.stage("base").display()
    );
}

/// Deletes what an earlier run of this name left, but not a tokenizer made by hand.
fn remove_old(run: &RunFolder) -> Result<()> {
    training::remove_from(run, "base")?;
    let tokenizer = run.stage("tokenizer");
    if !prepare::made_by_hand(run)? && tokenizer.exists() {
        std::fs::remove_dir_all(&tokenizer).with_context(|| format!("cannot delete {}", tokenizer.display()))?;
    }
    Ok(())
}
