//! One product with its kernel chosen, and how a tile of it is computed.
//!
//! Must never know which worker computes which tile.

use std::ops::Range;

use super::blocking::{Cut, FEW_ROWS, cut, few_rows_tile, k_block, symmetric_tile, tile_shape};
use super::epilogue::Output;
use super::kernel::{A_STRIDE, Format, Kernel, Session, Sums};
use super::micros::in_place;
use super::pack::{Encoding, pack_panels, pack_rows};
use super::panels::{Left, Lines, Panels};
use super::slabs::Slab;
use super::symmetric::SIDE;
use super::{MatrixRef, Precision, Rhs, TileScratch, panel_stride, prepare, single};
use crate::cpu::isa::Isa;

/// A product with its kernel chosen.
pub(super) struct Product<'a> {
    pub(super) isa: Isa,
    pub(super) kernel: &'static Kernel,
    pub(super) encoding: Encoding,
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) a: MatrixRef<'a>,
    pub(super) b: Rhs<'a>,
    pub(super) output: Output<'a>,
}

impl<'a> Product<'a> {
    pub(super) fn new(isa: Isa, a: MatrixRef<'a>, b: Rhs<'a>, output: Output<'a>) -> Self {
        assert!(isa.is_supported(), "this CPU lacks {}", isa.name());
        let ((b_rows, n), precision) = match (&a, &b) {
            (_, Rhs::Packed(packed)) => {
                assert!(packed.isa == isa, "B was packed for another kernel level");
                ((packed.k, packed.n), packed.precision)
            }
            // Widened bf16 needs no rounding, so it is f32 to a level without bf16.
            (MatrixRef::Bf16(_), Rhs::Plain(b @ MatrixRef::Bf16(_))) if isa.has_bf16_dot() => {
                (b.shape(), Precision::Bf16)
            }
            (_, Rhs::Plain(b)) => (b.shape(), Precision::F32),
        };
        let (m, k) = a.shape();
        assert_eq!(k, b_rows, "columns of A and rows of B");
        if let Output::Matrix(c, _) | Output::Symmetric(c, _) = &output {
            assert_eq!((m, n), c.shape(), "shape of C");
        }
        let (encoding, kernel) = prepare(precision, isa);
        Self {
            isa,
            kernel,
            encoding,
            m,
            n,
            k,
            a,
            b,
            output,
        }
    }

    pub(super) fn format(&self) -> Format {
        self.encoding.format()
    }

    /// Units of k.
    pub(super) fn units(&self) -> usize {
        self.format().units(self.k)
    }

    /// Whether A is packed as `[panel][unit][mr]` rather than by rows: its rows lie side by side.
    pub(super) fn a_by_k(&self) -> bool {
        self.a.rows_side_by_side() && !self.kernel.by_k.is_empty()
    }

    /// A as units where it lies and how many of them its rows are apart, if the microkernels can read it so.
    pub(super) fn in_place(&self) -> Option<(&[u32], usize)> {
        in_place(self.kernel, self.encoding, &self.a)
    }

    /// Whether the microkernels round finished sums to a bf16 C.
    pub(super) fn rounds(&self) -> bool {
        self.format() == Format::Bf16Pairs && !self.kernel.strided.is_empty() && !self.a_by_k()
    }

    /// How it is cut up if its tiles gain by sharing operands: those that cost something to pack.
    pub(super) fn cut(&self) -> Option<Cut> {
        cut(
            (self.m, self.n),
            self.units(),
            self.kernel,
            self.tile_shape(),
            self.packs(),
        )
    }

    /// Whether A, and B, costs something to pack.
    fn packs(&self) -> (bool, bool) {
        (self.a.rows_side_by_side(), matches!(self.b, Rhs::Plain(_)))
    }

    /// Rows and columns of its tiles.
    pub(super) fn tile_shape(&self) -> (usize, usize) {
        let (m, n, units, kernel) = (self.m, self.n, self.units(), self.kernel);
        match self.output {
            Output::Symmetric(..) => symmetric_tile(m, kernel),
            _ if m <= FEW_ROWS => few_rows_tile(m, n, units, kernel, !self.few_in_place()),
            _ => tile_shape(m, n, units, kernel, self.packs()),
        }
    }

    /// How many tiles there are.
    pub(super) fn tiles(&self) -> usize {
        let (rows, cols) = self.tile_shape();
        self.m.div_ceil(rows) * self.n.div_ceil(cols)
    }

    /// Computes a tile by its number: row by row of tiles.
    ///
    /// # Safety
    /// Nobody else may compute it meanwhile, nor touch C.
    pub(super) unsafe fn tile_of(&self, number: usize, scratch: &mut TileScratch) {
        let (rows, cols) = self.tile_shape();
        let across = self.n.div_ceil(cols);
        let (top, left) = (number / across * rows, number % across * cols);
        // SAFETY: the caller's promise; tiles are disjoint.
        unsafe { self.tile(top..self.m.min(top + rows), left..self.n.min(left + cols), scratch) };
    }

