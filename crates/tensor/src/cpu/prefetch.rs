//! Asking for memory before it is read, a cache line at a time.
//!
//! Nothing is read and any address may be named; where the processor's instruction is not known, nothing happens.
//!
//! Must never know what lies there.

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// Asks for `bytes` from `start` on, to be in the first-level cache.
#[inline(always)]
pub(super) fn first_level<T>(start: *const T, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..bytes).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, which reads nothing and may name any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.cast::<i8>().wrapping_add(at)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, bytes);
}

/// Asks for `bytes` from `start` on, to be in the second-level cache.
#[inline(always)]
pub(super) fn second_level<T>(start: *const T, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..bytes).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: as in `first_level`.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(start.cast::<i8>().wrapping_add(at)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, bytes);
}
