//! Unembedding, soft cap and weighted negative log-likelihood.

use super::matrix::{dot, linear};
use super::put;
use crate::backend::NllArgs;

/// The operands of the loss.
pub(super) struct Loss<'a> {
    pub(super) args: &'a NllArgs,
    pub(super) x: &'a [f64],
    pub(super) head: &'a [f64],
    pub(super) targets: &'a [i32],
    pub(super) weights: &'a [f64],
}

/// Where its gradients go.
pub(super) struct Gradients<'a> {
    pub(super) dlogits: &'a mut [f64],
    pub(super) dx: &'a mut [f64],
    pub(super) dhead: &'a mut [f64],
}

/// `cap·tanh(z/cap)`.
pub(super) fn softcapped(z: f64, softcap: Option<f32>) -> f64 {
    softcap.map_or(z, |cap| f64::from(cap) * (z / f64::from(cap)).tanh())
}

/// Logits of `rows` rows, `[rows, vocab]`, soft cap applied.
pub(super) fn logits(x: &[f64], head: &[f64], channels: usize, softcap: Option<f32>, logits: &mut [f64], vocab: usize) {
    linear(x, &head[..vocab * channels], logits, channels, vocab);
    for logit in logits {
        *logit = softcapped(*logit, softcap);
    }
}

fn logsumexp(logits: &[f64]) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln()
}

impl Loss<'_> {
    /// Fills `nll`, returns `Σ weight·nll` and, if asked, the gradients for seed 1, `chunk` rows at a time.
    pub(super) fn run(&self, scratch: &mut [f64], nll: &mut [f64], mut gradients: Option<Gradients>) -> f64 {
        let NllArgs {
            rows,
            channels,
            vocab,
            softcap,
            chunk,
            ..
        } = *self.args;
        let mut loss = 0.0;
        for first in (0..rows).step_by(chunk) {
            let count = chunk.min(rows - first);
            let logits_of_chunk = &mut scratch[..count * vocab];
            let x = &self.x[first * channels..][..count * channels];
            logits(x, self.head, channels, softcap, logits_of_chunk, vocab);
            for (i, logits) in logits_of_chunk.chunks_exact(vocab).enumerate() {
                nll[first + i] = match usize::try_from(self.targets[first + i]) {
                    Ok(target) => logsumexp(logits) - logits[target],
                    Err(_) => 0.0,
                };
                loss += self.weights[first + i] * nll[first + i];
            }
            if let Some(gradients) = &mut gradients {
                self.backward(first, logits_of_chunk, gradients);
            }
        }
        loss
    }

    /// Gradients of the rows from `first` on, whose soft-capped logits are given.
    fn backward(&self, first: usize, logits: &[f64], gradients: &mut Gradients) {
        let NllArgs {
            channels,
            vocab,
            softcap,
            ..
        } = *self.args;
        let dlogits = &mut gradients.dlogits[..logits.len()];
        for (i, (logits, dz)) in logits
            .chunks_exact(vocab)
            .zip(dlogits.chunks_exact_mut(vocab))
            .enumerate()
        {
            let Ok(target) = usize::try_from(self.targets[first + i]) else {
                dz.fill(0.0);
                continue;
            };
            let total = logsumexp(logits);
            for token in 0..vocab {
                let wanted = f64::from(token == target);
                let dlogit = self.weights[first + i] * ((logits[token] - total).exp() - wanted);
                let slope = softcap.map_or(1.0, |cap| 1.0 - (logits[token] / f64::from(cap)).powi(2));
                dz[token] = dlogit * slope;
            }
        }
        for (i, dz) in dlogits.chunks_exact(vocab).enumerate() {
            let row = (first + i) * channels;
            for c in 0..channels {
                let column: Vec<f64> = (0..vocab).map(|token| self.head[token * channels + c]).collect();
                put(&mut gradients.dx[row + c], dot(dz, &column), false);
            }
            for (dz, dhead) in dz.iter().zip(gradients.dhead.chunks_exact_mut(channels)) {
                for (dhead, x) in dhead.iter_mut().zip(&self.x[row..][..channels]) {
                    *dhead += dz * x;
                }
            }
        }
    }
}
