//! Unembedding, soft cap and weighted negative log-likelihood, chunk by chunk; logits of single positions.
//!
//! With `z = x·headᵀ`, `l = cap·tanh(z/cap)` and `total = Σ eˡ` of a row, its gradient is
//! `dz = weight/total · (eˡ − total·onehot) · (1 − (l/cap)²)`. All that an element needs from the rest of its row is a
//! factor, and factors of rows commute with products. So logits are never stored: while a tile of them is in the
//! cache it becomes `g = eˡ·(1 − (l/cap)²)` in the compute type and sums of `eˡ`; when a chunk's tiles are done, one
//! element per row is corrected, that of the target; and the factors `s = weight/total` are applied where it is cheap:
//! `dx = s∘(g·head)` as its tiles are stored, `dhead = gᵀ·(s∘x)`. `tile.rs` has the arithmetic of rows.

mod tile;

use std::ops::Range;

use self::tile::{Softened, soften};
use super::Cpu;
use super::elem::{Elem, Parts, indices, input, output, parts};
use super::math::tanh;
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
    pub(crate) fn loss_scratch(rows: usize, channels: usize, padded_vocab: usize) -> NllScratch {
        let chunk = (CHUNK_ELEMENTS / padded_vocab.max(1)).clamp(64, 4096).min(rows);
        NllScratch {
            chunk,
            master: chunk * (2 * padded_vocab.div_ceil(TILE_COLS) + 2),
            compute: chunk * (padded_vocab + channels),
        }
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
        for start in (0..args.rows).step_by(args.chunk) {
            let rows = start..args.rows.min(start + args.chunk);
            let count = rows.len();
            let x = &x[start * channels..rows.end * channels];
            let blocks = padded.div_ceil(TILE_COLS);
            let (sums, rest) = output::<f32>(args.scratch).split_at_mut(count * blocks);
            let (peaks, rest) = rest.split_at_mut(count * blocks);
            let (wanted, rest) = rest.split_at_mut(count);
            let scales = &mut rest[..count];
            let mut scratch = gradients.map(|g| output::<T>(g.scratch).split_at_mut(count * padded));
            let chunk = Chunk {
                cpu: self,
                vocab: args.vocab,
                padded,
                blocks,
                softcap: args.softcap,
                targets: &targets[rows.clone()],
                weights: &weights[rows.clone()],
                sums: Parts::new(sums),
                peaks: Parts::new(peaks),
                wanted: Parts::new(wanted),
                scales: Parts::new(scales),
                g: scratch.as_mut().map(|(g, _)| Parts::new(&mut g[..])),
            };
            matmul_each(
                &self.pool,
                self.isa,
                T::matrix(View::row_major(x, count, channels)),
                self.packed(args.head, channels, padded),
                Some((TILE_ROWS, TILE_COLS)),
                &|tile| chunk.take(tile),
            );
            chunk.finish(&mut nll[rows]);
            let (Some(gradients), Some((g, scaled))) = (gradients, scratch) else {
                continue;
            };
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

    pub(crate) fn plain_logits<T: Elem>(
        &self,
        x: Buffer,
        head: Weight,
        vocab: usize,
        softcap: Option<f32>,
        logits: Buffer,
        rows: usize,
    ) {
        let (x, logits) = (input::<T>(x), output::<f32>(logits));
        self.forward_columns::<T>(x, head, vocab, logits, rows);
        if let Some(cap) = softcap {
            let (len, logits) = (logits.len(), Parts::new(logits));
            let inverse = 1.0 / cap;
            self.for_rows(len, 1, &|range| {
                // SAFETY: ranges of one run are disjoint.
                let logits = unsafe { logits.range(range) };
                self.isa.vectorize(
                    #[inline(always)]
                    || logits.iter_mut().for_each(|z| *z = cap * tanh(*z * inverse)),
                );
            });
        }
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

/// A chunk of positions.
struct Chunk<'a, T> {
    cpu: &'a Cpu,
    vocab: usize,
    padded: usize,
    /// Blocks of [`TILE_COLS`] columns.
    blocks: usize,
    softcap: Option<f32>,
    targets: &'a [i32],
    weights: &'a [f32],
    /// `Σ eˡ⁻ᵖᵉᵃᵏ` of each row and block.
    sums: Parts<'a, f32>,
    /// What was taken off the logits of a row and block; 0 where a soft cap keeps them small.
    peaks: Parts<'a, f32>,
    /// Each row's logit of the target, before the soft cap.
    wanted: Parts<'a, f32>,
    /// Each row's factor `weight/total`.
    scales: Parts<'a, f32>,
    g: Option<Parts<'a, T>>,
}

impl<T: Elem> Chunk<'_, T> {
    /// The target of a row that counts.
    fn target(&self, row: usize) -> Option<usize> {
        usize::try_from(self.targets[row]).ok()
    }

    /// A tile of logits before the soft cap.
    fn take(&self, tile: Tile) {
        let Tile {
            rows,
            cols,
            sums: tile,
            stride,
        } = tile;
        let real = self.vocab.clamp(cols.start, cols.end) - cols.start;
        let block = cols.start / TILE_COLS;
        for (row, z) in rows.zip(tile.chunks_exact_mut(stride)) {
            let z = &mut z[..cols.len()];
            let softened = if let Some(target) = self.target(row) {
                if cols.contains(&target) {
                    // SAFETY: one tile of the row has this column.
                    let wanted = unsafe { self.wanted.range(row..row + 1) };
                    wanted[0] = z[target - cols.start];
                }
                soften(self.cpu.isa, &mut z[..real], self.softcap)
            } else {
                z.fill(0.0);
                Softened::default()
            };
            let at = row * self.blocks + block..row * self.blocks + block + 1;
            // SAFETY: each tile has its own block of its own rows.
            unsafe {
                self.sums.range(at.clone())[0] = softened.sum;
                self.peaks.range(at)[0] = softened.peak;
            }
            if let Some(g) = &self.g {
                z[real..].fill(0.0);
                // SAFETY: tiles are disjoint.
                let g = unsafe { g.range(row * self.padded + cols.start..row * self.padded + cols.end) };
                tile::round(self.cpu.isa, z, g);
            }
        }
    }

    /// What can be said of rows when all their tiles are there: losses, factors, and what is left to do to `g`.
    fn finish(&self, nll: &mut [f32]) {
        let nll = Parts::new(nll);
        self.cpu.pool.run_ranges(self.targets.len(), ROWS, &|range| {
            for row in range {
                // SAFETY: rows of one run are disjoint.
                unsafe { self.finish_row(row, &mut nll.range(row..row + 1)[0]) };
            }
        });
    }

    /// # Safety
    /// Nobody else may have this row.
    unsafe fn finish_row(&self, row: usize, nll: &mut f32) {
        let blocks: Range<usize> = row * self.blocks..(row + 1) * self.blocks;
        // SAFETY: the caller's promise.
        let (sums, peaks, scale, mut z) = unsafe {
            (
                self.sums.range(blocks.clone()),
                self.peaks.range(blocks),
                &mut self.scales.range(row..row + 1)[0],
                self.wanted.range(row..row + 1)[0],
            )
        };
        let Some(target) = self.target(row) else {
            (*nll, *scale) = (0.0, 0.0);
            return;
        };
        let peak = peaks.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let at_peak = |sum: f32, own: f32| if own == peak { sum } else { sum * (own - peak).exp() };
        let total: f32 = sums.iter().zip(&*peaks).map(|(&sum, &own)| at_peak(sum, own)).sum();
        let softened = soften(self.cpu.isa, std::slice::from_mut(&mut z), self.softcap);
        let of_target = at_peak(softened.sum, softened.peak);
        // Both are exact for a target that is all but certain; the quotient has no bounds without a soft cap.
        *nll = if tile::bounded(self.softcap) {
            (total / of_target).ln()
        } else {
            peak + total.ln() - softened.peak
        };
        *scale = self.weights[row] / total;
        let Some(g) = &self.g else { return };
        // SAFETY: the caller's promise.
        let g = unsafe { g.range(row * self.padded..(row + 1) * self.padded) };
        for (g, block) in g.chunks_mut(TILE_COLS).zip(&*peaks) {
            if *block != peak {
                tile::rescale(self.cpu.isa, g, (block - peak).exp());
            }
        }
        let slope = z / softened.sum;
        g[target] = T::from_f32((of_target - total) * slope);
    }
}
