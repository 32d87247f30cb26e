//! Elementwise product: `y = a·b`; gradients `da = dy·b`, `db = dy·a`.

use crate::graph::Graph;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    a: Kept,
    b: Kept,
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
        self.record(&mut y, |tape, out| {
            Record::Multiply(Saved {
                a: tape.keep(a),
                b: tape.keep(b),
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
        let (a, b) = (tape.operand(self.a), tape.operand(self.b));
        for (wanted, other) in [(&a, &b), (&b, &a)] {
            if let Some((dx, accumulate)) = tape.slot(wanted.var, wanted) {
                dy.device().count(dy.len() as f64, 3.0 * bytes(&dy));
                dy.device().launch("multiply_backward", |b| {
                    b.multiply(dy.buffer(), other.buffer(), dx.buffer(), accumulate);
                });
            }
        }
    }
}
