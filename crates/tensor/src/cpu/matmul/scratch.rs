//! Working memory of one worker, allocated once at its full size.
//!
//! The sizes are bounds over all shapes, so no later product asks for more. Pages that
//! are never touched cost nothing.

use super::blocking::{MAX_COLS, MAX_K, MAX_ROWS};
use super::kernel::A_STRIDE;

/// Zeroed memory that begins at a cache line.
pub(crate) struct Aligned<T> {
    memory: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// `len` zeros. For plain numbers the standard library asks the allocator for
    /// zeroed memory, which hands out fresh pages untouched.
    pub(crate) fn new(len: usize) -> Self {
        const LINE: usize = 64;
        let memory = vec![T::default(); len + LINE / size_of::<T>()];
        let start = memory.as_ptr().align_offset(LINE);
        Self { memory, start, len }
    }
}

impl<T> std::ops::Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl<T> std::ops::DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// What a tile of a matrix product needs while it is computed.
pub(crate) struct TileScratch {
    /// A block of A in the microkernel's layout.
    pub(super) a: Aligned<u32>,
    /// A block of B in panels.
    pub(super) b: Aligned<u32>,
    /// The tile of C.
    pub(super) acc: Aligned<f32>,
}

/// Working memory of one worker.
pub(crate) struct Scratch {
    /// For matrix products.
    pub(crate) tiles: TileScratch,
    /// [`Scratch::FLOATS`] numbers for whatever else a kernel keeps beside its
    /// products. What they hold at the start of a task is left over from another.
    pub(crate) floats: Aligned<f32>,
}

impl Scratch {
    /// The length of `floats` (4 MiB).
    pub(crate) const FLOATS: usize = 1 << 20;

    /// Allocates all of it.
    pub(crate) fn new() -> Self {
        Self {
            tiles: TileScratch {
                a: Aligned::new(MAX_ROWS * A_STRIDE),
                b: Aligned::new(MAX_COLS * MAX_K),
                acc: Aligned::new(MAX_ROWS * MAX_COLS),
            },
            floats: Aligned::new(Self::FLOATS),
        }
    }
}
