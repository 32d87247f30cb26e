//! How a tile of a product is computed: block by block of k, and in a block band by band of rows.
//!
//! Must never know which tile it is, nor who computes it.

use std::ops::Range;

use super::blocking::k_block;
use super::epilogue::Output;
use super::kernel::{A_STRIDE, Session, Sums};
use super::pack::{Encoding, pack_panels, pack_rows};
use super::panels::{Left, Lines, Panels};
use super::product::Product;
use super::slabs::Slab;
use super::symmetric::SIDE;
use super::{Rhs, panel_stride, single};

/// A block of k for a tile of C.
struct Block<'t> {
    rows: &'t Range<usize>,
    cols: &'t Range<usize>,
    /// From one row of sums to the next.
    stride: usize,
    /// Its first unit, and how many there are.
    start: usize,
    count: usize,
    /// The same in elements.
    ks: Range<usize>,
    /// Whether sums are finished with it.
    last: bool,
}

/// Where bands of A come from.
enum Source<'b> {
    /// All of them are packed.
    Packed(&'b [u32]),
    /// From the tile's first row and the block's first unit on, with rows so many units apart.
    InPlace(&'b [u32], usize),
    /// Each is packed when its turn has come, here.
    Bands(&'b mut [u32]),
}

/// Rows of whole bands that fill whole squares.
fn squares(mr: usize) -> usize {
    mr * (1..=SIDE).find(|i| (i * mr).is_multiple_of(SIDE)).unwrap_or(1)
}

impl Product<'_> {
    /// Adds the blocks of k in `units` to the sums `acc` of a tile: the first block overwrites them, and with the last
    /// one they go to the output. Operands that are in `slab` need not be packed into `blocks`.
    ///
    /// # Safety
    /// As [`Product::tile`].
    pub(super) unsafe fn advance(
        &self,
        rows: &Range<usize>,
        cols: &Range<usize>,
        units: Range<usize>,
        slab: Option<Slab<'_>>,
        (a_block, b_block): (&mut [u32], &mut [u32]),
        acc: &mut [f32],
    ) {
        if self.is_symmetric() && cols.start >= rows.end {
            return;
        }
        let (all, kernel) = (self.units(), self.kernel);
        let stride = cols.len().next_multiple_of(kernel.nr);
        let acc = &mut acc[..rows.len() * stride];
        if all == 0 {
            acc.fill(0.0);
            // SAFETY: the caller's promise.
            return unsafe { self.output.take(self.isa, rows.clone(), cols.clone(), acc, stride) };
        }
        let (length, k_per_unit) = (k_block(all, kernel), self.format().k_per_unit());
        let mut session = Session::new(kernel);
        for start in units.clone().step_by(length) {
            let count = length.min(units.end - start);
            let block = Block {
                rows,
                cols,
                stride,
                start,
                count,
                ks: start * k_per_unit..self.k.min((start + count) * k_per_unit),
                last: start + count == all,
            };
            // SAFETY: the caller's promise.
            unsafe {
                if !self.advance_single(&block, a_block, acc) {
                    let b = self.right(&block, slab, b_block);
                    let mut a = self.left(&block, slab, a_block);
                    self.advance_bands(&block, &mut a, b, &mut session, acc);
                }
            }
        }
    }

    fn is_symmetric(&self) -> bool {
        matches!(self.output, Output::Symmetric(..))
    }

    /// Does it if there is a single row and B can be read where it lies; else it does nothing and says so.
    ///
    /// # Safety
    /// As [`Product::tile`].
    unsafe fn advance_single(&self, block: &Block<'_>, a: &mut [u32], acc: &mut [f32]) -> bool {
        let (Rhs::Plain(b), Encoding::Wide, 1) = (&self.b, self.encoding, block.rows.len()) else {
            return false;
        };
        if !single::takes(b) {
            return false;
        }
        let (rows, cols) = (block.rows.clone(), block.cols.clone());
        pack_rows(self.isa, self.encoding, self.a.part(rows.clone(), block.ks.clone()), a);
        let b = b.part(block.ks.clone(), cols.clone());
        single::multiply(self.isa, &a[..block.count], b, acc, block.start > 0);
        if block.last {
            // SAFETY: the caller's promise.
            unsafe { self.output.take(self.isa, rows, cols, acc, block.stride) };
        }
        true
    }

    /// The panels of B, and how far they are apart: packed beforehand, in the slab, or now.
    fn right<'b>(&'b self, block: &Block<'_>, slab: Option<Slab<'b>>, room: &'b mut [u32]) -> (&'b [u32], usize) {
        let &Block { start, count, cols, .. } = block;
        let nr = self.kernel.nr;
        match &self.b {
            Rhs::Packed(packed) => {
                let stride = panel_stride(self.units() * nr);
                let panel = &packed.units[cols.start / nr * stride..];
                (&panel[start * nr..], stride)
            }
            Rhs::Plain(b) => {
                let shared = slab.and_then(|slab| slab.b(start, count, cols.start));
                let panels = shared.unwrap_or_else(|| {
                    let dst = &mut room[..block.stride * count];
                    let columns = b.part(block.ks.clone(), cols.clone()).t();
                    pack_panels(self.isa, self.encoding, columns, nr, dst);
                    dst
                });
                (panels, count * nr)
            }
        }
    }

    /// Where bands of A come from. Contiguous rows are read where they lie or packed a band at a time, just before they are
    /// multiplied: so they are in the nearest cache, and B has the next one to itself. Rows that lie side by side share lines
    /// of memory with other bands.
    fn left<'b>(&'b self, block: &Block<'_>, slab: Option<Slab<'b>>, room: &'b mut [u32]) -> Source<'b> {
        let &Block { start, count, rows, .. } = block;
        if let Some(shared) = slab.and_then(|slab| slab.a(start, count, rows.start)) {
            Source::Packed(shared)
        } else if self.a.rows_side_by_side() {
            self.pack_a(rows.clone(), block.ks.clone(), count, room);
            Source::Packed(room)
        } else if let Some((a, row)) = self.in_place() {
            Source::InPlace(&a[rows.start * row + start..], row)
        } else {
            Source::Bands(room)
        }
    }

    /// Multiplies band by band, and gives those that are finished to the output while they are in the nearest cache.
    ///
    /// # Safety
    /// As [`Product::tile`].
    unsafe fn advance_bands(
        &self,
        block: &Block<'_>,
        a: &mut Source<'_>,
        (b, panel_stride): (&[u32], usize),
        session: &mut Session,
        acc: &mut [f32],
    ) {
        let &Block {
            rows,
            cols,
            stride,
            count,
            last,
            ..
        } = block;
        let (kernel, only) = (self.kernel, block.start == 0 && last);
        let whole = stride == cols.len();
        // Rows that the output takes at a time.
        let together = if self.is_symmetric() {
            squares(kernel.mr)
        } else {
            kernel.mr
        };
        for top in (0..rows.len()).step_by(kernel.mr) {
            let band = top..rows.len().min(top + kernel.mr);
            let in_c = rows.start + band.start..rows.start + band.end;
            // Of a symmetric product only what reaches below the diagonal is wanted.
            let width = if self.is_symmetric() {
                stride.min(in_c.end.saturating_sub(cols.start).next_multiple_of(kernel.nr))
            } else {
                stride
            };
            if width == 0 {
                continue;
            }
            // Sums of a single block go to the output at once: all bands use the same memory, which stays in the nearest cache.
            let group = top / together * together;
            let base = if only { group } else { 0 };
            let direct = (only && whole).then(|| self.output.direct(&in_c, cols, kernel.tiles.is_some()));
            let rounded = (last && whole && self.rounds()).then(|| self.output.rounded(&in_c, cols));
            let (direct, rounded) = (direct.flatten(), rounded.flatten());
            let stored = direct.is_some() || rounded.is_some();
            if last && !stored {
                self.output.expect(&in_c, cols);
            }
            let sums = Sums {
                first: acc[(top - base) * stride..(band.end - base) * stride].as_mut_ptr(),
                stride,
                add: block.start > 0,
            };
            let (a, ahead) = self.band(block, a, &band);
            let panels = Panels {
                a,
                b,
                panel_stride,
                count,
                ahead,
            };
            // SAFETY: `Product::new` checked the level; the sums have these rows of `stride`, and that part of C is the caller's.
            unsafe {
                panels.multiply(session, kernel, (band.len(), width), direct.unwrap_or(sums), rounded);
                if last && !stored && (band.end.is_multiple_of(together) || band.end == rows.len()) {
                    let sums = &mut acc[(group - base) * stride..(band.end - base) * stride];
                    let rows = rows.start + group..in_c.end;
                    self.output.take(self.isa, rows, cols.clone(), sums, stride);
                }
            }
        }
    }

    /// A band of A, and the memory in which the next one has to be looked for.
    fn band<'b>(&self, block: &Block<'_>, source: &'b mut Source<'_>, band: &Range<usize>) -> (Left<'b>, Lines) {
        let &Block { rows, count, .. } = block;
        let packed = |units: &'b [u32], top: usize| {
            if self.a_by_k() {
                Left::ByK(&units[top * count..])
            } else {
                Left::ByRows(&units[top * A_STRIDE..])
            }
        };
        let left = match source {
            Source::Packed(units) => return (packed(units, band.start), Lines::NONE),
            Source::InPlace(units, row) => Left::InPlace(&units[band.start * *row..], *row),
            Source::Bands(room) => {
                let rows = rows.start + band.start..rows.start + band.end;
                self.pack_a(rows, block.ks.clone(), count, room);
                packed(room, 0)
            }
        };
        let next = rows.start + band.end..rows.end.min(rows.start + band.end + self.kernel.mr);
        (left, Lines::of(&self.a.part(next, block.ks.clone())))
    }

    /// Packs the rows of A in one block of k.
    fn pack_a(&self, rows: Range<usize>, ks: Range<usize>, count: usize, dst: &mut [u32]) {
        let (len, mr) = (rows.len(), self.kernel.mr);
        let a = self.a.part(rows, ks);
        if self.a_by_k() {
            let dst = &mut dst[..len.next_multiple_of(mr) * count];
            pack_panels(self.isa, self.encoding, a, mr, dst);
        } else {
            pack_rows(self.isa, self.encoding, a, dst);
        }
    }
}
