//! The loss: unembedding, soft cap, cross-entropy, in chunks of rows; logits of single positions. The host side of
//! `source/loss.cu`.

use super::Cuda;
use super::launch::{Arg, Grid, args};
use crate::backend::{Buffer, NllArgs, NllGradients, Weight};
use crate::dtype::DType;

/// Rows of a chunk: fewer leave a card idle, more make no product faster.
const CHUNK_ROWS: (usize, usize) = (512, 4096);

/// The logits of a chunk take this part of a card's memory, and no more than `CHUNK_BYTES`.
const CHUNK_PART: usize = 128;

/// 4096 rows of a vocabulary of 32,768.
const CHUNK_BYTES: usize = 512 << 20;

/// Chunks as even as they can be, of whole blocks of products.
fn chunk_rows(rows: usize, padded_vocab: usize, memory: usize) -> usize {
    let bytes = CHUNK_BYTES.min(memory / CHUNK_PART);
    let most = (bytes / (padded_vocab * size_of::<f32>())).clamp(CHUNK_ROWS.0, CHUNK_ROWS.1);
    let chunks = rows.div_ceil(most).max(1);
    rows.div_ceil(chunks).next_multiple_of(128)
}

/// Threads for a row of so many logits.
fn row_threads(padded_vocab: usize) -> usize {
    padded_vocab.div_ceil(16).next_multiple_of(32).min(1024)
}

impl Cuda {
    pub(super) fn loss_chunk(&self, rows: usize, padded_vocab: usize) -> usize {
        chunk_rows(rows, padded_vocab, self.context.info().memory_bytes)
    }

    pub(super) fn nll(&self, args: &NllArgs, gradients: Option<&NllGradients>) {
        let (channels, padded) = (args.channels, args.head.out_features);
        for start in (0..args.rows).step_by(args.chunk) {
            let rows = args.chunk.min(args.rows - start);
            let x = args.x.at(start * channels);
            let logits = args.scratch.address();
            self.forward_product(x, args.head, (logits, DType::F32), rows);
            self.launch(
                "loss",
                "nll_rows",
                self.dtype,
                Grid::new(rows, row_threads(padded)),
                args![
                    args.scratch,
                    Arg::pointer(args.targets.at(start)),
                    Arg::pointer(args.weights.at(start)),
                    Arg::pointer(args.nll.at(start)),
                    gradients.map(|gradients| gradients.scratch),
                    args.vocab,
                    padded,
                    args.softcap.unwrap_or(0.0),
                ],
            );
            if let Some(gradients) = gradients {
                let dlogits = gradients.scratch.address();
                let dx = gradients.dx.at(start * channels);
                self.input_product(dlogits, gradients.head, dx, rows, false);
                let accumulate = gradients.accumulate_head || start > 0;
                let dhead = gradients.dhead.address();
                self.weight_product((dlogits, padded), (x, channels), dhead, rows, accumulate);
            }
        }
        self.launch(
            "loss",
            "nll_total",
            self.dtype,
            Grid::new(1, 1024),
            args![args.nll, args.weights, args.loss, args.rows],
        );
    }

    pub(super) fn plain_logits(
        &self,
        x: Buffer,
        head: Weight,
        vocab: usize,
        softcap: Option<f32>,
        logits: Buffer,
        rows: usize,
    ) {
        // The padding is at the end of the head, and left out.
        let head = Weight {
            out_features: vocab,
            ..head
        };
        self.forward_product(x.address(), head, (logits.address(), DType::F32), rows);
        if let Some(cap) = softcap {
            let grid = Grid::elementwise(logits.len);
            self.launch("loss", "soft_cap", self.dtype, grid, args![logits, cap, logits.len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::chunk_rows;

    #[test]
    fn chunks_fit_the_card() {
        assert_eq!(chunk_rows(65_536, 32_768, 80 << 30), 4096);
        assert_eq!(chunk_rows(65_536, 32_768, 24 << 30), 1536);
        assert_eq!(chunk_rows(65_536, 131_072, 8 << 30), 512);
        assert_eq!(chunk_rows(4133, 300, 80 << 30), 2176);
        assert_eq!(chunk_rows(1, 50_304, 80 << 30), 128);
    }
}
