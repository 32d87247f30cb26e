//! Strided matrices in borrowed memory, and the element types they hold.
//!
//! A transposition, a column slice or a row slice is another view of the same
//! memory. Must never know how matrices are multiplied.

use std::marker::PhantomData;
use std::ops::Range;

use crate::cpu::prefetch::first_level;
use half::bf16;

/// A number type that matrices are stored in.
pub(crate) trait Element: Copy + Send + Sync + 'static {
    /// Widens exactly.
    fn to_f32(self) -> f32;
    /// Rounds to nearest, ties to even; not a number stays that.
    fn from_f32(value: f32) -> Self;
    /// The bits of the nearest bf16.
    fn bf16_bits(self) -> u16;
}

impl Element for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn bf16_bits(self) -> u16 {
        // Branch-free, so that it vectorises.
        let bits = self.to_bits();
        let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
        let quiet = (bits >> 16) as u16 | 0x40;
        if self.is_nan() { quiet } else { rounded }
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self::from_bits(value.bf16_bits())
    }
    #[inline(always)]
    fn bf16_bits(self) -> u16 {
        self.to_bits()
    }
}

/// A matrix to read: element `(i, j)` is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, T> {
    pub(super) data: &'a [T],
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
}

/// The length of the memory that such a matrix spans.
fn extent(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    if rows == 0 || cols == 0 {
        0
    } else {
        (rows - 1) * row_stride + (cols - 1) * col_stride + 1
    }
}

impl<'a, T> View<'a, T> {
    /// A matrix whose rows lie one after the other.
    ///
    /// # Panics
    /// If `data` is shorter than the matrix.
    pub(crate) fn row_major(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols, 1)
    }

    /// A matrix with any strides (in elements).
    ///
    /// # Panics
    /// If `data` is shorter than the matrix.
    pub(crate) fn strided(data: &'a [T], rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Self {
        let extent = extent(rows, cols, row_stride, col_stride);
        Self {
            data: &data[..extent],
            row_stride,
            col_stride,
            rows,
            cols,
        }
    }

    /// The rows, where each is contiguous.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'a [T]> {
        assert_eq!(self.col_stride, 1, "rows that lie contiguous");
        let (data, stride, cols) = (self.data, self.row_stride, self.cols);
        (0..self.rows).map(move |row| &data[row * stride..][..cols])
    }

    /// The transposition.
    #[must_use]
    pub(crate) fn t(self) -> Self {
        Self {
            data: self.data,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            rows: self.cols,
            cols: self.rows,
        }
    }

    /// The part in the given rows and columns.
    ///
    /// # Panics
    /// If it reaches outside the matrix.
    pub(crate) fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        assert!(rows.end <= self.rows && cols.end <= self.cols);
        let start = rows.start * self.row_stride + cols.start * self.col_stride;
        Self::strided(
            self.data.get(start..).unwrap_or_default(),
            rows.len(),
            cols.len(),
            self.row_stride,
            self.col_stride,
        )
    }
}

/// A matrix to write, its rows contiguous, shared among tasks that write
/// disjoint parts.
pub(crate) struct ViewMut<'a, T> {
    data: *mut T,
    row_stride: usize,
    rows: usize,
    cols: usize,
    addend: Addend<'a, T>,
    memory: PhantomData<&'a mut [T]>,
}

/// What a product is added to.
#[derive(Clone, Copy)]
enum Addend<'a, T> {
    /// What stands in the matrix itself.
    Itself,
    /// A multiple of another one.
    Other(View<'a, T>, f32),
}

// SAFETY: it stands for an exclusive borrow of the elements, and a shared one of the addend's; `row_part` makes its
// callers promise that no two threads touch the same ones.
unsafe impl<T: Send + Sync> Sync for ViewMut<'_, T> {}
// SAFETY: as for `&mut [T]` and `&[T]`.
unsafe impl<T: Send + Sync> Send for ViewMut<'_, T> {}

