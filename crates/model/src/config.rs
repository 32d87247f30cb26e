//! The shape of a GPT as plain feature fields, and the check that it can exist.
//!
//! Everything the forward pass needs to know stands here, so that a checkpoint carries its model.

use ferrochat_tensor::MAX_HEAD_DIM;
use serde::{Deserialize, Serialize};

/// Leading channels that the gate of a value embedding reads.
pub const VALUE_GATE_CHANNELS: usize = 12;
/// Leading channels that the gate of smear reads.
pub const SMEAR_GATE_CHANNELS: usize = 24;

/// Which distributions the starting weights have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitScheme {
    /// 2025-10: normal, σ by fan-in and fan-out.
    Classic,
    /// 2026-07: uniform, σ by width.
    Current,
}

/// A GPT's sizes and features.
#[allow(clippy::struct_excessive_bools)] // features are independent of each other
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GptConfig {
    /// Context length in tokens.
    pub sequence_len: usize,
    /// Tokens that have a logit.
    pub vocab_size: usize,
    /// Blocks.
    pub n_layer: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; fewer than query heads: grouped-query attention.
    pub n_kv_head: usize,
    /// Width: channels of the residual stream.
    pub n_embd: usize,
    /// Attention window per layer, tiled: `L` the context length, `S` a quarter of it rounded up to 128.
    pub window_pattern: String,
    /// Base of the rotary frequencies.
    pub rotary_base: f32,
    /// Factor on queries and keys after their norm.
    pub qk_scale: f32,
    /// Logits are `cap·tanh(z/cap)`; none: as they are.
    pub logit_softcap: Option<f32>,
    /// Embedding and head have the vocabulary rounded up to a multiple of this many rows.
    pub vocab_multiple: usize,
    /// Gated value embeddings on every second layer, the last one included.
    pub value_embeddings: bool,
    /// Learned scalars per layer on the residual stream and on the embedding mixed back into it.
    pub residual_scalars: bool,
    /// Mix the previous token's embedding into each position.
    pub smear: bool,
    /// Subtract a share of the middle layer's output before the head.
    pub backout: bool,
    /// Distributions of the starting weights.
    pub init: InitScheme,
}

/// Why a model of these sizes cannot exist; one sentence with what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// No model has ever needed more; a damaged file must not make us try.
const LIMITS: [(&str, usize); 4] = [
    ("context length", 1 << 20),
    ("vocabulary", 1 << 24),
    ("depth", 1 << 10),
    ("width", 1 << 16),
];

