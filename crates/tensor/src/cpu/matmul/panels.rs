//! A block of k for a tile of C: microkernels over its panels.
//!
//! Must never know where blocks come from and sums go.

use std::ops::Range;

use half::bf16;

use super::kernel::{A_STRIDE, Kernel, Session};
use super::view::View;

/// How a block of A lies in memory.
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// `[panel][unit][mr]`
    ByK(&'a [u32]),
    /// `[row][A_STRIDE]`
    ByRows(&'a [u32]),
    /// Contiguous rows of pairs, for kernels on tile registers.
    InPlace(View<'a, bf16>),
}

/// Blocks of A and B.
pub(super) struct Panels<'a> {
    pub(super) a: Left<'a>,
    pub(super) b: &'a [u32],
    /// From one panel of B to the next.
    pub(super) panel_stride: usize,
    /// Units of k.
    pub(super) count: usize,
}

impl Panels<'_> {
    /// Adds (`add`) or writes the product of the rows `band` of A, a panel of them, to `sums`, whose rows are `stride`
    /// apart. The CPU has the kernel's instruction set.
    pub(super) fn multiply(
        &self,
        session: &mut Session,
        kernel: &Kernel,
        band: Range<usize>,
        sums: &mut [f32],
        stride: usize,
        add: bool,
    ) {
        let (mr, nr) = (kernel.mr, kernel.nr);
        let (top, height) = (band.start, band.len());
        assert!(height * stride <= sums.len() && stride.is_multiple_of(nr));
        for units in kernel.parts(self.count) {
            let add = add || units.start > 0;
            // SAFETY: `Product::new` checked the level.
            unsafe { session.prepare(height, units.len()) };
            let sums = sums.as_mut_ptr();
            let columns = (0..stride).step_by(nr).enumerate().map(|(panel, left)| {
                let b = &self.b[panel * self.panel_stride..][units.start * nr..units.end * nr];
                // SAFETY: inside the sums by the assertion above.
                (b.as_ptr(), unsafe { sums.add(left) })
            });
            // SAFETY, for all calls of microkernels below: `Product::new` checked the level; the slices have the
            // extents that the kernel reads, and `height` rows of `sums` lie inside it by the assertion above.
            match self.a {
                Left::ByK(a) => {
                    let a = &a[top * self.count + units.start * mr..(top + mr) * self.count];
                    for (b, c) in columns {
                        // SAFETY: see above.
                        unsafe { kernel.by_k[height - 1](units.len(), a.as_ptr(), b, c, stride, add) };
                    }
                }
                Left::ByRows(a) => {
                    let a = &a[top * A_STRIDE + units.start..][..(height - 1) * A_STRIDE + units.len()];
                    for (b, c) in columns {
                        // SAFETY: see above.
                        unsafe { kernel.by_rows[height - 1](units.len(), a.as_ptr(), b, c, stride, add) };
                    }
                }
                Left::InPlace(a) => {
                    let tiles = kernel.tiles.expect("only kernels on tile registers read A in place");
                    let a = a.part(top..top + height, 2 * units.start..2 * units.end);
                    let (row, a) = (a.row_stride * size_of::<bf16>(), a.data.as_ptr().cast());
                    for (b, c) in columns {
                        // SAFETY: see above; the part's rows hold whole units.
                        unsafe { (tiles.in_place)(height, units.len(), a, row, b, c, stride, add) };
                    }
                }
            }
        }
    }
}
