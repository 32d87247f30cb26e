//! Host memory behind buffers, for the backends that compute on the processor.

use std::alloc::{Layout, alloc_zeroed, dealloc};

use crate::backend::Buffer;
use crate::memory::Memory;

const ALIGNMENT: usize = 64;

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.max(1), ALIGNMENT).ok()
}

/// A zeroed block aligned to a cache line, or nothing.
pub(crate) fn allocate(bytes: usize) -> Option<Memory> {
    // SAFETY: the layout has a size above zero.
    let pointer = unsafe { alloc_zeroed(layout(bytes)?) };
    (!pointer.is_null()).then_some(Memory {
        address: pointer as usize,
        bytes,
    })
}

/// Frees a block made by [`allocate`].
pub(crate) fn release(memory: Memory) {
    let layout = layout(memory.bytes).expect("a block that exists has a valid layout");
    // SAFETY: the block came from `alloc_zeroed` with this very layout.
    unsafe { dealloc(memory.address as *mut u8, layout) }
}

impl Buffer {
    fn check<T>(self) {
        assert_eq!(size_of::<T>(), self.dtype.bytes(), "element size of a buffer");
        assert!(self.memory.address != 0, "a tensor of a dry run has no elements");
    }

    /// The elements.
    ///
    /// # Safety
    /// The buffer is host memory, `T` is its element type, and nobody writes to it meanwhile.
    pub(crate) unsafe fn host<'a, T>(self) -> &'a [T] {
        self.check::<T>();
        // SAFETY: by the contract above; blocks are aligned to 64 bytes and hold `len` elements.
        unsafe { std::slice::from_raw_parts(self.memory.address as *const T, self.len) }
    }

    /// The elements, to be changed.
    ///
    /// # Safety
    /// As for [`Buffer::host`], and nobody else reads or writes the same elements meanwhile.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn host_mut<'a, T>(self) -> &'a mut [T] {
        self.check::<T>();
        // SAFETY: by the contract above.
        unsafe { std::slice::from_raw_parts_mut(self.memory.address as *mut T, self.len) }
    }
}
