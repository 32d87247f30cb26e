//! Host memory seen as slices: the only unsafe code of the oracle.
//!
//! Must never know what the numbers mean.

use crate::backend::{Buffer, Host, HostMut};
use crate::dtype::DType;

/// The elements of a float buffer.
pub(super) fn floats<'a>(buffer: Buffer) -> &'a [f64] {
    assert_eq!(buffer.dtype, DType::F64, "the oracle computes in float64");
    // SAFETY: the buffer is host memory of this type that lives through the kernel call, and the
    // seam's kernels write to no buffer they also read, but through the one slice that is to change in place.
    unsafe { buffer.host() }
}

/// The elements of a float buffer, to be changed.
pub(super) fn floats_mut<'a>(buffer: Buffer) -> &'a mut [f64] {
    assert_eq!(buffer.dtype, DType::F64, "the oracle computes in float64");
    // SAFETY: as in `floats`; each kernel makes one slice of each buffer that it changes.
    unsafe { buffer.host_mut() }
}

/// The elements of an index buffer.
pub(super) fn indices<'a>(buffer: Buffer) -> &'a [i32] {
    assert_eq!(buffer.dtype, DType::I32, "indices are int32");
    // SAFETY: as in `floats`.
    unsafe { buffer.host() }
}

fn indices_mut<'a>(buffer: Buffer) -> &'a mut [i32] {
    assert_eq!(buffer.dtype, DType::I32, "indices are int32");
    // SAFETY: as in `floats_mut`.
    unsafe { buffer.host_mut() }
}

/// Host to buffer.
pub(super) fn upload(from: Host, to: Buffer) {
    match from {
        Host::F32(values) => {
            for (to, &from) in floats_mut(to).iter_mut().zip(values) {
                *to = f64::from(from);
            }
        }
        Host::F64(values) => floats_mut(to).copy_from_slice(values),
        Host::I32(values) => indices_mut(to).copy_from_slice(values),
    }
}

/// Buffer to host.
pub(super) fn download(from: Buffer, to: HostMut) {
    match to {
        HostMut::F32(values) => {
            for (to, &from) in values.iter_mut().zip(floats(from)) {
                *to = from as f32;
            }
        }
        HostMut::F64(values) => values.copy_from_slice(floats(from)),
    }
}

/// Sets every element.
pub(super) fn fill(to: Buffer, value: f32) {
    if to.dtype == DType::I32 {
        indices_mut(to).fill(value as i32);
    } else {
        floats_mut(to).fill(f64::from(value));
    }
}

/// Buffer to buffer of the same type.
pub(super) fn copy(from: Buffer, to: Buffer) {
    if to.dtype == DType::I32 {
        indices_mut(to).copy_from_slice(indices(from));
    } else {
        floats_mut(to).copy_from_slice(floats(from));
    }
}
