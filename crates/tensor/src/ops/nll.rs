//! The one loss of every stage: unembedding, soft cap and cross-entropy fused and chunked, each
//! position with its own weight. `z = x·headᵀ`, `l = cap·tanh(z/cap)`, `nll = logsumexp(l) − l[target]`,
//! `loss = Σ weight·nll`.
//!
//! Base training gives weights 1/N, mid and SFT mask/N, RL advantage/N, DPO ±β·σ(−margin): stages
//! differ only in the weights they make. The logits of the whole batch never exist.
//!
//! The loss is where the backward pass begins and its gradient is 1, so a recording graph computes
//! `dl = weight·(softmax(l) − onehot)`, `dz = dl·(1 − (l/cap)²)`, `dx = dz·head`, `dhead = dzᵀ·x` right here,
//! while a chunk's logits are still at hand, instead of making them a second time on the way back.

use crate::backend::{Layout, NllArgs, NllGradients};
use crate::dtype::DType;
use crate::graph::Graph;
use crate::param::Param;
use crate::tape::{Record, Tape, Var, bytes};
use crate::tensor::Tensor;

/// An unembedding matrix and how its products become logits.
#[derive(Clone, Copy)]
pub struct NllHead<'a> {
    /// `[padded vocabulary, channels]`.
    pub weight: &'a Param,
    /// Number of real tokens; further rows are padding and get no probability.
    pub vocab: usize,
    /// Logits are squashed to `±softcap`; none: left as they are.
    pub softcap: Option<f32>,
}

/// Result of [`Graph::weighted_nll`].
pub struct Nll {
    /// `Σ weight·nll`, one element of master type.
    pub loss: Tensor,
    /// Negative log-likelihood per position in nats, master type; 0 where the target is negative.
    pub nll: Tensor,
}

pub(crate) struct Saved {
    x: Var,
    dx: Tensor,
}

impl Graph {
    /// Weighted negative log-likelihood of `targets` `[batch, time]` (`I32`, negative: ignored) given `x`
    /// `[batch, time, channels]`; `weights` `[batch, time]` are of master type. A row of zeros is harmless.
    pub fn weighted_nll(&self, x: &Tensor, head: &NllHead, targets: &Tensor, weights: &Tensor) -> Nll {
        assert_eq!(targets.dtype(), DType::I32, "targets are indices");
        let (rows, channels) = (x.shape().rows(), x.shape().last());
        assert_eq!(targets.len(), rows, "one target per position");
        assert_eq!(weights.len(), rows, "one weight per position");
        let padded_vocab = head.weight.shape().rows();
        assert!(head.vocab <= padded_vocab, "a head has a row for each token");
        let device = self.device();
        let wanted = device.backend().nll_scratch(rows, channels, padded_vocab);
        let scratch = device.master([wanted.master]);
        let result = Nll {
            loss: device.master([1]),
            nll: device.master(targets.shape()),
        };
        let args = NllArgs {
            rows,
            channels,
            vocab: head.vocab,
            softcap: head.softcap,
            chunk: wanted.chunk.clamp(1, rows),
            x: x.buffer(),
            head: head.weight.weight(Layout::Forward),
            targets: targets.buffer(),
            weights: weights.buffer(),
            scratch: scratch.buffer(),
            nll: result.nll.buffer(),
            loss: result.loss.buffer(),
        };
        let product = 2.0 * (rows * channels * padded_vocab) as f64;
        let table = (padded_vocab * channels) as f64 * 4.0;
        device.count(product, bytes(x) + table);
        if !self.is_training() {
            device.launch("weighted_nll", |b| b.weighted_nll(&args, None));
            return result;
        }
        let scratch = device.activation([wanted.compute]);
        let dx = device.activation(x.shape());
        let (dhead, accumulate_head) = head.weight.grad_slot();
        let gradients = NllGradients {
            head: head.weight.weight(Layout::Backward),
            scratch: scratch.buffer(),
            dx: dx.buffer(),
            dhead: dhead.buffer(),
            accumulate_head,
        };
        device.count(2.0 * product, bytes(x) + 2.0 * table);
        device.launch("weighted_nll_and_gradients", |b| {
            b.weighted_nll(&args, Some(&gradients));
        });
        let mut root = result.loss.clone();
        self.record(&mut root, |_, _| Record::Nll(Saved { x: x.var, dx }));
        result
    }

    /// Logits of `x` `[rows…, channels]` in master type, `[rows, vocab]`, soft cap applied. No gradient:
    /// for sampling and for scoring single positions.
    pub fn logits(&self, x: &Tensor, head: &NllHead) -> Tensor {
        let rows = x.shape().rows();
        let logits = self.device().master([rows, head.vocab]);
        let padded = head.weight.shape().rows();
        let flops = 2.0 * (rows * x.shape().last() * padded) as f64;
        let operand = head.weight.weight(Layout::Forward);
        let table = (head.weight.numel() * x.dtype().bytes()) as f64;
        self.device().count(flops, bytes(x) + table + bytes(&logits));
        self.device().launch("logits", |b| {
            b.logits(x.buffer(), operand, head.vocab, head.softcap, logits.buffer(), rows);
        });
        logits
    }

    /// One position per sequence: `x` `[batch, time, channels]` at `index` (`I32`, `[batch]`) →
    /// `[batch, 1, channels]`. No gradient.
    pub fn select_positions(&self, x: &Tensor, index: &Tensor) -> Tensor {
        let [batch, time, channels] = x.shape().expect("[batch, time, channels]");
        let y = self.device().activation([batch, 1, channels]);
        self.device().launch("select_positions", |b| {
            b.select_positions(x.buffer(), index.buffer(), y.buffer(), batch, time, channels);
        });
        y
    }
}

impl Saved {
    pub(crate) fn backward(self, tape: &mut Tape) {
        tape.give(self.x, &self.dx);
    }
}
