//! Unembedding, soft cap and weighted negative log-likelihood, chunk by chunk; logits of single positions.
//!
//! With `z = x·headᵀ`, `l = cap·tanh(z/cap)` and `total = Σ eˡ` of a row, its gradient is
//! `dz = weight/total · (eˡ − total·onehot) · (1 − (l/cap)²)`. All that an element needs from the rest of its row is a
//! factor, and factors of rows commute with products. So logits are never stored: while a tile of them is in the
//! cache it becomes `g = eˡ·(1 − (l/cap)²)` in the compute type and sums of `eˡ`; when a chunk's tiles are done, one
//! element per row is corrected, that of the target; and the factors `s = weight/total` are applied where it is cheap:
//! `dx = s∘(g·head)` as its tiles are stored, `dhead = gᵀ·(s∘x)`. `tile.rs` has the arithmetic of rows.

mod fused;
mod tile;

use std::ops::Range;

use self::fused::Plan;
use self::tile::{Softened, Softener};
use super::Cpu;
use super::elem::{Elem, Parts, indices, input, output, parts};
use super::matmul::{Epilogue, Tile, View, matmul_each};
use crate::backend::{Buffer, NllArgs, NllGradients, NllScratch, Weight};

/// Elements of `g` held at a time: 64 MiB of bf16. The head's gradient is read and written once per chunk.
const CHUNK_ELEMENTS: usize = 1 << 25;
/// Largest tile of logits: it stays in the second-level cache from the product to `g`.
const TILE_ROWS: usize = 192;
/// Columns that share a sum: a row's sums must not depend on the other rows, so this is no choice of the product's.
const TILE_COLS: usize = 384;
/// Rows per task of what is done for a row alone.
const ROWS: usize = 64;

impl Cpu {
    pub(crate) fn loss_scratch(&self, rows: usize, channels: usize, padded_vocab: usize) -> NllScratch {
        let plan = Plan::new(self, channels, padded_vocab);
        let most = plan.as_ref().map_or(4096, Plan::most_rows);
        let chunk = (CHUNK_ELEMENTS / padded_vocab.max(1)).clamp(64, most).min(rows);
        let mut scratch = NllScratch {
            chunk,
            master: Chunk::<f32>::scratch(chunk, padded_vocab, TILE_COLS),
            compute: chunk * (padded_vocab + channels),
        };
        if let Some(plan) = plan {
            let own = Chunk::<f32>::scratch(chunk, padded_vocab, plan.width);
            scratch.master = scratch.master.max(own + plan.master(chunk));
            scratch.compute = scratch.compute.max(plan.compute(chunk));
        }
        scratch
    }

    pub(crate) fn nll<T: Elem>(&self, args: &NllArgs, gradients: Option<&NllGradients>) {
        let (channels, padded) = (args.channels, args.head.out_features);
        let nll = output::<f32>(args.nll);
        let targets = indices(args.targets);
        let weights = input::<f32>(args.weights);
        let x = input::<T>(args.x);
        // A target out of range is a fault of the caller; treated like one to ignore it would hide it.
        let known = |&target: &i32| target < args.vocab as i32;
        assert!(targets.iter().all(known), "a target outside the vocabulary");
        let plan = Plan::new(self, channels, padded).filter(|_| tile::bounded(args.softcap));
        for start in (0..args.rows).step_by(args.chunk) {
            let rows = start..args.rows.min(start + args.chunk);
            if let (Some(plan), Some(gradients)) = (&plan, gradients) {
                self.fused_chunk::<T>(plan, args, gradients, rows);
                continue;
            }
            let count = rows.len();
            let x = &x[start * channels..rows.end * channels];
            let g = gradients.map(|g| G::Rows(Parts::new(&mut output::<T>(g.scratch)[..count * padded])));
            let own = output::<f32>(args.scratch);
            let chunk = Chunk::new(self, args, rows.clone(), TILE_COLS, own, g);
            matmul_each(
                &self.pool,
                self.isa,
                T::matrix(View::row_major(x, count, channels)),
                self.packed(args.head, channels, padded),
                Some((TILE_ROWS, TILE_COLS)),
                &|tile| chunk.take(tile),
            );
            chunk.finish(&mut nll[rows]);
            // SAFETY: no task runs meanwhile, nor is it written any more.
            let scales = unsafe { chunk.scales.range(0..count) };
            let Some(gradients) = gradients else { continue };
            let (g, scaled) = output::<T>(gradients.scratch).split_at_mut(count * padded);
            let scaled = &mut scaled[..count * channels];
            self.scale_rows(x, scales, scaled, channels);
            let dx = &mut output::<T>(gradients.dx)[start * channels..][..count * channels];
            self.scaled_input_product(g, gradients.head, scales, dx);
            let epilogue = Epilogue {
                alpha: 1.0,
                accumulate: gradients.accumulate_head || start > 0,
            };
            self.weight_product(g, scaled, output::<f32>(gradients.dhead), count, epilogue);
        }
        let total: f64 = nll.iter().zip(weights).map(|(&l, &w)| l as f64 * w as f64).sum();
        output::<f32>(args.loss)[0] = total as f32;
    }

