//! A few rows of A times a packed B: what decoding does with every weight.
//!
//! Such a product costs the time to read B. So B is read once, from its first byte to its last, panel by panel, where
//! tiles of many rows go through a block of k of all their panels before the next block: that costs a third of the speed
//! at which memory is read. The sums are the same, block by block of k.

use std::ops::Range;

use super::blocking::{FEW_ROWS, MAX_ROWS, k_block};
use super::kernel::{A_STRIDE, Session};
use super::pack::pack_rows;
use super::product::Product;
use super::{Rhs, panel_stride};

impl Product<'_> {
    /// Computes the sums `acc` of a tile, if it has few rows and B is packed; else it does nothing and says so. All of A
    /// goes to `a` as `[block][row][A_STRIDE]`.
    pub(super) fn multiply_few(
        &self,
        rows: &Range<usize>,
        cols: &Range<usize>,
        a: &mut [u32],
        acc: &mut [f32],
    ) -> bool {
        let Rhs::Packed(packed) = &self.b else { return false };
        let (kernel, units, nr, height) = (self.kernel, self.units(), self.kernel.nr, rows.len());
        let block = k_block(units, kernel);
        if units == 0 || height > FEW_ROWS || height * units.div_ceil(block) > MAX_ROWS {
            return false;
        }
        let k_per_unit = self.format().k_per_unit();
        let starts = (0..units).step_by(block);
        for (start, dst) in starts.clone().zip(a.chunks_mut(height * A_STRIDE)) {
            let ks = start * k_per_unit..self.k.min((start + block) * k_per_unit);
            pack_rows(self.isa, self.encoding, self.a.part(rows.clone(), ks), dst);
        }
        let stride = cols.len().next_multiple_of(nr);
        let acc = &mut acc[..height * stride];
        let mut session = Session::new(kernel);
        for (panel, left) in (cols.start / nr..).zip((0..stride).step_by(nr)) {
            let b = &packed.units[panel * panel_stride(units * nr)..][..units * nr];
            for (start, a) in starts.clone().zip(a.chunks(height * A_STRIDE)) {
                for part in kernel.parts(block.min(units - start)) {
                    let b = &b[(start + part.start) * nr..(start + part.end) * nr];
                    let add = start + part.start > 0;
                    for top in (0..height).step_by(kernel.mr) {
                        let height = kernel.mr.min(height - top);
                        let a = &a[top * A_STRIDE + part.start..][..(height - 1) * A_STRIDE + part.len()];
                        let c = &mut acc[top * stride + left..][..(height - 1) * stride + nr];
                        // SAFETY: `Product::new` checked the level; the slices have the extents that the kernel
                        // reads and writes.
                        unsafe {
                            session.prepare(height, part.len());
                            let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
                            kernel.by_rows[height - 1](part.len(), a, b, c, stride, add, b);
                        }
                    }
                }
            }
        }
        true
    }
}
