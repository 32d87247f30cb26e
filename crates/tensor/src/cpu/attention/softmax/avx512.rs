//! The rows of [`super`] in vectors of sixteen, two at a time: a row has a multiple of 32 elements.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _CMP_NLT_UQ, _MM_HINT_T1, _mm_prefetch, _mm512_add_epi32, _mm512_add_ps,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps,
    _mm512_fmadd_ps, _mm512_fmsub_ps, _mm512_loadu_ps, _mm512_maskz_loadu_epi16, _mm512_maskz_mov_ps, _mm512_max_ps,
    _mm512_mul_ps, _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_sub_ps,
};
use std::mem::transmute;

use super::{COEFFICIENTS, ROUND, Scores, Statistics, Weights};
use crate::cpu::prefetch::LINE;

/// # Safety
/// The CPU has AVX-512 F and BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn probabilities_pairs<const ROWS: usize>(
    rows: Scores<'_>,
    c: f32,
    out: &mut Weights<'_>,
    ahead: *const i8,
) -> [(f32, f32); ROWS] {
    // SAFETY: the caller's promise.
    unsafe { probabilities::<true, ROWS>(rows, c, out, ahead) }
}

/// # Safety
/// The CPU has AVX-512 F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn probabilities_wide<const ROWS: usize>(
    rows: Scores<'_>,
    c: f32,
    out: &mut Weights<'_>,
    ahead: *const i8,
) -> [(f32, f32); ROWS] {
    // SAFETY: the caller's promise.
    unsafe { probabilities::<false, ROWS>(rows, c, out, ahead) }
}

/// # Safety
/// The CPU has AVX-512 F and BF16; all slices have the length of `scores`, `p_out` and `ds_out` half of it.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn gradients_pairs(
    scores: &[f32],
    dp: &[f32],
    of: Statistics<'_>,
    c: f32,
    p_out: &mut [u32],
    ds_out: &mut [u32],
) {
    // SAFETY: the caller's promise.
    unsafe { gradients::<true>(scores, dp, of, c, p_out, ds_out) }
}

/// # Safety
/// The CPU has AVX-512 F; all slices have the length of `scores`.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn gradients_wide(
    scores: &[f32],
    dp: &[f32],
    of: Statistics<'_>,
    c: f32,
    p_out: &mut [u32],
    ds_out: &mut [u32],
) {
    // SAFETY: the caller's promise.
    unsafe { gradients::<false>(scores, dp, of, c, p_out, ds_out) }
}

/// # Safety
/// The CPU has AVX-512 F, BW and BF16; the elements are bf16, as many in both.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn along_pairs(a: &[u16], b: &[u16]) -> f32 {
    assert_eq!(a.len(), b.len());
    let mut sum = _mm512_setzero_ps();
    for i in (0..a.len()).step_by(32) {
        let mask = u32::MAX >> (32 - (a.len() - i).min(32));
        // SAFETY: the mask ends where the slices do; the transmutes rename vectors of 512 bits.
        unsafe {
            let load =
                |x: &[u16]| transmute::<__m512i, __m512bh>(_mm512_maskz_loadu_epi16(mask, x.as_ptr().add(i).cast()));
            sum = _mm512_dpbf16_ps(sum, load(a), load(b));
        }
    }
    _mm512_reduce_add_ps(sum)
}

/// [`super::exp2`], fused.
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn exp2(x: __m512) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let round = _mm512_set1_ps(ROUND);
        let shifted = _mm512_add_ps(x, round);
        let r = _mm512_sub_ps(x, _mm512_sub_ps(shifted, round));
        let mut p = _mm512_set1_ps(COEFFICIENTS[0]);
        for &c in &COEFFICIENTS[1..] {
            p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
        }
        let y = _mm512_castps_si512(_mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0)));
        let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
        let scaled = _mm512_castsi512_ps(_mm512_add_epi32(y, exponent));
        // Not a number is not less and stays.
        let normal = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(-126.0));
        _mm512_maskz_mov_ps(normal, scaled)
    }
}

