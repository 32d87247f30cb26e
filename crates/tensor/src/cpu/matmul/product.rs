//! One product with its kernel chosen, and how it is cut into tiles; `advance` computes them.
//!
//! Must never know which worker computes which tile.

use std::ops::Range;

use super::blocking::{Cut, FEW_ROWS, cut, few_rows_tile, symmetric_tile, tile_shape};
use super::epilogue::Output;
use super::kernel::{Format, Kernel};
use super::micros::in_place;
use super::pack::Encoding;
use super::{MatrixRef, Precision, Rhs, TileScratch, prepare};
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
}
