//! Layer norm with weight and bias (Ba et al. 2016), for those who want GPT-2's.
//!
//! `y = x̂·w + b`, `x̂ = (x − mean)/√(var + eps)`; with `g = dy·w`:
//! `dx = (g − mean(g) − x̂·mean(g·x̂))/√(var + eps)`, `dw = Σ dy·x̂`, `db = Σ dy`.

use crate::graph::Graph;
use crate::param::Param;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    x: Kept,
    weight: Param,
    bias: Param,
    eps: f32,
    out: Var,
}

impl Graph {
    /// Normalises each innermost row of `x` `[…, channels]`; `weight` and `bias` are `[channels]`.
    pub fn layer_norm(&self, x: &Tensor, weight: &Param, bias: &Param, eps: f32) -> Tensor {
        let channels = x.shape().last();
        assert_eq!(weight.numel(), channels, "layer norm weight");
        assert_eq!(bias.numel(), channels, "layer norm bias");
        let mut y = self.device().activation(x.shape());
        self.device().count(7.0 * x.len() as f64, 2.0 * bytes(x));
        self.device().launch("layer_norm", |b| {
            let (weight, bias) = (weight.value().buffer(), bias.value().buffer());
            b.layer_norm(x.buffer(), weight, bias, y.buffer(), eps);
        });
        self.record(&mut y, |tape, out| {
            Record::LayerNorm(Saved {
                x: tape.keep(x),
                weight: weight.clone(),
                bias: bias.clone(),
                eps,
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
        let x = &tape.operand(self.x);
        let (dweight, dbias) = (self.weight.grad_to_add(), self.bias.grad_to_add());
        let (dx, accumulate) = tape
            .slot(x.var, x)
            .unwrap_or_else(|| (x.device().activation(x.shape()), false));
        x.device().count(14.0 * x.len() as f64, 3.0 * bytes(x));
        x.device().launch("layer_norm_backward", |b| {
            let (dweight, dbias) = (dweight.buffer(), dbias.buffer());
            let weight = self.weight.value().buffer();
            b.layer_norm_backward(
                x.buffer(),
                weight,
                dy.buffer(),
                dx.buffer(),
                dweight,
                dbias,
                self.eps,
                accumulate,
            );
        });
    }
}
