//! Gated value embedding: each kv head's values get a share of the token's own value embedding,
//! `y = v + 3·σ(gate·x[..n])·ve` (value residual learning, Zhou et al. 2024, in the reference's form).
//!
//! With `s = Σ_channel dy·ve` per head and `g = 3·σ(z)`: `dv = dy`, `dve = g·dy`,
//! `dz = s·g·(1 − σ(z))`, `dgate += dz ⊗ x[..n]`, `dx[..n] += gateᵀ·dz`.

use crate::backend::ValueGateArgs;
use crate::graph::Graph;
use crate::param::Param;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    v: Var,
    x: Kept,
    ve: Kept,
    gate: Param,
    args: ValueGateArgs,
    out: Var,
}

impl Graph {
    /// `v` `[batch, time, kv_heads, head_dim]`, `x` `[batch, time, channels]`, `ve` as many elements as `v`,
    /// `gate` `[kv_heads, n]` with `n ≤ channels`. Result like `v`.
    pub fn value_gate(&self, v: &Tensor, x: &Tensor, ve: &Tensor, gate: &Param) -> Tensor {
        let [_, _, kv_heads, head_dim] = v.shape().expect("[batch, time, kv_heads, head_dim]");
        let args = ValueGateArgs {
            rows: x.shape().rows(),
            kv_heads,
            head_dim,
            channels: x.shape().last(),
            gate_channels: gate.shape().last(),
            gate: gate.value().buffer(),
        };
        assert_eq!(v.len(), ve.len(), "values and value embeddings of one size");
        assert_eq!(
            v.len(),
            args.rows * kv_heads * head_dim,
            "values of as many positions as x"
        );
        assert_eq!(gate.shape().rows(), kv_heads, "one gate row per kv head");
        assert!(
            args.gate_channels <= args.channels,
            "the gate reads channels that x has"
        );
        let mut y = self.device().activation(v.shape());
        self.device().count(2.0 * v.len() as f64, 3.0 * bytes(v));
        self.device().launch("value_gate", |b| {
            b.value_gate(&args, v.buffer(), x.buffer(), ve.buffer(), y.buffer());
        });
        self.record(&mut y, |tape, out| {
            Record::ValueGate(Saved {
                v: v.var,
                x: tape.keep(x),
                ve: tape.keep(ve),
                gate: gate.clone(),
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
        let (x, ve, device) = (&tape.operand(self.x), &tape.operand(self.ve), dy.device());
        let dve = device.activation(ve.shape());
        let (dx, accumulate) = tape
            .slot(x.var, x)
            .unwrap_or_else(|| (device.activation(x.shape()), false));
        let dgate = self.gate.grad_to_add();
        device.count(5.0 * dy.len() as f64, 3.0 * bytes(&dy));
        device.launch("value_gate_backward", |b| {
            let (dve, dx, dgate) = (dve.buffer(), dx.buffer(), dgate.buffer());
            b.value_gate_backward(
                &self.args,
                x.buffer(),
                ve.buffer(),
                dy.buffer(),
                dve,
                dx,
                accumulate,
                dgate,
            );
        });
        tape.give(ve.var, &dve);
        tape.give(self.v, &dy);
    }
}
