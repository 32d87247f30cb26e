//! From a score to a figure: what was measured of which model, and the line that measures it again.

use ferrochat_tasks::{CoreScore, Estimate, Outcomes, TaskScore};
use ferrochat_tensor::Device;

use super::{CORE, Evaluation, Suite};
use crate::{device, format};

/// The model that is measured, and with what.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// Its run.
    pub run: &'a str,
    /// Its stage.
    pub stage: &'a str,
    /// Steps after which its checkpoint was made.
    pub step: u64,
    /// The device's name.
    pub device: String,
}

impl<'a> Measured<'a> {
    /// A model on a device.
    pub fn on(device: &Device, run: &'a str, stage: &'a str, step: u64) -> Measured<'a> {
        Measured {
            run,
            stage,
            step,
            device: device.name(),
        }
    }

    /// The words that measure a task of it: `eval`, `what`, the model, `flags`, the device.
    pub(super) fn command(&self, what: &str, flags: &[String]) -> Vec<String> {
        let step = self.step.to_string();
        let model = ["eval", what, "--run", self.run, "--stage", self.stage, "--step", &step];
        let mut words: Vec<String> = model.into_iter().map(str::to_owned).collect();
        words.extend(flags.iter().cloned());
        words.extend(device::flags_of(&self.device));
        words
    }

    /// A task in chat form. `flags` are those of `eval tasks` that ask the same.
    pub fn task(&self, score: &TaskScore, flags: &[String], variant: &str) -> Evaluation {
        Evaluation {
            suite: Suite::Chat,
            task: score.task.clone(),
            variant: variant.to_owned(),
            score: score.score,
            standard_error: Some(score.standard_error),
            count: Some(score.count as u64),
            chance: score.chance,
            pass_at_k: score.pass_at_k.clone(),
            refusals: score
                .false_refusals
                .map(|counts| (counts.refused as u64, counts.replies as u64)),
            items: score.items.clone(),
            command: self.command("tasks", flags),
            seconds: score.seconds,
            ..self.nothing()
        }
    }

    /// A task of CORE. `flags` are those of `eval core` that ask the same.
    pub fn core_task(&self, score: &CoreScore, flags: &[String]) -> Evaluation {
        Evaluation {
            task: score.task.clone(),
            score: score.accuracy,
            standard_error: Some(score.standard_error),
            count: Some(score.count as u64),
            chance: score.chance,
            items: score.outcomes(),
            command: self.command("core", flags),
            seconds: score.seconds,
            ..self.nothing()
        }
    }

    /// CORE itself.
    pub fn core(&self, scores: &[CoreScore], metric: Estimate, flags: &[String]) -> Evaluation {
        Evaluation {
            task: CORE.to_owned(),
            score: metric.value,
            standard_error: Some(metric.standard_error),
            count: Some(scores.iter().map(|score| score.count as u64).sum()),
            command: self.command("core", flags),
            seconds: scores.iter().map(|score| score.seconds).sum(),
            ..self.nothing()
        }
    }

    pub(super) fn nothing(&self) -> Evaluation {
        Evaluation {
            suite: Suite::Core,
            task: String::new(),
            variant: String::new(),
            score: 0.0,
            standard_error: None,
            count: None,
            chance: 0.0,
            pass_at_k: Vec::new(),
            refusals: None,
            items: Outcomes::default(),
            command: Vec::new(),
            step: self.step,
            device: self.device.clone(),
            measured: Some(format::now()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seconds: 0.0,
        }
    }
}
