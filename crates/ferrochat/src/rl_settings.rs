//! The settings of reinforcement learning: flags and values. Knows no task and no model.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::errors::refuse;
use crate::settings::{MOST_STEPS, finite, gone_on, layered, object};

/// The flags of RL. Names and meanings are the reference's where it has them.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[command(next_help_heading = "Reinforcement learning")]
pub struct RlFlags {
    /// What is practised: gsm8k, or one of the world's kinds of questions, such as word_problem or arithmetic
    /// [default: word_problem if the base model read the world, else gsm8k]
    #[arg(long, value_name = "TASK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Folder of the tasks' files [default: what `data fetch` brought]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_dir: Option<PathBuf>,
    /// Different questions of the world to practise on
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_questions: Option<usize>,
    /// Optimizer steps [-1: as many as --epochs make]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_iterations: Option<i64>,
    /// Passes over the questions
    #[arg(long, value_name = "N", visible_alias = "num-epochs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Questions per optimizer step
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples_per_step: Option<usize>,
    /// Replies to each question
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_samples: Option<usize>,
    /// Tokens in a reply at most [default: 256, or what the context leaves]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<usize>,
    /// Temperature of the replies
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Sample among this many likeliest tokens; 0: among all
    #[arg(long, value_name = "K")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Replies per forward and backward pass; smaller needs less memory [default: 8]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_batch_size: Option<usize>,
    /// First rates, as a part of those of base training; they fall to 0
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_lr_frac: Option<f64>,
    /// Measure pass@k on held-out questions every N steps
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<i64>,
    /// Questions to measure on
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_examples: Option<usize>,
    /// Keep a checkpoint every N steps (one is made every five minutes and at the end in any case)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_every: Option<i64>,
    /// Seed of the questions' order and of the replies
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// The same with a value for each; see [`RlFlags`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RlSettings {
    pub task: Option<String>,
    pub tasks_dir: Option<PathBuf>,
    pub num_questions: usize,
    pub num_iterations: i64,
    pub epochs: usize,
    pub examples_per_step: usize,
    pub num_samples: usize,
    pub max_new_tokens: Option<usize>,
    pub temperature: f64,
    pub top_k: usize,
    pub device_batch_size: usize,
    pub init_lr_frac: f64,
    pub eval_every: i64,
    pub eval_examples: usize,
    pub save_every: i64,
    pub seed: u64,
}

impl Default for RlSettings {
    /// The reference's (REFERENCE.md §6); the world's questions are as many as make 256 steps.
    fn default() -> Self {
        RlSettings {
            task: None,
            tasks_dir: None,
            num_questions: 4096,
            num_iterations: -1,
            epochs: 1,
            examples_per_step: 16,
            num_samples: 16,
            max_new_tokens: None,
            temperature: 1.0,
            top_k: 50,
            device_batch_size: 8,
            init_lr_frac: 0.05,
            eval_every: 60,
            eval_examples: 400,
            save_every: -1,
            seed: 42,
        }
    }
}

/// May be different when the stage goes on: they change what is shown and kept, not what is learned.
const FREE_ON_RESUME: [&str; 3] = ["eval_every", "eval_examples", "save_every"];

impl RlSettings {
    /// Defaults, then the preset, then the flags.
    ///
    /// # Errors
    /// A value that no stage can have.
    pub fn new(preset: &RlFlags, flags: &RlFlags) -> Result<RlSettings> {
        let flags = flags.with_absolute_paths()?;
        let settings: RlSettings = layered(&[object(&RlSettings::default()), object(preset), object(&flags)]);
        settings.check()?;
        Ok(settings)
    }

    /// The settings of a stage that goes on: its own, unless a flag says otherwise.
    ///
    /// # Errors
    /// A flag that differs from what the stage was started with.
    pub fn resumed(saved: &RlSettings, flags: &RlFlags, run: &str) -> Result<RlSettings> {
        let settings: RlSettings = gone_on(saved, &flags.with_absolute_paths()?, &FREE_ON_RESUME, run)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        refuse_bad_iterations("num-iterations", self.num_iterations)?;
        let positive = [
            ("num-questions", self.num_questions, 1 << 24),
            ("epochs", self.epochs, 1 << 20),
            ("examples-per-step", self.examples_per_step, 1 << 16),
            ("max-new-tokens", self.max_new_tokens.unwrap_or(1), 1 << 20),
            ("device-batch-size", self.device_batch_size, 1 << 20),
            ("eval-examples", self.eval_examples, 1 << 24),
        ];
        refuse_out_of_range(&positive)?;
        if !(2..=1 << 12).contains(&self.num_samples) {
            refuse!(
                "--num-samples {} is out of range; replies are compared with each other, so it must be from 2 to 4096",
                self.num_samples
            );
        }
        let rows = self.rows_per_pass();
        if !self.num_samples.is_multiple_of(rows) {
            refuse!(
                "--num-samples {} is not divisible by --device-batch-size {rows}; give {} or another --device-batch-size",
                self.num_samples,
                self.num_samples.next_multiple_of(rows)
            );
        }
        if !(0.0..=100.0).contains(&self.temperature) {
            refuse!(
                "--temperature {} is out of range; it must be from 0 to 100",
                self.temperature
            );
        }
        refuse_bad_rate(self.init_lr_frac)
    }

