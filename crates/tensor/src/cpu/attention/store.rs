//! Finished sums become elements of results.
//!
//! Must never know what they are sums of.

use crate::cpu::elem::Elem;
use crate::cpu::matmul::Micros;
#[cfg(target_arch = "x86_64")]
use crate::dtype::DType;

/// `to = sums · factor`, rounded as the results of products are.
#[inline]
pub(super) fn scaled<T: Elem>(micros: &Micros, sums: &[f32], factor: f32, to: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    if micros.pairs() && T::DTYPE == DType::Bf16 {
        assert!(sums.len() >= to.len());
        // SAFETY: the level has products of pairs; there are as many sums as elements, which are bf16.
        return unsafe { avx512::scaled(sums.as_ptr(), factor, to.as_mut_ptr().cast(), to.len()) };
    }
    micros.isa.vectorize(
        #[inline(always)]
        || {
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = T::from_f32(sum * factor);
            }
        },
    );
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_mask_storeu_epi16,
        _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_storeu_si512,
    };
    use std::mem::transmute;

    /// # Safety
    /// The CPU has these features; there are `len` sums and elements.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn scaled(sums: *const f32, factor: f32, to: *mut i16, len: usize) {
        let factor = _mm512_set1_ps(factor);
        // SAFETY: as many sums as elements, and what lies outside a mask is neither read nor written; the transmute renames a
        // vector of 512 bits.
        unsafe {
            let round = |low: __m512, high: __m512| {
                let pairs = _mm512_cvtne2ps_pbh(_mm512_mul_ps(high, factor), _mm512_mul_ps(low, factor));
                transmute::<__m512bh, __m512i>(pairs)
            };
            let whole = len - len % 32;
            for start in (0..whole).step_by(32) {
                let sums = sums.add(start);
                let pairs = round(_mm512_loadu_ps(sums), _mm512_loadu_ps(sums.add(16)));
                _mm512_storeu_si512(to.add(start).cast(), pairs);
            }
            if whole < len {
                let mask = u32::MAX >> (32 - (len - whole));
                let low = _mm512_maskz_loadu_ps(mask as u16, sums.add(whole));
                let high = _mm512_maskz_loadu_ps((mask >> 16) as u16, sums.wrapping_add(whole + 16));
                _mm512_mask_storeu_epi16(to.add(whole), mask, round(low, high));
            }
        }
    }
}
