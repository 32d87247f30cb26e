//! Products of small operands that the caller packs himself and uses more than once: what attention is made of.
//!
//! A left operand is rows of [`ROW`] units, cut into chunks where k is longer; a right operand is panels of
//! [`Micros::width`] columns. Both are in the units of the level (an f32, or a pair of bf16), and
//! an element of a product is the same chain of additions as in `matmul`, up to [`CHAIN`] units.
//!
//! Must never know what is multiplied, nor when.

mod band;
mod in_place;

use std::ops::Range;

use half::bf16;

pub(crate) use self::band::{Ahead, Band, Stretch, publish, stream};
pub(crate) use self::in_place::Placed;
pub(super) use self::in_place::in_place;
use super::kernel::{A_STRIDE, Kernel, Session};
use super::pack::{Encoding, pack_panels, pack_rows};
use super::transpose::{self, transpose};
use super::view::{Element, View};
use super::{MatrixRef, Precision, prepare};
use crate::cpu::elem::seen_as;
use crate::cpu::isa::Isa;

/// Units of k in a chunk of a left operand, and in a chain of additions.
pub(crate) const CHAIN: usize = 256;
/// Units from one row of a left operand to the next.
pub(crate) const ROW: usize = A_STRIDE;

/// The microkernels of a level for one element type, with the packing that they want.
#[derive(Clone, Copy)]
pub(crate) struct Micros {
    pub(crate) isa: Isa,
    encoding: Encoding,
    kernel: &'static Kernel,
}

/// A packed left operand.
#[derive(Clone, Copy)]
pub(crate) struct LeftRows<'a> {
    /// `[row][ROW]`, from the first unit on that is multiplied; of longer rows `[chunk][row][ROW]`.
    pub(crate) units: &'a [u32],
    pub(crate) rows: usize,
}

/// A packed right operand, or panels of it.
#[derive(Clone, Copy)]
pub(crate) struct RightPanels<'a> {
    /// `[panel][unit][width]`, from the first panel and unit on that are multiplied.
    pub(crate) units: &'a [u32],
    /// From one panel to the next.
    pub(crate) stride: usize,
    pub(crate) panels: usize,
    /// Units of k to multiply.
    pub(crate) count: usize,
}

impl Micros {
    /// For operands in bf16 or f32. A level without products of bf16 multiplies them as f32.
    pub(crate) fn new(isa: Isa, bf16: bool) -> Self {
        let precision = if bf16 && isa.has_bf16_dot() {
            Precision::Bf16
        } else {
            Precision::F32
        };
        let (encoding, kernel) = prepare(precision, isa);
        Self { isa, encoding, kernel }
    }

    /// Whether a unit is a pair of bf16.
    pub(crate) fn pairs(&self) -> bool {
        self.encoding == Encoding::Pairs
    }

    /// Rows that one microkernel takes.
    pub(crate) fn height(&self) -> usize {
        self.kernel.mr
    }

    /// Columns of a panel; divides 32.
    pub(crate) fn width(&self) -> usize {
        self.kernel.nr
    }

    /// Units of `k` elements.
    pub(crate) fn units(&self, k: usize) -> usize {
        self.encoding.format().units(k)
    }

    /// Elements of k that a microkernel multiplies at a time.
    pub(crate) fn step(&self) -> usize {
        self.kernel.step() * self.per_unit()
    }

    /// Elements per unit.
    pub(crate) fn per_unit(&self) -> usize {
        self.encoding.format().k_per_unit()
    }

    /// Units of a packed left operand.
    pub(crate) fn left_len(&self, rows: usize, k: usize) -> usize {
        rows * ROW * self.units(k).div_ceil(CHAIN).max(1)
    }

    /// Units of a packed right operand.
    pub(crate) fn right_len(&self, k: usize, cols: usize) -> usize {
        self.units(k) * cols.next_multiple_of(self.width())
    }

    /// Packs rows of a left operand that has `of` rows, the first one to the beginning of `dst`.
    pub(crate) fn pack_left(&self, rows: MatrixRef<'_>, of: usize, dst: &mut [u32]) {
        let (count, k) = rows.shape();
        let chunk = CHAIN * self.per_unit();
        for (start, dst) in (0..k).step_by(chunk).zip(dst.chunks_mut(of * ROW)) {
            let part = rows.part(0..count, start..k.min(start + chunk));
            match part {
                MatrixRef::F32(rows) if !self.pairs() && rows.col_stride == 1 => copy_rows(&rows, dst),
                MatrixRef::Bf16(rows) if self.pairs() && rows.col_stride == 1 && rows.cols.is_multiple_of(2) => {
                    copy_rows(&rows, dst);
                }
                part => pack_rows(self.isa, self.encoding, part, dst),
            }
        }
    }

