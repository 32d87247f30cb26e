//! How long to train, on which batches: the training horizon that follows from a model's size.

use crate::arch::{Arch, Dials};
use crate::config::{ConfigError, GptConfig};
use crate::facts::Facts;

/// Batch in tokens for which the rates were tuned.
pub const REFERENCE_BATCH: usize = 1 << 19;
/// Muon's weight decay at the reference batch and horizon.
pub const REFERENCE_WEIGHT_DECAY: f64 = 0.28;
/// Depth at which the constants were tuned.
const REFERENCE_DEPTH: usize = 12;
/// Exponent of the batch in the horizon (arXiv 2505.13738).
const BATCH_EXPONENT: f64 = 0.383;

/// What a user may fix of a horizon; the rest follows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HorizonRequest {
    /// Tokens per parameter; none: the architecture's own (12 per matrix and head parameter for 2026-07, 20 per
    /// parameter for 2025-10).
    pub tokens_per_parameter: Option<f64>,
    /// Tokens per step.
    pub batch_tokens: Option<usize>,
    /// Optimizer steps.
    pub steps: Option<usize>,
}

/// How long and on what to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Horizon {
    /// Parameters that the horizon is counted in.
    pub scaling_parameters: usize,
    /// Tokens that the ratio asks for.
    pub target_tokens: usize,
    /// Tokens per optimizer step.
    pub batch_tokens: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Factor on the learning rates for this batch: see [`crate::Rates::scaled`].
    pub lr_scale: f64,
    /// Muon's weight decay at the first step.
    pub weight_decay: f64,
}

impl Horizon {
    /// The horizon of `config`, a model of `arch` made with `dials`.
    pub fn derive(
        arch: Arch,
        config: &GptConfig,
        dials: &Dials,
        request: &HorizonRequest,
    ) -> Result<Horizon, ConfigError> {
        let count = |config: &GptConfig| -> Result<usize, ConfigError> {
            let parameters = Facts::of(config)?.parameters;
            Ok(match arch {
                Arch::V2025_10 => parameters.total,
                Arch::V2026_07 => parameters.scaling(),
            })
        };
        let ratio = request.tokens_per_parameter.unwrap_or(match arch {
            Arch::V2025_10 => 20.0,
            Arch::V2026_07 => 12.0,
        });
        let scaling_parameters = count(config)?;
        let target_tokens = (ratio * scaling_parameters as f64) as usize;

        let reference = Dials {
            n_embd: None,
            n_kv_head: None,
            ..dials.clone()
        };
        let reference = GptConfig::from_depth(arch, REFERENCE_DEPTH, &reference);
        let reference_tokens = ratio * count(&reference)? as f64;

        let batch_tokens = request.batch_tokens.unwrap_or_else(|| match arch {
            Arch::V2025_10 => REFERENCE_BATCH,
            Arch::V2026_07 => best_batch(target_tokens as f64 / reference_tokens),
        });
        let lr_scale = (batch_tokens as f64 / REFERENCE_BATCH as f64).sqrt();
        Ok(Horizon {
            scaling_parameters,
            target_tokens,
            batch_tokens,
            steps: request.steps.unwrap_or(target_tokens / batch_tokens.max(1)),
            lr_scale,
            weight_decay: REFERENCE_WEIGHT_DECAY * lr_scale * (reference_tokens / target_tokens.max(1) as f64),
        })
    }

    /// Tokens that the run will see.
    pub fn tokens(&self) -> usize {
        self.steps.saturating_mul(self.batch_tokens)
    }
}

/// The power of two nearest to the batch for a horizon of `ratio` times the reference's.
fn best_batch(ratio: f64) -> usize {
    let tokens = REFERENCE_BATCH as f64 * ratio.powf(BATCH_EXPONENT);
    1 << tokens.log2().round_ties_even().clamp(0.0, 40.0) as u32
}
