//! Norms over the rows of a matrix and their gradients.

use super::put;

/// Added to the mean square of an RMS norm.
pub(super) const RMS_EPS: f64 = f32::EPSILON as f64;

/// Mean of the elements.
fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// Mean of the products of the elements.
fn mean_product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64
}

/// `1 / √(mean(x²) + eps)`.
fn reciprocal_rms(x: &[f64]) -> f64 {
    1.0 / (mean_product(x, x) + RMS_EPS).sqrt()
}

/// `y = x·r` for one row.
pub(super) fn rms_norm_row(x: &[f64], y: &mut [f64]) {
    let r = reciprocal_rms(x);
    for (y, x) in y.iter_mut().zip(x) {
        *y = x * r;
    }
}

/// `dx = r·(dy − y·mean(dy·y))` for one row.
pub(super) fn rms_norm_row_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    let r = reciprocal_rms(x);
    let mut y = vec![0.0; x.len()];
    rms_norm_row(x, &mut y);
    let projection = mean_product(dy, &y);
    dy.iter().zip(&y).map(|(dy, y)| r * (dy - y * projection)).collect()
}

/// RMS norm of each row of `cols` elements.
pub(super) fn rms_norm(x: &[f64], y: &mut [f64], cols: usize) {
    for (x, y) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)) {
        rms_norm_row(x, y);
    }
}

/// Gradient of [`rms_norm`].
pub(super) fn rms_norm_backward(x: &[f64], dy: &[f64], dx: &mut [f64], cols: usize, accumulate: bool) {
    for (row, dx) in dx.chunks_exact_mut(cols).enumerate() {
        let range = row * cols..(row + 1) * cols;
        let gradient = rms_norm_row_backward(&x[range.clone()], &dy[range]);
        for (dx, gradient) in dx.iter_mut().zip(gradient) {
            put(dx, gradient, accumulate);
        }
    }
}

/// `x̂ = (x − mean)/√(var + eps)` of a row, and `1/√(var + eps)`.
fn standardise(x: &[f64], eps: f64) -> (Vec<f64>, f64) {
    let centre = mean(x);
    let centred: Vec<f64> = x.iter().map(|x| x - centre).collect();
    let r = 1.0 / (mean_product(&centred, &centred) + eps).sqrt();
    (centred.iter().map(|x| x * r).collect(), r)
}

/// Layer norm of each row.
pub(super) fn layer_norm(x: &[f64], weight: &[f64], bias: &[f64], y: &mut [f64], eps: f64) {
    let cols = weight.len();
    for (x, y) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)) {
        let (standard, _) = standardise(x, eps);
        for c in 0..cols {
            y[c] = standard[c] * weight[c] + bias[c];
        }
    }
}

/// Gradient of [`layer_norm`].
pub(super) fn layer_norm_backward(
    x: &[f64],
    weight: &[f64],
    dy: &[f64],
    dx: &mut [f64],
    dweight: &mut [f64],
    dbias: &mut [f64],
    eps: f64,
    accumulate: bool,
) {
    let cols = weight.len();
    for (row, dx) in dx.chunks_exact_mut(cols).enumerate() {
        let (x, dy) = (&x[row * cols..][..cols], &dy[row * cols..][..cols]);
        let (standard, r) = standardise(x, eps);
        let g: Vec<f64> = dy.iter().zip(weight).map(|(dy, weight)| dy * weight).collect();
        let (g_mean, g_projection) = (mean(&g), mean_product(&g, &standard));
        for c in 0..cols {
            put(&mut dx[c], r * (g[c] - g_mean - standard[c] * g_projection), accumulate);
            dweight[c] += dy[c] * standard[c];
            dbias[c] += dy[c];
        }
    }
}
