//! The settings of fine-tuning on conversations (mid-training and SFT): flags, values, and the recipes of
//! both published states of the reference, and what a step of them takes. Knows no data.

use anyhow::Result;
use clap::Args;
use ferrochat_model::StepCost;
use ferrochat_tensor::Device;
use serde::{Deserialize, Serialize};

use crate::data_sets;
use crate::errors::{refuse, usage};
use crate::plan::Plan;
use crate::rl_settings::refuse_bad_iterations;
use crate::settings::{finite, gone_on, layered, object};

/// The flags of mid-training and SFT.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[command(next_help_heading = "Fine-tuning")]
pub struct TuneFlags {
    /// Hyper-parameters of the reference as of 2025-10 or 2026-07; other flags change them
    #[arg(long, value_name = "DATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Conversations to learn: JSONL (messages or ShareGPT), gzip or Parquet file or a folder of them; `*N` behind it
    /// for N times per epoch; may be repeated [default: the world's, if the base model read it]
    #[arg(long, value_name = "PATH[*N]")]
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub conversations: Vec<String>,
    /// Conversations to validate on [default: the last twentieth of each source]
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_conversations: Option<String>,
    /// Training parts of tasks to mix in, such as gsm8k*4,mmlu*3,arc-easy,arc-challenge; `*N`: N times per epoch
    #[arg(long, value_name = "LIST")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<String>,
    /// Folder of the tasks' files [default: what `data fetch` brought]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_dir: Option<String>,
    /// How often per epoch the model is told who it is, beside other conversations than the world's; 0: never
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_epochs: Option<u64>,
    /// Optimizer steps [-1: as many as --epochs make]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_iterations: Option<i64>,
    /// Passes over the mixture
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Rows per forward and backward pass [default: as the base model]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_batch_size: Option<usize>,
    /// Rows per optimizer step [default: the recipe's, 32 or as many as the base model had]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_per_step: Option<usize>,
    /// How conversations fill rows: best-fit, one-per-row, or stream (where every token is a target)
    #[arg(long, value_name = "HOW")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packing: Option<String>,
    /// Rates, as a part of those of base training
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_lr_frac: Option<f64>,
    /// Where the base model's batch was larger than 2^19 tokens, take the part of the rates for 2^19
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unscaled_rates: Option<bool>,
    /// Steps over which the rates rise
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<usize>,
    /// Part of the steps over which the rates fall
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmdown_ratio: Option<f64>,
    /// Rates at the end, as a part of the first ones
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_lr_frac: Option<f64>,
    /// Muon's momentum at the first step
    #[arg(long, value_name = "M", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum_start: Option<f64>,
    /// Steps over which it rises to 0.95
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum_warmup_steps: Option<usize>,
    /// Go on with the optimizer's state of the stage before
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carry_optimizer: Option<bool>,
    /// Measure the loss on validation conversations every N steps
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<i64>,
    /// Tokens to measure on
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_tokens: Option<u64>,
    /// Keep a checkpoint every N steps (one is made every five minutes and at the end in any case)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_every: Option<i64>,
    /// Seed of the order of conversations
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// The same with a value for each; see [`TuneFlags`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TuneSettings {
    pub recipe: String,
    pub conversations: Vec<String>,
    pub val_conversations: Option<String>,
    pub tasks: Option<String>,
    pub tasks_dir: Option<String>,
    pub identity_epochs: u64,
    pub num_iterations: i64,
    pub epochs: u64,
    pub device_batch_size: Option<usize>,
    pub rows_per_step: Option<usize>,
    pub packing: String,
    pub init_lr_frac: f64,
    pub unscaled_rates: bool,
    pub warmup_steps: usize,
    pub warmdown_ratio: f64,
    pub final_lr_frac: f64,
    pub momentum_start: f64,
    pub momentum_warmup_steps: usize,
    pub carry_optimizer: bool,
    pub eval_every: i64,
    pub eval_tokens: u64,
    pub save_every: i64,
    pub seed: u64,
}