    /// Packs the columns of a right operand, each given as a row of `columns`; the last panel and the last unit are
    /// filled up with zeros.
    pub(crate) fn pack_right(&self, columns: MatrixRef<'_>, dst: &mut [u32]) {
        let (cols, k) = columns.shape();
        let dst = &mut dst[..self.right_len(k, cols)];
        let done = match &columns {
            MatrixRef::F32(columns) if !self.pairs() => self.pack_squares(columns, dst),
            MatrixRef::Bf16(columns) if self.pairs() => self.pack_squares(columns, dst),
            _ => 0,
        };
        if done < cols {
            let dst = &mut dst[done * self.units(k)..];
            pack_panels(
                self.isa,
                self.encoding,
                columns.part(done..cols, 0..k),
                self.width(),
                dst,
            );
        }
    }

    /// [`Micros::pack_right`] of whole panels whose columns are units as they lie, in whole squares: transposed straight from
    /// memory to memory. Returns how many columns it packed.
    fn pack_squares<T>(&self, columns: &View<'_, T>, dst: &mut [u32]) -> usize {
        #[cfg(target_arch = "x86_64")]
        if self.isa >= Isa::Avx512 && columns.col_stride == 1 && (columns.cols * size_of::<T>()).is_multiple_of(64) {
            let (nr, bytes) = (self.width(), columns.row_stride * size_of::<T>());
            let units = columns.cols * size_of::<T>() / size_of::<u32>();
            let whole = columns.rows / nr * nr;
            assert!(dst.len() >= whole * units && nr.is_multiple_of(16));
            for (first, panel) in (0..whole).step_by(nr).zip(dst.chunks_exact_mut((nr * units).max(1))) {
                for left in (0..nr).step_by(16) {
                    let lines = columns.data[(first + left) * columns.row_stride..]
                        .as_ptr()
                        .cast::<u8>();
                    for unit in (0..units).step_by(16) {
                        // SAFETY: the level has AVX-512; 16 lines of the view from this unit on have 16 units
                        // each, and the panel 16 rows of `nr` with as many behind `left`.
                        unsafe {
                            let dst = panel.as_mut_ptr().add(unit * nr + left);
                            transpose::avx512(lines.add(unit * size_of::<u32>()), bytes, dst, nr);
                        }
                    }
                }
            }
            return whole;
        }
        let _ = (columns, dst);
        0
    }

    /// [`Micros::pack_left`] of at most one chunk where neighbouring rows lie side by side in memory: `columns[k]` is column `k`.
    pub(crate) fn pack_left_columns<T: Element>(&self, columns: View<'_, T>, dst: &mut [u32]) {
        assert!(columns.col_stride == 1 && self.units(columns.rows) <= CHAIN);
        let (dst, _) = dst.as_chunks_mut::<ROW>();
        let dst = &mut dst[..columns.cols.next_multiple_of(16)];
        let (isa, pairs) = (self.isa, self.pairs());
        isa.vectorize(
            #[inline(always)]
            || {
                if pairs {
                    transposed::<T, true>(isa, &columns, dst);
                } else {
                    transposed::<T, false>(isa, &columns, dst);
                }
            },
        );
    }

    /// Makes a right operand of `rows` rows of a left one: they are its rows along k, and `cols` of them its columns.
    pub(crate) fn pack_right_rows(&self, (left, cols): (&[u32], Range<usize>), rows: usize, dst: &mut [u32]) {
        if self.pairs() {
            // A pair is two bf16, the lower one first, as x86 stores a u32.
            let left = &seen_as::<_, bf16>(left)[cols.start..];
            let columns = View::strided(left, cols.len(), rows, 1, 2 * ROW);
            self.pack_right(columns.into(), dst);
        } else {
            let left = &seen_as::<_, f32>(left)[cols.start..];
            let columns = View::strided(left, cols.len(), rows, 1, ROW);
            self.pack_right(columns.into(), dst);
        }
    }

    /// What calls of [`Micros::multiply`] share, as many as possible on one thread.
    pub(crate) fn session(&self) -> Session {
        Session::new(self.kernel)
    }

    /// Writes the product to `c`, whose rows are `stride` apart, or adds it (`add`).
    pub(crate) fn multiply(
        &self,
        session: &mut Session,
        a: LeftRows<'_>,
        b: RightPanels<'_>,
        c: &mut [f32],
        stride: usize,
        add: bool,
    ) {
        let (mr, nr) = (self.kernel.mr, self.kernel.nr);
        if a.rows == 0 || b.panels == 0 {
            return;
        }
        assert!(c.len() >= (a.rows - 1) * stride + b.panels * nr && (a.rows == 1 || stride >= b.panels * nr));
        if b.count == 0 && !add {
            c.chunks_mut(stride)
                .take(a.rows)
                .for_each(|c| c[..b.panels * nr].fill(0.0));
        }
        for (chunk, start) in (0..b.count).step_by(CHAIN).enumerate() {
            let a_units = &a.units[chunk * a.rows * ROW..];
            for part in self.kernel.parts(CHAIN.min(b.count - start)) {
                let (count, add) = (part.len(), add || chunk > 0 || part.start > 0);
                for top in (0..a.rows).step_by(mr) {
                    let height = mr.min(a.rows - top);
                    let a_units = &a_units[top * ROW + part.start..][..(height - 1) * ROW + count];
                    // SAFETY: `prepare` chose a kernel of a level that this CPU has.
                    unsafe { session.prepare(height, count) };
                    for panel in 0..b.panels {
                        let first = panel * b.stride + (start + part.start) * nr;
                        let b_units = &b.units[first..][..count * nr];
                        // SAFETY: the level as above; the slices have the extents that the kernel reads, and rows
                        // `top..top + height` of C lie inside it by the assertion above.
                        unsafe {
                            let c = c.as_mut_ptr().add(top * stride + panel * nr);
                            let (a, b) = (a_units.as_ptr(), b_units.as_ptr());
                            self.kernel.by_rows[height - 1](count, a, b, c, stride, add, b);
                        }
                    }
                }
            }
        }
    }
}

