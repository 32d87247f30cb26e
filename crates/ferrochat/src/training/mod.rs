//! The loop that all stages share: passes, a step, now and then a measurement, a checkpoint, an end.
//!
//! Before each step it measures what the stage wants measured; a signal ends it after a checkpoint; a
//! later start goes on with the same bits. The loop itself allocates nothing once it runs, but for its
//! log. What a step learns from is the stage's business ([`Lesson`]), never this room's.

mod chain;
mod order;
mod padded;
mod passes;
mod peak;
#[cfg(test)]
pub mod tiny;

use std::time::{Duration, Instant};

use anyhow::Result;
use ferrochat_model::{Gpt, Optimizer, Schedule};
use serde_json::{Value, json};

use crate::checkpoints::{Checkpoints, Resumed, Trainer};
use crate::device::Peak;
use crate::errors::{Interrupted, refuse};
use crate::home::RunFolder;
use crate::interrupt::Interrupt;
use crate::metrics::{Line, Metrics};
use crate::progress::{Progress, StepFigures};
use crate::record::{StageRecord, State};
use crate::{device, format};

pub use chain::{Chain, remove_from};
pub use order::Order;
pub use padded::{Example, Padded};
pub use passes::{Passes, Rows, Weights};
use peak::Watched;

/// A checkpoint is made at least this often.
const SAVE_AFTER: Duration = Duration::from_mins(5);

/// What one stage does differently from the others.
pub trait Lesson {
    /// The forward and backward passes of a step.
    ///
    /// # Errors
    /// Data that can no longer be read.
    fn learn(&mut self, gpt: &Gpt, step: usize, passes: &mut Passes, line: &mut Line) -> Result<Learned>;

    /// Measures the model before `step` (or after the last), if that is due; false if an interrupt came first.
    ///
    /// # Errors
    /// Data that can no longer be read.
    fn measure(&mut self, at: &Moment, line: &mut Line) -> Result<bool>;

    /// Once training has ended and is saved: tasks, samples. False if an interrupt came first.
    ///
    /// # Errors
    /// Data that can no longer be read.
    fn examine(&mut self, gpt: &Gpt, interrupt: &Interrupt) -> Result<bool>;

    /// The exact position in the data after the last step, as bytes; nothing where the step says it all.
    fn position(&self) -> Vec<u8>;

    /// What was found, for the record.
    fn findings(&self) -> Vec<(&'static str, Value)>;
}

/// What a step was.
#[derive(Clone, Copy, Debug)]
pub struct Learned {
    /// Its loss, in nats per target.
    pub loss: f64,
    /// Tokens it went through.
    pub tokens: usize,
}

/// When and on what something is measured.
pub struct Moment<'a> {
    /// The model.
    pub gpt: &'a Gpt,
    /// Steps done.
    pub step: usize,
    /// True after the last step.
    pub last: bool,
    /// Where lines for the user go.
    pub progress: &'a Progress,
    /// Ask it now and then.
    pub interrupt: &'a Interrupt,
}

/// True every `every` steps, never where that is not positive.
pub fn is_due(every: i64, step: usize) -> bool {
    every > 0 && step as i64 % every == 0
}

/// A stage at work.
pub struct Training {
    /// Name of the stage.
    pub stage: &'static str,
    /// The run it belongs to.
    pub run: RunFolder,
    /// The model.
    pub gpt: Gpt,
    /// Its optimizer.
    pub optimizer: Optimizer,
    /// How rates change.
    pub schedule: Schedule,
    /// To train on one token.
    pub flops_per_token: f64,
    /// Where checkpoints go.
    pub checkpoints: Checkpoints,
    /// Where figures go.
    pub metrics: Metrics,
    /// What is remembered of the stage.
    pub record: StageRecord,
    /// What is kept in checkpoints beside weights and state, with seconds and loss so far.
    pub trainer: Trainer,
    /// Steps done.
    pub step: usize,
    /// Seconds of the examination at the end.
    pub exam_seconds: f64,
}

