//! Kernels that walk rows or elements: embedding, norms, activations, linear combinations.

use super::elem::{Elem, Parts, indices, input, output, parts, with_elem};
use super::math::{dot, sigmoid, sum_by, tanh};
use super::{Cpu, locked};
use crate::backend::{Buffer, ScalarArg};
use crate::ops::activation::Activation;

/// Elements a task handles: enough to hide the cost of handing it out. A constant, because
/// partial sums are made by task and must not depend on the number of threads.
const GRAIN: usize = 16 * 1024;

/// RMS norm's epsilon: 2⁻²³ for every element type.
pub(crate) const RMS_EPS: f32 = f32::EPSILON;

impl Cpu {
    /// Calls `body(row range)` for tasks of about [`GRAIN`] elements, vectorised.
    pub(crate) fn for_rows(&self, rows: usize, cols: usize, body: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
        let grain = (GRAIN / cols.max(1)).max(1);
        self.pool.run_ranges(rows, grain, body);
    }

    /// `y = f(a)`, or `y += f(a)`, element by element.
    #[inline(always)]
    fn map<A: Elem, T: Elem>(&self, a: &[A], y: Buffer, add: bool, f: impl Fn(f32) -> f32 + Sync + Copy) {
        let (len, y) = (y.len, parts::<T>(y));
        self.pool.run_ranges(len, GRAIN, &|range| {
            // A copy of its own, so that nothing in it can lie where `y` is written.
            let (a, f) = (&a[range.clone()], f);
            // SAFETY: ranges of one run are disjoint.
            let y = unsafe { y.range(range) };
            self.isa.vectorize(
                #[inline(always)]
                || {
                    if add {
                        for (y, a) in y.iter_mut().zip(a) {
                            *y = T::from_f32(y.to_f32() + f(a.to_f32()));
                        }
                    } else {
                        for (y, a) in y.iter_mut().zip(a) {
                            *y = T::from_f32(f(a.to_f32()));
                        }
                    }
                },
            );
        });
    }

    /// `y = f(a, b)`, or `y += f(a, b)`, element by element.
    #[inline(always)]
    fn map_pairs<T: Elem>(
        &self,
        (a, b): (&[T], &[T]),
        y: Buffer,
        add: bool,
        f: impl Fn(f32, f32) -> f32 + Sync + Copy,
    ) {
        let (len, y) = (y.len, parts::<T>(y));
        self.pool.run_ranges(len, GRAIN, &|range| {
            let (a, b, f) = (&a[range.clone()], &b[range.clone()], f);
            // SAFETY: ranges of one run are disjoint.
            let y = unsafe { y.range(range) };
            self.isa.vectorize(
                #[inline(always)]
                || {
                    let pairs = a.iter().zip(b);
                    if add {
                        for (y, (a, b)) in y.iter_mut().zip(pairs) {
                            *y = T::from_f32(y.to_f32() + f(a.to_f32(), b.to_f32()));
                        }
                    } else {
                        for (y, (a, b)) in y.iter_mut().zip(pairs) {
                            *y = T::from_f32(f(a.to_f32(), b.to_f32()));
                        }
                    }
                },
            );
        });
    }

    /// `Σ f(range)` over blocks of a fixed size, added in their order.
    pub(crate) fn reduce(&self, len: usize, block: usize, f: &(dyn Fn(std::ops::Range<usize>) -> f32 + Sync)) -> f64 {
        let mut partials = locked(&self.partials);
        let blocks = len.div_ceil(block);
        if partials.len() < blocks {
            partials.resize(blocks, 0.0);
        }
        let sums = Parts::new(&mut partials[..blocks]);
        self.pool.run(blocks, &|i| {
            // SAFETY: each task writes its own partial sum.
            let sum = unsafe { sums.range(i..i + 1) };
            sum[0] = f(i * block..len.min((i + 1) * block));
        });
        partials[..blocks].iter().map(|&x| x as f64).sum()
    }