impl Default for TuneSettings {
    /// Mid-training and SFT in one, as of 2026-07 (REFERENCE.md §5).
    fn default() -> Self {
        TuneSettings {
            recipe: "2026-07".to_owned(),
            conversations: Vec::new(),
            val_conversations: None,
            tasks: None,
            tasks_dir: None,
            identity_epochs: 2,
            num_iterations: -1,
            epochs: 1,
            device_batch_size: None,
            rows_per_step: None,
            packing: "best-fit".to_owned(),
            init_lr_frac: 0.8,
            unscaled_rates: true,
            warmup_steps: 0,
            warmdown_ratio: 0.5,
            final_lr_frac: 0.0,
            momentum_start: 0.85,
            momentum_warmup_steps: 300,
            carry_optimizer: true,
            eval_every: 150,
            eval_tokens: 1 << 17,
            save_every: -1,
            seed: 42,
        }
    }
}

/// What an optimizer step takes, in rows as long as the base model's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TuneStep {
    /// Rows of all passes.
    pub rows: usize,
    /// Rows per forward and backward pass.
    pub device_batch_size: usize,
    /// Forward and backward passes.
    pub grad_accum_steps: usize,
    /// Tokens in all rows, padding included.
    pub total_batch_size: usize,
    /// Most bytes of memory that tensors need at a time.
    pub memory_bytes: u64,
}

impl TuneStep {
    /// Tokens that so many steps read.
    pub fn tokens_of(&self, steps: u64) -> u64 {
        steps.saturating_mul(self.total_batch_size as u64)
    }
}

/// May be different when a stage goes on: they change what is shown and kept, not what is learned.
const FREE_ON_RESUME: [&str; 3] = ["eval_every", "eval_tokens", "save_every"];

/// What the recipe of a date changes of the defaults, for `mid` and for `sft`.
fn recipe(stage: &str, date: &str) -> Result<TuneFlags> {
    let defaults = TuneFlags::default();
    match (stage, date) {
        (_, "2026-07") => Ok(defaults),
        // A stream in which every token is a target, at the base model's rates.
        ("mid", "2025-10") => Ok(TuneFlags {
            packing: Some("stream".to_owned()),
            init_lr_frac: Some(1.0),
            unscaled_rates: Some(false),
            warmdown_ratio: Some(0.2),
            carry_optimizer: Some(false),
            ..defaults
        }),
        // 32 conversations a step, one per row, at a fiftieth of the rates, falling from the first step on.
        (_, "2025-10") => Ok(TuneFlags {
            packing: Some("one-per-row".to_owned()),
            rows_per_step: Some(32),
            device_batch_size: Some(4),
            init_lr_frac: Some(0.02),
            unscaled_rates: Some(true),
            warmdown_ratio: Some(1.0),
            momentum_start: Some(0.95),
            momentum_warmup_steps: Some(0),
            carry_optimizer: Some(false),
            ..defaults
        }),
        _ => refuse!("--recipe {date:?} is unknown; it must be 2025-10 or 2026-07"),
    }
}

impl TuneSettings {
    /// Defaults, then the recipe, then the preset, then the flags.
    ///
    /// # Errors
    /// A value that no stage can have.
    pub fn new(stage: &str, preset: &TuneFlags, flags: &TuneFlags) -> Result<TuneSettings> {
        let defaults = TuneSettings::default();
        let date = flags.recipe.as_ref().or(preset.recipe.as_ref());
        let recipe = recipe(stage, date.unwrap_or(&defaults.recipe))?;
        let flags = flags.with_absolute_paths()?;
        let layers = [object(&defaults), object(&recipe), object(preset), object(&flags)];
        let mut settings: TuneSettings = layered(&layers);
        if settings.tasks.is_some() && settings.tasks_dir.is_none() {
            settings.tasks_dir = Some(data_sets::usual_folder()?.to_string_lossy().into_owned());
        }
        settings.check()?;
        Ok(settings)
    }

