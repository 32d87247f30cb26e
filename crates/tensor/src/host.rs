//! Host memory behind buffers, for the backends that compute on the processor.

use std::alloc::{Layout, alloc_zeroed, dealloc};

use crate::backend::Buffer;
use crate::memory::Memory;

const ALIGNMENT: usize = 64;

/// What the system is asked for: no more alignment than it gives by itself, because then zeros cost nothing until
/// they are touched (a KV cache is large and mostly empty), and room to align the block.
fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_add(ALIGNMENT)?, align_of::<usize>()).ok()
}

/// A zeroed block aligned to a cache line, or nothing.
pub(crate) fn allocate(bytes: usize) -> Option<Memory> {
    // SAFETY: the layout has a size above zero.
    let pointer = unsafe { alloc_zeroed(layout(bytes)?) };
    if pointer.is_null() {
        return None;
    }
    // Behind the beginning by a word at least, in which stands what the system gave.
    let address = (pointer as usize / ALIGNMENT + 1) * ALIGNMENT;
    // SAFETY: the system aligns to a word, so that there is one before `address`, and gave `ALIGNMENT` bytes more
    // than were asked for.
    unsafe { (address as *mut *mut u8).sub(1).write(pointer) };
    Some(Memory { address, bytes })
}

/// Frees a block made by [`allocate`].
pub(crate) fn release(memory: Memory) {
    let layout = layout(memory.bytes).expect("a block that exists has a valid layout");
    // SAFETY: the block came from `allocate`, which wrote the system's pointer before it, and with this very layout.
    unsafe {
        let pointer = (memory.address as *const *mut u8).sub(1).read();
        dealloc(pointer, layout);
    }
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
