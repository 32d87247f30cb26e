//! AdamW and the elementwise parts of Muon: the host side of `source/optimizer.cu`.

use super::Cuda;
use super::launch::{Arg, ELEMENTWISE_THREADS, Grid, args};
use crate::backend::Buffer;
use crate::ops::optimizer::{AdamwStep, NormRule};

/// The most partial sums of a norm: every block of the kernel that applies it reads them all.
const MOST_PARTIALS: usize = 1024;

/// Threads of a block that works on a row.
const ROW_THREADS: usize = 128;

/// Rows of a partial sum of columns.
const CHUNK_ROWS: usize = 32;

/// Threads of a block that sums columns, four to a thread.
const COLUMN_THREADS: usize = 128;

/// Columns of a block that reduces their variance.
const COLUMNS_PER_BLOCK: usize = 32;

/// A grid-stride loop that leaves no more partial sums than [`MOST_PARTIALS`].
fn summing(len: usize) -> Grid {
    let Grid { blocks, threads, .. } = Grid::elementwise(len);
    Grid::new(blocks[0].min(MOST_PARTIALS), threads)
}

/// A block per row, likewise.
fn by_rows(rows: usize) -> Grid {
    Grid::new(rows.min(MOST_PARTIALS), ROW_THREADS)
}

impl Cuda {
    /// One scratch block for `N` runs of floats, each from a multiple of 16 bytes on.
    fn scratch_floats<const N: usize>(&self, lengths: [usize; N]) -> [Arg; N] {
        let bytes = |len: usize| (4 * len).next_multiple_of(16);
        let mut address = self.scratch(lengths.into_iter().map(bytes).sum());
        lengths.map(|len| {
            let part = Arg::pointer(address);
            address += bytes(len) as u64;
            part
        })
    }

    pub(super) fn adamw_step(&self, value: Buffer, grad: Buffer, first: Buffer, second: Buffer, step: &AdamwStep) {
        // In f32 as on the CPU: 1 − β and 1 − βᵗ are not what they would be in f64.
        let keep = 1.0 - step.lr * step.weight_decay;
        let (gain1, gain2) = (1.0 - step.beta1, 1.0 - step.beta2);
        let size = step.lr / (1.0 - step.beta1.powf(step.step as f32));
        let bias2 = 1.0 - step.beta2.powf(step.step as f32);
        self.launch(
            "optimizer",
            "adamw",
            self.dtype,
            Grid::elementwise(value.len),
            args![
                value, grad, first, second, keep, gain1, gain2, size, bias2, step.eps, value.len
            ],
        );
    }

    pub(super) fn nesterov_step(&self, grad: Buffer, momentum: Buffer, out: Buffer, mu: f32) {
        self.launch(
            "optimizer",
            "nesterov",
            out.dtype,
            Grid::elementwise(out.len),
            args![grad, momentum, out, mu, out.len],
        );
    }

    pub(super) fn equilibrate(&self, x: Buffer, cols: usize) {
        let rows = x.len / cols;
        let grid = by_rows(rows);
        let count = grid.blocks[0];
        let [squares, partials] = self.scratch_floats([rows, count]);
        self.launch(
            "optimizer",
            "equilibrate_measure",
            x.dtype,
            grid,
            args![x, squares, partials, rows, cols],
        );
        self.launch(
            "optimizer",
            "equilibrate",
            x.dtype,
            grid,
            args![x, squares, partials, count, rows, cols],
        );
    }

    pub(super) fn normalize_whole(&self, x: Buffer, rule: NormRule) {
        let grid = summing(x.len);
        let count = grid.blocks[0];
        let [partials] = self.scratch_floats([count]);
        // numerator / max(multiplier·‖x‖ + addend, least)
        let [numerator, multiplier, addend, least] = match rule {
            NormRule::Divide { factor, eps } => [1.0, factor, eps, 0.0],
            NormRule::Snap { target, eps } => [target, 1.0, 0.0, eps],
        };
        self.launch("optimizer", "sum_squares", x.dtype, grid, args![x, partials, x.len]);
        self.launch(
            "optimizer",
            "rescale",
            x.dtype,
            grid,
            args![x, partials, count, numerator, multiplier, addend, least, x.len],
        );
    }

    pub(super) fn variance_reduction(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32) {
        if rows >= cols {
            self.reduce_rows(x, second, rows, cols, beta2);
        } else {
            self.reduce_columns(x, second, rows, cols, beta2);
        }
    }

    fn reduce_rows(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32) {
        let grid = by_rows(rows);
        let count = grid.blocks[0];
        let [scales, partials] = self.scratch_floats([rows, 2 * count]);
        self.launch(
            "optimizer",
            "normuon_rows",
            self.dtype,
            grid,
            args![x, second, scales, partials, rows, cols, beta2],
        );
        self.launch(
            "optimizer",
            "normuon_scale_rows",
            self.dtype,
            grid,
            args![x, scales, partials, count, rows, cols],
        );
    }

    fn reduce_columns(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32) {
        let chunks = rows.div_ceil(CHUNK_ROWS);
        let count = cols.div_ceil(COLUMNS_PER_BLOCK);
        let [sums, scales, partials] = self.scratch_floats([chunks * cols, cols, 2 * count]);
        let per_thread = if cols.is_multiple_of(4) { 4 } else { 1 };
        let blocks = cols.div_ceil(per_thread * COLUMN_THREADS);
        self.launch(
            "optimizer",
            "normuon_column_squares",
            self.dtype,
            Grid::new(blocks, COLUMN_THREADS).by(chunks, 1),
            args![x, sums, rows, cols, CHUNK_ROWS],
        );
        self.launch(
            "optimizer",
            "normuon_columns",
            self.dtype,
            Grid::new(count, ELEMENTWISE_THREADS),
            args![sums, second, scales, partials, chunks, rows, cols, beta2],
        );
        self.launch(
            "optimizer",
            "normuon_scale_columns",
            self.dtype,
            by_rows(rows),
            args![x, scales, partials, count, rows, cols],
        );
    }

    pub(super) fn cautious_step(&self, w: Buffer, x: Buffer, lr: f32, weight_decay: f32) {
        self.launch(
            "optimizer",
            "cautious_update",
            self.dtype,
            Grid::elementwise(w.len),
            args![w, x, lr, lr * weight_decay, w.len],
        );
    }
}