/// Rows whose elements are units, or halves of them, as they lie.
fn copy_rows<T: Element>(rows: &View<'_, T>, dst: &mut [u32]) {
    let units = rows.cols * size_of::<T>() / size_of::<u32>();
    for (row, dst) in dst.chunks_mut(ROW).enumerate().take(rows.rows) {
        let (row, dst) = (&rows.data[row * rows.row_stride..][..rows.cols], &mut dst[..units]);
        // SAFETY: as many bytes on both sides; a pair of bf16 is the u32 that has the lower one first, as on x86.
        unsafe {
            std::ptr::copy_nonoverlapping(row.as_ptr().cast::<u8>(), dst.as_mut_ptr().cast::<u8>(), units * 4);
        }
    }
}

/// `to[column][left + row]` of a square of 16 × 16 numbers whose rows are `stride` apart.
pub(crate) fn transposed_square<const WIDTH: usize>(
    isa: Isa,
    rows: &[f32],
    stride: usize,
    left: usize,
    to: &mut [[f32; WIDTH]; 16],
) {
    assert!(rows.len() >= 15 * stride + 16 && left + 16 <= WIDTH);
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        let (rows, to) = (rows.as_ptr().cast(), to.as_flattened_mut().as_mut_ptr().cast::<u32>());
        // SAFETY: a level in use is one that the CPU has; the assertion bounds what is read and written.
        return unsafe { transpose::avx512(rows, stride * size_of::<f32>(), to.add(left), WIDTH) };
    }
    let _ = isa;
    for row in 0..16 {
        for (to, &x) in to.iter_mut().zip(&rows[row * stride..]) {
            to[left + row] = x;
        }
    }
}

/// Squares of 16 columns × 16 units, transposed.
#[inline(always)]
fn transposed<T: Element, const PAIRS: bool>(isa: Isa, columns: &View<'_, T>, dst: &mut [[u32; ROW]]) {
    let per_unit = if PAIRS { 2 } else { 1 };
    let units = columns.rows.div_ceil(per_unit);
    let mut square = [[0_u32; 16]; 16];
    for (first, dst) in (0..columns.cols).step_by(16).zip(dst.chunks_mut(16)) {
        let width = 16.min(columns.cols - first);
        for start in (0..units).step_by(16) {
            #[cfg(target_arch = "x86_64")]
            if PAIRS
                && size_of::<T>() == size_of::<bf16>()
                && isa >= Isa::Avx512
                && width == 16
                && 2 * (start + 16) <= columns.rows
            {
                let rows = columns.data[2 * start * columns.row_stride + first..].as_ptr().cast();
                let dst = dst.as_flattened_mut()[start..].as_mut_ptr();
                // SAFETY: a pack runs at a level that the CPU supports; 32 rows of 16 bf16 lie in the view, and the sixteen
                // rows of `dst` have room for sixteen units from `start` on.
                unsafe { transpose::avx512_pairs(rows, columns.row_stride, dst, ROW) };
                continue;
            }
            for (unit, square) in (start..).zip(&mut square) {
                let row = |k: usize| {
                    let row = if k < columns.rows { k * columns.row_stride } else { 0 };
                    &columns.data[row + first..][..width]
                };
                let k = unit * per_unit;
                if k >= columns.rows {
                    square.fill(0);
                    continue;
                }
                let zero_second = k + 1 >= columns.rows;
                let (x, y) = (row(k), row(k + 1));
                if let (Ok(x), Ok(y)) = (<&[T; 16]>::try_from(x), <&[T; 16]>::try_from(y))
                    && !zero_second
                {
                    for i in 0..16 {
                        square[i] = unit_of::<T, PAIRS>(x[i], y[i]);
                    }
                } else {
                    for i in 0..width {
                        let second = if zero_second { T::from_f32(0.0) } else { y[i] };
                        square[i] = unit_of::<T, PAIRS>(x[i], second);
                    }
                }
            }
            transpose(isa, &square, start, dst);
        }
    }
}

#[inline(always)]
fn unit_of<T: Element, const PAIRS: bool>(first: T, second: T) -> u32 {
    if PAIRS {
        u32::from(first.bf16_bits()) | u32::from(second.bf16_bits()) << 16
    } else {
        first.to_f32().to_bits()
    }
}