/// Stores 32 numbers as units.
///
/// # Safety
/// AVX-512 F, for pairs BF16; `out` has room for 32 units, in pairs 16.
#[inline(always)]
unsafe fn store<const PAIRS: bool>(x: [__m512; 2], out: *mut u32) {
    // SAFETY: the caller's promise; the transmute renames a vector of 512 bits.
    unsafe {
        if PAIRS {
            let pairs = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(x[1], x[0]));
            _mm512_storeu_si512(out.cast(), pairs);
        } else {
            _mm512_storeu_ps(out.cast(), x[0]);
            _mm512_storeu_ps(out.cast::<f32>().add(16), x[1]);
        }
    }
}

/// Rows side by side, so that one goes on while another waits for its largest score; each is what it is alone.
///
/// # Safety
/// As the functions above.
#[inline(always)]
unsafe fn probabilities<const PAIRS: bool, const ROWS: usize>(
    rows: Scores<'_>,
    c: f32,
    out: &mut Weights<'_>,
    ahead: *const i8,
) -> [(f32, f32); ROWS] {
    let per_unit = if PAIRS { 2 } else { 1 };
    let (len, last) = (rows.len, ROWS - 1);
    assert!(len.is_multiple_of(32) && rows.numbers.len() >= last * rows.stride + len);
    assert!(out.units.len() >= last * out.stride + len / per_unit);
    // SAFETY: every access lies inside the slices by the assertions; a prefetch reads nothing.
    unsafe {
        let load = |row: usize, i: usize| _mm512_loadu_ps(rows.numbers.as_ptr().add(row * rows.stride + i));
        let mut tops = [[_mm512_set1_ps(f32::NEG_INFINITY); 2]; ROWS];
        for i in (0..len).step_by(32) {
            for (row, tops) in tops.iter_mut().enumerate() {
                for (half, top) in tops.iter_mut().enumerate() {
                    // The second operand where the first is not a number.
                    *top = _mm512_max_ps(load(row, i + 16 * half), *top);
                }
            }
        }
        let largest = tops.map(|tops| _mm512_reduce_max_ps(_mm512_max_ps(tops[0], tops[1])));
        let c = _mm512_set1_ps(c);
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for i in (0..len).step_by(32) {
            if !ahead.is_null() {
                for line in 0..ROWS {
                    _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add((i / 32 * ROWS + line) * LINE));
                }
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let mut p = [_mm512_setzero_ps(); 2];
                for (half, (p, sum)) in p.iter_mut().zip(sums).enumerate() {
                    let s = load(row, i + 16 * half);
                    *p = exp2(_mm512_mul_ps(_mm512_sub_ps(s, _mm512_set1_ps(largest[row])), c));
                    *sum = _mm512_add_ps(*sum, *p);
                }
                store::<PAIRS>(p, out.units.as_mut_ptr().add(row * out.stride + i / per_unit));
            }
        }
        let mut parts = [(0.0, 0.0); ROWS];
        for ((part, largest), sums) in parts.iter_mut().zip(largest).zip(sums) {
            *part = (largest, _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1])));
        }
        parts
    }
}

/// # Safety
/// As the functions above.
#[inline(always)]
unsafe fn gradients<const PAIRS: bool>(
    scores: &[f32],
    dp: &[f32],
    of: Statistics<'_>,
    c: f32,
    p_out: &mut [u32],
    ds_out: &mut [u32],
) {
    let (len, per_unit) = (scores.len(), if PAIRS { 2 } else { 1 });
    assert!(len.is_multiple_of(32) && dp.len() >= len && of.logsumexp.len() >= len && of.along.len() >= len);
    assert!(p_out.len() * per_unit >= len && ds_out.len() * per_unit >= len);
    // SAFETY: every access lies inside the slices by the assertions.
    unsafe {
        let c = _mm512_set1_ps(c);
        for i in (0..len).step_by(32) {
            let (mut p, mut ds) = ([_mm512_setzero_ps(); 2], [_mm512_setzero_ps(); 2]);
            for half in 0..2 {
                let load = |x: &[f32]| _mm512_loadu_ps(x.as_ptr().add(i + 16 * half));
                p[half] = exp2(_mm512_fmsub_ps(load(scores), c, load(of.logsumexp)));
                ds[half] = _mm512_mul_ps(p[half], _mm512_sub_ps(load(dp), load(of.along)));
            }
            store::<PAIRS>(p, p_out.as_mut_ptr().add(i / per_unit));
            store::<PAIRS>(ds, ds_out.as_mut_ptr().add(i / per_unit));
        }
    }
}
