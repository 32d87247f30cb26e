//! Elementwise product: `y = a·b`; gradients `da = dy·b`, `db = dy·a`.

use crate::graph::Graph;
use crate::tape::{Gradients, Record, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    a: Tensor,
    b: Tensor,
    out: Var,
}

impl Graph {
    /// `a·b` elementwise, for two tensors of one shape.
    pub fn multiply(&self, a: &Tensor, b: &Tensor) -> Tensor {
        assert_eq!(a.shape(), b.shape(), "elementwise product");
        let mut y = self.device().activation(a.shape());
        self.device().count(a.len() as f64, 3.0 * bytes(a));
        self.device().launch("multiply", |backend| {
            backend.multiply(a.buffer(), b.buffer(), y.buffer(), false);
        });
        self.record(&mut y, |out| {
            Record::Multiply(Saved {
                a: a.clone(),
                b: b.clone(),
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
        for (wanted, other) in [(&self.a, &self.b), (&self.b, &self.a)] {
            if let Some((dx, accumulate)) = grads.slot(wanted.var, wanted) {
                dy.device().count(dy.len() as f64, 3.0 * bytes(&dy));
                dy.device().launch("multiply_backward", |b| {
                    b.multiply(dy.buffer(), other.buffer(), dx.buffer(), accumulate);
                });
            }
        }
    }
}
