//! How a product is cut up: a pure function of its shape and kernel, never of
//! the number of threads.
//!
//! An element of the product is the sum over blocks of k of chains of fused
//! multiply-adds in rising k. Only [`k_block`] decides where chains end, and it sees
//! nothing but k: so a row of the product has the same bits whichever other
//! rows, columns, tiles and threads there are.

use super::kernel::{A_STRIDE, Kernel};

/// The longest block of k of any kernel, in units (an f32, or a pair of bf16). A panel of A stays in the nearest cache while
/// those of B come from the next; the inner width of small models is one block, whose sums need no second visit.
pub(super) const MAX_K: usize = 384;
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
/// A product of at most so many rows costs the time to read B more than that to multiply, ...
pub(super) const FEW_ROWS: usize = 64;
/// ... so its tiles have so many units of B (128 KiB: some microseconds), and a share more for each row that they have to copy.
const FEW_ROWS_TILE: usize = 1 << 15;

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
///
/// Where both operands have to be packed, tiles are as long as can be in the shorter direction of C: then only that operand
/// is shared, and each tile packs its part of the larger one in its own worker's cache. Where only B has to be, tiles are as high
/// as can be, so that few pack the same.
pub(super) fn tile_shape(
    m: usize,
    n: usize,
    units: usize,
    kernel: &Kernel,
    (packs_a, packs_b): (bool, bool),
) -> (usize, usize) {
    let mut rows = even(m, MAX_ROWS / kernel.mr * kernel.mr, kernel.mr);
    let mut cols = even(n, MAX_COLS, kernel.nr);
    while m.div_ceil(rows) * n.div_ceil(cols) < ENOUGH_TILES && rows.min(m) * cols.min(n) * units > SMALL_TILE {
        let rows_first = match (packs_a, packs_b) {
            (true, true) => m >= n,
            (false, true) => false,
            _ => rows > cols,
        };
        if rows_first && rows > kernel.mr {
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

/// Rows and columns of the tiles of a product of at most [`FEW_ROWS`] rows, which each tile copies or not.
pub(super) fn few_rows_tile(m: usize, n: usize, units: usize, kernel: &Kernel, copies: bool) -> (usize, usize) {
    let shares = if copies { 1 + m / 8 } else { 1 };
    let most = FEW_ROWS_TILE * shares / units.max(1);
    let rows = even(m, MAX_ROWS / kernel.mr * kernel.mr, kernel.mr);
    (rows, even(n, most.clamp(kernel.nr, MAX_COLS), kernel.nr))
}

/// Rows and columns of the tiles of a symmetric product: where one is as high as C, narrow strips, of which each packs its
/// columns once; else squares, at least four in a column, so that few reach above the diagonal.
pub(super) fn symmetric_tile(m: usize, kernel: &Kernel) -> (usize, usize) {
    // A multiple of the height and width of every microkernel.
    const STEP: usize = 96;
    const STRIPS: usize = 12;
    let rows = m.next_multiple_of(kernel.mr);
    if rows <= MAX_ROWS {
        return (rows.max(kernel.mr), even(m, m.div_ceil(STRIPS).max(1), kernel.nr));
    }
    let side = even(m.div_ceil(4), MAX_COLS, STEP).min(MAX_COLS);
    (side, side)
}

/// Units of a slab of packed operands. Two of them are read while they are written and should stay in the caches.
const SLAB: usize = 1 << 19;
/// Memory for one slab: a block of as many lines as a region can have.
pub(super) const MAX_SLAB: usize = 1 << 21;
/// Sums that can wait between slabs.
pub(super) const MAX_SUMS: usize = 1 << 22;
/// Lines that one task packs: a multiple of the width of every panel.
pub(super) const PACK_LINES: usize = 192;
/// Multiply-adds of a product from which on a barrier costs less than it saves.
const SHARING_PAYS: usize = 1 << 26;

/// How a product is cut up whose operands are packed by all workers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Rows and columns of a tile.
    pub(super) tile: (usize, usize),
    /// Rows and columns of a region, in whole tiles: what is computed at a time.
    pub(super) region: (usize, usize),
    /// Units of a block of k.
    pub(super) block: usize,
    /// Units of a slab, in whole blocks.
    pub(super) slab: usize,
    /// Whether A and B are packed together.
    pub(super) shares: (bool, bool),
}

/// Cuts up a product in tiles of which A and B can be shared as `can_share` says; none if no tile would gain.
pub(super) fn cut(
    (m, n): (usize, usize),
    units: usize,
    kernel: &Kernel,
    tile: (usize, usize),
    can_share: (bool, bool),
) -> Option<Cut> {
    let shares = (can_share.0 && n > tile.1, can_share.1 && m > tile.0);
    if !(shares.0 || shares.1) || m.saturating_mul(n).saturating_mul(units) < SHARING_PAYS {
        return None;
    }
    let block = k_block(units, kernel);
    let mut region = (m.next_multiple_of(tile.0), n.next_multiple_of(tile.1));
    loop {
        // A takes most when it is packed by rows.
        let of_a = if shares.0 { region.0 * A_STRIDE } else { 0 };
        let of_b = if shares.1 { region.1 * block } else { 0 };
        let slab = (SLAB / (of_a + of_b)).max(1) * block;
        if of_a + of_b <= MAX_SLAB && (slab >= units || region.0 * region.1 <= MAX_SUMS) {
            return Some(Cut {
                tile,
                region,
                block,
                slab,
                shares,
            });
        }
        if region.0 > tile.0 && (region.0 >= region.1 || region.1 == tile.1) {
            region.0 = (region.0 / 2).next_multiple_of(tile.0);
        } else {
            region.1 = (region.1 / 2).next_multiple_of(tile.1);
        }
    }
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
                let fits = |(rows, cols): (usize, usize)| {
                    assert!(rows.is_multiple_of(kernel.mr) && (1..=MAX_ROWS).contains(&rows));
                    assert!(cols.is_multiple_of(kernel.nr) && (1..=MAX_COLS).contains(&cols));
                };
                for m in (0..=500).chain([1000, 16384]) {
                    fits(symmetric_tile(m, kernel));
                }
                for m in 0..=FEW_ROWS {
                    fits(few_rows_tile(m, 1536, 384, kernel, false));
                    fits(few_rows_tile(m, 33, 8192, kernel, true));
                }
                for m in [1, 3, 5, 64, 167, 169, 384, 1000, 16384] {
                    for n in [1, 31, 33, 384, 1536, 32768] {
                        for units in [1, 64, 384, 8192] {
                            for packs in [(false, false), (false, true), (true, false), (true, true)] {
                                fits(tile_shape(m, n, units, kernel, packs));
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn slabs_and_their_sums_fit_the_shared_memory() {
        for isa in Isa::supported() {
            for format in [kernel::Format::F32, kernel::Format::Bf16Pairs] {
                let Some(kernel) = kernel::find(isa, format) else {
                    continue;
                };
                assert!(PACK_LINES.is_multiple_of(kernel.mr) && PACK_LINES.is_multiple_of(kernel.nr));
                for m in [1, 384, 385, 1536, 4096, 32768, 65536] {
                    for n in [1, 384, 1536, 9000, 32768, 65536] {
                        for units in [1, 192, 256, 2000, 8192, 100_000] {
                            for can_share in [(true, true), (true, false), (false, true), (false, false)] {
                                let tile = tile_shape(m, n, units, kernel, can_share);
                                let Some(cut) = cut((m, n), units, kernel, tile, can_share) else {
                                    continue;
                                };
                                assert!(cut.region.0.is_multiple_of(cut.tile.0) && cut.region.0 > 0);
                                assert!(cut.region.1.is_multiple_of(cut.tile.1) && cut.region.1 > 0);
                                assert!(cut.slab.is_multiple_of(cut.block) && cut.slab > 0);
                                let by_rows = cut.region.0 * cut.slab.div_ceil(cut.block) * A_STRIDE;
                                let a = if cut.shares.0 {
                                    by_rows.max(cut.region.0 * cut.slab)
                                } else {
                                    0
                                };
                                let b = if cut.shares.1 { cut.region.1 * cut.slab } else { 0 };
                                assert!(a + b <= MAX_SLAB, "{m} {n} {units} {cut:?}");
                                assert!(units <= cut.slab || cut.region.0 * cut.region.1 <= MAX_SUMS);
                            }
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