    /// The settings of a stage that goes on: its own, unless a flag says otherwise.
    ///
    /// # Errors
    /// A flag that differs from what the stage was started with.
    pub fn resumed(saved: &TuneSettings, flags: &TuneFlags, run: &str) -> Result<TuneSettings> {
        let settings: TuneSettings = gone_on(saved, &flags.with_absolute_paths()?, &FREE_ON_RESUME, run)?;
        settings.check()?;
        Ok(settings)
    }

    /// What a step on a base model of this plan takes.
    ///
    /// # Errors
    /// Rows that do not divide into passes, or arithmetic that cannot be planned.
    pub fn step(&self, base: &Plan, device: &Device) -> Result<TuneStep> {
        let sequence_len = base.model.sequence_len;
        let rows = self.rows_per_step.unwrap_or(base.total_batch_size / sequence_len);
        let device_batch_size = self.device_batch_size.unwrap_or(base.device_batch_size);
        if !rows.is_multiple_of(device_batch_size) {
            refuse!(
                "--rows-per-step {rows} is not divisible by --device-batch-size {device_batch_size}; give {} or another \
                 --device-batch-size",
                rows.next_multiple_of(device_batch_size)
            );
        }
        let grad_accum_steps = rows / device_batch_size;
        let cost = StepCost::dry_run(device, &base.model, device_batch_size, grad_accum_steps).map_err(usage)?;
        Ok(TuneStep {
            rows,
            device_batch_size,
            grad_accum_steps,
            total_batch_size: rows * sequence_len,
            memory_bytes: cost.peak_bytes as u64,
        })
    }

    fn check(&self) -> Result<()> {
        refuse_bad_iterations("num-iterations", self.num_iterations)?;
        let positive = [
            ("epochs", self.epochs, 1 << 20),
            ("device-batch-size", self.device_batch_size.unwrap_or(1) as u64, 1 << 20),
            ("rows-per-step", self.rows_per_step.unwrap_or(1) as u64, 1 << 24),
            ("eval-tokens", self.eval_tokens, 1 << 40),
        ];
        for (flag, value, most) in positive {
            if value == 0 || value > most {
                refuse!("--{flag} {value} is out of range; it must be from 1 to {most}");
            }
        }
        if !(self.init_lr_frac > 0.0 && self.init_lr_frac <= 100.0) {
            refuse!("--init-lr-frac {} must be above 0 and at most 100", self.init_lr_frac);
        }
        for (flag, value) in [
            ("warmdown-ratio", self.warmdown_ratio),
            ("final-lr-frac", self.final_lr_frac),
            ("momentum-start", self.momentum_start),
        ] {
            if !(0.0..=1.0).contains(&value) {
                refuse!("--{flag} {value} is out of range; it must be from 0 to 1");
            }
        }
        Ok(())
    }
}