enum End {
    Finished,
    Signal(i32),
}

impl Training {
    /// Trains to the end, or to a signal. `go_on` is the command line that goes on after one.
    ///
    /// # Errors
    /// Data or files that fail, a loss that is no number, or an interrupt.
    pub fn run(mut self, lesson: &mut dyn Lesson, interrupt: &Interrupt, go_on: &str) -> Result<()> {
        let mut progress = Progress::new(self.stage, self.schedule.steps as u64);
        let ended = self.steps(lesson, &mut progress, interrupt);
        progress.finish();
        match ended {
            Ok(End::Finished) => self.close(State::Finished, lesson),
            Ok(End::Signal(signal)) => {
                self.close(State::Interrupted, lesson)?;
                let message = format!(
                    "interrupted after step {} of {} of {}, everything is saved; go on with: {go_on}",
                    self.step, self.schedule.steps, self.stage
                );
                Err(anyhow::Error::new(Interrupted { signal, message }))
            }
            Err(error) => {
                self.close(State::Failed, lesson).ok();
                // A full disk, or one that went away: what was saved is whole.
                if error.chain().any(<dyn std::error::Error>::is::<std::io::Error>) {
                    eprintln!("{}: once what follows is mended, this goes on: {go_on}", self.stage);
                }
                Err(error)
            }
        }
    }

    fn steps(&mut self, lesson: &mut dyn Lesson, progress: &mut Progress, interrupt: &Interrupt) -> Result<End> {
        let mut passes = Passes::new(&self.gpt);
        let mut peak = Watched::new(self.gpt.device(), &mut self.record);
        let mut saved_at = Instant::now();
        let mut line = Line::default();
        loop {
            let last = self.step == self.schedule.steps;
            line.clear(self.step as u64);
            let moment = Moment {
                gpt: &self.gpt,
                step: self.step,
                last,
                progress,
                interrupt,
            };
            if !lesson.measure(&moment, &mut line)? {
                return self.stop(lesson, interrupt);
            }
            peak.look_again(self.gpt.device(), &mut self.record);
            if last {
                self.metrics.append(&line)?;
                self.save(lesson)?;
                progress.finish();
                let begun = Instant::now();
                let whole = lesson.examine(&self.gpt, interrupt)?;
                self.exam_seconds = begun.elapsed().as_secs_f64();
                return Ok(if whole {
                    End::Finished
                } else {
                    End::Signal(signal_of(interrupt))
                });
            }

            self.one_step(lesson, &mut passes, &mut line, progress, peak.peak)?;
            self.metrics.append(&line)?;
            self.step += 1;

            if interrupt.requested().is_some() {
                return self.stop(lesson, interrupt);
            }
            if is_due(self.checkpoints.save_every(), self.step) || saved_at.elapsed() > SAVE_AFTER {
                self.save(lesson)?;
                saved_at = Instant::now();
            }
        }
    }

    /// The passes of the stage, then one step of the optimizer.
    fn one_step(
        &mut self,
        lesson: &mut dyn Lesson,
        passes: &mut Passes,
        line: &mut Line,
        progress: &mut Progress,
        peak: Option<Peak>,
    ) -> Result<()> {
        let begun = Instant::now();
        let Learned { loss, tokens } = lesson.learn(&self.gpt, self.step, passes, line)?;
        refuse_divergence(self.stage, self.step, loss)?;
        let pace = self.schedule.at(self.step);
        self.optimizer.step(&pace);
        self.gpt.device().synchronize();

        let seconds = begun.elapsed().as_secs_f64();
        let trainer = &mut self.trainer;
        trainer.elapsed += seconds;
        trainer.smooth_loss = if self.step == 0 {
            loss
        } else {
            0.9 * trainer.smooth_loss + 0.1 * loss
        };
        let tokens_per_second = tokens as f64 / seconds;
        let flops_per_second = tokens_per_second * self.flops_per_token;
        let (mfu, of_peak) = match peak {
            Some(Peak::Promised(flops)) => (Some(flops_per_second / flops), None),
            Some(Peak::Measured(flops)) => (None, device::share_of_peak(flops_per_second, flops)),
            None => (None, None),
        };
        line.loss = Some(loss);
        line.lr_multiplier = Some(pace.lr_multiplier);
        line.tokens_per_second = Some(tokens_per_second.round());
        line.flops_per_second = Some(flops_per_second.round());
        line.mfu = mfu.map(|mfu| (mfu * 1e4).round() / 1e4);
        line.elapsed = Some((trainer.elapsed * 1e3).round() / 1e3);
        let done = self.step + 1;
        progress.step(&StepFigures {
            done: done as u64,
            loss: trainer.smooth_loss,
            tokens_per_second,
            flops_per_second,
            mfu,
            of_peak,
            eta: trainer.elapsed / done as f64 * (self.schedule.steps - done) as f64,
        });
        Ok(())
    }

