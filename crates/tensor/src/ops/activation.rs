//! Elementwise activations.
//!
//! Gradients: ReLU² `2·max(x, 0)`, ReLU `[x > 0]`, SiLU `σ + x·σ·(1 − σ)`, GELU (tanh form) by the product rule,
//! sigmoid `σ·(1 − σ)`, tanh `1 − tanh²`.

use crate::graph::Graph;
use crate::tape::{Gradients, Record, Var, bytes};
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

pub(crate) struct Saved {
    kind: Activation,
    x: Tensor,
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
        self.record(&mut y, |out| {
            Record::Activation(Saved {
                kind,
                x: x.clone(),
                out,
            })
        });
        y
    }
}

impl Saved {
    pub(crate) fn backward(self, grads: &mut Gradients) {
        let Some(dy) = grads.take(self.out) else {
            return;
        };
        let x = &self.x;
        let Some((dx, accumulate)) = grads.slot(x.var, x) else {
            return;
        };
        x.device().count(4.0 * x.len() as f64, 3.0 * bytes(x));
        x.device().launch("activation_backward", |b| {
            b.activation_backward(self.kind, x.buffer(), dy.buffer(), dx.buffer(), accumulate);
        });
    }
}
