//! The settings of learning from preferences (DPO): flags and values. Knows no pairs and no model.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::errors::{refuse, usage};
use crate::rl_settings::{refuse_bad_iterations, refuse_bad_rate, refuse_out_of_range};
use crate::settings::{finite, gone_on, layered, object};

/// The flags of DPO.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[command(next_help_heading = "Learning from preferences")]
pub struct DpoFlags {
    /// JSONL file of pairs, {"prompt", "chosen", "rejected"} [default: the world's, if the base model read it]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<PathBuf>,
    /// Pairs to measure on [default: the last twentieth of --pairs]
    #[arg(long, value_name = "FILE", requires = "pairs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_pairs: Option<PathBuf>,
    /// Pairs of the world to learn from
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_pairs: Option<usize>,
    /// How closely the model keeps to the one it begins from: less lets it move farther
    #[arg(long, value_name = "B", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Optimizer steps [-1: as many as --epochs make]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_iterations: Option<i64>,
    /// Passes over the pairs
    #[arg(long, value_name = "N", visible_alias = "num-epochs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Pairs per optimizer step
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples_per_step: Option<usize>,
    /// Replies per forward and backward pass, two to a pair; smaller needs less memory [default: as the base model]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_batch_size: Option<usize>,
    /// First rates, as a part of those of base training; they fall to 0
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_lr_frac: Option<f64>,
    /// Count the held-out pairs that are won every N steps
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<i64>,
    /// Pairs to measure on at most
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_examples: Option<usize>,
    /// Keep a checkpoint every N steps (one is made every five minutes and at the end in any case)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_every: Option<i64>,
    /// Seed of the order of pairs
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// The same with a value for each; see [`DpoFlags`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpoSettings {
    pub pairs: Option<PathBuf>,
    pub val_pairs: Option<PathBuf>,
    pub num_pairs: usize,
    pub beta: f64,
    pub num_iterations: i64,
    pub epochs: usize,
    pub examples_per_step: usize,
    pub device_batch_size: Option<usize>,
    pub init_lr_frac: f64,
    pub eval_every: i64,
    pub eval_examples: usize,
    pub save_every: i64,
    pub seed: u64,
}

impl Default for DpoSettings {
    /// β as in the paper's experiments; the rates of RL.
    fn default() -> Self {
        DpoSettings {
            pairs: None,
            val_pairs: None,
            num_pairs: 2048,
            beta: 0.1,
            num_iterations: -1,
            epochs: 1,
            examples_per_step: 32,
            device_batch_size: None,
            init_lr_frac: 0.05,
            eval_every: 60,
            eval_examples: 1000,
            save_every: -1,
            seed: 42,
        }
    }
}

/// May be different when the stage goes on: they change what is shown and kept, not what is learned.
const FREE_ON_RESUME: [&str; 3] = ["eval_every", "eval_examples", "save_every"];

impl DpoSettings {
    /// Defaults, then the preset, then the flags.
    ///
    /// # Errors
    /// A value that no stage can have.
    pub fn new(preset: &DpoFlags, flags: &DpoFlags) -> Result<DpoSettings> {
        let flags = flags.with_absolute_paths()?;
        let settings: DpoSettings = layered(&[object(&DpoSettings::default()), object(preset), object(&flags)]);
        settings.check()?;
        Ok(settings)
    }

    /// The settings of a stage that goes on: its own, unless a flag says otherwise.
    ///
    /// # Errors
    /// A flag that differs from what the stage was started with.
    pub fn resumed(saved: &DpoSettings, flags: &DpoFlags, run: &str) -> Result<DpoSettings> {
        let settings: DpoSettings = gone_on(saved, &flags.with_absolute_paths()?, &FREE_ON_RESUME, run)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        refuse_bad_iterations("num-iterations", self.num_iterations)?;
        refuse_out_of_range(&[
            ("num-pairs", self.num_pairs, 1 << 24),
            ("epochs", self.epochs, 1 << 20),
            ("examples-per-step", self.examples_per_step, 1 << 16),
            ("device-batch-size", self.device_batch_size.unwrap_or(1), 1 << 20),
            ("eval-examples", self.eval_examples, 1 << 24),
        ])?;
        if !(self.beta > 0.0 && self.beta <= 100.0) {
            refuse!(
                "--beta {} is out of range; it must be above 0 and at most 100",
                self.beta
            );
        }
        refuse_bad_rate(self.init_lr_frac)
    }
}

impl DpoFlags {
    /// Files are remembered by paths that mean the same from any folder.
    fn with_absolute_paths(&self) -> Result<DpoFlags> {
        let mut flags = self.clone();
        for (flag, path) in [("pairs", &mut flags.pairs), ("val-pairs", &mut flags.val_pairs)] {
            if let Some(path) = path {
                *path = std::path::absolute(&*path).map_err(|error| usage(format!("--{flag}: {error}")))?;
            }
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_setting_and_flags_go_over_the_preset() {
        let preset = DpoFlags {
            beta: Some(0.5),
            epochs: Some(3),
            ..DpoFlags::default()
        };
        let flags = DpoFlags {
            pairs: Some("x".into()),
            val_pairs: Some("y".into()),
            device_batch_size: Some(4),
            beta: Some(0.2),
            ..DpoFlags::default()
        };
        let settings = DpoSettings::new(&preset, &flags).unwrap();
        assert_eq!((settings.beta, settings.epochs), (0.2, 3));
        assert!(settings.pairs.as_ref().unwrap().is_absolute() && settings.val_pairs.as_ref().unwrap().is_absolute());
        let known = object(&settings);
        assert!(object(&flags).keys().all(|name| known.contains_key(name)));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let beta = |beta| DpoFlags {
            beta: Some(beta),
            ..DpoFlags::default()
        };
        for bad in [0.0, -1.0, 1e9] {
            let sentence = DpoSettings::new(&DpoFlags::default(), &beta(bad))
                .unwrap_err()
                .to_string();
            assert!(sentence.contains("--beta"), "{sentence}");
        }
        let saved = DpoSettings::default();
        let sentence = DpoSettings::resumed(&saved, &beta(0.3), "x").unwrap_err().to_string();
        assert!(sentence.contains("--beta 0.1"), "{sentence}");
    }
}