    fn stop(&mut self, lesson: &dyn Lesson, interrupt: &Interrupt) -> Result<End> {
        self.save(lesson)?;
        Ok(End::Signal(signal_of(interrupt)))
    }

    fn save(&self, lesson: &dyn Lesson) -> Result<()> {
        let position = lesson.position();
        self.checkpoints
            .save(&self.gpt, &self.optimizer, self.step, &self.trainer, &position)
    }

    /// The record's last word.
    fn close(&mut self, state: State, lesson: &dyn Lesson) -> Result<()> {
        let folder = self.run.stage(self.stage);
        let details = self.record.details.as_object_mut().expect("details are an object");
        details.insert("steps_done".into(), json!(self.step));
        details.insert(
            "peak_memory_bytes".into(),
            json!(device::peak_memory(self.gpt.device())),
        );
        details.insert("checkpoint_bytes".into(), json!(self.checkpoints.size(self.step)));
        for (name, value) in lesson.findings() {
            details.insert(name.into(), value);
        }
        self.record.seconds = self.trainer.elapsed + self.exam_seconds;
        self.record.save(&folder, state)?;
        if state == State::Finished {
            eprintln!(
                "{}: {} steps in {}; the model is in {}",
                self.stage,
                format::thousands(self.step as u64),
                format::duration(self.trainer.elapsed),
                folder.display()
            );
        }
        Ok(())
    }
}

/// Brings model and optimizer to where an earlier start of a stage ended; none if it never made a checkpoint.
///
/// # Errors
/// A checkpoint that is damaged, of another model, or gone.
pub fn resume(
    checkpoints: &Checkpoints,
    gpt: &Gpt,
    optimizer: &mut Optimizer,
    record: &StageRecord,
    run: &RunFolder,
) -> Result<Option<Resumed>> {
    let resumed = checkpoints.restore_latest(gpt, optimizer)?;
    let done = record.details["steps_done"].as_u64().unwrap_or(0);
    if resumed.is_none() && done > 0 {
        refuse!(
            "the run {:?} has done {done} steps but its checkpoints are gone from {}; bring them back, or give --fresh to begin again",
            run.name,
            run.stage(&record.stage).display()
        );
    }
    Ok(resumed)
}

fn signal_of(interrupt: &Interrupt) -> i32 {
    interrupt.requested().expect("only an interrupt stops the loop")
}

/// No step is taken after a loss that is no number: the weights and the last checkpoint stay sound.
fn refuse_divergence(stage: &str, step: usize, loss: f64) -> Result<()> {
    if !loss.is_finite() {
        let flags = if stage == "base" {
            "lower rates (--matrix-lr, --embedding-lr) or a longer --warmup-steps"
        } else {
            "a lower --init-lr-frac"
        };
        anyhow::bail!(
            "the loss of step {step} is {loss}: training has diverged, the last checkpoint is kept; begin again with {flags}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_is_no_number_stops_training() {
        assert!(refuse_divergence("base", 3, 1.5).is_ok());
        for loss in [f64::NAN, f64::INFINITY] {
            let sentence = refuse_divergence("base", 3, loss).unwrap_err().to_string();
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
