//! The settings of a base model and its training: a value for every flag, and which values can be. Knows no model and no
//! data.
//!
//! A field is declared twice: in [`Flags`] as something that may be typed and in [`Settings`] with
//! its value. Layers are merged by field name, so that nothing else lists the fields.

mod flags;
mod layers;

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use self::flags::Flags;
pub use self::layers::{finite, gone_on, layered, object};
use crate::errors::refuse;
use crate::presets;

/// Optimizer steps of a stage at most; their tokens can still be counted.
pub const MOST_STEPS: i64 = 1 << 30;
/// Tokens of a step at most.
const MOST_BATCH: i64 = 1 << 32;

/// The same with a value for each; see [`Flags`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub preset: Option<String>,
    pub data: Option<PathBuf>,
    pub world: u64,
    pub world_size: String,
    pub name: Option<String>,
    pub persona: Option<String>,
    pub text_field: String,
    pub strict: bool,
    pub arch: String,
    pub depth: usize,
    pub aspect_ratio: usize,
    pub head_dim: usize,
    pub n_embd: Option<usize>,
    pub n_kv_head: Option<usize>,
    pub max_seq_len: usize,
    pub window_pattern: Option<String>,
    pub vocab_size: Option<usize>,
    pub tokenizer: String,
    pub num_iterations: i64,
    pub target_param_data_ratio: Option<f64>,
    pub device_batch_size: usize,
    pub total_batch_size: i64,
    pub embedding_lr: f64,
    pub unembedding_lr: f64,
    pub matrix_lr: f64,
    pub scalar_lr: f64,
    pub weight_decay: f64,
    pub warmup_steps: usize,
    pub momentum_warmup_steps: usize,
    pub warmdown_ratio: f64,
    pub final_lr_frac: f64,
    pub eval_every: i64,
    pub eval_tokens: Option<u64>,
    pub exam_questions: usize,
    pub sample_every: i64,
    pub save_every: i64,
    pub dtype: Option<String>,
    pub seed: u64,
}

impl Default for Settings {
    /// The reference's defaults (REFERENCE.md §3–5).
    fn default() -> Self {
        Settings {
            preset: None,
            data: None,
            world: 1,
            world_size: "small".to_owned(),
            name: None,
            persona: None,
            text_field: "text".to_owned(),
            strict: false,
            arch: "2026-07".to_owned(),
            depth: 20,
            aspect_ratio: 64,
            head_dim: 128,
            n_embd: None,
            n_kv_head: None,
            max_seq_len: 2048,
            window_pattern: None,
            vocab_size: None,
            tokenizer: "bpe".to_owned(),
            num_iterations: -1,
            target_param_data_ratio: None,
            device_batch_size: 32,
            total_batch_size: -1,
            embedding_lr: 0.3,
            unembedding_lr: 0.008,
            matrix_lr: 0.02,
            scalar_lr: 0.5,
            weight_decay: 0.28,
            warmup_steps: 40,
            momentum_warmup_steps: 400,
            warmdown_ratio: 0.65,
            final_lr_frac: 0.05,
            eval_every: 250,
            eval_tokens: None,
            exam_questions: 500,
            sample_every: 2000,
            save_every: -1,
            dtype: None,
            seed: 42,
        }
    }
}

/// May be different when a run goes on: they change what is shown and kept, not what is learned; and
/// another machine may lack an element type, whose rounding is then different.
const FREE_ON_RESUME: [&str; 6] = [
    "strict",
    "eval_every",
    "exam_questions",
    "sample_every",
    "save_every",
    "dtype",
];

impl Settings {
    /// Defaults, then the preset, then the flags.
    ///
    /// # Errors
    /// An unknown preset or a value that no run can have.
    pub fn new(flags: &Flags) -> Result<Settings> {
        let flags = flags.with_absolute_data()?;
        let preset = flags.preset.as_deref().map(presets::find).transpose()?;
        let preset = preset.map(|preset| preset.flags).unwrap_or_default();
        let settings: Settings = layered(&[object(&Settings::default()), object(&preset), object(&flags)]);
        settings.check()?;
        Ok(settings)
    }

    /// The settings of a run that goes on: its own, unless a flag says otherwise.
    ///
    /// # Errors
    /// A flag that differs from what the run was started with.
    pub fn resumed(saved: &Settings, flags: &Flags, run: &str) -> Result<Settings> {
        let settings: Settings = gone_on(saved, &flags.with_absolute_data()?, &FREE_ON_RESUME, run)?;
        settings.check()?;
        Ok(settings)
    }

    /// The name a run gets when the user gives none.
    pub fn default_run_name(&self) -> String {
        self.preset.clone().unwrap_or_else(|| format!("d{}", self.depth))
    }

