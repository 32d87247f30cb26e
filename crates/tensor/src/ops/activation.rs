//! Elementwise activations.
//!
//! Gradients: ReLU² `2·max(x, 0) = 2·√y`, ReLU `[x > 0] = [y > 0]`, SiLU `σ + x·σ·(1 − σ)`, GELU (tanh form) by the product rule,
//! sigmoid `σ·(1 − σ)`, tanh `1 − tanh²`.

use crate::graph::Graph;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)²` (So et al. 2021).
    ReluSquared,
    /// `max(x, 0)`.
    Relu,
    /// `x·σ(x)`.
    Silu,
    /// `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`, GPT-2's form.
    Gelu,
    /// `1/(1 + e⁻ˣ)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Whether the gradient's rule reads the result instead of the input. That costs no accuracy where the result says as
    /// much as the input does (the root of a rounded square is the number that was squared), and a result is what the
    /// next product keeps anyway.
    fn by_result(self) -> bool {
        matches!(self, Activation::ReluSquared | Activation::Relu)
    }
}

pub(crate) struct Saved {
    kind: Activation,
    x: Var,
    /// The input, or the result.
    kept: Kept,
    out: Var,
}

impl Graph {
    /// `max(x, 0)²` elementwise.
    pub fn relu_squared(&self, x: &Tensor) -> Tensor {
        self.activation(Activation::ReluSquared, x)
    }

    /// `x·σ(x)` elementwise.
    pub fn silu(&self, x: &Tensor) -> Tensor {
        self.activation(Activation::Silu, x)
    }

    /// Any of the elementwise functions.
    pub fn activation(&self, kind: Activation, x: &Tensor) -> Tensor {
        let mut y = self.device().activation(x.shape());
        self.device().count(2.0 * x.len() as f64, 2.0 * bytes(x));
        self.device()
            .launch("activation", |b| b.activation(kind, x.buffer(), y.buffer()));
        let by_result = (kind.by_result() && self.is_training()).then(|| y.clone());
        self.record(&mut y, |tape, out| {
            Record::Activation(Saved {
                kind,
                x: x.var,
                kept: by_result.map_or_else(|| tape.keep(x), Kept::Tensor),
                out,
            })
        });
        y
    }
}

impl Saved {
    pub(crate) fn backward(self, tape: &mut Tape) {
        let Some(dy) = tape.take(self.out) else {
            return;
        };
        let Some((dx, accumulate)) = tape.slot_over(self.x, &dy) else {
            return;
        };
        let kept = tape.operand(self.kept);
        let device = dy.device();
        device.count(4.0 * dy.len() as f64, 3.0 * bytes(&dy));
        device.launch("activation_backward", |b| {
            b.activation_backward(self.kind, kept.buffer(), dy.buffer(), dx.buffer(), accumulate);
        });
    }
}
