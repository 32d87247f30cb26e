//! Base training: from text to a model, a recipe to be read from top to bottom.
//!
//! Each step takes `grad_accum_steps` micro-batches, adds up their gradients and moves the weights
//! once. Now and then it measures, writes samples and saves; a signal ends it after a checkpoint; a
//! later start goes on with the same bits. The loop allocates nothing once it runs, but for its log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrochat_data::{Batch, Corpus, Loader, LoaderConfig, LoaderState, Packing, Split};
use ferrochat_model::{Gpt, Optimizer, Schedule};
use ferrochat_tensor::{Graph, Tensor};
use ferrochat_tokenizer::Tokenizer;
use serde_json::{Value, json};

use crate::checkpoints::{Checkpoints, Trainer};
use crate::cli::BaseArgs;
use crate::errors::{Interrupted, refuse, usage};
use crate::eval::{Evaluator, Score};
use crate::home::{Home, RunFolder};
use crate::interrupt::Interrupt;
use crate::metrics::{Line, Metrics};
use crate::plan::Plan;
use crate::prepare::{self, Prepared, prepare};
use crate::progress::{Progress, StepFigures};
use crate::record::{self, StageRecord, State};
use crate::sample::{self, Start};
use crate::settings::Settings;
use crate::stages::tokenizer;
use crate::{format, machine, source};

/// A checkpoint is made at least this often.
const SAVE_AFTER: Duration = Duration::from_mins(5);

