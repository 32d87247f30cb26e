//! Elementwise and row-wise parts of the optimizers, all in `f32`.

use super::elem::{Elem, Parts, input, output, parts};
use super::math::{dot, sum_by};
use super::{Cpu, locked};
use crate::backend::Buffer;
use crate::ops::optimizer::{AdamwStep, NormRule};

/// Elements per task and per partial sum.
const GRAIN: usize = 16 * 1024;

impl Cpu {
    pub(crate) fn adamw_step(&self, value: Buffer, grad: Buffer, first: Buffer, second: Buffer, step: &AdamwStep) {
        let (value, grad) = (parts::<f32>(value), input::<f32>(grad));
        let (first, second) = (parts::<f32>(first), parts::<f32>(second));
        // In f32 like the reference: 1 − β and 1 − βᵗ are not what they would be in f64.
        let keep = 1.0 - step.lr * step.weight_decay;
        let (gain1, gain2) = (1.0 - step.beta1, 1.0 - step.beta2);
        let size = step.lr / (1.0 - step.beta1.powf(step.step as f32));
        let bias2 = 1.0 - step.beta2.powf(step.step as f32);
        let eps = step.eps;
        self.pool.run_ranges(grad.len(), GRAIN, &|range| {
            let grad = &grad[range.clone()];
            // SAFETY: ranges of one run are disjoint.
            let (value, first, second) = unsafe {
                (
                    value.range(range.clone()),
                    first.range(range.clone()),
                    second.range(range),
                )
            };
            self.isa.vectorize(
                #[inline(always)]
                || {
                    let state = value.iter_mut().zip(first).zip(second);
                    for (&g, ((value, first), second)) in grad.iter().zip(state) {
                        let m = *first + gain1 * (g - *first);
                        let v = *second + gain2 * (g * g - *second);
                        *first = m;
                        *second = v;
                        *value = *value * keep - size * (m / ((v / bias2).sqrt() + eps));
                    }
                },
            );
        });
    }

