//! Linear layer without bias: `y = x·Wᵀ`; gradients `dx = dy·W`, `dW = dyᵀ·x`.

use crate::backend::Layout;
use crate::graph::Graph;
use crate::param::Param;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    x: Kept,
    weight: Param,
    out: Var,
}

impl Graph {
    /// `x` `[…, in]` times `weight` `[out, in]` → `[…, out]`.
    pub fn linear(&self, x: &Tensor, weight: &Param) -> Tensor {
        let (out_features, in_features) = (weight.shape().rows(), weight.shape().last());
        assert_eq!(x.shape().last(), in_features, "input of {weight:?}");
        let rows = x.shape().rows();
        let mut y = self.device().activation(x.shape().with_last(out_features));
        let operand = weight.weight(Layout::Forward);
        count(x, &y, in_features, weight.numel() * x.dtype().bytes());
        self.device()
            .launch("linear", |b| b.linear(x.buffer(), operand, y.buffer(), rows));
        self.record(&mut y, |tape, out| {
            Record::Linear(Saved {
                x: tape.keep(x),
                weight: weight.clone(),
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
        let rows = x.shape().rows();
        let device = x.device();
        if let Some((dx, accumulate)) = tape.slot(x.var, x) {
            let operand = self.weight.weight(Layout::Backward);
            count(&dy, &dx, dy.shape().last(), self.weight.numel() * dy.dtype().bytes());
            device.launch("linear_backward_input", |b| {
                b.linear_backward_input(dy.buffer(), operand, dx.buffer(), rows, accumulate);
            });
        }
        let (dweight, accumulate) = self.weight.grad_slot();
        count(&dy, x, dy.shape().last(), dweight.len() * dweight.dtype().bytes());
        device.launch("linear_backward_weight", |b| {
            b.linear_backward_weight(dy.buffer(), x.buffer(), dweight.buffer(), rows, accumulate);
        });
    }
}

/// `from` and `to` are activations, and the third operand is of `weight_bytes`.
fn count(from: &Tensor, to: &Tensor, inner: usize, weight_bytes: usize) {
    let flops = 2.0 * to.len() as f64 * inner as f64;
    from.device()
        .count(flops, bytes(from) + bytes(to) + weight_bytes as f64);
}
