//! Gated value embedding and smear: the host side of `source/gates.cu`.

use super::Cuda;
use super::launch::{Arg, Grid, args, vector_lanes};
use crate::backend::{Buffer, SmearArgs, ValueGateArgs};
use crate::dtype::DType;

/// Threads of a block.
const THREADS: usize = 256;

/// Threads of a block that adds up partial sums.
const ADDING_THREADS: usize = 128;

/// Rows of a partial sum of a gate's gradient.
const BLOCK_ROWS: usize = 16;

/// Neighbouring lanes that work on one head.
fn lanes_of_head(head_dim: usize, dtype: DType) -> usize {
    head_dim.div_ceil(vector_lanes(dtype)).next_power_of_two().min(32)
}

impl Cuda {
    pub(super) fn value_gate_rows(&self, args: &ValueGateArgs, v: Buffer, x: Buffer, ve: Buffer, y: Buffer) {
        let group = lanes_of_head(args.head_dim, y.dtype);
        let total = args.rows * args.kv_heads;
        self.launch(
            "gates",
            "value_gate",
            y.dtype,
            Grid::new(total.div_ceil(THREADS / group), THREADS),
            args![
                v,
                x,
                ve,
                args.gate,
                y,
                total,
                args.kv_heads,
                args.head_dim,
                args.channels,
                args.gate_channels,
                group
            ],
        );
    }

    pub(super) fn value_gate_rows_backward(
        &self,
        args: &ValueGateArgs,
        (x, ve, dy): (Buffer, Buffer, Buffer),
        dve: Buffer,
        (dx, accumulate): (Buffer, bool),
        dgate: Buffer,
    ) {
        let blocks = args.rows.div_ceil(BLOCK_ROWS);
        let entries = args.kv_heads * args.gate_channels;
        let partials = Arg::pointer(self.scratch(4 * entries * blocks));
        let group = lanes_of_head(args.head_dim, dy.dtype);
        self.launch(
            "gates",
            "value_gate_backward",
            dy.dtype,
            Grid::new(blocks, THREADS).shared(4 * BLOCK_ROWS * args.kv_heads),
            args![
                x,
                ve,
                dy,
                args.gate,
                dve,
                dx,
                partials,
                args.rows,
                BLOCK_ROWS,
                args.kv_heads,
                args.head_dim,
                args.channels,
                args.gate_channels,
                group,
                accumulate
            ],
        );
        self.add_partials(partials, blocks, (dgate, entries), None);
    }

    pub(super) fn smear_rows(&self, args: &SmearArgs, x: Buffer, previous: Option<Buffer>, y: Buffer) {
        let rows = args.batch * args.time;
        self.launch(
            "gates",
            "smear",
            y.dtype,
            Grid::new(rows.div_ceil(THREADS / 32), THREADS),
            args![
                x,
                previous,
                args.gate,
                args.lambda,
                y,
                rows,
                args.time,
                args.channels,
                args.gate_channels
            ],
        );
    }

    pub(super) fn smear_rows_backward(
        &self,
        args: &SmearArgs,
        (x, dy, dx): (Buffer, Buffer, Buffer),
        dgate: Buffer,
        dlambda: Buffer,
    ) {
        let rows = args.batch * args.time;
        let blocks = rows.div_ceil(BLOCK_ROWS);
        let entries = args.gate_channels;
        // The last partial sum of a block is λ's.
        let partials = Arg::pointer(self.scratch(4 * (entries + 1) * blocks));
        self.launch(
            "gates",
            "smear_backward",
            dy.dtype,
            Grid::new(blocks, THREADS).shared(2 * 4 * BLOCK_ROWS),
            args![
                x,
                dy,
                args.gate,
                args.lambda,
                dx,
                partials,
                rows,
                BLOCK_ROWS,
                args.time,
                args.channels,
                entries
            ],
        );
        self.add_partials(partials, blocks, (dgate, entries), Some(dlambda));
    }

    /// `first[i] += Σ partials[i, ..count]` for `len` entries, and `second[0]` likewise from the entry after them.
    fn add_partials(&self, partials: Arg, count: usize, (first, len): (Buffer, usize), second: Option<Buffer>) {
        self.launch(
            "gates",
            "add_partials",
            self.dtype,
            Grid::new(len + usize::from(second.is_some()), ADDING_THREADS),
            args![partials, first, len, second, count],
        );
    }
}
