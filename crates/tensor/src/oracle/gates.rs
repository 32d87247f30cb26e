//! The two gated operations: value embedding and smear.

use super::elementwise::sigmoid;
use super::matrix::dot;
use crate::backend::{SmearArgs, ValueGateArgs};

/// `y = v + 3·σ(gate · x[..n]) · ve` per kv head.
pub(super) fn value_gate(args: &ValueGateArgs, gate: &[f64], v: &[f64], x: &[f64], ve: &[f64], y: &mut [f64]) {
    let n = args.gate_channels;
    for row in 0..args.rows {
        for head in 0..args.kv_heads {
            let z = dot(&gate[head * n..][..n], &x[row * args.channels..][..n]);
            for c in 0..args.head_dim {
                let i = (row * args.kv_heads + head) * args.head_dim + c;
                y[i] = v[i] + 3.0 * sigmoid(z) * ve[i];
            }
        }
    }
}

/// Gradients of [`value_gate`].
pub(super) fn value_gate_backward(
    args: &ValueGateArgs,
    [gate, x, ve, dy]: [&[f64]; 4],
    [dve, dx, dgate]: [&mut [f64]; 3],
    accumulate_x: bool,
) {
    let n = args.gate_channels;
    if !accumulate_x {
        dx.fill(0.0);
    }
    for row in 0..args.rows {
        for head in 0..args.kv_heads {
            let probability = sigmoid(dot(&gate[head * n..][..n], &x[row * args.channels..][..n]));
            let mut slope = 0.0;
            for c in 0..args.head_dim {
                let i = (row * args.kv_heads + head) * args.head_dim + c;
                dve[i] = 3.0 * probability * dy[i];
                slope += dy[i] * ve[i];
            }
            let dz = slope * 3.0 * probability * (1.0 - probability);
            for c in 0..n {
                dgate[head * n + c] += dz * x[row * args.channels + c];
                dx[row * args.channels + c] += dz * gate[head * n + c];
            }
        }
    }
}

/// `y_t = x_t + λ·σ(gate·x_t[..n])·x_{t−1}`.
pub(super) fn smear(args: &SmearArgs, gate: &[f64], lambda: f64, x: &[f64], previous: Option<&[f64]>, y: &mut [f64]) {
    let channels = args.channels;
    for b in 0..args.batch {
        for t in 0..args.time {
            let row = b * args.time + t;
            let own = &x[row * channels..][..channels];
            let before = if t > 0 {
                Some(&x[(row - 1) * channels..][..channels])
            } else {
                previous.map(|previous| &previous[b * channels..][..channels])
            };
            let share = lambda * sigmoid(dot(gate, &own[..args.gate_channels]));
            for c in 0..channels {
                y[row * channels + c] = own[c] + before.map_or(0.0, |before| share * before[c]);
            }
        }
    }
}

/// Gradients of [`smear`] without `previous`.
pub(super) fn smear_backward(
    args: &SmearArgs,
    [gate, x, dy]: [&[f64]; 3],
    lambda: f64,
    dx: &mut [f64],
    dgate: &mut [f64],
    dlambda: &mut f64,
) {
    let (channels, n) = (args.channels, args.gate_channels);
    dx.copy_from_slice(dy);
    for b in 0..args.batch {
        for t in 1..args.time {
            let own = (b * args.time + t) * channels;
            let before = own - channels;
            let probability = sigmoid(dot(gate, &x[own..][..n]));
            let s = dot(&dy[own..][..channels], &x[before..][..channels]);
            *dlambda += probability * s;
            let dz = lambda * probability * (1.0 - probability) * s;
            for c in 0..channels {
                dx[before + c] += lambda * probability * dy[own + c];
            }
            for c in 0..n {
                dgate[c] += dz * x[own + c];
                dx[own + c] += dz * gate[c];
            }
        }
    }
}
