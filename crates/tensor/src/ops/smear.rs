//! Smear: each position takes a gated share of the embedding before it, cheap bigram knowledge:
//! `y_t = x_t + λ·σ(z_t)·x_{t−1}`, `z_t = gate·x_t[..n]`, both `x` from before the smear.
//!
//! With `s_t = Σ dy_t·x_{t−1}`: `dλ = Σ σ(z_t)·s_t`, `dz_t = λ·σ(z_t)·(1 − σ(z_t))·s_t`, `dgate = Σ dz_t·x_t[..n]`,
//! `dx_t = dy_t + λ·σ(z_{t+1})·dy_{t+1} + gate·dz_t` (the last only in the first `n` channels).

use crate::backend::SmearArgs;
use crate::graph::Graph;
use crate::param::Param;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    x: Kept,
    gate: Param,
    lambda: Param,
    args: SmearArgs,
    out: Var,
}

impl Graph {
    /// Smears `x` `[batch, time, channels]`; `gate` is `[1, n]`, `lambda` `[1]`. `previous` `[batch, 1, channels]`
    /// is the embedding before the first column when decoding; without it the first column stays as it is.
    pub fn smear(&self, x: &Tensor, gate: &Param, lambda: &Param, previous: Option<&Tensor>) -> Tensor {
        let [batch, time, channels] = x.shape().expect("[batch, time, channels]");
        let args = SmearArgs {
            batch,
            time,
            channels,
            gate_channels: gate.shape().last(),
            gate: gate.value().buffer(),
            lambda: lambda.value().buffer(),
        };
        assert!(
            args.gate_channels <= args.channels,
            "the gate reads channels that x has"
        );
        let mut y = self.device().activation(x.shape());
        self.device().count(2.0 * x.len() as f64, 2.0 * bytes(x));
        self.device().launch("smear", |b| {
            b.smear(&args, x.buffer(), previous.map(Tensor::buffer), y.buffer());
        });
        self.record(&mut y, |tape, out| {
            assert!(previous.is_none(), "the gradient of smear starts at position 0");
            Record::Smear(Saved {
                x: tape.keep(x),
                gate: gate.clone(),
                lambda: lambda.clone(),
                args,
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
        let (x, device) = (&tape.operand(self.x), dy.device());
        let dx = device.activation(x.shape());
        let (dgate, dlambda) = (self.gate.grad_to_add(), self.lambda.grad_to_add());
        device.count(6.0 * x.len() as f64, 3.0 * bytes(x));
        device.launch("smear_backward", |b| {
            let (dgate, dlambda) = (dgate.buffer(), dlambda.buffer());
            b.smear_backward(&self.args, x.buffer(), dy.buffer(), dx.buffer(), dgate, dlambda);
        });
        tape.give(x.var, &dx);
    }
}