/// `train base`
///
/// # Errors
/// Anything refused, a failure, or an interrupt.
pub fn command(home: &Home, args: &BaseArgs) -> Result<()> {
    let mut prepared = prepare(home, &args.flags, &args.run, args.threads, &args.plan)?;
    if args.plan.dry_run {
        return prepared.print_plan(&args.plan);
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
    let mut training = Training::begin(prepared, interrupt)?;
    let ended = training.run(interrupt);
    training.progress.finish();
    let seconds = training.elapsed;
    match ended {
        Ok(End::Finished) => training.close(State::Finished, seconds),
        Ok(End::Signal(signal)) => {
            training.close(State::Interrupted, seconds)?;
            let message = format!(
                "interrupted after step {} of {}, everything is saved; go on with: {go_on}",
                training.step, training.plan.steps
            );
            Err(anyhow::Error::new(Interrupted { signal, message }))
        }
        Err(error) => {
            training.close(State::Failed, seconds).ok();
            Err(error)
        }
    }
}

enum End {
    Finished,
    Signal(i32),
}

/// Everything that a run of the loop holds.
struct Training {
    run: RunFolder,
    settings: Settings,
    plan: Plan,
    record: StageRecord,
    tokenizer: Arc<Tokenizer>,
    packing: Packing,
    gpt: Gpt,
    optimizer: Optimizer,
    schedule: Schedule,
    loader: Loader,
    /// The batch to train on next; its state is not yet consumed.
    batch: Batch,
    evaluator: Evaluator,
    checkpoints: Checkpoints,
    metrics: Metrics,
    progress: Progress,
    graph: Graph,
    inputs: Tensor,
    targets: Tensor,
    weights: Tensor,
    ids: Vec<i32>,
    /// Steps done.
    step: usize,
    /// Seconds of training over all starts.
    elapsed: f64,
    /// Smoothed training loss.
    smooth_loss: f64,
    /// State of the loader after the last batch that was trained on; none before the first.
    loader_state: Option<LoaderState>,
    last_score: Option<Score>,
}

impl Training {
    /// Everything up to the first step. Files are written only once the data have given a batch and the
    /// model stands.
    fn begin(prepared: Prepared, interrupt: &Interrupt) -> Result<Training> {
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
                Some(record) => {
                    let resumed = checkpoints.restore_latest(&gpt, &mut optimizer)?;
                    let done = record.details["steps_done"].as_u64().unwrap_or(0);
                    if resumed.is_none() && done > 0 {
                        refuse!(
                            "the run {:?} has done {done} steps but its checkpoints are gone from {}; bring them back, or give --fresh to begin again",
                            run.name,
                            folder.display()
                        );
                    }
                    resumed
                }
                None => None,
            };
            let state = resumed.as_ref().and_then(|resumed| resumed.loader.clone());
            let mut loader = Loader::start(&corpus, Arc::clone(&tokenizer), config, state).map_err(usage)?;
            if resumed.is_none() {
                gpt.initialize(settings.seed);
            }
            let batch = loader.next_batch().map_err(usage)?;
            check.join().expect("the check's errors are results")?;
            Ok((resumed, loader, batch))
        });
        let (resumed, loader, batch) = started?;
        let step = resumed.as_ref().map_or(0, |resumed| resumed.step);
        let (elapsed, smooth_loss) = resumed
            .as_ref()
            .map_or((0.0, 0.0), |r| (r.trainer.elapsed, r.trainer.smooth_loss));
        let loader_state = resumed.and_then(|resumed| resumed.loader);

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
        record.settings = settings.clone();
        record.save(&folder, State::Begun)?;

        announce(&run, &plan, &corpus, step);
        let shape = [settings.device_batch_size, settings.max_seq_len];
        let weights = device.master(shape);
        weights.fill(1.0 / plan.total_batch_size as f32);
        Ok(Training {
            schedule: plan.schedule(&settings),
            progress: Progress::new("base", plan.steps as u64),
            graph: Graph::training(&device),
            inputs: crate::eval::index_tensor(&gpt, shape),
            targets: crate::eval::index_tensor(&gpt, shape),
            ids: Vec::with_capacity(shape[0] * shape[1]),
            packing,
            step,
            elapsed,
            smooth_loss,
            loader_state,
            last_score: None,
            run,
            settings,
            plan,
            record,
            tokenizer,
            gpt,
            optimizer,
            loader,
            batch,
            evaluator,
            checkpoints,
            metrics,
            weights,
        })
    }

    /// The loop.
    fn run(&mut self, interrupt: &Interrupt) -> Result<End> {
        let mut saved_at = Instant::now();
        let mut line = Line::default();
        loop {
            let last = self.step == self.plan.steps;
            line.clear(self.step as u64);

            if is_due(self.settings.eval_every, self.step) || last {
                let Some(score) = self.evaluator.measure(&self.gpt, Some(interrupt))? else {
                    return self.stop(interrupt);
                };
                (line.val_bpb, line.val_loss) = (Some(score.bits_per_byte), Some(score.loss));
                self.progress.line(&format!(
                    "step {}: {:.4} bits per byte, perplexity {:.2} on {} validation tokens",
                    self.step, score.bits_per_byte, score.perplexity, score.tokens
                ));
                self.last_score = Some(score);
            }
            if (is_due(self.settings.sample_every, self.step) && self.step > 0) || last {
                line.samples = sample::during_training(&self.gpt, &self.tokenizer, Start::of(self.packing))?;
                self.progress
                    .line(&format!("step {}: {:?}", self.step, line.samples[0]));
            }
            if last {
                self.metrics.append(&line)?;
                self.save()?;
                return Ok(End::Finished);
            }

            self.train_step(&mut line)?;
            self.metrics.append(&line)?;
            self.step += 1;

            if interrupt.requested().is_some() {
                return self.stop(interrupt);
            }
            if is_due(self.settings.save_every, self.step) || saved_at.elapsed() > SAVE_AFTER {
                self.save()?;
                saved_at = Instant::now();
            }
        }
    }

    /// One optimizer step over `grad_accum_steps` micro-batches.
    fn train_step(&mut self, line: &mut Line) -> Result<()> {
        let begun = Instant::now();
        let mut loss = 0.0;
        for _ in 0..self.plan.grad_accum_steps {
            self.ids.clear();
            self.ids.extend(self.batch.inputs.iter().map(|&id| id as i32));
            self.inputs.upload_i32(&self.ids);
            self.targets.upload_i32(&self.batch.targets);
            let nll = self.gpt.loss(&self.graph, &self.inputs, &self.targets, &self.weights);
            self.graph.backward();
            let mut part = [0.0];
            nll.loss.download_into(&mut part);
            loss += f64::from(part[0]);

            let next = self.loader.next_batch()?;
            let mut done = std::mem::replace(&mut self.batch, next);
            // Swapped, not copied: the state and the memory of the one before go back to the loader.
            std::mem::swap(self.loader_state.get_or_insert_default(), &mut done.state);
            self.loader.recycle(done);
        }
        refuse_divergence(self.step, loss)?;
        let pace = self.schedule.at(self.step);
        self.optimizer.step(&pace);
        self.gpt.device().synchronize();

        let seconds = begun.elapsed().as_secs_f64();
        self.elapsed += seconds;
        self.smooth_loss = if self.step == 0 {
            loss
        } else {
            0.9 * self.smooth_loss + 0.1 * loss
        };
        let tokens_per_second = self.plan.total_batch_size as f64 / seconds;
        let flops_per_second = tokens_per_second * self.plan.flops_per_token;
        line.loss = Some(loss);
        line.lr_multiplier = Some(pace.lr_multiplier);
        line.tokens_per_second = Some(tokens_per_second.round());
        line.flops_per_second = Some(flops_per_second.round());
        line.elapsed = Some((self.elapsed * 1e3).round() / 1e3);
        let done = self.step + 1;
        self.progress.step(&StepFigures {
            done: done as u64,
            loss: self.smooth_loss,
            tokens_per_second,
            flops_per_second,
            mfu: None,
            eta: self.elapsed / done as f64 * (self.plan.steps - done) as f64,
        });
        Ok(())
    }

    fn stop(&mut self, interrupt: &Interrupt) -> Result<End> {
        self.save()?;
        let signal = interrupt.requested().expect("only an interrupt stops the loop");
        Ok(End::Signal(signal))
    }

    fn save(&mut self) -> Result<()> {
        let trainer = Trainer {
            settings: self.settings.clone(),
            packing: self.packing,
            elapsed: self.elapsed,
            smooth_loss: self.smooth_loss,
        };
        self.checkpoints.save(
            &self.gpt,
            &self.optimizer,
            self.step,
            &trainer,
            self.loader_state.as_ref(),
        )
    }

    /// The record's last word.
    fn close(&mut self, state: State, seconds: f64) -> Result<()> {
        let folder = self.run.stage("base");
        let details = self.record.details.as_object_mut().expect("details are an object");
        details.insert("steps_done".into(), json!(self.step));
        details.insert("peak_memory_bytes".into(), json!(machine::peak_memory()));
        details.insert("checkpoint_bytes".into(), json!(self.checkpoints.size(self.step)));
        if let Some(score) = &self.last_score {
            details.insert("val".into(), json!(score));
        }
        self.record.seconds = seconds;
        self.record.save(&folder, state)?;
        if state == State::Finished {
            eprintln!(
                "base: {} steps in {}, {:.4} bits per byte on validation data; the model is in {}",
                format::thousands(self.step as u64),
                format::duration(seconds),
                self.last_score.map_or(f64::NAN, |score| score.bits_per_byte),
                folder.display()
            );
        }
        Ok(())
    }
}