    /// Computes one tile of C. `cols` begins at a panel of B, and the tile has at
    /// most `MAX_ROWS` × `MAX_COLS`.
    ///
    /// # Safety
    /// Nobody else may touch that part of C meanwhile.
    pub(super) unsafe fn tile(&self, rows: Range<usize>, cols: Range<usize>, scratch: &mut TileScratch) {
        let TileScratch { a, b, acc } = scratch;
        // SAFETY: the caller's promise.
        unsafe {
            if !self.multiply_few(&rows, &cols, a, acc) {
                self.advance(&rows, &cols, 0..self.units(), None, (a, b), acc);
            }
        }
    }

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
        if let Output::Symmetric(..) = self.output
            && cols.start >= rows.end
        {
            return;
        }
        let Self {
            isa, kernel, encoding, ..
        } = *self;
        let (all, nr) = (self.units(), kernel.nr);
        let stride = cols.len().next_multiple_of(nr);
        let acc = &mut acc[..rows.len() * stride];
        // SAFETY: the caller's promise.
        let finish = |rows, sums: &mut [f32]| unsafe { self.output.take(isa, rows, cols.clone(), sums, stride) };
        if all == 0 {
            acc.fill(0.0);
            return finish(rows.clone(), acc);
        }
        let (block, in_place) = (k_block(all, kernel), self.in_place());
        let mut session = Session::new(kernel);
        // Symmetric products are stored in squares.
        let together = match self.output {
            Output::Symmetric(..) => kernel.mr * (1..=SIDE).find(|i| (i * kernel.mr).is_multiple_of(SIDE)).unwrap_or(1),
            _ => kernel.mr,
        };
        for start in units.clone().step_by(block) {
            let count = block.min(units.end - start);
            let last = start + count == all;
            let k_per_unit = self.format().k_per_unit();
            let ks = start * k_per_unit..self.k.min((start + count) * k_per_unit);

            if let (Rhs::Plain(b), Encoding::Wide, 1) = (&self.b, encoding, rows.len())
                && single::takes(b)
            {
                pack_rows(isa, encoding, self.a.part(rows.clone(), ks.clone()), a_block);
                let b = b.part(ks, cols.clone());
                single::multiply(isa, &a_block[..count], b, acc, start > 0);
                if last {
                    finish(rows.clone(), acc);
                }
                continue;
            }
            let (b, panel_stride) = match &self.b {
                Rhs::Packed(packed) => {
                    let stride = panel_stride(all * nr);
                    let panel = &packed.units[cols.start / nr * stride..];
                    (&panel[start * nr..], stride)
                }
                Rhs::Plain(b) => {
                    if let Some(b) = slab.and_then(|slab| slab.b(start, count, cols.start)) {
                        (b, count * nr)
                    } else {
                        let dst = &mut b_block[..stride * count];
                        pack_panels(isa, encoding, b.part(ks.clone(), cols.clone()).t(), nr, dst);
                        (&*dst, count * nr)
                    }
                }
            };
            let shared = slab.and_then(|slab| slab.a(start, count, rows.start));
            // Contiguous rows are read where they lie or packed a band at a time, just before they are multiplied: so they are in
            // the nearest cache, and B has the next one to itself. Rows that lie side by side share lines of memory with other bands.
            let side_by_side = self.a.rows_side_by_side();
            if shared.is_none() && side_by_side {
                self.pack_a(rows.clone(), ks.clone(), count, a_block);
            }
            for top in (0..rows.len()).step_by(kernel.mr) {
                let band = top..rows.len().min(top + kernel.mr);
                let in_c = rows.start + band.start..rows.start + band.end;
                // Of a symmetric product only what reaches below the diagonal is wanted.
                let width = match self.output {
                    Output::Symmetric(..) => stride.min(in_c.end.saturating_sub(cols.start).next_multiple_of(nr)),
                    _ => stride,
                };
                if width == 0 {
                    continue;
                }
                // Sums of a single block go to the output at once: all bands use the same memory, which stays in the
                // nearest cache.
                let group = top / together * together;
                let base = if last && start == 0 { group } else { 0 };
                let sums = &mut acc[(top - base) * stride..(top - base + band.len()) * stride];
                let direct = (last && start == 0 && stride == cols.len())
                    .then(|| self.output.direct(&in_c, cols, kernel.tiles.is_some()))
                    .flatten();
                let rounded = (last && stride == cols.len() && self.rounds())
                    .then(|| self.output.rounded(&in_c, cols))
                    .flatten();
                let taken = direct.is_some() || rounded.is_some();
                if last && !taken {
                    self.output.expect(&in_c, cols);
                }
                let a = match (shared, in_place) {
                    (Some(a), _) => self.band(a, top, count),
                    (None, _) if side_by_side => self.band(a_block, top, count),
                    (None, Some((a, row))) => Left::InPlace(&a[in_c.start * row + start..], row),
                    (None, None) => {
                        self.pack_a(in_c.clone(), ks.clone(), count, a_block);
                        self.band(a_block, 0, count)
                    }
                };
                let next = in_c.end..rows.end.min(in_c.end + kernel.mr);
                let ahead = if shared.is_some() || side_by_side {
                    Lines::NONE
                } else {
                    Lines::of(&self.a.part(next, ks.clone()))
                };
                let panels = Panels {
                    a,
                    b,
                    panel_stride,
                    count,
                    ahead,
                };
                let to = direct.unwrap_or(Sums {
                    first: sums.as_mut_ptr(),
                    stride,
                    add: start > 0,
                });
                // SAFETY: `Product::new` checked the level; the sums have these rows of `stride`, and that part of C is the
                // caller's.
                unsafe { panels.multiply(&mut session, kernel, (band.len(), width), to, rounded) };
                if last && !taken && (band.end.is_multiple_of(together) || band.end == rows.len()) {
                    let sums = &mut acc[(group - base) * stride..(band.end - base) * stride];
                    finish(rows.start + group..in_c.end, sums);
                }
            }
        }
    }

    /// The panel of A from row `top` of a packed block on.
    fn band<'b>(&self, block: &'b [u32], top: usize, count: usize) -> Left<'b> {
        if self.a_by_k() {
            Left::ByK(&block[top * count..])
        } else {
            Left::ByRows(&block[top * A_STRIDE..])
        }
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
