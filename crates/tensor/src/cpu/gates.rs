//! The two gated kernels: value embeddings and smear. Gradients of gates are summed in
//! blocks of rows of a fixed size, one partial sum per block, added in their order.

use super::elem::{Elem, Parts, input, output, parts};
use super::math::{dot, sigmoid};
use super::rows::with_head_size;
use super::{Cpu, locked};
use crate::backend::{Buffer, SmearArgs, ValueGateArgs};

/// Rows per partial sum of a gate's gradient.
const BLOCK: usize = 128;

/// Heads whose gates are computed together.
const TOGETHER: usize = 8;

/// Calls `body` with head size and channels of a gate, the usual ones as constants.
#[inline(always)]
fn with_sizes<R>((head_dim, channels): (usize, usize), body: impl FnOnce(usize, usize) -> R) -> R {
    match channels {
        12 => with_head_size(
            head_dim,
            #[inline(always)]
            |dim| body(dim, 12),
        ),
        other => body(head_dim, other),
    }
}

impl Cpu {
    pub(crate) fn value_gate_rows<T: Elem>(&self, args: &ValueGateArgs, v: Buffer, x: Buffer, ve: Buffer, y: Buffer) {
        let (v, x, ve, y) = (input::<T>(v), input::<T>(x), input::<T>(ve), parts::<T>(y));
        let gate = input::<f32>(args.gate);
        let (heads, channels) = (args.kv_heads, args.channels);
        self.for_rows(args.rows, heads * args.head_dim, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    with_sizes(
                        (args.head_dim, args.gate_channels),
                        #[inline(always)]
                        |dim, n| {
                            for row in range.clone() {
                                let x = &x[row * channels..][..n];
                                for some in (0..heads).step_by(TOGETHER) {
                                    let some = some..heads.min(some + TOGETHER);
                                    // All of them first, so that they overlap and become one vector.
                                    let mut g = [0.0; TOGETHER];
                                    for (g, head) in g.iter_mut().zip(some.clone()) {
                                        *g = dot(self.isa, x, &gate[head * n..][..n]);
                                    }
                                    let g = g.map(|z| 3.0 * sigmoid(z));
                                    for (head, g) in some.zip(g) {
                                        let at = (row * heads + head) * dim;
                                        // SAFETY: rows of one run are disjoint.
                                        let y = unsafe { y.part(at, dim) };
                                        let (v, ve) = (&v[at..][..dim], &ve[at..][..dim]);
                                        for (y, (v, ve)) in y.iter_mut().zip(v.iter().zip(ve)) {
                                            *y = T::from_f32(v.to_f32() + g * ve.to_f32());
                                        }
                                    }
                                }
                            }
                        },
                    );
                },
            );
        });
    }

    pub(crate) fn value_gate_rows_backward<T: Elem>(
        &self,
        args: &ValueGateArgs,
        (x, ve, dy): (Buffer, Buffer, Buffer),
        dve: Buffer,
        (dx, add): (Buffer, bool),
        dgate: Buffer,
    ) {
        let (x, ve, dy) = (input::<T>(x), input::<T>(ve), input::<T>(dy));
        let (dve, dx) = (parts::<T>(dve), parts::<T>(dx));
        let gate = input::<f32>(args.gate);
        let (heads, channels) = (args.kv_heads, args.channels);
        self.sum_blocks(args.rows, gate.len(), output::<f32>(dgate), &|rows, dgate| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    with_sizes(
                        (args.head_dim, args.gate_channels),
                        #[inline(always)]
                        |dim, n| {
                            for row in rows.clone() {
                                // SAFETY: rows of one run are disjoint.
                                let dx = unsafe { dx.part(row * channels, channels) };
                                if !add {
                                    dx.fill(T::from_f32(0.0));
                                }
                                let (x, dx) = (&x[row * channels..][..n], &mut dx[..n]);
                                let mut opened = [0.0; TOGETHER];
                                for head in 0..heads {
                                    let weights = &gate[head * n..][..n];
                                    if head.is_multiple_of(TOGETHER) {
                                        let mut z = [0.0; TOGETHER];
                                        for (z, head) in z.iter_mut().zip(head..heads) {
                                            *z = dot(self.isa, x, &gate[head * n..][..n]);
                                        }
                                        opened = z.map(sigmoid);
                                    }
                                    let s = opened[head % TOGETHER];
                                    let at = (row * heads + head) * dim;
                                    let (dy, ve) = (&dy[at..][..dim], &ve[at..][..dim]);
                                    // SAFETY: as above.
                                    let dve = unsafe { dve.part(at, dim) };
                                    for (dve, dy) in dve.iter_mut().zip(dy) {
                                        *dve = T::from_f32(3.0 * s * dy.to_f32());
                                    }
                                    let dz = dot(self.isa, dy, ve) * 3.0 * s * (1.0 - s);
                                    let dgate = &mut dgate[head * n..][..n];
                                    for i in 0..n {
                                        dgate[i] += dz * x[i].to_f32();
                                        dx[i] = T::from_f32(dx[i].to_f32() + dz * weights[i]);
                                    }
                                }
                            }
                        },
                    );
                },
            );
        });
    }

    pub(crate) fn smear_rows<T: Elem>(&self, args: &SmearArgs, x: Buffer, previous: Option<Buffer>, y: Buffer) {
        let (x, y) = (input::<T>(x), parts::<T>(y));
        let previous = previous.map(input::<T>);
        let gate = input::<f32>(args.gate);
        let lambda = input::<f32>(args.lambda)[0];
        let channels = args.channels;
        self.for_rows(args.batch * args.time, channels, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        let (sequence, step) = (row / args.time, row % args.time);
                        let before = if step > 0 {
                            Some(&x[(row - 1) * channels..row * channels])
                        } else {
                            previous.map(|p| &p[sequence * channels..(sequence + 1) * channels])
                        };
                        let x = &x[row * channels..(row + 1) * channels];
                        // SAFETY: rows of one run are disjoint.
                        let y = unsafe { y.range(row * channels..(row + 1) * channels) };
                        let Some(before) = before else {
                            y.copy_from_slice(x);
                            continue;
                        };
                        let g = lambda * sigmoid(dot(self.isa, &x[..gate.len()], gate));
                        for (y, (x, before)) in y.iter_mut().zip(x.iter().zip(before)) {
                            *y = T::from_f32(x.to_f32() + g * before.to_f32());
                        }
                    }
                },
            );
        });
    }

    pub(crate) fn smear_rows_backward<T: Elem>(
        &self,
        args: &SmearArgs,
        (x, dy, dx): (Buffer, Buffer, Buffer),
        dgate: Buffer,
        dlambda: Buffer,
    ) {
        let (x, dy, dx) = (input::<T>(x), input::<T>(dy), parts::<T>(dx));
        let gate = input::<f32>(args.gate);
        let lambda = input::<f32>(args.lambda)[0];
        let (channels, n) = (args.channels, gate.len());
        let row_of = |row: usize| row * channels..(row + 1) * channels;
        // The last partial sum of a block is λ's.
        let mut sums = locked(&self.gate_sums);
        sums.clear();
        sums.resize(n + 1, 0.0);
        self.sum_blocks(args.batch * args.time, n + 1, &mut sums, &|rows, sums| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for row in rows {
                        let step = row % args.time;
                        let here = &x[row_of(row)];
                        // SAFETY: rows of one run are disjoint.
                        let dx = unsafe { dx.range(row_of(row)) };
                        let share = if step + 1 < args.time {
                            let next = &x[row_of(row + 1)];
                            lambda * sigmoid(dot(self.isa, &next[..n], gate))
                        } else {
                            0.0
                        };
                        let dy_next = &dy[row_of(if share == 0.0 { row } else { row + 1 })];
                        let dy = &dy[row_of(row)];
                        let mut dz = 0.0;
                        if step > 0 {
                            let s = sigmoid(dot(self.isa, &here[..n], gate));
                            let along = dot(self.isa, dy, &x[row_of(row - 1)]);
                            dz = lambda * s * (1.0 - s) * along;
                            sums[n] += s * along;
                            for (sum, x) in sums[..n].iter_mut().zip(here) {
                                *sum += dz * x.to_f32();
                            }
                        }
                        let of = |dy: &T, next: &T| dy.to_f32() + share * next.to_f32();
                        let (gated, free) = dx.split_at_mut(n);
                        let ((dy, dy_free), (next, next_free)) = (dy.split_at(n), dy_next.split_at(n));
                        for ((dx, gate), (dy, next)) in gated.iter_mut().zip(gate).zip(dy.iter().zip(next)) {
                            *dx = T::from_f32(of(dy, next) + dz * gate);
                        }
                        for (dx, (dy, next)) in free.iter_mut().zip(dy_free.iter().zip(next_free)) {
                            *dx = T::from_f32(of(dy, next));
                        }
                    }
                },
            );
        });
        for (total, sum) in output::<f32>(dgate).iter_mut().zip(&sums[..n]) {
            *total += sum;
        }
        output::<f32>(dlambda)[0] += sums[n];
    }

    /// Runs `body(rows, sums of the block)` for blocks of [`BLOCK`] rows and adds the blocks' sums,
    /// `width` each and beginning at zero, to `total` in their order.
    fn sum_blocks(
        &self,
        rows: usize,
        width: usize,
        total: &mut [f32],
        body: &(dyn Fn(std::ops::Range<usize>, &mut [f32]) + Sync),
    ) {
        let mut partials = locked(&self.partials);
        let blocks = rows.div_ceil(BLOCK);
        if partials.len() < blocks * width {
            partials.resize(blocks * width, 0.0);
        }
        let partials = &mut partials[..blocks * width];
        partials.fill(0.0);
        let shared = Parts::new(partials);
        self.pool.run(blocks, &|block| {
            // SAFETY: each block has its own sums.
            let sums = unsafe { shared.range(block * width..(block + 1) * width) };
            body(block * BLOCK..rows.min((block + 1) * BLOCK), sums);
        });
        for sums in partials.chunks_exact(width) {
            for (total, sum) in total.iter_mut().zip(sums) {
                *total += sum;
            }
        }
    }
}
