//! Embedding lookup and its gradient: the host side of `source/embedding.cu`.

use super::Cuda;
use super::launch::{Grid, args, vector_lanes};
use crate::backend::Buffer;

/// Threads of a block of the gradient: the most rows of the table that it can own.
const OWNED: usize = 256;

/// Blocks of the gradient, unless the table is short or very long: enough to fill a card.
const BLOCKS: usize = 512;

impl Cuda {
    pub(super) fn embedding_rows(&self, table: Buffer, ids: Buffer, y: Buffer, channels: usize) {
        let vocabulary = table.len / channels;
        let (grid, threads, blocks) = Grid::teams(ids.len, channels.div_ceil(vector_lanes(y.dtype)));
        self.launch(
            "embedding",
            "embedding",
            y.dtype,
            grid,
            args![table, ids, y, ids.len, vocabulary, channels, threads, blocks],
        );
    }

    pub(super) fn embedding_rows_backward(&self, dy: Buffer, ids: Buffer, dtable: Buffer, channels: usize) {
        let vocabulary = dtable.len / channels;
        let least = vocabulary.div_ceil(OWNED).next_power_of_two();
        let blocks = vocabulary.next_power_of_two().min(BLOCKS).max(least);
        // With few blocks each takes only some of the channels. With many, the ids are read once by each.
        let slices = channels.div_ceil(32 * vector_lanes(dy.dtype));
        let along_y = if blocks < BLOCKS { slices } else { 1 };
        self.launch(
            "embedding",
            "embedding_backward",
            dy.dtype,
            Grid::new(blocks, OWNED).by(along_y, 1),
            args![
                dy,
                ids,
                dtable,
                ids.len,
                vocabulary,
                blocks.trailing_zeros() as usize,
                channels
            ],
        );
    }
}
