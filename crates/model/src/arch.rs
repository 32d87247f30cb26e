//! The two published architectures, and the one dial from which a model's sizes follow.
//!
//! Knows constants of the reference, not how the model computes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::{GptConfig, InitScheme};

/// An architecture by the date at which the reference had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    /// October 2025: the model of the published $100 run.
    #[serde(rename = "2025-10")]
    V2025_10,
    /// July 2026: windows, value embeddings, residual scalars, smear, backout.
    #[serde(rename = "2026-07")]
    V2026_07,
}

impl Arch {
    /// The name on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::V2025_10 => "2025-10",
            Arch::V2026_07 => "2026-07",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An architecture that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("there is no architecture {0:?}; choose 2025-10 or 2026-07")]
pub struct UnknownArch(String);

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(name: &str) -> Result<Arch, UnknownArch> {
        [Arch::V2025_10, Arch::V2026_07]
            .into_iter()
            .find(|arch| arch.name() == name)
            .ok_or_else(|| UnknownArch(name.to_owned()))
    }
}

/// What beside the depth decides a model's sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Dials {
    /// Context length in tokens.
    pub sequence_len: usize,
    /// Tokens of the tokenizer, special ones included.
    pub vocab_size: usize,
    /// Channels per attention head.
    pub head_dim: usize,
    /// Width per layer: width = depth × aspect ratio, made to fit the heads.
    pub aspect_ratio: usize,
    /// `S` and `L` per layer, tiled; none: the architecture's own.
    pub window_pattern: Option<String>,
    /// Key-value heads; none: as many as query heads.
    pub n_kv_head: Option<usize>,
    /// Width in place of depth × aspect ratio, taken as it is.
    pub n_embd: Option<usize>,
}

impl Default for Dials {
    fn default() -> Dials {
        Dials {
            sequence_len: 2048,
            vocab_size: 32768,
            head_dim: 128,
            aspect_ratio: 64,
            window_pattern: None,
            n_kv_head: None,
            n_embd: None,
        }
    }
}

impl GptConfig {
    /// The model of `depth` layers of an architecture. Sizes may still be wrong: see [`GptConfig::validate`].
    ///
    /// Width: depth × aspect ratio, for 2026-07 rounded up to whole heads; 2025-10 rounds the number of heads
    /// up instead, so that its heads are narrower at odd depths.
    pub fn from_depth(arch: Arch, depth: usize, dials: &Dials) -> GptConfig {
        let head_dim = dials.head_dim.max(1);
        let width = depth.saturating_mul(dials.aspect_ratio);
        let n_embd = dials.n_embd.unwrap_or(match arch {
            Arch::V2025_10 => width,
            Arch::V2026_07 => width.div_ceil(head_dim).saturating_mul(head_dim),
        });
        let n_head = n_embd.div_ceil(head_dim);
        let pattern = dials.window_pattern.as_deref().unwrap_or(match arch {
            Arch::V2025_10 => "L",
            Arch::V2026_07 => "SSSL",
        });
        let current = arch == Arch::V2026_07;
        GptConfig {
            sequence_len: dials.sequence_len,
            vocab_size: dials.vocab_size,
            n_layer: depth,
            n_head,
            n_kv_head: dials.n_kv_head.unwrap_or(n_head),
            n_embd,
            window_pattern: pattern.to_ascii_uppercase(),
            rotary_base: if current { 100_000.0 } else { 10_000.0 },
            qk_scale: if current { 1.2 } else { 1.0 },
            logit_softcap: Some(15.0),
            vocab_multiple: if current { 64 } else { 1 },
            value_embeddings: current,
            residual_scalars: current,
            smear: current,
            backout: current,
            init: if current {
                InitScheme::Current
            } else {
                InitScheme::Classic
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for arch in [Arch::V2025_10, Arch::V2026_07] {
            assert_eq!(arch.name().parse::<Arch>().unwrap(), arch);
            assert_eq!(serde_json::to_string(&arch).unwrap(), format!("\"{arch}\""));
        }
        let error = "2026".parse::<Arch>().unwrap_err().to_string();
        assert!(error.contains("2025-10") && error.contains("2026-07"), "{error}");
    }

    #[test]
    fn width_follows_depth() {
        let sizes = |arch, depth| {
            let config = GptConfig::from_depth(arch, depth, &Dials::default());
            (config.n_embd, config.n_head, config.n_kv_head)
        };
        assert_eq!(sizes(Arch::V2026_07, 12), (768, 6, 6));
        assert_eq!(sizes(Arch::V2026_07, 5), (384, 3, 3));
        assert_eq!(sizes(Arch::V2025_10, 20), (1280, 10, 10));
        assert_eq!(sizes(Arch::V2025_10, 5), (320, 3, 3));
    }

    #[test]
    fn nano_gpts_small_setting() {
        let dials = Dials {
            sequence_len: 64,
            vocab_size: 65,
            head_dim: 32,
            n_embd: Some(128),
            ..Dials::default()
        };
        let config = GptConfig::from_depth(Arch::V2026_07, 4, &dials);
        assert_eq!((config.n_embd, config.n_head, config.head_dim()), (128, 4, 32));
        config.validate().unwrap();
    }
}
