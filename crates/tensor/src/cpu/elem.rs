//! Element types of CPU kernels: every kernel is written once over [`Elem`], computes in `f32`
//! and is compiled for `f32` and bf16 storage.
//!
//! Must never know an operation.

use std::marker::PhantomData;
use std::ops::Range;

use half::bf16;

pub(crate) use super::matmul::Element;
use super::matmul::{MatrixMut, MatrixRef, View, ViewMut};
use crate::backend::Buffer;
use crate::dtype::DType;

/// A storage type of compute buffers; its conversions to and from `f32` are those of [`Element`].
pub(crate) trait Elem: Element + AnyBits {
    /// Its name at run time.
    const DTYPE: DType;
    /// A view as an operand of a matrix product.
    fn matrix(view: View<'_, Self>) -> MatrixRef<'_>;
    /// A view as the result of a matrix product.
    fn matrix_mut(view: ViewMut<'_, Self>) -> MatrixMut<'_>;
}

impl Elem for f32 {
    const DTYPE: DType = DType::F32;
    fn matrix(view: View<'_, Self>) -> MatrixRef<'_> {
        view.into()
    }
    fn matrix_mut(view: ViewMut<'_, Self>) -> MatrixMut<'_> {
        view.into()
    }
}

impl Elem for bf16 {
    const DTYPE: DType = DType::Bf16;
    fn matrix(view: View<'_, Self>) -> MatrixRef<'_> {
        view.into()
    }
    fn matrix_mut(view: ViewMut<'_, Self>) -> MatrixMut<'_> {
        view.into()
    }
}

/// Runs a body with `$T` bound to the Rust type of a compute buffer.
macro_rules! with_elem {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::dtype::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::dtype::DType::Bf16 => {
                type $T = half::bf16;
                $body
            }
            other => unreachable!("the CPU does not compute in {}", other.name()),
        }
    };
}
pub(crate) use with_elem;

/// A number of which any bits are a value, so that scratch memory may hold now this one and now that one.
///
/// # Safety
/// Just that, and nothing between the bits.
pub(crate) unsafe trait AnyBits: Copy {}
// SAFETY: as the trait says.
unsafe impl AnyBits for f32 {}
// SAFETY: as the trait says.
unsafe impl AnyBits for bf16 {}
// SAFETY: as the trait says.
unsafe impl AnyBits for u32 {}

/// Memory under its other name; what does not fill the last number is left out.
pub(crate) fn seen_as<A: AnyBits, B: AnyBits>(memory: &[A]) -> &[B] {
    aligned_as(memory).expect("memory is aligned to what it holds")
}

/// [`seen_as`], or nothing where the memory does not begin as a `B` has to.
pub(crate) fn aligned_as<A: AnyBits, B: AnyBits>(memory: &[A]) -> Option<&[B]> {
    // SAFETY: any bits are a `B`.
    let (before, seen, _) = unsafe { memory.align_to() };
    before.is_empty().then_some(seen)
}

/// [`seen_as`], to be written to.
pub(crate) fn seen_as_mut<A: AnyBits, B: AnyBits>(memory: &mut [A]) -> &mut [B] {
    // SAFETY: any bits are a `B`, and any of its are an `A`.
    let (before, seen, _) = unsafe { memory.align_to_mut() };
    assert!(before.is_empty(), "memory is aligned to what it holds");
    seen
}

/// A buffer that several tasks write to, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: tasks reach the elements only through `range` and `part`, whose contracts keep parts disjoint.
unsafe impl<T: Send> Sync for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Parts<'a, T> {
        Parts {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            life: PhantomData,
        }
    }

    /// One part.
    ///
    /// # Safety
    /// No other live reference, in this or another task, overlaps the range.
    #[inline(always)]
    pub(crate) unsafe fn range(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: in bounds by the assertion, not aliased by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// One part by its first element and its length: where that is a constant, loops over the part know it.
    ///
    /// # Safety
    /// As [`Parts::range`].
    #[inline(always)]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: in bounds by the assertion, not aliased by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// Where an element lies, to be asked for ahead of time.
    #[inline(always)]
    pub(crate) fn at(&self, index: usize) -> *const T {
        self.start.wrapping_add(index)
    }

    /// Copies `len` elements from `source` of `from`, which may be the same buffer, to `target` of this one.
    ///
    /// # Safety
    /// No reference, in this or another task, reaches the elements that are written, and none that is read is written.
    pub(crate) unsafe fn copy(&self, target: usize, from: &Parts<'_, T>, source: usize, len: usize)
    where
        T: Copy,
    {
        assert!(target.saturating_add(len) <= self.len && source.saturating_add(len) <= from.len);
        // SAFETY: in bounds by the assertion, apart from each other by the contract.
        unsafe { std::ptr::copy_nonoverlapping(from.start.add(source), self.start.add(target), len) };
    }
}

/// Elements of an input buffer. The device gives kernels only buffers that it keeps alive, and
/// an output is never one of the inputs unless the kernel says "in place".
#[inline(always)]
pub(crate) fn input<'a, T: Elem>(buffer: Buffer) -> &'a [T] {
    assert_eq!(buffer.dtype, T::DTYPE, "element type of a kernel's input");
    // SAFETY: checked type; lifetime and aliasing as said above.
    unsafe { buffer.host() }
}

/// Indices of an input buffer; as [`input`].
#[inline(always)]
pub(crate) fn indices<'a>(buffer: Buffer) -> &'a [i32] {
    assert_eq!(buffer.dtype, DType::I32, "element type of a kernel's indices");
    // SAFETY: as in `input`.
    unsafe { buffer.host() }
}

/// Elements of an output buffer; as [`input`].
#[inline(always)]
pub(crate) fn output<'a, T: Elem>(buffer: Buffer) -> &'a mut [T] {
    assert_eq!(buffer.dtype, T::DTYPE, "element type of a kernel's output");
    // SAFETY: as in `input`.
    unsafe { buffer.host_mut() }
}

/// [`output`], to be shared out among tasks.
pub(crate) fn parts<'a, T: Elem>(buffer: Buffer) -> Parts<'a, T> {
    Parts::new(output(buffer))
}
