//! Root-mean-square norm without parameters (Zhang & Sennrich 2019), eps 2⁻²³.
//!
//! `y = x·r`, `r = 1/√(mean(x²) + eps)`; gradient `dx = r·(dy − y·mean(dy·y))`.

use crate::graph::Graph;
use crate::tape::{Gradients, Record, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    x: Tensor,
    out: Var,
}

impl Graph {
    /// Normalises each innermost row of `x`; computed in `f32` whatever the element type.
    pub fn rms_norm(&self, x: &Tensor) -> Tensor {
        let mut y = self.device().activation(x.shape());
        self.device().count(4.0 * x.len() as f64, 2.0 * bytes(x));
        self.device().launch("rms_norm", |b| {
            b.rms_norm(x.buffer(), y.buffer(), x.shape().last());
        });
        self.record(&mut y, |out| Record::RmsNorm(Saved { x: x.clone(), out }));
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
        x.device().count(8.0 * x.len() as f64, 3.0 * bytes(x));
        x.device().launch("rms_norm_backward", |b| {
            b.rms_norm_backward(x.buffer(), dy.buffer(), dx.buffer(), x.shape().last(), accumulate);
        });
    }
}