impl<'a, T: Copy> ViewMut<'a, T> {
    /// A matrix whose rows lie one after the other.
    ///
    /// # Panics
    /// If `data` is shorter than the matrix.
    pub(crate) fn row_major(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A matrix whose rows begin `row_stride` elements apart.
    ///
    /// # Panics
    /// If `data` is shorter than the matrix or rows overlap.
    pub(crate) fn strided(data: &'a mut [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(rows <= 1 || row_stride >= cols, "rows overlap");
        let extent = extent(rows, cols, row_stride, 1);
        Self {
            data: data[..extent].as_mut_ptr(),
            row_stride,
            rows,
            cols,
            addend: Addend::Itself,
            memory: PhantomData,
        }
    }

    /// The same matrix, to which `factor · addend` is added where what stands in it would be.
    ///
    /// # Panics
    /// If shapes differ or the addend's rows are not contiguous.
    #[must_use]
    pub(crate) fn adding(self, addend: View<'a, T>, factor: f32) -> Self {
        assert!((addend.rows, addend.cols) == (self.rows, self.cols) && addend.col_stride == 1);
        Self {
            addend: Addend::Other(addend, factor),
            ..self
        }
    }

    /// Some of its rows.
    ///
    /// # Panics
    /// If it has not so many.
    pub(super) fn rows(&self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        Self {
            data: self.data.wrapping_add(rows.start * self.row_stride),
            rows: rows.len(),
            addend: match self.addend {
                Addend::Itself => Addend::Itself,
                Addend::Other(other, factor) => Addend::Other(other.part(rows, 0..self.cols), factor),
            },
            ..*self
        }
    }

    /// Whether what stands in the matrix is what a product is added to.
    pub(super) fn adds_to_itself(&self) -> bool {
        matches!(self.addend, Addend::Itself)
    }

    /// The first element of these rows and columns of what a product is added to, the distance between rows, and the factor.
    ///
    /// # Panics
    /// As [`ViewMut::corner`].
    pub(super) fn addend(&self, rows: &Range<usize>, cols: &Range<usize>) -> (*const T, usize, f32) {
        let (first, stride) = self.corner(rows, cols);
        match &self.addend {
            Addend::Itself => (first, stride, 1.0),
            Addend::Other(other, factor) => {
                let first = &other.data[rows.start * other.row_stride + cols.start..];
                (first.as_ptr(), other.row_stride, *factor)
            }
        }
    }

    /// Columns `cols` of one row of another matrix that a product is added to, and its factor.
    #[inline(always)]
    pub(super) fn other_row(&self, row: usize, cols: Range<usize>) -> Option<(&[T], f32)> {
        match &self.addend {
            Addend::Itself => None,
            Addend::Other(other, factor) => {
                let start = row * other.row_stride;
                Some((&other.data[start + cols.start..start + cols.end], *factor))
            }
        }
    }

    /// Asks for the memory of these rows and columns.
    pub(super) fn prefetch(&self, rows: &Range<usize>, cols: &Range<usize>) {
        for row in rows.clone() {
            let start = self.data.wrapping_add(row * self.row_stride + cols.start);
            first_level(start, cols.len() * size_of::<T>());
        }
    }

    /// The first element of these rows and columns, and the distance between rows.
    ///
    /// # Panics
    /// If they reach outside the matrix.
    pub(super) fn corner(&self, rows: &Range<usize>, cols: &Range<usize>) -> (*mut T, usize) {
        assert!(rows.start < rows.end && rows.end <= self.rows);
        assert!(cols.start < cols.end && cols.end <= self.cols);
        // SAFETY: inside the extent checked by `strided`.
        let first = unsafe { self.data.add(rows.start * self.row_stride + cols.start) };
        (first, self.row_stride)
    }

    /// Columns `cols` of one row.
    ///
    /// # Safety
    /// While the slice lives, nobody else may touch those elements.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub(super) unsafe fn row_part(&self, row: usize, cols: Range<usize>) -> &mut [T] {
        assert!(row < self.rows && cols.start <= cols.end && cols.end <= self.cols);
        // SAFETY: inside the extent checked by `strided`; exclusive by the caller's promise.
        unsafe {
            let start = self.data.add(row * self.row_stride + cols.start);
            std::slice::from_raw_parts_mut(start, cols.len())
        }
    }
}