impl GptConfig {
    /// Channels per head.
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// Channels of all keys (or values) of a position.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_head * self.head_dim()
    }

    /// Rows of embedding and head.
    pub fn padded_vocab(&self) -> usize {
        self.vocab_size.next_multiple_of(self.vocab_multiple)
    }

    /// Whether layer `layer` has a value embedding: every second one, counted so that the last has it.
    pub fn has_value_embedding(&self, layer: usize) -> bool {
        self.value_embeddings && layer % 2 == (self.n_layer - 1) % 2
    }

    /// Attention window of each layer: position `i` sees the positions `j` with `0 ≤ i − j ≤ window`.
    /// The last layer always sees the whole context. No window is longer than the context, so that decoding
    /// beyond it sees no distance that training did not.
    pub fn windows(&self) -> Vec<usize> {
        let long = self.sequence_len;
        let short = long.div_ceil(4).next_multiple_of(128).min(long);
        let tiled = self.window_pattern.chars().cycle().take(self.n_layer);
        let mut windows: Vec<usize> = tiled.map(|letter| if letter == 'S' { short } else { long }).collect();
        if let Some(last) = windows.last_mut() {
            *last = long;
        }
        windows
    }

    /// Checks that a model of these sizes can exist.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |sentence: String| Err(ConfigError(sentence));
        let sizes = [self.sequence_len, self.vocab_size, self.n_layer, self.n_embd];
        for ((what, limit), size) in LIMITS.into_iter().zip(sizes) {
            if size == 0 || size > limit {
                return refuse(format!(
                    "a {what} of {size} is not possible; it must be from 1 to {limit}"
                ));
            }
        }
        if self.vocab_size < 2 {
            return refuse("a vocabulary of 1 token leaves nothing to predict; it needs at least 2".to_owned());
        }
        let (heads, kv_heads) = (self.n_head, self.n_kv_head);
        if heads == 0 || !self.n_embd.is_multiple_of(heads) {
            return refuse(format!(
                "a width of {} cannot be divided among {heads} heads; the width must be a multiple of the heads",
                self.n_embd
            ));
        }
        if !self.head_dim().is_multiple_of(2) {
            return refuse(format!(
                "heads of {} channels cannot be rotated in pairs; width / heads must be even",
                self.head_dim()
            ));
        }
        if self.head_dim() > MAX_HEAD_DIM {
            return refuse(format!(
                "heads of {} channels are too wide; width / heads must be at most {MAX_HEAD_DIM}",
                self.head_dim()
            ));
        }
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return refuse(format!(
                "{heads} query heads cannot share {kv_heads} key-value heads; the latter must divide the former"
            ));
        }
        if self.window_pattern.is_empty() || !self.window_pattern.chars().all(|c| "SL".contains(c)) {
            return refuse(format!(
                "the window pattern {:?} must be letters S (short) and L (long), such as SSSL",
                self.window_pattern
            ));
        }
        if self.vocab_multiple == 0 || self.vocab_multiple > 1 << 16 {
            return refuse(format!(
                "the vocabulary cannot be padded to a multiple of {}; 64 or 1 are usual",
                self.vocab_multiple
            ));
        }
        for (wanted, channels, what) in [
            (self.smear, SMEAR_GATE_CHANNELS, "smear"),
            (self.value_embeddings, VALUE_GATE_CHANNELS, "the value embeddings"),
        ] {
            if wanted && self.n_embd < channels {
                return refuse(format!(
                    "a width of {} is too small for {what}, whose gate reads {channels} channels",
                    self.n_embd
                ));
            }
        }
        let positive = |x: f32| x.is_finite() && x > 0.0;
        if !positive(self.rotary_base) || !positive(self.qk_scale) || !self.logit_softcap.is_none_or(positive) {
            return refuse("rotary base, query-key scale and logit soft cap must be positive numbers".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{Arch, Dials};

    fn d12() -> GptConfig {
        GptConfig::from_depth(Arch::V2026_07, 12, &Dials::default())
    }

    #[test]
    fn windows_follow_the_pattern_and_the_last_is_long() {
        let config = GptConfig { n_layer: 7, ..d12() };
        assert_eq!(config.windows(), [512, 512, 512, 2048, 512, 512, 2048]);
        let config = GptConfig {
            sequence_len: 151,
            n_layer: 1,
            ..d12()
        };
        assert_eq!(config.windows(), [151]);
        let config = GptConfig { n_layer: 2, ..config };
        assert_eq!(config.windows(), [128, 151]);
    }

    #[test]
    fn value_embeddings_reach_the_last_layer() {
        let config = GptConfig { n_layer: 5, ..d12() };
        let with: Vec<usize> = (0..5).filter(|&i| config.has_value_embedding(i)).collect();
        assert_eq!(with, [0, 2, 4]);
    }

    #[test]
    fn every_impossible_size_is_refused_in_one_sentence() {
        d12().validate().unwrap();
        type Change = fn(&mut GptConfig);
        let wrong: [(&str, Change); 19] = [
            ("too wide", |c| (c.n_head, c.n_kv_head) = (1, 1)),
            ("context length", |c| c.sequence_len = 0),
            ("context length", |c| c.sequence_len = usize::MAX),
            ("vocabulary", |c| c.vocab_size = 0),
            ("vocabulary", |c| c.vocab_size = 1),
            ("depth", |c| c.n_layer = 0),
            ("depth", |c| c.n_layer = 1 << 40),
            ("width", |c| c.n_embd = 0),
            ("heads", |c| c.n_head = 7),
            ("heads", |c| c.n_head = 0),
            ("even", |c| (c.n_embd, c.n_head, c.n_kv_head) = (27, 3, 3)),
            ("key-value heads", |c| c.n_kv_head = 4),
            ("key-value heads", |c| c.n_kv_head = 0),
            ("window pattern", |c| c.window_pattern.clear()),
            ("window pattern", |c| c.window_pattern = "SXL".to_owned()),
            ("multiple of 0", |c| c.vocab_multiple = 0),
            ("smear", |c| (c.n_embd, c.n_head, c.n_kv_head) = (16, 2, 2)),
            ("value embeddings", |c| {
                (c.n_embd, c.n_head, c.n_kv_head, c.smear) = (8, 2, 2, false);
            }),
            ("soft cap", |c| c.logit_softcap = Some(f32::NAN)),
        ];
        for (about, change) in wrong {
            let mut config = d12();
            change(&mut config);
            let sentence = config.validate().expect_err(about).to_string();
            assert!(sentence.contains(about), "{about}: {sentence}");
        }
    }
}
