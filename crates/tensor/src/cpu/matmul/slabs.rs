//! Products whose operands many tiles need: slab by slab of k, all workers pack the operands together, each panel
//! once, and multiply. Alone, every tile would pack its own, which cost weight gradients a third of their time.
//!
//! Packing the next slab is part of the job that multiplies the last one, so there is one barrier per
//! slab. Sums wait between slabs in memory of a fixed size: a large C is computed region by region.
//!
//! Changes no bits: a tile adds up the same blocks of k in the same order. Must never know kernels.

use std::ops::Range;

use super::Rhs;
use super::blocking::{Cut, MAX_SLAB, MAX_SUMS, PACK_LINES};
use super::kernel::A_STRIDE;
use super::pack::{pack_panels, pack_rows};
use super::product::Product;
use super::scratch::Aligned;
use super::turns::Turns;
use super::view::{MatrixRef, ViewMut};
use crate::cpu::pool::Pool;

/// What all workers share while a matrix product is computed.
pub(crate) struct SharedScratch {
    /// Two slabs of packed operands: one is multiplied while the other is packed.
    slabs: [Aligned<u32>; 2],
    /// Tiles of C between slabs.
    sums: Aligned<f32>,
}

impl SharedScratch {
    /// Allocates all of it; pages that are never touched cost nothing.
    pub(crate) fn new() -> Self {
        Self {
            slabs: [Aligned::new(MAX_SLAB), Aligned::new(MAX_SLAB)],
            sums: Aligned::new(MAX_SUMS),
        }
    }
}

/// One operand in a slab.
#[derive(Clone, Copy)]
pub(super) struct Side {
    /// Its place in the slab.
    start: usize,
    /// The lines of the region, and how many there are with padding.
    lines: (usize, usize),
    /// Whether it is packed as `[block][line][A_STRIDE]` instead of `[block][panel][unit][width]`.
    by_rows: bool,
    /// Width of its panels.
    width: usize,
}

impl Side {
    fn new(start: usize, lines: Range<usize>, width: usize, by_rows: bool) -> Self {
        Self {
            start,
            lines: (lines.start, lines.len().next_multiple_of(width)),
            by_rows,
            width,
        }
    }

    /// What it takes in a slab of `units`, in blocks of `block`.
    fn len(&self, units: usize, block: usize) -> usize {
        self.lines.1
            * if self.by_rows {
                units.div_ceil(block) * A_STRIDE
            } else {
                units
            }
    }

    /// Where lines from `line` on stand in the block of `count` units that follows `units` others.
    fn place(&self, units: usize, count: usize, block: usize, line: usize) -> usize {
        let line = line - self.lines.0;
        self.start
            + if self.by_rows {
                (units / block * self.lines.1 + line) * A_STRIDE
            } else {
                units * self.lines.1 + line * count
            }
    }
}

/// A slab with the operands that it holds.
#[derive(Clone, Copy)]
pub(super) struct Slab<'s> {
    data: &'s [u32],
    a: Option<Side>,
    b: Option<Side>,
    /// Its units of k.
    units: (usize, usize),
    block: usize,
}

impl<'s> Slab<'s> {
    /// A's rows from `line` on in the block that begins at unit `start`.
    pub(super) fn a(&self, start: usize, count: usize, line: usize) -> Option<&'s [u32]> {
        let side = self.a?;
        Some(&self.data[side.place(start - self.units.0, count, self.block, line)..])
    }

    /// B's panels from column `line` on, likewise.
    pub(super) fn b(&self, start: usize, count: usize, line: usize) -> Option<&'s [u32]> {
        let side = self.b?;
        Some(&self.data[side.place(start - self.units.0, count, self.block, line)..])
    }
}

/// One region of C.
struct Region<'p, 'm> {
    product: &'p Product<'m>,
    cut: Cut,
    rows: Range<usize>,
    cols: Range<usize>,
    a: Option<Side>,
    b: Option<Side>,
}

/// Computes the product region by region, as `cut` says.
pub(super) fn multiply(pool: &Pool, product: &Product<'_>, cut: Cut) {
    let mut shared = pool.shared();
    let SharedScratch { slabs, sums } = &mut *shared;
    let [mut packed, mut next] = slabs.each_mut().map(|slab| &mut slab[..]);
    for top in (0..product.m).step_by(cut.region.0) {
        for left in (0..product.n).step_by(cut.region.1) {
            let rows = top..product.m.min(top + cut.region.0);
            let cols = left..product.n.min(left + cut.region.1);
            let region = Region::new(product, cut, rows, cols);
            let slabs = product.units().div_ceil(cut.slab);
            for slab in 0..=slabs {
                region.step(
                    pool,
                    slab.checked_sub(1),
                    packed,
                    (slab < slabs).then_some(slab),
                    next,
                    sums,
                );
                std::mem::swap(&mut packed, &mut next);
            }
        }
    }
}

