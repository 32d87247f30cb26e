//! A block of k for a tile of C: microkernels over its panels.
//!
//! Must never know where blocks come from and sums go.

use std::ops::Range;

use half::bf16;

use super::kernel::{A_STRIDE, Kernel, Rounded, Session, Sums};
use super::view::MatrixRef;
use crate::cpu::prefetch::second_level;

/// How a panel of A lies in memory.
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// `[unit][mr]`
    ByK(&'a [u32]),
    /// `[row][A_STRIDE]`
    ByRows(&'a [u32]),
    /// Rows of units where they lie, so many units apart.
    InPlace(&'a [u32], usize),
}

/// A panel of A and a block of B.
pub(super) struct Panels<'a> {
    pub(super) a: Left<'a>,
    pub(super) b: &'a [u32],
    /// From one panel of B to the next.
    pub(super) panel_stride: usize,
    /// Units of k.
    pub(super) count: usize,
    /// What memory is asked for meanwhile.
    pub(super) ahead: Lines,
}

/// Stretches of memory that will be needed: as many of them, `stride` bytes apart, of so many bytes each.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    first: *const i8,
    stride: usize,
    count: usize,
    bytes: usize,
}

impl Lines {
    pub(super) const NONE: Self = Self {
        first: std::ptr::null(),
        stride: 0,
        count: 0,
        bytes: 0,
    };

    /// The rows of a matrix.
    pub(super) fn of(rows: &MatrixRef<'_>) -> Self {
        let (count, cols) = rows.shape();
        let (first, stride, size) = match rows {
            MatrixRef::F32(rows) => (rows.data.as_ptr().cast(), rows.row_stride, size_of::<f32>()),
            MatrixRef::Bf16(rows) => (rows.data.as_ptr().cast(), rows.row_stride, size_of::<bf16>()),
        };
        Self {
            first,
            stride: stride * size,
            count,
            bytes: cols * size,
        }
    }

    /// Asks for some of them, for the second-level cache: rows a power of two apart would evict one another from the first.
    fn prefetch(self, lines: Range<usize>) {
        for line in lines {
            second_level(self.first.wrapping_add(line * self.stride), self.bytes);
        }
    }
}

impl Panels<'_> {
    /// Adds or writes the product of `height` rows of A and `width` columns of B, in whole panels. Where there is a `c`, to which
    /// the kernel has to be able to round, finished sums go there.
    ///
    /// # Safety
    /// The CPU has the kernel's instruction set. That part of the sums and of C exists and is nobody else's meanwhile.
    pub(super) unsafe fn multiply(
        &self,
        session: &mut Session,
        kernel: &Kernel,
        (height, width): (usize, usize),
        sums: Sums,
        c: Option<Rounded>,
    ) {
        let (mr, nr) = (kernel.mr, kernel.nr);
        let Sums { first, stride, add } = sums;
        assert!(height <= mr && width.is_multiple_of(nr));
        let panels = width / nr;
        for units in kernel.parts(self.count) {
            let add = add || units.start > 0;
            // SAFETY: the caller's promise.
            unsafe { session.prepare(height, units.len()) };
            let columns = (0..width).step_by(nr).enumerate().map(|(panel, left)| {
                let b = &self.b[panel * self.panel_stride..][units.start * nr..units.end * nr];
                if units.start == 0 {
                    // A share with each panel, so that requests do not queue.
                    let Lines { count, .. } = self.ahead;
                    self.ahead
                        .prefetch(panel * count / panels..(panel + 1) * count / panels);
                }
                // SAFETY: inside the sums' first row.
                (b.as_ptr(), unsafe { first.add(left) })
            });
            let strided = |a: *const u32, row: usize| {
                for (panel, (b, first)) in columns.clone().enumerate() {
                    let sums = Sums { first, stride, add };
                    let c = c.map(|c| c.right(panel * nr));
                    // SAFETY: see below.
                    unsafe { kernel.strided[height - 1](units.len(), (a, row), b, sums, c) };
                }
            };
            let takes_c = !kernel.strided.is_empty() && !matches!(self.a, Left::ByK(_));
            debug_assert!(c.is_none() || takes_c, "nobody would write C");
            // SAFETY, for all calls of microkernels below: the level and the sums are the caller's promise; the slices have
            // the extents that the kernel reads.
            match self.a {
                Left::ByK(a) => {
                    let a = &a[units.start * mr..units.end * mr];
                    for (b, c) in columns {
                        // SAFETY: see above.
                        unsafe { kernel.by_k[height - 1](units.len(), a.as_ptr(), b, c, stride, add, b) };
                    }
                }
                Left::ByRows(a) => {
                    let a = &a[units.start..][..(height - 1) * A_STRIDE + units.len()];
                    if !kernel.strided.is_empty() {
                        strided(a.as_ptr(), A_STRIDE);
                        continue;
                    }
                    for (b, c) in columns {
                        // SAFETY: see above.
                        unsafe { kernel.by_rows[height - 1](units.len(), a.as_ptr(), b, c, stride, add, b) };
                    }
                }
                Left::InPlace(a, row) => {
                    let a = &a[units.start..][..(height - 1) * row + units.len()];
                    let Some(tiles) = kernel.tiles else {
                        strided(a.as_ptr(), row);
                        continue;
                    };
                    let row = row * size_of::<u32>();
                    for (b, c) in columns {
                        // SAFETY: see above.
                        unsafe { (tiles.in_place)(height, units.len(), a.as_ptr(), row, b, c, stride, add) };
                    }
                }
            }
        }
    }
}