    pub(crate) fn nesterov_step<T: Elem>(&self, grad: Buffer, momentum: Buffer, out: Buffer, mu: f32) {
        let (grad, momentum, out) = (input::<f32>(grad), parts::<f32>(momentum), parts::<T>(out));
        self.pool.run_ranges(grad.len(), GRAIN, &|range| {
            let grad = &grad[range.clone()];
            // SAFETY: ranges of one run are disjoint.
            let (momentum, out) = unsafe { (momentum.range(range.clone()), out.range(range)) };
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for (&g, (m, out)) in grad.iter().zip(momentum.iter_mut().zip(out)) {
                        *m += (1.0 - mu) * (g - *m);
                        *out = T::from_f32(g + mu * (*m - g));
                    }
                },
            );
        });
    }

    /// `Σ x²` in blocks of a fixed size.
    fn squares<T: Elem>(&self, x: &[T]) -> f64 {
        self.reduce(x.len(), GRAIN, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || dot(self.isa, &x[range.clone()], &x[range.clone()]),
            )
        })
    }

    /// `x ·= factor`.
    fn rescale<T: Elem>(&self, x: &mut [T], factor: f32) {
        let (len, x) = (x.len(), Parts::new(x));
        self.pool.run_ranges(len, GRAIN, &|range| {
            // SAFETY: ranges of one run are disjoint.
            let x = unsafe { x.range(range) };
            self.isa.vectorize(
                #[inline(always)]
                || x.iter_mut().for_each(|v| *v = T::from_f32(v.to_f32() * factor)),
            );
        });
    }

    pub(crate) fn equilibrate<T: Elem>(&self, x: Buffer, cols: usize) {
        let x = output::<T>(x);
        let rows = x.len() / cols;
        let target = (self.squares(x) / rows as f64).sqrt() as f32;
        let x = Parts::new(x);
        self.for_rows(rows, cols, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        // SAFETY: rows of one run are disjoint.
                        let x = unsafe { x.range(row * cols..(row + 1) * cols) };
                        let factor = target / dot(self.isa, x, x).sqrt().max(1e-6);
                        for v in x.iter_mut() {
                            *v = T::from_f32(v.to_f32() * factor);
                        }
                    }
                },
            );
        });
    }

    pub(crate) fn normalize_whole<T: Elem>(&self, x: Buffer, rule: NormRule) {
        let x = output::<T>(x);
        let norm = self.squares(x).sqrt() as f32;
        let factor = match rule {
            NormRule::Divide { factor, eps } => 1.0 / (norm * factor + eps),
            NormRule::Snap { target, eps } => target / norm.max(eps),
        };
        self.rescale(x, factor);
    }

    pub(crate) fn variance_reduction(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32) {
        let x = output::<f32>(x);
        let second = output::<f32>(second);
        let by_row = rows >= cols;
        let per_mean = if by_row { cols } else { rows } as f32;
        let mut means = locked(&self.gate_sums);
        means.clear();
        means.resize(second.len(), 0.0);
        mean_squares(self, x, cols, by_row, &mut means);
        let (mut before, mut after) = (0.0f64, 0.0f64);
        for (s, v) in second.iter_mut().zip(means.iter_mut()) {
            *s += (1.0 - beta2) * (*v - *s);
            let scale = 1.0 / s.max(1e-10).sqrt();
            before += *v as f64;
            after += (*v * per_mean) as f64 * (scale * scale) as f64;
            *v = scale;
        }
        let rescale = ((before * per_mean as f64).sqrt() / after.sqrt().max(1e-10)) as f32;
        let (scales, x) = (&*means, Parts::new(x));
        self.for_rows(rows, cols, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        // SAFETY: rows of one run are disjoint.
                        let x = unsafe { x.range(row * cols..(row + 1) * cols) };
                        if by_row {
                            let factor = scales[row] * rescale;
                            for v in x.iter_mut() {
                                *v *= factor;
                            }
                        } else {
                            x.iter_mut().zip(scales).for_each(|(v, s)| *v *= s * rescale);
                        }
                    }
                },
            );
        });
    }

    pub(crate) fn cautious_step(&self, w: Buffer, x: Buffer, lr: f32, weight_decay: f32) {
        let (w, x) = (parts::<f32>(w), input::<f32>(x));
        let decay = lr * weight_decay;
        self.pool.run_ranges(x.len(), GRAIN, &|range| {
            let x = &x[range.clone()];
            // SAFETY: ranges of one run are disjoint.
            let w = unsafe { w.range(range) };
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for (w, x) in w.iter_mut().zip(x) {
                        let shrink = if x * *w >= 0.0 { decay * *w } else { 0.0 };
                        *w -= lr * x + shrink;
                    }
                },
            );
        });
    }
}

/// Mean of `x²` along each row, or along each column.
fn mean_squares(cpu: &Cpu, x: &[f32], cols: usize, by_row: bool, means: &mut [f32]) {
    let rows = x.len() / cols;
    let (len, means) = (means.len(), Parts::new(means));
    let grain = if by_row { (GRAIN / cols).max(1) } else { 64 };
    cpu.pool.run_ranges(len, grain, &|range| {
        // SAFETY: ranges of one run are disjoint.
        let means = unsafe { means.range(range.clone()) };
        cpu.isa.vectorize(
            #[inline(always)]
            || {
                if by_row {
                    for (mean, row) in means.iter_mut().zip(range) {
                        let x = &x[row * cols..(row + 1) * cols];
                        *mean = sum_by(cols, |i| x[i] * x[i]) / cols as f32;
                    }
                    return;
                }
                for row in 0..rows {
                    let x = &x[row * cols + range.start..row * cols + range.end];
                    for (mean, x) in means.iter_mut().zip(x) {
                        *mean += x * x;
                    }
                }
                for mean in means.iter_mut() {
                    *mean /= rows as f32;
                }
            },
        );
    });
}
