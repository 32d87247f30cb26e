//! Microkernels for AVX-512: 12 × 32, 24 of 32 registers as accumulators.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps,
    _mm512_loadu_epi32, _mm512_loadu_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};
use std::mem::transmute;

use super::{A_STRIDE, Kernel, MAX_K, heights};

const MR: usize = 12;
const NR: usize = 32;

pub(super) const F32: Kernel = Kernel {
    mr: MR,
    nr: NR,
    by_rows: heights!(micro_f32, A_STRIDE, 1; 1 2 3 4 5 6 7 8 9 10 11 12),
    by_k: heights!(micro_f32, 1, MR; 1 2 3 4 5 6 7 8 9 10 11 12),
    max_k: MAX_K,
    tiles: None,
};

pub(super) const BF16: Kernel = Kernel {
    mr: MR,
    nr: NR,
    by_rows: heights!(micro_bf16, A_STRIDE, 1; 1 2 3 4 5 6 7 8 9 10 11 12),
    by_k: heights!(micro_bf16, 1, MR; 1 2 3 4 5 6 7 8 9 10 11 12),
    max_k: MAX_K,
    tiles: None,
};

/// # Safety
/// See [`super::Micro`].
#[target_feature(enable = "avx512f")]
unsafe fn micro_f32<const HEIGHT: usize, const ROW: usize, const STEP: usize>(
    units: usize,
    a: *const u32,
    b: *const u32,
    c: *mut f32,
    c_stride: usize,
    add: bool,
) {
    let mut sum = [[_mm512_setzero_ps(); 2]; HEIGHT];
    // SAFETY: A and B hold `units`, C has `HEIGHT` rows of `NR` (the caller's promise).
    unsafe {
        let (a, b) = (a.cast::<f32>(), b.cast::<f32>());
        expect::<HEIGHT>(c, c_stride);
        for unit in 0..units {
            let b0 = _mm512_loadu_ps(b.add(unit * NR));
            let b1 = _mm512_loadu_ps(b.add(unit * NR + 16));
            for (row, sum) in sum.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*a.add(row * ROW + unit * STEP));
                sum[0] = _mm512_fmadd_ps(x, b0, sum[0]);
                sum[1] = _mm512_fmadd_ps(x, b1, sum[1]);
            }
        }
        store(&sum, c, c_stride, add);
    }
}

/// # Safety
/// See [`super::Micro`].
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn micro_bf16<const HEIGHT: usize, const ROW: usize, const STEP: usize>(
    units: usize,
    a: *const u32,
    b: *const u32,
    c: *mut f32,
    c_stride: usize,
    add: bool,
) {
    let mut sum = [[_mm512_setzero_ps(); 2]; HEIGHT];
    // SAFETY: A and B hold `units`, C has `HEIGHT` rows of `NR` (the caller's promise);
    // the transmutes rename vectors of 512 bits.
    unsafe {
        expect::<HEIGHT>(c, c_stride);
        for unit in 0..units {
            let b = b.add(unit * NR).cast::<i32>();
            let b0 = transmute::<__m512i, __m512bh>(_mm512_loadu_epi32(b));
            let b1 = transmute::<__m512i, __m512bh>(_mm512_loadu_epi32(b.add(16)));
            for (row, sum) in sum.iter_mut().enumerate() {
                let x = _mm512_set1_epi32((*a.add(row * ROW + unit * STEP)).cast_signed());
                let x = transmute::<__m512i, __m512bh>(x);
                sum[0] = _mm512_dpbf16_ps(sum[0], x, b0);
                sum[1] = _mm512_dpbf16_ps(sum[1], x, b1);
            }
        }
        store(&sum, c, c_stride, add);
    }
}

/// Asks for the rows of C, which are needed when the block has been multiplied.
#[inline]
#[target_feature(enable = "avx512f")]
fn expect<const HEIGHT: usize>(c: *const f32, c_stride: usize) {
    for row in 0..HEIGHT {
        let c = c.wrapping_add(row * c_stride).cast::<i8>();
        _mm_prefetch::<_MM_HINT_T0>(c);
        _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(64));
    }
}

/// # Safety
/// C has a row of `NR` for each of `sum`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(sum: &[[__m512; 2]], c: *mut f32, c_stride: usize, add: bool) {
    for (row, sum) in sum.iter().enumerate() {
        for (half, &sum) in sum.iter().enumerate() {
            // SAFETY: inside those rows.
            unsafe {
                let c = c.add(row * c_stride + half * 16);
                let sum = if add {
                    _mm512_add_ps(_mm512_loadu_ps(c), sum)
                } else {
                    sum
                };
                _mm512_storeu_ps(c, sum);
            }
        }
    }
}
