//! What decoding moves about: keys and values into a KV cache, and whole rows from cache to cache.

use super::Cpu;
use super::attention::first_position;
use super::elem::{Elem, indices, input, parts};
use crate::backend::Buffer;

impl Cpu {
    pub(crate) fn write_cache<T: Elem>(
        &self,
        (x, cache): (Buffer, Buffer),
        starts: Buffer,
        (batch, time, capacity, cols): (usize, usize, usize, usize),
    ) {
        let (x, cache, starts) = (input::<T>(x), parts::<T>(cache), indices(starts));
        self.for_rows(batch * time, cols, &|range| {
            for row in range {
                let (sequence, step) = (row / time, row % time);
                let at = sequence * capacity + first_position(starts[sequence], time, capacity) + step;
                // SAFETY: each position is written once.
                let slot = unsafe { cache.range(at * cols..(at + 1) * cols) };
                slot.copy_from_slice(&x[row * cols..(row + 1) * cols]);
            }
        });
    }

    pub(crate) fn copy_row_pairs<T: Elem>(
        &self,
        (from, from_stride): (Buffer, usize),
        (to, to_stride): (Buffer, usize),
        rows: Buffer,
        len: usize,
    ) {
        assert!(len <= from_stride && len <= to_stride, "no more than a row");
        let (from, to) = (parts::<T>(from), parts::<T>(to));
        let (pairs, _) = indices(rows).as_chunks::<2>();
        let row = |index: i32| usize::try_from(index).unwrap_or(usize::MAX);
        self.for_rows(pairs.len(), len, &|range| {
            for &[a, b] in &pairs[range] {
                let (a, b) = (row(a).saturating_mul(from_stride), row(b).saturating_mul(to_stride));
                // SAFETY: each row is written once, and none that is read.
                unsafe { to.copy(b, &from, a, len) };
            }
        });
    }
}