impl TuneFlags {
    /// Files are remembered by paths that mean the same from any folder.
    ///
    /// # Errors
    /// There is no such file.
    pub fn with_absolute_paths(&self) -> Result<TuneFlags> {
        let mut flags = self.clone();
        let absolute = |flag: &str, path: &str| -> Result<String> {
            // `name*3` is the name three times per epoch.
            let (name, times) = path
                .split_once('*')
                .map_or((path, None), |(name, times)| (name, Some(times)));
            let path = match times {
                Some(times) if !std::path::Path::new(path).exists() => {
                    let place = data_sets::resolve(flag, std::path::Path::new(name))?;
                    format!("{}*{times}", place.to_string_lossy())
                }
                _ => data_sets::resolve(flag, std::path::Path::new(path))?
                    .to_string_lossy()
                    .into_owned(),
            };
            Ok(path)
        };
        for path in &mut flags.conversations {
            *path = absolute("conversations", path)?;
        }
        if let Some(path) = &mut flags.val_conversations {
            *path = absolute("val-conversations", path)?;
        }
        if let Some(path) = &mut flags.tasks_dir {
            *path = absolute("tasks-dir", path)?;
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn every_flag_is_a_setting_and_flags_go_over_recipes() {
        let settings = object(&TuneSettings::default());
        for (stage, date) in [("mid", "2025-10"), ("sft", "2025-10"), ("sft", "2026-07")] {
            assert!(
                object(&recipe(stage, date).unwrap())
                    .keys()
                    .all(|name| settings.contains_key(name))
            );
        }
        let flags = TuneFlags {
            recipe: Some("2025-10".into()),
            init_lr_frac: Some(0.5),
            ..TuneFlags::default()
        };
        let sft = TuneSettings::new("sft", &TuneFlags::default(), &flags).unwrap();
        assert_eq!(
            (sft.rows_per_step, sft.init_lr_frac, sft.recipe.as_str()),
            (Some(32), 0.5, "2025-10")
        );
        let mid = TuneSettings::new("mid", &TuneFlags::default(), &flags).unwrap();
        assert_eq!(
            (mid.packing.as_str(), mid.rows_per_step, mid.warmdown_ratio),
            ("stream", None, 0.2)
        );
        assert!(recipe("sft", "2024-01").is_err());
    }

    #[test]
    fn a_stage_that_goes_on_refuses_other_settings() {
        let saved = TuneSettings::default();
        let flags = TuneFlags {
            epochs: Some(3),
            ..TuneFlags::default()
        };
        let error = TuneSettings::resumed(&saved, &flags, "x").unwrap_err().to_string();
        assert!(error.contains("--epochs 1"), "{error}");
    }

    #[test]
    fn a_step_is_made_of_whole_passes() {
        let device = Device::cpu(&ferrochat_tensor::CpuOptions::default()).unwrap();
        let base = Settings {
            depth: 2,
            max_seq_len: 64,
            device_batch_size: 4,
            total_batch_size: 1024,
            ..Settings::default()
        };
        let plan = Plan::new("x", &base, 300, &device, None).unwrap();
        let step = |rows, batch| {
            let flags = TuneFlags {
                rows_per_step: rows,
                device_batch_size: batch,
                ..TuneFlags::default()
            };
            TuneSettings::new("mid", &TuneFlags::default(), &flags)
                .unwrap()
                .step(&plan, &device)
        };
        let usual = step(None, None).unwrap();
        assert_eq!(
            (usual.rows, usual.device_batch_size, usual.grad_accum_steps),
            (16, 4, 4)
        );
        assert_eq!((usual.total_batch_size, usual.tokens_of(3)), (1024, 3072));
        let twice = step(Some(32), Some(8)).unwrap();
        assert_eq!((twice.rows, twice.grad_accum_steps), (32, 4));
        assert!(twice.memory_bytes > usual.memory_bytes);
        let sentence = step(Some(30), None).unwrap_err().to_string();
        assert!(
            sentence.contains("--rows-per-step 30") && sentence.contains("give 32"),
            "{sentence}"
        );
    }

    #[test]
    fn steps_are_as_many_as_can_be_counted() {
        let steps = |steps| {
            let flags = TuneFlags {
                num_iterations: Some(steps),
                ..TuneFlags::default()
            };
            TuneSettings::new("mid", &TuneFlags::default(), &flags).map_err(|error| error.to_string())
        };
        for good in [-1, 1, 1 << 30] {
            assert!(steps(good).is_ok(), "{good}");
        }
        for bad in [i64::MIN, -2, 0, (1 << 30) + 1, i64::MAX] {
            let sentence = steps(bad).unwrap_err();
            assert!(
                sentence.contains(&format!("--num-iterations {bad} is out of range")),
                "{sentence}"
            );
        }
    }
}
