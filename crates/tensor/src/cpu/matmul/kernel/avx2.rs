//! Microkernel for AVX2 and FMA: 6 × 16, 12 of 16 registers as accumulators.

use std::arch::x86_64::{
    _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

use super::{A_STRIDE, Kernel, heights};

const MR: usize = 6;
const NR: usize = 16;

pub(super) const F32: Kernel = Kernel {
    mr: MR,
    nr: NR,
    by_rows: heights!(micro, A_STRIDE, 1; 1 2 3 4 5 6),
    by_k: heights!(micro, 1, MR; 1 2 3 4 5 6),
    strided: &[],
    streaming: &[],
    max_k: 256,
    tiles: None,
};

/// # Safety
/// See [`super::Micro`].
#[target_feature(enable = "avx2,fma")]
unsafe fn micro<const HEIGHT: usize, const ROW: usize, const STEP: usize>(
    units: usize,
    a: *const u32,
    b: *const u32,
    c: *mut f32,
    c_stride: usize,
    add: bool,
    _: *const u32,
) {
    let mut sum = [[_mm256_setzero_ps(); 2]; HEIGHT];
    // SAFETY: A and B hold `units`, C has `HEIGHT` rows of `NR` (the caller's promise).
    unsafe {
        let (a, b) = (a.cast::<f32>(), b.cast::<f32>());
        for unit in 0..units {
            let b0 = _mm256_loadu_ps(b.add(unit * NR));
            let b1 = _mm256_loadu_ps(b.add(unit * NR + 8));
            for (row, sum) in sum.iter_mut().enumerate() {
                let x = _mm256_set1_ps(*a.add(row * ROW + unit * STEP));
                sum[0] = _mm256_fmadd_ps(x, b0, sum[0]);
                sum[1] = _mm256_fmadd_ps(x, b1, sum[1]);
            }
        }
        for (row, sum) in sum.iter().enumerate() {
            for (half, &sum) in sum.iter().enumerate() {
                let c = c.add(row * c_stride + half * 8);
                let sum = if add {
                    _mm256_add_ps(_mm256_loadu_ps(c), sum)
                } else {
                    sum
                };
                _mm256_storeu_ps(c, sum);
            }
        }
    }
}