    /// `y = s∘x`, a factor per row.
    fn scale_rows<T: Elem>(&self, x: &[T], scales: &[f32], y: &mut [T], channels: usize) {
        let y = Parts::new(y);
        self.for_rows(scales.len(), channels, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        let at = row * channels..(row + 1) * channels;
                        // SAFETY: rows of one run are disjoint.
                        let y = unsafe { y.range(at.clone()) };
                        for (y, x) in y.iter_mut().zip(&x[at]) {
                            *y = T::from_f32(x.to_f32() * scales[row]);
                        }
                    }
                },
            );
        });
    }

    /// `dx = s∘(g·head)`.
    fn scaled_input_product<T: Elem>(&self, g: &[T], head: Weight, scales: &[f32], dx: &mut [T]) {
        let (k, n) = (head.out_features, head.in_features);
        let dx = Parts::new(dx);
        let g = T::matrix(View::row_major(g, scales.len(), k));
        matmul_each(&self.pool, self.isa, g, self.packed(head, k, n), None, &|tile| {
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for (row, sums) in tile.rows.clone().zip(tile.sums.chunks_exact(tile.stride)) {
                        // SAFETY: tiles are disjoint.
                        let dx = unsafe { dx.range(row * n + tile.cols.start..row * n + tile.cols.end) };
                        for (dx, sum) in dx.iter_mut().zip(sums) {
                            *dx = T::from_f32(sum * scales[row]);
                        }
                    }
                },
            );
        });
    }

    pub(crate) fn select_rows<T: Elem>(&self, x: Buffer, index: Buffer, y: Buffer, time: usize, cols: usize) {
        let (x, index, y) = (input::<T>(x), indices(index), parts::<T>(y));
        self.for_rows(index.len(), cols, &|range| {
            for sequence in range {
                let position = index[sequence] as usize;
                assert!(position < time, "a position outside the sequence");
                let from = (sequence * time + position) * cols;
                // SAFETY: rows of one run are disjoint.
                let y = unsafe { y.range(sequence * cols..(sequence + 1) * cols) };
                y.copy_from_slice(&x[from..from + cols]);
            }
        });
    }
}

/// Where `g` is kept.
#[derive(Clone, Copy)]
enum G<'a, T> {
    /// `[row][column]`
    Rows(Parts<'a, T>),
    /// As [`Plan::place`] says.
    Panels(Parts<'a, T>, &'a Plan),
}

/// A chunk of positions.
struct Chunk<'a, T> {
    cpu: &'a Cpu,
    vocab: usize,
    padded: usize,
    /// Columns that share a sum, and how many such blocks there are.
    width: usize,
    blocks: usize,
    softener: Softener,
    targets: &'a [i32],
    weights: &'a [f32],
    /// `Σ eˡ⁻ᵖᵉᵃᵏ` of each row and block.
    sums: Parts<'a, f32>,
    /// What was taken off the logits of a row and block; 0 where a soft cap keeps them small.
    peaks: Parts<'a, f32>,
    /// Each row's logit of the target, before the soft cap; when the row is finished, the target's `g`.
    wanted: Parts<'a, f32>,
    /// Each row's factor `weight/total`.
    scales: Parts<'a, f32>,
    g: Option<G<'a, T>>,
}

impl<'a, T: Elem> Chunk<'a, T> {
    /// Numbers that [`Chunk::new`] takes of its memory.
    fn scratch(rows: usize, padded: usize, width: usize) -> usize {
        rows * (2 * padded.div_ceil(width) + 2)
    }

    fn new(
        cpu: &'a Cpu,
        args: &NllArgs,
        rows: Range<usize>,
        width: usize,
        memory: &'a mut [f32],
        g: Option<G<'a, T>>,
    ) -> Self {
        let (count, padded) = (rows.len(), args.head.out_features);
        let blocks = padded.div_ceil(width);
        let (sums, rest) = memory.split_at_mut(count * blocks);
        let (peaks, rest) = rest.split_at_mut(count * blocks);
        let (wanted, rest) = rest.split_at_mut(count);
        Self {
            cpu,
            vocab: args.vocab,
            padded,
            width,
            blocks,
            softener: Softener::new(args.softcap),
            targets: &indices(args.targets)[rows.clone()],
            weights: &input::<f32>(args.weights)[rows],
            sums: Parts::new(sums),
            peaks: Parts::new(peaks),
            wanted: Parts::new(wanted),
            scales: Parts::new(&mut rest[..count]),
            g,
        }
    }

    /// The target of a row that counts.
    fn target(&self, row: usize) -> Option<usize> {
        usize::try_from(self.targets[row]).ok()
    }

