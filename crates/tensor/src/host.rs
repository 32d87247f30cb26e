//! Host memory behind buffers, for the backends that compute on the processor.
//!
//! Large blocks are mapped on their own and in huge pages where the system has them: a processor that walks through
//! gigabytes spends half of its time on looking up pages of 4 KiB, twice as many where it runs in a virtual machine.

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
    #[cfg(target_os = "linux")]
    if huge::takes(bytes) {
        return huge::map(bytes).map(|address| Memory { address, bytes });
    }
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
    #[cfg(target_os = "linux")]
    if huge::takes(memory.bytes) {
        // SAFETY: `allocate` mapped a block of this size there, and whoever gives it back uses it no more.
        unsafe { huge::unmap(memory.address, memory.bytes) };
        return;
    }
    let layout = layout(memory.bytes).expect("a block that exists has a valid layout");
    // SAFETY: the block came from `allocate`, which wrote the system's pointer before it, and with this very layout.
    unsafe {
        let pointer = (memory.address as *const *mut u8).sub(1).read();
        dealloc(pointer, layout);
    }
}

/// Blocks in huge pages.
#[cfg(target_os = "linux")]
mod huge {
    use std::ffi::c_void;
    use std::ptr;

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    /// A huge page of x86-64, and of ARM with small pages of 4 KiB.
    const PAGE: usize = 2 << 20;
    /// The largest small page there is: blocks begin and end at multiples.
    const SMALL: usize = 64 << 10;

    /// Whether a block is large enough to be mapped on its own: it fills half a huge page, as the matrices and the keys of
    /// a small model do.
    pub(super) fn takes(bytes: usize) -> bool {
        bytes >= PAGE / 2
    }

    /// The length of the mapping of a block.
    fn mapped(bytes: usize) -> Option<usize> {
        bytes.max(PAGE).checked_next_multiple_of(SMALL)
    }

    /// The address of a zeroed block of `bytes`, or nothing. Memory comes at first touch, a huge page at a time.
    pub(super) fn map(bytes: usize) -> Option<usize> {
        let len = mapped(bytes)?;
        let room = len.checked_add(PAGE)?;
        // SAFETY: a fresh mapping, which nobody else knows.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                room,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let start = start.ok()? as usize;
        let address = start.next_multiple_of(PAGE);
        // SAFETY: both ends of the mapping around the block; mappings begin at multiples of pages, and so does the block.
        unsafe {
            unmap_part(start, address - start);
            unmap_part(address + len, start + room - address - len);
        }
        // SAFETY: advice about the block just mapped. A system without huge pages declines, which changes no result.
        let _ = unsafe { madvise(address as *mut c_void, len, Advice::LinuxHugepage) };
        Some(address)
    }

    /// Gives a block back to the system.
    ///
    /// # Safety
    /// [`map`] made it with this very size, and nobody uses it any more.
    pub(super) unsafe fn unmap(address: usize, bytes: usize) {
        let len = mapped(bytes).expect("a block that exists has a length");
        // SAFETY: as promised.
        unsafe { unmap_part(address, len) };
    }

    /// # Safety
    /// As [`unmap`]: whole pages of a mapping that nobody uses.
    unsafe fn unmap_part(address: usize, len: usize) {
        if len > 0 {
            // SAFETY: as promised. It cannot fail but for lack of room to note it, and then memory is lost, not safety.
            let _ = unsafe { munmap(address as *mut c_void, len) };
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_all_sizes_are_zeroed_aligned_and_given_back() {
        for bytes in [
            1,
            64,
            4096,
            (1 << 20) - 1,
            1 << 20,
            (2 << 20) - 1,
            2 << 20,
            (2 << 20) + 1,
            5_000_000,
            33 << 20,
        ] {
            let memory = allocate(bytes).expect("a little memory");
            assert_eq!((memory.address % ALIGNMENT, memory.bytes), (0, bytes));
            // SAFETY: the block is ours.
            let block = unsafe { std::slice::from_raw_parts_mut(memory.address as *mut u8, bytes) };
            assert!(block.iter().all(|&byte| byte == 0), "{bytes}");
            block.fill(0xff);
            release(memory);
        }
        assert!(allocate(usize::MAX - 100).is_none());
        assert!(allocate(1 << 60).is_none());
    }
}
