//! RMS norm and layer norm: the host side of `source/norms.cu`.

use super::Cuda;
use super::launch::{Arg, Grid, args};
use crate::backend::Buffer;

/// Threads of a block.
const THREADS: usize = 256;

/// The longest row that one warp takes, in bytes: eight loads by each lane.
const WARP_BYTES: usize = 4096;

/// Rows that a block sums for the gradient of weight and bias, at least.
const SLICE_ROWS: usize = 256;

/// Most blocks along y.
const MOST_SLICES: usize = 4096;

impl Cuda {
    pub(super) fn rms_norm_rows(&self, x: Buffer, y: Buffer, cols: usize) {
        let (grid, rows, by_block) = over_rows(x, cols);
        self.launch("norms", "rms_norm", x.dtype, grid, args![x, y, rows, cols, by_block]);
    }

    pub(super) fn rms_norm_rows_backward(&self, x: Buffer, dy: Buffer, dx: Buffer, cols: usize, accumulate: bool) {
        let (grid, rows, by_block) = over_rows(x, cols);
        self.launch(
            "norms",
            "rms_norm_backward",
            x.dtype,
            grid,
            args![x, dy, dx, rows, cols, accumulate, by_block],
        );
    }

    pub(super) fn layer_norm_rows(&self, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer, eps: f32) {
        let cols = weight.len;
        let (grid, rows, by_block) = over_rows(x, cols);
        self.launch(
            "norms",
            "layer_norm",
            x.dtype,
            grid,
            args![x, weight, bias, y, rows, cols, eps, by_block],
        );
    }

    pub(super) fn layer_norm_rows_backward(
        &self,
        x: Buffer,
        weight: Buffer,
        dy: Buffer,
        (dx, accumulate): (Buffer, bool),
        (dweight, dbias): (Buffer, Buffer),
        eps: f32,
    ) {
        let cols = weight.len;
        let (grid, rows, by_block) = over_rows(x, cols);
        let slice_rows = rows.div_ceil(MOST_SLICES).max(SLICE_ROWS);
        let slices = rows.div_ceil(slice_rows);
        // Mean and deviation of each row, then the sums of each slice.
        let scratch = self.scratch((rows * 2 + slices * 2 * cols) * size_of::<f32>());
        let moments = Arg::pointer(scratch);
        let partial = Arg::pointer(scratch + (rows * 2 * size_of::<f32>()) as u64);
        self.launch(
            "norms",
            "layer_norm_backward",
            x.dtype,
            grid,
            args![x, weight, dy, dx, moments, rows, cols, eps, accumulate, by_block],
        );
        self.launch(
            "norms",
            "layer_norm_columns",
            x.dtype,
            Grid::new(cols.div_ceil(32), THREADS).by(slices, 1),
            args![x, dy, moments, partial, rows, cols, slice_rows],
        );
        self.launch(
            "norms",
            "layer_norm_parameters",
            x.dtype,
            Grid::new(cols.div_ceil(THREADS), THREADS).by(2, 1),
            args![partial, dweight, dbias, cols, slices],
        );
    }
}

/// A grid for the rows of `x`, their number, and whether each has a whole block. That is the same for any number of rows,
/// so that a row's result does not depend on what stands beside it.
fn over_rows(x: Buffer, cols: usize) -> (Grid, usize, bool) {
    let rows = x.len / cols;
    let by_block = cols * x.dtype.bytes() > WARP_BYTES;
    let blocks = if by_block { rows } else { rows.div_ceil(THREADS / 32) };
    (Grid::new(blocks, THREADS), rows, by_block)
}
