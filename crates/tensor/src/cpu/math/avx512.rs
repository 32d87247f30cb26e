//! [`super::dot`] in vectors of sixteen, with the same bits.
//!
//! The compiler takes a sum of known length apart into single lanes, some ten times as many instructions.

use std::arch::x86_64::{
    __m512, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps, _mm256_add_ps,
    _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_maskz_loadu_epi16, _mm512_add_ps, _mm512_castps512_ps256,
    _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_extractf32x8_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps,
    _mm512_setzero_ps, _mm512_slli_epi32,
};

use super::LANES;
use crate::cpu::elem::Elem;
use crate::dtype::DType;

/// The first `count` of sixteen elements, 0 for the others.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VL; the elements are there.
#[inline(always)]
unsafe fn load<T: Elem>(x: *const T, count: usize) -> __m512 {
    let mask = u16::MAX >> (LANES - count);
    // SAFETY: the caller's promise; what the mask leaves out is not read.
    unsafe {
        if T::DTYPE == DType::Bf16 {
            let halves = _mm256_maskz_loadu_epi16(mask, x.cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        } else {
            _mm512_maskz_loadu_ps(mask, x.cast())
        }
    }
}

/// # Safety
/// The CPU has AVX-512 F, BW, DQ and VL; both have `len` elements.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn dot<A: Elem, B: Elem>(a: *const A, b: *const B, len: usize) -> f32 {
    let mut lanes = _mm512_setzero_ps();
    let whole = len - len % LANES;
    // SAFETY: the caller's promise.
    unsafe {
        for i in (0..whole).step_by(LANES) {
            lanes = _mm512_add_ps(lanes, _mm512_mul_ps(load(a.add(i), LANES), load(b.add(i), LANES)));
        }
        if whole < len {
            let rest = len - whole;
            let products = _mm512_mul_ps(load(a.add(whole), rest), load(b.add(whole), rest));
            lanes = _mm512_add_ps(lanes, products);
        }
    }
    // As a tree.
    let eight = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps::<1>(lanes));
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}