    /// A tile of logits before the soft cap.
    fn take(&self, tile: Tile) {
        self.soften(tile.rows.clone(), &tile.cols, tile.sums, tile.stride);
        if let Some(G::Rows(g)) = &self.g {
            for (row, z) in tile.rows.zip(tile.sums.chunks_exact_mut(tile.stride)) {
                // SAFETY: tiles are disjoint.
                let g = unsafe { g.range(row * self.padded + tile.cols.start..row * self.padded + tile.cols.end) };
                tile::round(self.cpu.isa, &z[..tile.cols.len()], g);
            }
        }
    }

    /// Makes `g` of a block of the logits of rows that are `stride` apart; of what is behind them, zeros.
    fn soften(&self, rows: Range<usize>, cols: &Range<usize>, z: &mut [f32], stride: usize) {
        self.cpu.isa.vectorize(
            #[inline(always)]
            || {
                for (row, z) in rows.zip(z.chunks_mut(stride)) {
                    self.soften_row(row, cols, z);
                }
            },
        );
    }

    #[inline(always)]
    fn soften_row(&self, row: usize, cols: &Range<usize>, z: &mut [f32]) {
        let real = self.vocab.clamp(cols.start, cols.end) - cols.start;
        let block = cols.start / self.width;
        let softened = if let Some(target) = self.target(row) {
            if cols.contains(&target) {
                // SAFETY: one block of the row has this column.
                let wanted = unsafe { self.wanted.range(row..row + 1) };
                wanted[0] = z[target - cols.start];
            }
            z[real..].fill(0.0);
            self.softener.soften(self.cpu.isa, &mut z[..real])
        } else {
            z.fill(0.0);
            Softened::default()
        };
        let at = row * self.blocks + block..row * self.blocks + block + 1;
        // SAFETY: one task has this block of the row.
        unsafe {
            self.sums.range(at.clone())[0] = softened.sum;
            self.peaks.range(at)[0] = softened.peak;
        }
    }

    /// What can be said of rows when all their tiles are there: losses, factors, and what is left to do to `g`.
    fn finish(&self, nll: &mut [f32]) {
        let nll = Parts::new(nll);
        self.cpu.pool.run_ranges(self.targets.len(), ROWS, &|range| {
            self.cpu.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        // SAFETY: rows of one run are disjoint.
                        unsafe { self.finish_row(row, &mut nll.range(row..row + 1)[0]) };
                    }
                },
            );
        });
    }

    /// # Safety
    /// Nobody else may have this row.
    #[inline(always)]
    unsafe fn finish_row(&self, row: usize, nll: &mut f32) {
        let blocks: Range<usize> = row * self.blocks..(row + 1) * self.blocks;
        // SAFETY: the caller's promise.
        let (sums, peaks, scale, wanted) = unsafe {
            (
                self.sums.range(blocks.clone()),
                self.peaks.range(blocks),
                &mut self.scales.range(row..row + 1)[0],
                &mut self.wanted.range(row..row + 1)[0],
            )
        };
        let Some(target) = self.target(row) else {
            (*nll, *scale) = (0.0, 0.0);
            return;
        };
        let peak = peaks.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let at_peak = |sum: f32, own: f32| if own == peak { sum } else { sum * (own - peak).exp() };
        let total: f32 = sums.iter().zip(&*peaks).map(|(&sum, &own)| at_peak(sum, own)).sum();
        let mut z = *wanted;
        let softened = self.softener.soften(self.cpu.isa, std::slice::from_mut(&mut z));
        let of_target = at_peak(softened.sum, softened.peak);
        // A block with a logit beyond the cap was softened by another formula than the target alone: a total is at least its
        // largest term, whatever either rounded.
        let total = if total < of_target { of_target } else { total };
        // Both are exact for a target that is all but certain; the quotient has no bounds without a soft cap.
        *nll = if let Softener::Bounded(_) = self.softener {
            (total / of_target).ln()
        } else {
            peak + total.ln() - softened.peak
        };
        *scale = self.weights[row] / total;
        let slope = z / softened.sum;
        let of_target = T::from_f32((of_target - total) * slope);
        *wanted = of_target.to_f32();
        // SAFETY: the caller's promise.
        unsafe {
            match self.g {
                None => {}
                Some(G::Rows(g)) => {
                    let g = g.range(row * self.padded..(row + 1) * self.padded);
                    for (g, block) in g.chunks_mut(self.width).zip(&*peaks) {
                        if *block != peak {
                            tile::rescale(self.cpu.isa, g, (block - peak).exp());
                        }
                    }
                    g[target] = of_target;
                }
                Some(G::Panels(g, plan)) => {
                    let at = plan.place(self.targets.len(), row, target);
                    g.range(at..at + 1)[0] = of_target;
                }
            }
        }
    }
}