    pub(crate) fn embedding_rows<T: Elem>(&self, table: Buffer, ids: Buffer, y: Buffer, channels: usize) {
        let (table, ids, y) = (input::<f32>(table), indices(ids), parts::<T>(y));
        self.for_rows(ids.len(), channels, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        let id = ids[row] as usize;
                        // SAFETY: rows of one run are disjoint.
                        let y = unsafe { y.range(row * channels..(row + 1) * channels) };
                        let from = &table[id * channels..(id + 1) * channels];
                        for (y, &x) in y.iter_mut().zip(from) {
                            *y = T::from_f32(x);
                        }
                    }
                },
            );
        });
    }

    /// Each task owns a stretch of the channels of every row, so a row's sum has one order and tasks are alike
    /// whatever the ids.
    pub(crate) fn embedding_rows_backward<T: Elem>(&self, dy: Buffer, ids: Buffer, dtable: Buffer, channels: usize) {
        /// Channels per task: two cache lines of the table.
        const WIDTH: usize = 32;
        let (dy, ids, dtable) = (input::<T>(dy), indices(ids), parts::<f32>(dtable));
        self.pool.run_ranges(channels, WIDTH, &|columns| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for (row, &id) in ids.iter().enumerate() {
                        let start = id as usize * channels;
                        // SAFETY: these channels of all rows belong to this task alone.
                        let sum = unsafe { dtable.range(start + columns.start..start + columns.end) };
                        let dy = &dy[row * channels + columns.start..row * channels + columns.end];
                        for (sum, dy) in sum.iter_mut().zip(dy) {
                            *sum += dy.to_f32();
                        }
                    }
                },
            );
        });
    }

    pub(crate) fn rms_norm_rows<T: Elem>(&self, x: Buffer, y: Buffer, cols: usize) {
        let (x, y) = (input::<T>(x), parts::<T>(y));
        self.for_rows(x.len() / cols, cols, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        let x = &x[row * cols..(row + 1) * cols];
                        // SAFETY: rows of one run are disjoint.
                        let y = unsafe { y.range(row * cols..(row + 1) * cols) };
                        let r = 1.0 / (dot(x, x) / cols as f32 + RMS_EPS).sqrt();
                        for (y, x) in y.iter_mut().zip(x) {
                            *y = T::from_f32(x.to_f32() * r);
                        }
                    }
                },
            );
        });
    }

    pub(crate) fn rms_norm_rows_backward<T: Elem>(&self, x: Buffer, dy: Buffer, dx: Buffer, cols: usize, add: bool) {
        let (x, dy, dx) = (input::<T>(x), input::<T>(dy), parts::<T>(dx));
        self.for_rows(x.len() / cols, cols, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        let at = row * cols..(row + 1) * cols;
                        let (x, dy) = (&x[at.clone()], &dy[at.clone()]);
                        // SAFETY: rows of one run are disjoint.
                        let dx = unsafe { dx.range(at) };
                        let r = 1.0 / (dot(x, x) / cols as f32 + RMS_EPS).sqrt();
                        let m = dot(x, dy) * r * r / cols as f32;
                        let pairs = x.iter().zip(dy);
                        if add {
                            for (dx, (x, dy)) in dx.iter_mut().zip(pairs) {
                                *dx = T::from_f32(dx.to_f32() + r * (dy.to_f32() - x.to_f32() * m));
                            }
                        } else {
                            for (dx, (x, dy)) in dx.iter_mut().zip(pairs) {
                                *dx = T::from_f32(r * (dy.to_f32() - x.to_f32() * m));
                            }
                        }
                    }
                },
            );
        });
    }

    pub(crate) fn layer_norm_rows<T: Elem>(&self, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer, eps: f32) {
        let (x, y) = (input::<T>(x), parts::<T>(y));
        let (weight, bias) = (input::<f32>(weight), input::<f32>(bias));
        let cols = weight.len();
        self.for_rows(x.len() / cols, cols, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        let x = &x[row * cols..(row + 1) * cols];
                        // SAFETY: rows of one run are disjoint.
                        let y = unsafe { y.range(row * cols..(row + 1) * cols) };
                        let (mean, r) = moments(x, eps);
                        for i in 0..cols {
                            y[i] = T::from_f32((x[i].to_f32() - mean) * r * weight[i] + bias[i]);
                        }
                    }
                },
            );
        });
    }

    pub(crate) fn layer_norm_rows_backward<T: Elem>(
        &self,
        x: Buffer,
        weight: Buffer,
        dy: Buffer,
        (dx, add): (Buffer, bool),
        (dweight, dbias): (Buffer, Buffer),
        eps: f32,
    ) {
        let (x, dy, dx) = (input::<T>(x), input::<T>(dy), parts::<T>(dx));
        let weight = input::<f32>(weight);
        let cols = weight.len();
        let rows = x.len() / cols;
        self.for_rows(rows, cols, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        let at = row * cols..(row + 1) * cols;
                        let (x, dy) = (&x[at.clone()], &dy[at.clone()]);
                        // SAFETY: rows of one run are disjoint.
                        let dx = unsafe { dx.range(at) };
                        let (mean, r) = moments(x, eps);
                        let n = cols as f32;
                        let g = |i: usize| dy[i].to_f32() * weight[i];
                        let xhat = |i: usize| (x[i].to_f32() - mean) * r;
                        let mean_g = sum_by(cols, g) / n;
                        let mean_gx = sum_by(cols, |i| g(i) * xhat(i)) / n;
                        for (i, dx) in dx.iter_mut().enumerate() {
                            let old = if add { dx.to_f32() } else { 0.0 };
                            *dx = T::from_f32(old + r * (g(i) - mean_g - xhat(i) * mean_gx));
                        }
                    }
                },
            );
        });
        // Columns have one owner each and rows are added in their order.
        let (dweight, dbias) = (parts::<f32>(dweight), parts::<f32>(dbias));
        self.pool.run_ranges(cols, 64, &|columns| {
            // SAFETY: column ranges of one run are disjoint.
            let (dweight, dbias) = unsafe { (dweight.range(columns.clone()), dbias.range(columns.clone())) };
            for row in 0..rows {
                let (x, dy) = (&x[row * cols..(row + 1) * cols], &dy[row * cols..(row + 1) * cols]);
                let (mean, r) = moments(x, eps);
                for (at, i) in columns.clone().enumerate() {
                    dweight[at] += dy[i].to_f32() * (x[i].to_f32() - mean) * r;
                    dbias[at] += dy[i].to_f32();
                }
            }
        });
    }

    pub(crate) fn activate(&self, kind: Activation, x: Buffer, y: Buffer) {
        with_elem!(x.dtype, T => {
            let x = input::<T>(x);
            match kind {
                Activation::ReluSquared => self.map::<T, T>(x, y, false, #[inline(always)] move |x| x.max(0.0) * x.max(0.0)),
                Activation::Relu => self.map::<T, T>(x, y, false, #[inline(always)] move |x| x.max(0.0)),
                Activation::Silu => self.map::<T, T>(x, y, false, #[inline(always)] move |x| x * sigmoid(x)),
                Activation::Gelu => self.map::<T, T>(x, y, false, gelu),
                Activation::Sigmoid => self.map::<T, T>(x, y, false, sigmoid),
                Activation::Tanh => self.map::<T, T>(x, y, false, tanh),
            }
        });
    }

    pub(crate) fn activate_backward(&self, kind: Activation, x: Buffer, dy: Buffer, dx: Buffer, add: bool) {
        with_elem!(x.dtype, T => {
            let of = (input::<T>(x), input::<T>(dy));
            match kind {
                Activation::ReluSquared => {
                    self.map_pairs::<T>(of, dx, add, #[inline(always)] move |x, dy| 2.0 * x.max(0.0) * dy);
                }
                Activation::Relu => {
                    self.map_pairs::<T>(of, dx, add, #[inline(always)] move |x, dy| if x > 0.0 { dy } else { 0.0 });
                }
                Activation::Silu => self.map_pairs::<T>(of, dx, add, #[inline(always)] move |x, dy| {
                    let s = sigmoid(x);
                    dy * s * (1.0 + x * (1.0 - s))
                }),
                Activation::Gelu => self.map_pairs::<T>(of, dx, add, #[inline(always)] move |x, dy| dy * gelu_slope(x)),
                Activation::Sigmoid => self.map_pairs::<T>(of, dx, add, #[inline(always)] move |x, dy| {
                    let s = sigmoid(x);
                    dy * s * (1.0 - s)
                }),
                Activation::Tanh => self.map_pairs::<T>(of, dx, add, #[inline(always)] move |x, dy| {
                    let t = tanh(x);
                    dy * (1.0 - t * t)
                }),
            }
        });
    }

    pub(crate) fn multiply_all<T: Elem>(&self, a: Buffer, b: Buffer, y: Buffer, add: bool) {
        let of = (input::<T>(a), input::<T>(b));
        self.map_pairs::<T>(
            of,
            y,
            add,
            #[inline(always)]
            move |a, b| a * b,
        );
    }

    pub(crate) fn mix_all<T: Elem>(
        &self,
        (a, alpha): (Buffer, ScalarArg),
        b: Option<(Buffer, ScalarArg)>,
        y: Buffer,
        add: bool,
    ) {
        let (a, alpha) = (input::<T>(a), scalar(alpha));
        if let Some((b, beta)) = b {
            let (b, beta) = (input::<T>(b), scalar(beta));
            self.map_pairs::<T>(
                (a, b),
                y,
                add,
                #[inline(always)]
                move |a, b| alpha * a + beta * b,
            );
        } else {
            self.map::<T, T>(
                a,
                y,
                add,
                #[inline(always)]
                move |a| alpha * a,
            );
        }
    }

    pub(crate) fn scalar_gradient_of<T: Elem>(
        &self,
        x: Buffer,
        dy: Buffer,
        factor: f32,
        dscalar: Buffer,
        index: usize,
    ) {
        let (x, dy) = (input::<T>(x), input::<T>(dy));
        let sum = self.reduce(x.len(), GRAIN, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || dot(&x[range.clone()], &dy[range.clone()]),
            )
        });
        output::<f32>(dscalar)[index] += factor * sum as f32;
    }

    pub(crate) fn fill_all<T: Elem>(&self, to: Buffer, value: f32) {
        let (len, to) = (to.len, parts::<T>(to));
        self.pool.run_ranges(len, GRAIN, &|range| {
            // SAFETY: ranges of one run are disjoint.
            unsafe { to.range(range) }.fill(T::from_f32(value));
        });
    }

    pub(crate) fn convert<A: Elem, B: Elem>(&self, from: Buffer, to: Buffer) {
        self.map::<A, B>(
            input(from),
            to,
            false,
            #[inline(always)]
            move |x| x,
        );
    }

    pub(crate) fn add_all<T: Elem>(&self, from: Buffer, to: Buffer) {
        self.map::<T, T>(
            input(from),
            to,
            true,
            #[inline(always)]
            move |x| x,
        );
    }
}

/// The value of a coefficient.
pub(crate) fn scalar(argument: ScalarArg) -> f32 {
    let value = argument
        .parameter
        .map_or(1.0, |(buffer, index)| input::<f32>(buffer)[index]);
    argument.factor * value
}

/// Mean and `1/√(variance + eps)` of a row.
#[inline(always)]
fn moments<T: Elem>(x: &[T], eps: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum_by(x.len(), |i| x[i].to_f32()) / n;
    let variance = sum_by(x.len(), |i| (x[i].to_f32() - mean) * (x[i].to_f32() - mean)) / n;
    (mean, 1.0 / (variance + eps).sqrt())
}

const GELU_SLOPE: f32 = 0.797_884_6; // √(2/π)
const GELU_CUBE: f32 = 0.044_715;

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + tanh(GELU_SLOPE * (x + GELU_CUBE * x * x * x)))
}

#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    let t = tanh(GELU_SLOPE * (x + GELU_CUBE * x * x * x));
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_SLOPE * (1.0 + 3.0 * GELU_CUBE * x * x)
}