impl<'p, 'm> Region<'p, 'm> {
    fn new(product: &'p Product<'m>, cut: Cut, rows: Range<usize>, cols: Range<usize>) -> Self {
        let by_rows = !product.a_by_k();
        let a = cut
            .shares
            .0
            .then(|| Side::new(0, rows.clone(), product.kernel.mr, by_rows));
        let start = a.map_or(0, |a| a.len(cut.slab, cut.block));
        let b = cut
            .shares
            .1
            .then(|| Side::new(start, cols.clone(), product.kernel.nr, false));
        Self {
            product,
            cut,
            rows,
            cols,
            a,
            b,
        }
    }

    /// Units of k of a slab.
    fn units(&self, slab: usize) -> Range<usize> {
        slab * self.cut.slab..self.product.units().min((slab + 1) * self.cut.slab)
    }

    /// Multiplies slab `now` and packs slab `next`.
    fn step(
        &self,
        pool: &Pool,
        now: Option<usize>,
        packed: &[u32],
        next: Option<usize>,
        free: &mut [u32],
        sums: &mut [f32],
    ) {
        let (high, wide) = self.cut.tile;
        let across = self.cols.len().div_ceil(wide);
        let tiles = now.map_or(0, |_| self.rows.len().div_ceil(high) * across);
        let packs_a = next.map_or(0, |slab| self.packs(self.a, self.units(slab)));
        let packs_b = next.map_or(0, |slab| self.packs(self.b, self.units(slab)));
        let free = ViewMut::row_major(free, 1, MAX_SLAB);
        let sums = ViewMut::row_major(sums, 1, MAX_SUMS);
        let turns = Turns::new(pool.threads(), tiles, packs_a + packs_b);
        pool.run_with_worker(tiles + packs_a + packs_b, &|_, worker| {
            let task = turns.take(worker);
            if let (Some(slab), true) = (now, task < tiles) {
                let top = self.rows.start + task / across * high;
                let left = self.cols.start + task % across * wide;
                let rows = top..self.rows.end.min(top + high);
                let cols = left..self.cols.end.min(left + wide);
                let units = self.units(slab);
                let slab = Slab {
                    data: packed,
                    a: self.a,
                    b: self.b,
                    units: (units.start, units.end),
                    block: self.cut.block,
                };
                let scratch = &mut pool.scratch(worker).tiles;
                let size = high * wide;
                // SAFETY: each tile, and each tile's sums, is one task's.
                unsafe {
                    let own = if units.len() < self.product.units() {
                        sums.row_part(0, task * size..(task + 1) * size)
                    } else {
                        &mut scratch.acc[..]
                    };
                    let blocks = (&mut scratch.a[..], &mut scratch.b[..]);
                    self.product.advance(&rows, &cols, units, Some(slab), blocks, own);
                }
            } else if let Some(slab) = next {
                let units = self.units(slab);
                // SAFETY: each panel is one task's.
                unsafe {
                    match (self.a, self.b, &self.product.b) {
                        (Some(side), _, _) if task < tiles + packs_a => {
                            self.pack(side, self.product.a, units, task - tiles, &free);
                        }
                        (_, Some(side), Rhs::Plain(b)) => {
                            self.pack(side, b.t(), units, task - tiles - packs_a, &free);
                        }
                        _ => unreachable!("only operands that are shared are packed"),
                    }
                }
            }
        });
    }

    /// How many tasks pack an operand.
    fn packs(&self, side: Option<Side>, units: Range<usize>) -> usize {
        let chunks = |side: Side| side.lines.1.div_ceil(PACK_LINES);
        side.map_or(0, |side| chunks(side) * units.len().div_ceil(self.cut.block))
    }

    /// Packs some lines of one block.
    ///
    /// # Safety
    /// Nobody else may touch those panels meanwhile.
    unsafe fn pack(&self, side: Side, lines: MatrixRef<'_>, slab: Range<usize>, task: usize, dst: &ViewMut<'_, u32>) {
        let Product { isa, encoding, k, .. } = *self.product;
        let block = self.cut.block;
        let chunks = side.lines.1.div_ceil(PACK_LINES);
        let (start, first) = (slab.start + task / chunks * block, task % chunks * PACK_LINES);
        let count = block.min(slab.end - start);
        let k_per_unit = encoding.format().k_per_unit();
        let ks = start * k_per_unit..k.min((start + count) * k_per_unit);
        let first = side.lines.0 + first;
        let end = lines.shape().0.min(side.lines.0 + side.lines.1).min(first + PACK_LINES);
        let padded = (end - first).next_multiple_of(side.width);
        let place = |line| side.place(start - slab.start, count, block, line);
        // SAFETY: the caller's promise.
        let dst = unsafe { dst.row_part(0, place(first)..place(first + padded)) };
        let lines = lines.part(first..end, ks);
        if side.by_rows {
            pack_rows(isa, encoding, lines, dst);
        } else {
            pack_panels(isa, encoding, lines, side.width, dst);
        }
    }
}
