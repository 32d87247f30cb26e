//! One row of A times a B whose rows are contiguous: B is read where it lies, because packing would cost more than
//! the product. This is what decoding does with the values of a KV cache.
//!
//! The sums are those of the microkernels: one accumulator per element, k rising, fused where they are.

use super::kernel::portable;
use super::view::{Element, MatrixRef, View};
use crate::cpu::isa::Isa;

/// Whether [`multiply`] takes this B: its rows are contiguous.
pub(super) fn takes(b: &MatrixRef<'_>) -> bool {
    match b {
        MatrixRef::F32(view) => view.col_stride == 1,
        MatrixRef::Bf16(view) => view.col_stride == 1,
    }
}

/// Adds (`add`) or writes to `acc` the product of the row `a`, units of f32, and `b` `[units, columns]`.
pub(super) fn multiply(isa: Isa, a: &[u32], b: MatrixRef<'_>, acc: &mut [f32], add: bool) {
    match (b, isa) {
        (MatrixRef::F32(b), Isa::Portable) => columns::<_, false>(a, &b, acc, add),
        (MatrixRef::Bf16(b), Isa::Portable) => columns::<_, false>(a, &b, acc, add),
        (MatrixRef::F32(b), _) => isa.vectorize(
            #[inline(always)]
            || columns::<_, true>(a, &b, acc, add),
        ),
        (MatrixRef::Bf16(b), _) => isa.vectorize(
            #[inline(always)]
            || columns::<_, true>(a, &b, acc, add),
        ),
    }
}

#[inline(always)]
fn columns<S: Element, const FUSED: bool>(a: &[u32], b: &View<'_, S>, acc: &mut [f32], add: bool) {
    let mut left = 0;
    while left < b.cols {
        left += match b.cols - left {
            32.. => strip::<S, FUSED, 32>(a, b, left, acc, add),
            8.. => strip::<S, FUSED, 8>(a, b, left, acc, add),
            _ => strip::<S, FUSED, 1>(a, b, left, acc, add),
        };
    }
}

/// `WIDTH` columns from `left` on, their sums in registers.
#[inline(always)]
fn strip<S: Element, const FUSED: bool, const WIDTH: usize>(
    a: &[u32],
    b: &View<'_, S>,
    left: usize,
    acc: &mut [f32],
    add: bool,
) -> usize {
    let mut sums = [0.0_f32; WIDTH];
    for (k, &x) in a.iter().enumerate().take(b.rows) {
        let x = f32::from_bits(x);
        let row = &b.data[k * b.row_stride + left..][..WIDTH];
        for (sum, y) in sums.iter_mut().zip(row) {
            let y = y.to_f32();
            *sum = if FUSED {
                x.mul_add(y, *sum)
            } else {
                portable::multiply_add(x, y, *sum)
            };
        }
    }
    for (acc, sum) in acc[left..left + WIDTH].iter_mut().zip(sums) {
        *acc = if add { *acc + sum } else { sum };
    }
    WIDTH
}
