//! Functions of single elements, products, and linear combinations.

use super::put;
use crate::ops::activation::Activation;

/// `1/(1 + e⁻ˣ)`.
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `√(2/π)·(x + 0.044715·x³)` of the GELU's tanh form, and its derivative.
fn gelu_argument(x: f64) -> (f64, f64) {
    let factor = (2.0 / std::f64::consts::PI).sqrt();
    (
        factor * (x + 0.044_715 * x.powi(3)),
        factor * (1.0 + 3.0 * 0.044_715 * x * x),
    )
}

/// f(x).
fn value(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::ReluSquared => x.max(0.0).powi(2),
        Activation::Relu => x.max(0.0),
        Activation::Silu => x * sigmoid(x),
        Activation::Gelu => 0.5 * x * (1.0 + gelu_argument(x).0.tanh()),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

/// f'(x), for ReLU and ReLU² from f(x).
fn derivative(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::ReluSquared => 2.0 * x.sqrt(),
        Activation::Relu => f64::from(x > 0.0),
        Activation::Silu => sigmoid(x) + x * sigmoid(x) * (1.0 - sigmoid(x)),
        Activation::Gelu => {
            let (argument, slope) = gelu_argument(x);
            let tanh = argument.tanh();
            0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * slope
        }
        Activation::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
        Activation::Tanh => 1.0 - x.tanh().powi(2),
    }
}

/// `y = f(x)`.
pub(super) fn activation(kind: Activation, x: &[f64], y: &mut [f64]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = value(kind, x);
    }
}

/// `dx = f'(x)·dy`.
pub(super) fn activation_backward(kind: Activation, x: &[f64], dy: &[f64], dx: &mut [f64], accumulate: bool) {
    for i in 0..dx.len() {
        put(&mut dx[i], derivative(kind, x[i]) * dy[i], accumulate);
    }
}

/// `y = a·b`.
pub(super) fn multiply(a: &[f64], b: &[f64], y: &mut [f64], accumulate: bool) {
    for i in 0..y.len() {
        put(&mut y[i], a[i] * b[i], accumulate);
    }
}

/// `y = alpha·a + beta·b`.
pub(super) fn mix((a, alpha): (&[f64], f64), b: Option<(&[f64], f64)>, y: &mut [f64], accumulate: bool) {
    for i in 0..y.len() {
        let second = b.map_or(0.0, |(b, beta)| beta * b[i]);
        put(&mut y[i], alpha * a[i] + second, accumulate);
    }
}
