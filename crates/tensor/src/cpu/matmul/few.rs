//! A few rows of A times a packed B: what decoding does with every weight.
//!
//! Such a product costs the time to read B. So B is read once, from its first byte to its last, panel by panel, where
//! tiles of many rows go through a block of k of all their panels before the next block: that costs a third of the speed
//! at which memory is read. The sums are the same, block by block of k.

use std::ops::Range;

use super::blocking::{FEW_ROWS, MAX_ROWS, k_block};
use super::kernel::{A_STRIDE, Coming, Session, Sums};
use super::pack::pack_rows;
use super::product::Product;
use super::{Rhs, panel_stride};

/// From so many rows on a line of B is multiplied for so long that the processor no longer asks for the next ones by itself, at
/// least not in time (LOG.md). With fewer it does that better than we.
const SLOW_ROWS: usize = 6;
/// How far ahead of what is multiplied B is then asked for, in bytes.
const AHEAD: usize = 8 << 10;

impl Product<'_> {
    /// Whether tiles of few rows read A where it lies.
    pub(super) fn few_in_place(&self) -> bool {
        !self.kernel.streaming.is_empty() && self.in_place().is_some()
    }

    /// Computes a tile, if it has few rows and B is packed; else it does nothing and says so. If A cannot be read where it lies,
    /// all of it goes to `a` as `[block][row][A_STRIDE]`.
    ///
    /// # Safety
    /// As [`Product::tile`].
    pub(super) unsafe fn multiply_few(
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
        let in_place = self.in_place().filter(|_| self.few_in_place());
        if in_place.is_none() {
            let k_per_unit = self.format().k_per_unit();
            for (start, dst) in (0..units).step_by(block).zip(a.chunks_mut(height * A_STRIDE)) {
                let ks = start * k_per_unit..self.k.min((start + block) * k_per_unit);
                pack_rows(self.isa, self.encoding, self.a.part(rows.clone(), ks), dst);
            }
        }
        let stride = cols.len().next_multiple_of(nr);
        let acc = &mut acc[..height * stride];
        // Whether what the microkernels do is all that is done with the sums.
        let whole = stride == cols.len() && !kernel.streaming.is_empty();
        let rounds = whole && self.rounds() && self.output.rounded(rows, cols).is_some();
        let direct = whole && units <= block && self.output.direct(rows, cols, false).is_some();
        // Bands of equal height keep up with B equally, tiles of registers should be full.
        let bands = height.div_ceil(kernel.mr);
        let most = if kernel.tiles.is_some() {
            kernel.mr
        } else {
            height.div_ceil(bands)
        };
        let mut session = Session::new(kernel);
        for (panel, left) in (cols.start / nr..).zip((0..stride).step_by(nr)) {
            let b = &packed.units[panel * panel_stride(units * nr)..][..units * nr];
            let columns = cols.start + left..cols.end.min(cols.start + left + nr);
            for start in (0..units).step_by(block) {
                for part in kernel.parts(block.min(units - start)) {
                    let (from, count) = (start + part.start, part.len());
                    let b = &b[from * nr..][..count * nr];
                    let last = from + count == units;
                    let more = !last || left + nr < stride;
                    for (band, top) in (0..height).step_by(most).enumerate() {
                        let band_height = most.min(height - top);
                        let in_c = rows.start + top..rows.start + top + band_height;
                        let (a, row) = match in_place {
                            Some((a, row)) => (&a[in_c.start * row + from..], row),
                            None => (
                                &a[start / block * height * A_STRIDE + top * A_STRIDE + part.start..],
                                A_STRIDE,
                            ),
                        };
                        let (a, b) = (a[..(band_height - 1) * row + count].as_ptr(), b.as_ptr());
                        let c = acc[top * stride + left..][..(band_height - 1) * stride + nr].as_mut_ptr();
                        let to_c = self.output.direct(&in_c, &columns, false).filter(|_| direct);
                        let sums = to_c.unwrap_or(Sums {
                            first: c,
                            stride,
                            add: from > 0,
                        });
                        let rounded = self.output.rounded(&in_c, &columns).filter(|_| rounds && last);
                        // The first band asks for what it multiplies, because nobody else has; the others for what comes next, each
                        // for a share.
                        let first = left == 0 && from == 0;
                        let (share, of) = if first {
                            (band - band.min(1), bands - 1)
                        } else {
                            (band, bands)
                        };
                        let coming = if bands == 1 || first && band == 0 {
                            Coming::after(b, AHEAD, 1, nr)
                        } else if more {
                            Coming::after(b, (count + share * count / of) * nr * size_of::<u32>(), of, nr)
                        } else {
                            Coming::again(b)
                        };
                        // SAFETY: `Product::new` checked the level; the slices have the extents that the kernel
                        // reads and writes, and that part of C is the caller's.
                        unsafe {
                            session.prepare(band_height, count);
                            if kernel.streaming.is_empty() {
                                kernel.by_rows[band_height - 1](count, a, b, c, stride, from > 0, b);
                            } else if height < SLOW_ROWS {
                                kernel.strided[band_height - 1](count, (a, row), b, sums, rounded);
                            } else {
                                kernel.streaming[band_height - 1](count, (a, row), (b, coming), sums, rounded);
                            }
                        }
                    }
                }
            }
        }
        if !(rounds || direct) {
            // SAFETY: the caller's promise.
            unsafe { self.output.take(self.isa, rows.clone(), cols.clone(), acc, stride) };
        }
        true
    }
}
