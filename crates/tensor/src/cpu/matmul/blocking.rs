//! How a product is cut up: a pure function of its shape and kernel, never of
//! the number of threads.
//!
//! An element of the product is the sum over blocks of k of chains of fused
//! multiply-adds in rising k. Only [`k_block`] decides where chains end, and it sees
//! nothing but k: so a row of the product has the same bits whichever other
//! rows, columns, tiles and threads there are.

use super::kernel::Kernel;

/// The longest block of k of any kernel, in units (an f32, or a pair of bf16): a panel of A
/// and one of B fit the nearest caches.
pub(super) const MAX_K: usize = 256;
/// Most rows of a tile of C. A tile is large because every tile packs its own operands: with long k,
/// the traffic for that is what limits the speed.
pub(super) const MAX_ROWS: usize = 408;
/// Most columns of a tile of C; a multiple of the width of every microkernel.
pub(super) const MAX_COLS: usize = 384;

/// Tiles that a product should have at least, so that several threads find work. More make
/// each operand be packed more often: 24 cost weight gradients a fifth of their speed. ...
const ENOUGH_TILES: usize = 8;
/// ... Fewer do if a tile would cost less than this many multiply-adds (some microseconds).
const SMALL_TILE: usize = 1 << 18;
/// A tile of few rows costs the time to stream B, as if it had this many rows.
const STREAMING_ROWS: usize = 8;

/// The length of the blocks of k: equal ones, rounded up to whole vectors.
pub(super) fn k_block(units: usize, kernel: &Kernel) -> usize {
    let blocks = units.div_ceil(kernel.max_k).max(1);
    units.div_ceil(blocks).next_multiple_of(16).max(16)
}

/// Cuts `len` into equal parts of at most `most`, in multiples of `step`.
fn even(len: usize, most: usize, step: usize) -> usize {
    let parts = len.div_ceil(most).max(1);
    len.div_ceil(parts).next_multiple_of(step).max(step)
}

/// `(rows, columns)` of the tiles of C for `units` of k.
pub(super) fn tile_shape(m: usize, n: usize, units: usize, kernel: &Kernel) -> (usize, usize) {
    let mut rows = even(m, MAX_ROWS / kernel.mr * kernel.mr, kernel.mr);
    let mut cols = even(n, MAX_COLS, kernel.nr);
    while m.div_ceil(rows) * n.div_ceil(cols) < ENOUGH_TILES
        && rows.min(m).max(STREAMING_ROWS) * cols.min(n) * units > SMALL_TILE
    {
        if rows > cols && rows > kernel.mr {
            rows = even(m, rows / 2, kernel.mr);
        } else if cols > kernel.nr {
            cols = even(n, cols / 2, kernel.nr);
        } else if rows > kernel.mr {
            rows = even(m, rows / 2, kernel.mr);
        } else {
            break;
        }
    }
    (rows, cols)
}

#[cfg(test)]
mod tests {
    use super::super::kernel;
    use super::*;
    use crate::cpu::isa::Isa;

    #[test]
    fn tiles_fit_the_scratch_memory_and_the_microkernels() {
        for isa in Isa::supported() {
            for format in [kernel::Format::F32, kernel::Format::Bf16Pairs] {
                let Some(kernel) = kernel::find(isa, format) else {
                    continue;
                };
                assert!(MAX_COLS.is_multiple_of(kernel.nr) && kernel.max_k <= MAX_K);
                for m in [1, 3, 5, 64, 167, 169, 384, 1000, 16384] {
                    for n in [1, 31, 33, 384, 1536, 32768] {
                        for units in [1, 64, 384, 8192] {
                            let (rows, cols) = tile_shape(m, n, units, kernel);
                            assert!(rows.is_multiple_of(kernel.mr) && rows <= MAX_ROWS);
                            assert!(cols.is_multiple_of(kernel.nr) && cols <= MAX_COLS);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_of_k_are_even_and_bounded() {
        let kernel = kernel::find(Isa::Portable, kernel::Format::F32).unwrap();
        assert_eq!(k_block(1, kernel), 16);
        assert_eq!(k_block(256, kernel), 256);
        assert_eq!(k_block(384, kernel), 192);
        assert!((0..5000).all(|units| k_block(units, kernel) <= MAX_K));
    }
}