/// True every `every` steps, never where that is not positive.
fn is_due(every: i64, step: usize) -> bool {
    every > 0 && step as i64 % every == 0
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
    let mut old = vec![run.stage("base")];
    if !prepare::made_by_hand(run)? {
        old.push(run.stage("tokenizer"));
    }
    for folder in old.iter().filter(|folder| folder.exists()) {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    Ok(())
}

/// No step is taken after a loss that is no number: the weights and the last checkpoint stay sound.
fn refuse_divergence(step: usize, loss: f64) -> Result<()> {
    if !loss.is_finite() {
        anyhow::bail!(
            "the loss of step {step} is {loss}: training has diverged, the last checkpoint is kept; begin again with lower rates (--matrix-lr, --embedding-lr) or a longer --warmup-steps"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_is_no_number_stops_training() {
        assert!(refuse_divergence(3, 1.5).is_ok());
        for loss in [f64::NAN, f64::INFINITY] {
            let sentence = refuse_divergence(3, loss).unwrap_err().to_string();
            assert!(
                sentence.contains("step 3") && sentence.contains("--matrix-lr"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn periodic_actions_can_be_turned_off() {
        assert!(is_due(5, 0) && is_due(5, 10) && !is_due(5, 11));
        assert!(!is_due(-1, 10) && !is_due(0, 10));
    }
}
