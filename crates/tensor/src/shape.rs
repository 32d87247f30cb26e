//! Shapes of up to four dimensions, held without heap memory.

use std::fmt;

/// Dimensions of a tensor, outermost first; at most four.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    dims: [usize; 4],
    rank: u8,
}

impl Shape {
    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }

    /// The dimensions as an array; `what` names them if there are not `N`.
    pub(crate) fn expect<const N: usize>(&self, what: &str) -> [usize; N] {
        self.dims()
            .try_into()
            .unwrap_or_else(|_| panic!("a tensor of shape {self:?} is not {what}"))
    }

    /// Itself, if its elements of any type can be addressed.
    fn checked(self) -> Shape {
        let len = self.dims().iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
        assert!(
            len.is_some_and(|len| len <= isize::MAX as usize / 16),
            "a tensor of shape {self:?} is too large"
        );
        self
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// True if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of the innermost dimension (1 for a shape without dimensions).
    pub fn last(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// Number of innermost rows: the product of all dimensions but the last.
    pub fn rows(&self) -> usize {
        self.dims().iter().rev().skip(1).product()
    }

    /// Rows and columns of the matrices in the two innermost dimensions; what has one dimension is a single row.
    pub(crate) fn matrix(&self) -> (usize, usize) {
        let mut inner = self.dims().iter().rev();
        let cols = inner.next().copied().unwrap_or(1);
        (inner.next().copied().unwrap_or(1), cols)
    }

    /// The same outer dimensions with other matrices in them.
    #[must_use]
    pub(crate) fn with_matrix(self, rows: usize, cols: usize) -> Shape {
        let mut dims = [1; 4];
        let outer = &self.dims()[..self.dims().len().saturating_sub(2)];
        dims[..outer.len()].copy_from_slice(outer);
        dims[outer.len()] = rows;
        dims[outer.len() + 1] = cols;
        Shape::from(&dims[..outer.len() + 2])
    }

    /// The shape without its outermost dimension.
    #[must_use]
    pub(crate) fn inner(self) -> Shape {
        Shape::from(self.dims().get(1..).unwrap_or_default())
    }

    /// The shape with one more, innermost, dimension.
    #[must_use]
    pub fn with_inner(mut self, inner: usize) -> Shape {
        assert!(self.rank < 4, "shapes have at most four dimensions");
        self.dims[self.rank as usize] = inner;
        self.rank += 1;
        self.checked()
    }

    /// The same shape with another innermost dimension.
    #[must_use]
    pub fn with_last(mut self, last: usize) -> Shape {
        assert!(self.rank > 0, "a scalar shape has no innermost dimension");
        self.dims[self.rank as usize - 1] = last;
        self.checked()
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(from: [usize; N]) -> Shape {
        Shape::from(&from[..])
    }
}

impl From<&[usize]> for Shape {
    fn from(from: &[usize]) -> Shape {
        assert!(from.len() <= 4, "shapes have at most four dimensions");
        let mut dims = [1; 4];
        dims[..from.len()].copy_from_slice(from);
        Shape {
            dims,
            rank: from.len() as u8,
        }
        .checked()
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}