    /// True if the tokenizer is one id per character.
    pub fn is_char(&self) -> bool {
        self.tokenizer == "char"
    }

    /// Ids of the tokenizer: what was asked for, else what the reference had at that date.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
            .unwrap_or(if self.arch == "2025-10" { 65_536 } else { 32_768 })
    }

    fn check(&self) -> Result<()> {
        let positive = [
            ("depth", self.depth, 1000),
            ("aspect-ratio", self.aspect_ratio, 100_000),
            ("head-dim", self.head_dim, 4096),
            ("n-embd", self.n_embd.unwrap_or(1), 1 << 20),
            ("n-kv-head", self.n_kv_head.unwrap_or(1), 1 << 16),
            ("max-seq-len", self.max_seq_len, 1 << 24),
            ("device-batch-size", self.device_batch_size, 1 << 20),
            ("eval-tokens", self.eval_tokens.unwrap_or(1) as usize, 1 << 40),
        ];
        for (flag, value, most) in positive {
            if value == 0 || value > most {
                refuse!("--{flag} {value} is out of range; it must be from 1 to {most}");
            }
        }
        let finite = [
            ("embedding-lr", self.embedding_lr),
            ("unembedding-lr", self.unembedding_lr),
            ("matrix-lr", self.matrix_lr),
            ("scalar-lr", self.scalar_lr),
            ("weight-decay", self.weight_decay),
        ];
        for (flag, value) in finite {
            if !(0.0..1e3).contains(&value) {
                refuse!("--{flag} {value} is out of range; it must be at least 0 and below 1000");
            }
        }
        for (flag, value) in [
            ("warmdown-ratio", self.warmdown_ratio),
            ("final-lr-frac", self.final_lr_frac),
        ] {
            if !(0.0..=1.0).contains(&value) {
                refuse!("--{flag} {value} is out of range; it must be from 0 to 1");
            }
        }
        if !matches!(self.tokenizer.as_str(), "bpe" | "char") {
            refuse!("--tokenizer {:?} is unknown; it must be bpe or char", self.tokenizer);
        }
        if !self.is_char() && !(265..=1 << 24).contains(&self.vocab_size()) {
            refuse!(
                "--vocab-size {} is out of range; 256 bytes and 9 special tokens need at least 265, and at most {} are possible",
                self.vocab_size(),
                1 << 24
            );
        }
        if self.num_iterations != -1 && !(1..=MOST_STEPS).contains(&self.num_iterations) {
            refuse!(
                "--num-iterations {} is out of range; it must be from 1 to {MOST_STEPS}, or -1 to follow --target-param-data-ratio",
                self.num_iterations
            );
        }
        if self
            .target_param_data_ratio
            .is_some_and(|ratio| !(ratio > 0.0 && ratio < 1e6))
        {
            refuse!("--target-param-data-ratio must be above 0 and below 1000000");
        }
        if self.total_batch_size != -1 && !(1..=MOST_BATCH).contains(&self.total_batch_size) {
            refuse!(
                "--total-batch-size {} is out of range; it must be from 1 to {MOST_BATCH}, or -1 to follow the number of training tokens",
                self.total_batch_size
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_over_the_preset_and_the_preset_over_defaults() {
        let flags = Flags {
            preset: Some("nanogpt-char".into()),
            depth: Some(6),
            ..Flags::default()
        };
        let settings = Settings::new(&flags).unwrap();
        assert_eq!((settings.depth, settings.max_seq_len), (6, 64));
        assert_eq!(
            settings.matrix_lr,
            presets::find("nanogpt-char").unwrap().flags.matrix_lr.unwrap_or(0.02)
        );
        assert_eq!(settings.default_run_name(), "nanogpt-char");
    }

    #[test]
    fn a_resumed_run_keeps_its_settings_and_refuses_others() {
        let start = Flags {
            depth: Some(6),
            seed: Some(7),
            ..Flags::default()
        };
        let saved = Settings::new(&start).unwrap();
        assert_eq!(Settings::resumed(&saved, &Flags::default(), "x").unwrap(), saved);
        let shown = Flags {
            save_every: Some(10),
            depth: Some(6),
            ..Flags::default()
        };
        assert_eq!(Settings::resumed(&saved, &shown, "x").unwrap().save_every, 10);
        let other = Flags {
            depth: Some(8),
            ..Flags::default()
        };
        let error = Settings::resumed(&saved, &other, "x").unwrap_err().to_string();
        assert!(error.contains("--depth 6") && error.contains("--fresh"), "{error}");
    }

    #[test]
    fn every_flag_is_a_setting() {
        let settings = object(&Settings::default());
        let all = Flags {
            preset: Some("d12".into()),
            ..Flags::default()
        };
        assert!(object(&all).keys().all(|name| settings.contains_key(name)));
        assert!(Settings::new(&all).is_ok());
    }
}