/// A matrix to read, of either element type.
#[derive(Clone, Copy)]
pub(crate) enum MatrixRef<'a> {
    F32(View<'a, f32>),
    Bf16(View<'a, bf16>),
}

impl<'a> From<View<'a, f32>> for MatrixRef<'a> {
    fn from(view: View<'a, f32>) -> Self {
        Self::F32(view)
    }
}

impl<'a> From<View<'a, bf16>> for MatrixRef<'a> {
    fn from(view: View<'a, bf16>) -> Self {
        Self::Bf16(view)
    }
}

impl MatrixRef<'_> {
    /// `(rows, columns)`.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Self::F32(view) => (view.rows, view.cols),
            Self::Bf16(view) => (view.rows, view.cols),
        }
    }

    /// The transposition.
    #[must_use]
    pub(crate) fn t(self) -> Self {
        match self {
            Self::F32(view) => Self::F32(view.t()),
            Self::Bf16(view) => Self::Bf16(view.t()),
        }
    }

    /// Whether neighbouring rows lie side by side in memory, and neighbouring columns do not.
    pub(super) fn rows_side_by_side(&self) -> bool {
        match self {
            Self::F32(view) => view.row_stride == 1 && view.col_stride != 1,
            Self::Bf16(view) => view.row_stride == 1 && view.col_stride != 1,
        }
    }

    /// The part in the given rows and columns.
    pub(super) fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        match self {
            Self::F32(view) => Self::F32(view.part(rows, cols)),
            Self::Bf16(view) => Self::Bf16(view.part(rows, cols)),
        }
    }
}

/// A matrix to write, of either element type.
pub(crate) enum MatrixMut<'a> {
    F32(ViewMut<'a, f32>),
    Bf16(ViewMut<'a, bf16>),
}

impl<'a> From<ViewMut<'a, f32>> for MatrixMut<'a> {
    fn from(view: ViewMut<'a, f32>) -> Self {
        Self::F32(view)
    }
}

impl<'a> From<ViewMut<'a, bf16>> for MatrixMut<'a> {
    fn from(view: ViewMut<'a, bf16>) -> Self {
        Self::Bf16(view)
    }
}

impl MatrixMut<'_> {
    /// `(rows, columns)`.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Self::F32(view) => (view.rows, view.cols),
            Self::Bf16(view) => (view.rows, view.cols),
        }
    }

    /// Some of its rows.
    pub(super) fn rows(&self, rows: Range<usize>) -> Self {
        match self {
            Self::F32(view) => Self::F32(view.rows(rows)),
            Self::Bf16(view) => Self::Bf16(view.rows(rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_to_bf16_is_that_of_the_half_crate() {
        for bits in (0..=u32::MAX).step_by(9973) {
            let x = f32::from_bits(bits);
            assert_eq!(x.bf16_bits(), bf16::from_f32(x).to_bits(), "{bits:#x}");
        }
        for bits in 0..=u16::MAX {
            let x = bf16::from_bits(bits);
            if !x.is_nan() {
                assert_eq!(Element::to_f32(x).to_bits(), bf16::to_f32(x).to_bits());
                assert_eq!(<bf16 as Element>::from_f32(Element::to_f32(x)), x);
            }
        }
    }

    #[test]
    fn parts_and_transpositions_name_the_same_elements() {
        let data: Vec<f32> = (0..20).map(|i| i as f32).collect();
        let view = View::row_major(&data, 4, 5);
        let part = view.t().part(1..4, 2..4);
        assert_eq!((part.rows, part.cols), (3, 2));
        assert_eq!(part.data[part.row_stride + part.col_stride], 3.0 * 5.0 + 2.0);
    }

    #[test]
    #[should_panic(expected = "range end index")]
    fn memory_shorter_than_the_matrix_is_refused() {
        let _ = View::row_major(&[0.0_f32; 11], 3, 4);
    }
}
