//! Microkernel in plain Rust, left to the compiler to vectorise.

use super::{A_STRIDE, Kernel, heights};

/// Small enough for 16 registers of 128 bits, large enough for the 32 of AArch64.
const MR: usize = if cfg!(target_arch = "aarch64") { 8 } else { 4 };
const NR: usize = 8;

pub(super) const F32: Kernel = Kernel {
    mr: MR,
    nr: NR,
    by_rows: heights!(micro, A_STRIDE, 1; 1 2 3 4 5 6 7 8),
    by_k: heights!(micro, 1, MR; 1 2 3 4 5 6 7 8),
    strided: &[],
    streaming: &[],
    max_k: 256,
    tiles: None,
};

/// Fused where the target always has it; elsewhere `mul_add` is a library call.
#[inline(always)]
pub(in crate::cpu::matmul) fn multiply_add(x: f32, y: f32, sum: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        x.mul_add(y, sum)
    } else {
        x * y + sum
    }
}

/// # Safety
/// See [`super::Micro`].
unsafe fn micro<const HEIGHT: usize, const ROW: usize, const STEP: usize>(
    units: usize,
    a: *const u32,
    b: *const u32,
    c: *mut f32,
    c_stride: usize,
    add: bool,
    _: *const u32,
) {
    let (a, b) = (a.cast::<f32>(), b.cast::<f32>());
    let mut sum = [[0.0_f32; NR]; HEIGHT];
    for unit in 0..units {
        // SAFETY: panels of B hold `units * NR` numbers.
        let b: [f32; NR] = unsafe { b.add(unit * NR).cast::<[f32; NR]>().read() };
        for (row, sum) in sum.iter_mut().enumerate() {
            // SAFETY: A holds `units` for each of the rows in this layout.
            let x = unsafe { *a.add(row * ROW + unit * STEP) };
            for (sum, y) in sum.iter_mut().zip(b) {
                *sum = multiply_add(x, y, *sum);
            }
        }
    }
    for (row, sum) in sum.iter().enumerate() {
        // SAFETY: C has `HEIGHT` rows of `NR`, `c_stride` apart, ours alone.
        let c = unsafe { &mut *c.add(row * c_stride).cast::<[f32; NR]>() };
        for (c, sum) in c.iter_mut().zip(sum) {
            *c = if add { *c + sum } else { *sum };
        }
    }
}
