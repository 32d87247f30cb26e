//! Products of matrices and copies of rows.

use crate::backend::MatmulArgs;

/// Σ a·b.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "dot product");
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `y = x·wᵀ`: `x` `[rows, inputs]`, `w` `[outputs, inputs]`.
pub(super) fn linear(x: &[f64], w: &[f64], y: &mut [f64], inputs: usize, outputs: usize) {
    for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
        for (y, w) in y.iter_mut().zip(w.chunks_exact(inputs)) {
            *y = dot(x, w);
        }
    }
}

/// `dx = dy·w`.
pub(super) fn linear_backward_input(
    dy: &[f64],
    w: &[f64],
    dx: &mut [f64],
    inputs: usize,
    outputs: usize,
    accumulate: bool,
) {
    for (dy, dx) in dy.chunks_exact(outputs).zip(dx.chunks_exact_mut(inputs)) {
        if !accumulate {
            dx.fill(0.0);
        }
        for (dy, w) in dy.iter().zip(w.chunks_exact(inputs)) {
            for (dx, w) in dx.iter_mut().zip(w) {
                *dx += dy * w;
            }
        }
    }
}

/// `dw = dyᵀ·x`.
pub(super) fn linear_backward_weight(
    dy: &[f64],
    x: &[f64],
    dw: &mut [f64],
    inputs: usize,
    outputs: usize,
    accumulate: bool,
) {
    if !accumulate {
        dw.fill(0.0);
    }
    for (dy, x) in dy.chunks_exact(outputs).zip(x.chunks_exact(inputs)) {
        for (dy, dw) in dy.iter().zip(dw.chunks_exact_mut(inputs)) {
            for (dw, x) in dw.iter_mut().zip(x) {
                *dw += dy * x;
            }
        }
    }
}

/// `out = alpha·op(a)·op(b) + beta·addend`, one product.
pub(super) fn matmul(args: &MatmulArgs, a: &[f64], b: &[f64], addend: Option<(&[f64], f64)>, out: &mut [f64]) {
    let &MatmulArgs { rows, cols, inner, .. } = args;
    for i in 0..rows {
        for j in 0..cols {
            let mut sum = 0.0;
            for k in 0..inner {
                let a = if args.transpose_a {
                    a[k * rows + i]
                } else {
                    a[i * inner + k]
                };
                let b = if args.transpose_b {
                    b[j * inner + k]
                } else {
                    b[k * cols + j]
                };
                sum += a * b;
            }
            let added = addend.map_or(0.0, |(addend, beta)| beta * addend[i * cols + j]);
            out[i * cols + j] = f64::from(args.alpha) * sum + added;
        }
    }
}

/// `y[r, :] = table[ids[r], :]`.
pub(super) fn embedding(table: &[f64], ids: &[i32], y: &mut [f64], channels: usize) {
    for (y, &id) in y.chunks_exact_mut(channels).zip(ids) {
        y.copy_from_slice(&table[id as usize * channels..][..channels]);
    }
}

/// `dtable[ids[r], :] += dy[r, :]`.
pub(super) fn embedding_backward(dy: &[f64], ids: &[i32], dtable: &mut [f64], channels: usize) {
    for (dy, &id) in dy.chunks_exact(channels).zip(ids) {
        for (dtable, dy) in dtable[id as usize * channels..].iter_mut().zip(dy) {
            *dtable += dy;
        }
    }
}

/// `y[b, :] = x[b, index[b], :]`.
pub(super) fn select_positions(x: &[f64], index: &[i32], y: &mut [f64], time: usize, cols: usize) {
    for (b, y) in y.chunks_exact_mut(cols).enumerate() {
        assert!((index[b] as usize) < time, "a position of the sequence");
        let row = b * time + index[b] as usize;
        y.copy_from_slice(&x[row * cols..][..cols]);
    }
}
