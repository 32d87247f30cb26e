//! Named settings: the small ones that anybody can run, and the real ones of the reference.
//! A preset is a value of [`Flags`]; it can do nothing that flags cannot.

use anyhow::Result;

use crate::dpo_settings::DpoFlags;
use crate::errors::refuse;
use crate::rl_settings::RlFlags;
use crate::settings::{Flags, Settings};
use crate::tune_settings::TuneFlags;

/// A named set of flags.
pub struct Preset {
    /// What the user types.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Its settings of model and base training.
    pub flags: Flags,
    /// Of mid-training.
    pub mid: TuneFlags,
    /// Of SFT.
    pub sft: TuneFlags,
    /// Of RL.
    pub rl: RlFlags,
    /// Of DPO.
    pub dpo: DpoFlags,
}

/// All presets, smallest first.
pub fn all() -> Vec<Preset> {
    vec![
        spark(),
        Preset {
            name: "nanogpt-char",
            about: "nanoGPT's small CPU setting: characters, 4 layers of width 128, context 64, batch 12",
            flags: Flags {
                depth: Some(4),
                n_embd: Some(128),
                head_dim: Some(32),
                max_seq_len: Some(64),
                window_pattern: Some("L".to_owned()),
                tokenizer: Some("char".to_owned()),
                num_iterations: Some(1200),
                device_batch_size: Some(12),
                total_batch_size: Some(768),
                warmup_steps: Some(50),
                eval_every: Some(300),
                // All of Tiny Shakespeare's validation part.
                eval_tokens: Some(131_072),
                sample_every: Some(600),
                ..small()
            },
            mid: TuneFlags::default(),
            sft: TuneFlags::default(),
            rl: RlFlags::default(),
            dpo: DpoFlags::default(),
        },
        real("d12", "the reference's tuning model: GPT-2 small class", 12, None),
        real(
            "d20",
            "the $100 model of 2025-10, about 4 hours on eight H100",
            20,
            None,
        ),
        real(
            "d24",
            "the GPT-2 speedrun of 2026-07, under 2 hours on eight H100",
            24,
            Some(8.0),
        ),
        real("d26", "the $300 model, about 12 hours on eight H100", 26, None),
        real("d32", "the $1,000 model, about 42 hours on eight H100", 32, None),
    ]
}

/// Found by a sweep on the world (LOG.md): the whole chain in minutes on two cores.
fn spark() -> Preset {
    Preset {
        name: "spark",
        about: "a first model to talk to, in minutes on two cores",
        flags: Flags {
            depth: Some(6),
            n_embd: Some(128),
            head_dim: Some(32),
            max_seq_len: Some(256),
            window_pattern: Some("L".to_owned()),
            vocab_size: Some(576),
            num_iterations: Some(800),
            device_batch_size: Some(8),
            total_batch_size: Some(2048),
            warmup_steps: Some(20),
            weight_decay: Some(0.0),
            eval_every: Some(200),
            eval_tokens: Some(16_384),
            sample_every: Some(400),
            ..small()
        },
        mid: TuneFlags {
            packing: Some("stream".to_owned()),
            num_iterations: Some(650),
            init_lr_frac: Some(0.8),
            warmdown_ratio: Some(0.3),
            final_lr_frac: Some(0.3),
            ..small_tuning()
        },
        sft: TuneFlags {
            num_iterations: Some(500),
            init_lr_frac: Some(0.3),
            warmdown_ratio: Some(1.0),
            ..small_tuning()
        },
        rl: RlFlags {
            num_iterations: Some(40),
            examples_per_step: Some(8),
            init_lr_frac: Some(0.1),
            // Before and after.
            eval_every: Some(40),
            eval_examples: Some(200),
            ..RlFlags::default()
        },
        dpo: DpoFlags {
            num_iterations: Some(40),
            examples_per_step: Some(16),
            init_lr_frac: Some(0.02),
            eval_every: Some(40),
            ..DpoFlags::default()
        },
    }
}

/// Rates for batches of a few thousand tokens. The reference's formula scales its rates, tuned for
/// half a million, by the square root of the batch; for models this small that falls far short.
fn small() -> Flags {
    Flags {
        embedding_lr: Some(3.0),
        unembedding_lr: Some(0.08),
        matrix_lr: Some(0.2),
        scalar_lr: Some(5.0),
        momentum_warmup_steps: Some(100),
        ..Flags::default()
    }
}

/// Fine-tuning of such a model goes on with its rates and its optimizer's state.
fn small_tuning() -> TuneFlags {
    TuneFlags {
        unscaled_rates: Some(false),
        carry_optimizer: Some(true),
        momentum_warmup_steps: Some(0),
        momentum_start: Some(0.95),
        eval_every: Some(-1),
        eval_tokens: Some(32_768),
        ..TuneFlags::default()
    }
}

fn real(name: &'static str, about: &'static str, depth: usize, ratio: Option<f64>) -> Preset {
    Preset {
        name,
        about,
        flags: Flags {
            depth: Some(depth),
            target_param_data_ratio: ratio,
            device_batch_size: Some(if depth > 26 { 8 } else { 16 }),
            ..Flags::default()
        },
        mid: TuneFlags::default(),
        // Mid-training has taken the place of the one stage of 2026-07; SFT is that of 2025-10.
        sft: TuneFlags {
            recipe: Some("2025-10".to_owned()),
            ..TuneFlags::default()
        },
        rl: RlFlags::default(),
        dpo: DpoFlags::default(),
    }
}

/// What the preset of a run's base model says of `mid` or `sft`.
pub fn tuning(base: &Settings, stage: &str) -> TuneFlags {
    let Some(preset) = of_run(base) else {
        return TuneFlags::default();
    };
    if stage == "mid" { preset.mid } else { preset.sft }
}

/// What the preset of a run's base model says of RL.
pub fn practice(base: &Settings) -> RlFlags {
    of_run(base).map(|preset| preset.rl).unwrap_or_default()
}

/// What the preset of a run's base model says of DPO.
pub fn preferring(base: &Settings) -> DpoFlags {
    of_run(base).map(|preset| preset.dpo).unwrap_or_default()
}

fn of_run(base: &Settings) -> Option<Preset> {
    base.preset.as_deref().and_then(|name| find(name).ok())
}

/// The preset called `name`.
///
/// # Errors
/// There is none; the sentence lists those that are.
pub fn find(name: &str) -> Result<Preset> {
    let mut presets = all();
    if let Some(at) = presets.iter().position(|preset| preset.name == name) {
        return Ok(presets.swap_remove(at));
    }
    let known: Vec<_> = presets.iter().map(|preset| preset.name).collect();
    refuse!("--preset {name:?} is unknown; the presets are {}", known.join(", "));
}
