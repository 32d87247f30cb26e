//! The optimizer's updates, norms and scalings, by their formulas.

use crate::ops::optimizer::{AdamwStep, NormRule};

/// Frobenius norm.
fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// AdamW: moments, decay, update.
pub(super) fn adamw(value: &mut [f64], grad: &[f64], first: &mut [f64], second: &mut [f64], step: &AdamwStep) {
    let (lr, eps, decay) = (f64::from(step.lr), f64::from(step.eps), f64::from(step.weight_decay));
    let (beta1, beta2) = (f64::from(step.beta1), f64::from(step.beta2));
    let correction1 = 1.0 - beta1.powi(step.step as i32);
    let correction2 = 1.0 - beta2.powi(step.step as i32);
    for i in 0..value.len() {
        first[i] = beta1 * first[i] + (1.0 - beta1) * grad[i];
        second[i] = beta2 * second[i] + (1.0 - beta2) * grad[i] * grad[i];
        value[i] *= 1.0 - lr * decay;
        value[i] -= lr / correction1 * first[i] / ((second[i] / correction2).sqrt() + eps);
    }
}

/// `momentum = μ·momentum + (1−μ)·grad`, `out = (1−μ)·grad + μ·momentum`.
pub(super) fn nesterov(grad: &[f64], momentum: &mut [f64], out: &mut [f64], mu: f64) {
    for i in 0..grad.len() {
        momentum[i] = mu * momentum[i] + (1.0 - mu) * grad[i];
        out[i] = (1.0 - mu) * grad[i] + mu * momentum[i];
    }
}

/// Each row × (‖x‖/√rows) / max(its norm, 1e-6).
pub(super) fn equilibrate_rows(x: &mut [f64], cols: usize) {
    let target = norm(x) / ((x.len() / cols) as f64).sqrt();
    for row in x.chunks_exact_mut(cols) {
        let factor = target / norm(row).max(1e-6);
        for x in row {
            *x *= factor;
        }
    }
}

/// Rescales the whole.
pub(super) fn normalize(x: &mut [f64], rule: NormRule) {
    let factor = match rule {
        NormRule::Divide { factor, eps } => 1.0 / (f64::from(factor) * norm(x) + f64::from(eps)),
        NormRule::Snap { target, eps } => f64::from(target) / norm(x).max(f64::from(eps)),
    };
    for x in x {
        *x *= factor;
    }
}

/// NorMuon's variance reduction.
pub(super) fn normuon(x: &mut [f64], second: &mut [f64], rows: usize, cols: usize, beta2: f64) {
    // One mean per row of a tall or square matrix, one per column of a wide one.
    let by_row = rows >= cols;
    let (groups, entries) = if by_row { (rows, cols) } else { (cols, rows) };
    let group = |i: usize| if by_row { i / cols } else { i % cols };
    let mut means = vec![0.0; groups];
    for (i, x) in x.iter().enumerate() {
        means[group(i)] += x * x / entries as f64;
    }
    for (second, mean) in second.iter_mut().zip(&means) {
        *second = beta2 * *second + (1.0 - beta2) * mean;
    }
    let scales: Vec<f64> = second.iter().map(|s| 1.0 / s.max(1e-10).sqrt()).collect();
    let before = (entries as f64 * means.iter().sum::<f64>()).sqrt();
    let after: f64 = means
        .iter()
        .zip(&scales)
        .map(|(mean, scale)| mean * scale * scale)
        .sum();
    let after = (entries as f64 * after).sqrt();
    for (i, x) in x.iter_mut().enumerate() {
        *x *= scales[group(i)] * before / after.max(1e-10);
    }
}

/// `w −= lr·x + lr·wd·w·[x·w ≥ 0]`.
pub(super) fn cautious_update(w: &mut [f64], x: &[f64], lr: f64, weight_decay: f64) {
    for (w, x) in w.iter_mut().zip(x) {
        let decay = if x * *w >= 0.0 { weight_decay * *w } else { 0.0 };
        *w -= lr * x + lr * decay;
    }
}
