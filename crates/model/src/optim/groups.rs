//! The optimizer's groups as a table: who updates which kind of parameter, with which numbers.
//!
//! Rates are those at width 768 and a batch of 2¹⁹ tokens; [`Rates`] carries the ones a user may change.

/// What kind of parameter it is, which decides its recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The unembedding.
    Head,
    /// The token embedding.
    Embedding,
    /// Value embeddings.
    ValueEmbedding,
    /// Scalars on the residual stream.
    Residual,
    /// Scalars on the embedding that is mixed back in.
    Embedded,
    /// Smear's gate and scalar, and backout's scalar.
    Smear,
    /// All matrices of the blocks.
    Matrix,
}

/// Base learning rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Head, before the scaling by width.
    pub unembedding: f64,
    /// Token embedding, before the scaling by width; value embeddings get half of it.
    pub embedding: f64,
    /// Residual scalars get a hundredth of it, those of the embedding mixed back in all of it.
    pub scalar: f64,
    /// Muon's.
    pub matrix: f64,
    /// Smear and backout; not scaled by the batch.
    pub smear: f64,
}

impl Default for Rates {
    /// The rates of 2026-07.
    fn default() -> Rates {
        Rates {
            unembedding: 0.008,
            embedding: 0.3,
            scalar: 0.5,
            matrix: 0.02,
            smear: 0.2,
        }
    }
}

impl Rates {
    /// The rates for another batch (or stage): all multiplied, except smear's.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Rates {
        Rates {
            unembedding: self.unembedding * factor,
            embedding: self.embedding * factor,
            scalar: self.scalar * factor,
            matrix: self.matrix * factor,
            smear: self.smear,
        }
    }
}

/// How a parameter is updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Recipe {
    /// See [`crate::optim::AdamW`].
    AdamW {
        /// Learning rate.
        lr: f64,
        /// Decays of the first and second moment.
        betas: [f64; 2],
        /// Weight decay, not scheduled.
        weight_decay: f64,
    },
    /// See [`crate::optim::Muon`]; momentum and weight decay are scheduled.
    Muon {
        /// Learning rate, before the factor for tall matrices.
        lr: f64,
    },
}

/// Added to the root of AdamW's second moment.
pub const ADAMW_EPS: f64 = 1e-10;
/// Decay of Muon's second moment.
pub const MUON_BETA2: f64 = 0.9;

impl Group {
    /// The recipe of a group in a model of this width.
    pub fn recipe(self, rates: &Rates, width: usize) -> Recipe {
        let by_width = (width as f64 / 768.0).powf(-0.5);
        let (lr, betas, weight_decay) = match self {
            Group::Head => (rates.unembedding * by_width, [0.8, 0.96], 0.01),
            Group::Embedding => (rates.embedding * by_width, [0.8, 0.995], 0.001),
            Group::ValueEmbedding => (rates.embedding * by_width * 0.5, [0.8, 0.995], 0.01),
            Group::Residual => (rates.scalar * 0.01, [0.8, 0.95], 0.05),
            Group::Embedded => (rates.scalar, [0.96, 0.95], 0.0),
            Group::Smear => (rates.smear, [0.8, 0.95], 0.0),
            Group::Matrix => return Recipe::Muon { lr: rates.matrix },
        };
        Recipe::AdamW {
            lr,
            betas,
            weight_decay,
        }
    }
}
