//! Kernels that walk rows: embedding and norms; and how rows and sums are cut into tasks.

use super::elem::{Elem, Parts, indices, input, parts};
use super::math::{dot, sum_by};
use super::prefetch::{first_level, second_level};
use super::{Cpu, locked};
use crate::backend::Buffer;

/// Elements a task handles: enough to hide the cost of handing it out. A constant, because
/// partial sums are made by task and must not depend on the number of threads.
pub(super) const GRAIN: usize = 16 * 1024;

/// RMS norm's epsilon: 2⁻²³ for every element type.
pub(crate) const RMS_EPS: f32 = f32::EPSILON;

/// Rows ahead that are asked for where ids say which comes next, since no processor foresees that.
const AHEAD: usize = 8;

/// Calls `body` with the head size, the usual ones as constants: what is inlined into it becomes straight code for each.
#[inline(always)]
pub(super) fn with_head_size<R>(head_dim: usize, body: impl FnOnce(usize) -> R) -> R {
    match head_dim {
        32 => body(32),
        64 => body(64),
        128 => body(128),
        other => body(other),
    }
}

impl Cpu {
    /// Calls `body(row range)` for tasks of about [`GRAIN`] elements, vectorised.
    pub(crate) fn for_rows(&self, rows: usize, cols: usize, body: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
        let grain = (GRAIN / cols.max(1)).max(1);
        self.pool.run_ranges(rows, grain, body);
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
                    let row_of = |id: i32| &table[id as usize * channels..][..channels];
                    for row in range {
                        if let Some(&id) = ids.get(row + AHEAD) {
                            second_level(row_of(id).as_ptr(), channels * size_of::<f32>());
                        }
                        // SAFETY: rows of one run are disjoint.
                        let y = unsafe { y.range(row * channels..(row + 1) * channels) };
                        for (y, &x) in y.iter_mut().zip(row_of(ids[row])) {
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
                        if let Some(&id) = ids.get(row + AHEAD) {
                            let start = id as usize * channels + columns.start;
                            first_level(dtable.at(start), columns.len() * size_of::<f32>());
                            first_level(
                                &raw const dy[(row + AHEAD) * channels + columns.start],
                                columns.len() * size_of::<T>(),
                            );
                        }
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
                        let r = 1.0 / (dot(self.isa, x, x) / cols as f32 + RMS_EPS).sqrt();
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
                        let r = 1.0 / (dot(self.isa, x, x) / cols as f32 + RMS_EPS).sqrt();
                        let m = dot(self.isa, x, dy) * r * r / cols as f32;
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
}

/// Mean and `1/√(variance + eps)` of a row.
#[inline(always)]
fn moments<T: Elem>(x: &[T], eps: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum_by(x.len(), |i| x[i].to_f32()) / n;
    let variance = sum_by(x.len(), |i| (x[i].to_f32() - mean) * (x[i].to_f32() - mean)) / n;
    (mean, 1.0 / (variance + eps).sqrt())
}
