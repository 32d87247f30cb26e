//! Rotary position embedding (Su et al. 2021) followed by the QK norm and a scale, per head.
//!
//! With the halves `x1, x2` of a head: `y1 = x1·cos + x2·sin`, `y2 = x2·cos − x1·sin`, the angle being
//! `position · base^(−2j/head_dim)`; then [`Graph::rms_norm`]'s formula over the head, times `scale`.
//! The gradient goes back through scale and norm and then rotates by the opposite angle.

use crate::backend::RotaryArgs;
use crate::device::Device;
use crate::graph::Graph;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

/// Largest head size that every backend's kernels take.
pub const MAX_HEAD_DIM: usize = 512;

/// Cosines and sines for a number of positions, in the compute type.
#[derive(Clone)]
pub struct RotaryTable {
    cos: Tensor,
    sin: Tensor,
    positions: usize,
}

impl RotaryTable {
    /// Angles `position · base^(−2j/head_dim)` for `positions` positions; computed in `f32`
    /// like the reference's, then rounded to the compute type.
    pub fn new(device: &Device, positions: usize, head_dim: usize, base: f32) -> RotaryTable {
        let half = head_dim / 2;
        let mut cos = Vec::with_capacity(positions * half);
        let mut sin = Vec::with_capacity(positions * half);
        let frequency = |j: usize| 1.0 / base.powf((2 * j) as f32 / head_dim as f32);
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        for position in 0..positions {
            for frequency in &frequencies {
                let angle = position as f32 * frequency;
                cos.push(angle.cos());
                sin.push(angle.sin());
            }
        }
        RotaryTable {
            cos: device.tensor(&cos, [positions, half]),
            sin: device.tensor(&sin, [positions, half]),
            positions,
        }
    }

    /// Number of positions the table covers.
    pub fn positions(&self) -> usize {
        self.positions
    }
}

pub(crate) struct Saved {
    pub(crate) x: Kept,
    table: RotaryTable,
    args: RotaryArgs,
    out: Var,
}

impl Graph {
    /// Rotates, normalises and scales `x` `[batch, time, heads, head_dim]`. `starts` (`I32`,
    /// `[batch]`) are the absolute positions of the first column (0 if absent).
    pub fn rotary_qk_norm(&self, x: &Tensor, table: &RotaryTable, starts: Option<&Tensor>, scale: f32) -> Tensor {
        let [batch, time, heads, head_dim] = x.shape().expect("[batch, time, heads, head_dim]");
        assert!(time <= table.positions, "more positions than the rotary table has");
        assert_eq!(
            table.cos.shape().last() * 2,
            head_dim,
            "rotary table of another head size"
        );
        let args = RotaryArgs {
            batch,
            time,
            heads,
            head_dim,
            cos: table.cos.buffer(),
            sin: table.sin.buffer(),
            starts: starts.map(Tensor::buffer),
            scale,
        };
        let mut y = rotate(self.device(), &args, x);
        self.record(&mut y, |tape, out| {
            assert!(
                starts.is_none(),
                "the gradient of a rotary embedding starts at position 0"
            );
            Record::Rotary(Saved {
                x: tape.keep(x),
                table: table.clone(),
                args,
                out,
            })
        });
        y
    }
}

fn rotate(device: &Device, args: &RotaryArgs, x: &Tensor) -> Tensor {
    let y = device.activation(x.shape());
    device.count(8.0 * x.len() as f64, 2.0 * bytes(x));
    device.launch("rotary_qk_norm", |b| b.rotary_qk_norm(args, x.buffer(), y.buffer()));
    y
}

impl Saved {
    /// The rotated heads.
    pub(crate) fn again(&self, x: &Tensor) -> Tensor {
        rotate(x.device(), &self.args, x)
    }

    pub(crate) fn backward(self, tape: &mut Tape) {
        let Some(dy) = tape.take(self.out) else {
            return;
        };
        let (x, device) = (&tape.operand(self.x), self.table.cos.device());
        let dx = device.activation(x.shape());
        device.count(16.0 * x.len() as f64, 3.0 * bytes(x));
        device.launch("rotary_qk_norm_backward", |b| {
            b.rotary_qk_norm_backward(&self.args, x.buffer(), dy.buffer(), dx.buffer());
        });
        tape.give(x.var, &dx);
    }
}