    /// Rows of a forward and backward pass: never more than a question has replies.
    pub fn rows_per_pass(&self) -> usize {
        self.device_batch_size.min(self.num_samples)
    }
}

/// Refuses numbers that are not from 1 to their limit, by the names of their flags.
///
/// # Errors
/// As usage.
pub fn refuse_out_of_range(values: &[(&str, usize, usize)]) -> Result<()> {
    for &(flag, value, most) in values {
        if value == 0 || value > most {
            refuse!("--{flag} {value} is out of range; it must be from 1 to {most}");
        }
    }
    Ok(())
}

/// Refuses a number of steps that is neither one nor −1, by the name of its flag.
///
/// # Errors
/// As usage.
pub fn refuse_bad_iterations(flag: &str, iterations: i64) -> Result<()> {
    if iterations != -1 && !(1..=MOST_STEPS).contains(&iterations) {
        refuse!(
            "--{flag} {iterations} is out of range; it must be from 1 to {MOST_STEPS}, or -1 for as many as the epochs make"
        );
    }
    Ok(())
}

/// Refuses a part of the rates that cannot be.
///
/// # Errors
/// As usage.
pub fn refuse_bad_rate(init_lr_frac: f64) -> Result<()> {
    if !(init_lr_frac > 0.0 && init_lr_frac <= 100.0) {
        refuse!("--init-lr-frac {init_lr_frac} is out of range; it must be above 0 and at most 100");
    }
    Ok(())
}

impl RlFlags {
    /// Files are remembered by paths that mean the same from any folder.
    ///
    /// # Errors
    /// There is no such file.
    pub fn with_absolute_paths(&self) -> Result<RlFlags> {
        let mut flags = self.clone();
        if let Some(path) = &self.tasks_dir {
            flags.tasks_dir = Some(crate::data_sets::resolve("tasks-dir", path)?);
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut RlFlags)) -> Result<RlSettings> {
        let mut flags = RlFlags::default();
        change(&mut flags);
        RlSettings::new(&RlFlags::default(), &flags)
    }

    #[test]
    fn every_flag_is_a_setting_and_flags_go_over_the_preset() {
        let preset = RlFlags {
            num_samples: Some(8),
            epochs: Some(3),
            ..RlFlags::default()
        };
        let flags = RlFlags {
            task: Some("arithmetic".into()),
            tasks_dir: Some("x".into()),
            num_samples: Some(4),
            max_new_tokens: Some(32),
            ..RlFlags::default()
        };
        let settings = RlSettings::new(&preset, &flags).unwrap();
        assert_eq!((settings.num_samples, settings.epochs), (4, 3));
        assert_eq!(settings.rows_per_pass(), 4);
        assert!(settings.tasks_dir.as_ref().unwrap().is_absolute());
        let known = object(&settings);
        assert!(object(&flags).keys().all(|name| known.contains_key(name)));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (settings, about) in [
            (with(|flags| flags.num_samples = Some(1)), "--num-samples 1"),
            (with(|flags| flags.device_batch_size = Some(6)), "give 18"),
            (with(|flags| flags.epochs = Some(0)), "--epochs 0"),
            (with(|flags| flags.temperature = Some(-1.0)), "--temperature -1"),
            (with(|flags| flags.init_lr_frac = Some(0.0)), "--init-lr-frac 0"),
            (with(|flags| flags.num_iterations = Some(-2)), "--num-iterations -2"),
            (
                with(|flags| flags.num_iterations = Some(i64::MAX)),
                "--num-iterations 9223372036854775807",
            ),
        ] {
            let sentence = settings.unwrap_err().to_string();
            assert!(sentence.contains(about), "{sentence}");
        }
    }

    #[test]
    fn a_stage_that_goes_on_keeps_its_settings() {
        let saved = RlSettings::default();
        let mut flags = RlFlags {
            eval_every: Some(5),
            ..RlFlags::default()
        };
        assert_eq!(RlSettings::resumed(&saved, &flags, "x").unwrap().eval_every, 5);
        flags.seed = Some(1);
        let sentence = RlSettings::resumed(&saved, &flags, "x").unwrap_err().to_string();
        assert!(sentence.contains("--seed 42"), "{sentence}");
    }
}
