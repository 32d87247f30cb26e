//! Root-mean-square norm without parameters (Zhang & Sennrich 2019), eps 2⁻²³.
//!
//! `y = x·r`, `r = 1/√(mean(x²) + eps)`; gradient `dx = r·(dy − y·mean(dy·y))`.

use crate::device::Device;
use crate::graph::Graph;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    pub(crate) x: Kept,
    out: Var,
}

impl Graph {
    /// Normalises each innermost row of `x`; computed in `f32` whatever the element type.
    pub fn rms_norm(&self, x: &Tensor) -> Tensor {
        let mut y = normalize(self.device(), x);
        self.record(&mut y, |tape, out| Record::RmsNorm(Saved { x: tape.keep(x), out }));
        y
    }
}

fn normalize(device: &Device, x: &Tensor) -> Tensor {
    let y = device.activation(x.shape());
    device.count(4.0 * x.len() as f64, 2.0 * bytes(x));
    device.launch("rms_norm", |b| {
        b.rms_norm(x.buffer(), y.buffer(), x.shape().last());
    });
    y
}

impl Saved {
    /// The normalised rows.
    pub(crate) fn again(x: &Tensor) -> Tensor {
        normalize(x.device(), x)
    }

    pub(crate) fn backward(self, tape: &mut Tape) {
        let Some(dy) = tape.take(self.out) else {
            return;
        };
        let x = &tape.operand(self.x);
        let Some((dx, accumulate)) = tape.slot(x.var, x) else {
            return;
        };
        x.device().count(8.0 * x.len() as f64, 3.0 * bytes(x));
        x.device().launch("rms_norm_backward", |b| {
            b.rms_norm_backward(x.buffer(), dy.buffer(), dx.buffer(), x.shape().last(), accumulate);
        });
    }
}
