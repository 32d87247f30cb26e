//! From flags to the model that a benchmark runs.

use anyhow::Result;
use ferrochat_model::{Arch, Dials, GptConfig};
use serde_json::{Value, json};

use crate::cli::BenchModelArgs;
use crate::errors::{refuse, usage};

/// What a benchmark takes where a flag is absent.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// Layers.
    pub depth: usize,
    /// Channels per head.
    pub head_dim: usize,
    /// Windows; none: the architecture's.
    pub window_pattern: Option<&'static str>,
    /// Context.
    pub max_seq_len: usize,
}

/// The reference's setting for training on a CPU.
pub const TRAINING: Defaults = Defaults {
    depth: 6,
    head_dim: 64,
    window_pattern: Some("L"),
    max_seq_len: 512,
};

/// The smallest of its full models.
pub const DECODING: Defaults = Defaults {
    depth: 12,
    head_dim: 128,
    window_pattern: None,
    max_seq_len: 2048,
};

/// The model that the flags describe, and the dials it was made with.
///
/// # Errors
/// It cannot exist.
pub fn model(args: &BenchModelArgs, defaults: Defaults) -> Result<(Arch, Dials, GptConfig)> {
    let arch: Arch = args.arch.parse().map_err(usage)?;
    let dials = Dials {
        sequence_len: args.max_seq_len.unwrap_or(defaults.max_seq_len),
        vocab_size: args.vocab_size,
        head_dim: args.head_dim.unwrap_or(defaults.head_dim),
        aspect_ratio: args.aspect_ratio,
        window_pattern: args
            .window_pattern
            .clone()
            .or_else(|| defaults.window_pattern.map(str::to_owned)),
        ..Dials::default()
    };
    if dials.head_dim == 0 {
        refuse!("--head-dim 0 leaves nothing of a head; 64 and 128 are usual");
    }
    let config = GptConfig::from_depth(arch, args.depth.unwrap_or(defaults.depth), &dials);
    config.validate().map_err(usage)?;
    Ok((arch, dials, config))
}

/// The model's sizes for a line of JSON.
pub fn describe(arch: Arch, config: &GptConfig) -> Value {
    json!({
        "arch": arch,
        "depth": config.n_layer,
        "model_dim": config.n_embd,
        "heads": config.n_head,
        "head_dim": config.head_dim(),
        "window_pattern": config.window_pattern,
        "max_seq_len": config.sequence_len,
        "vocab_size": config.vocab_size,
    })
}

/// The model's sizes for people.
pub fn sentence(config: &GptConfig) -> String {
    format!(
        "depth {}, width {}, {} heads of {}, context {}, vocabulary {}",
        config.n_layer,
        config.n_embd,
        config.n_head,
        config.head_dim(),
        config.sequence_len,
        config.vocab_size
    )
}
