//! The rows of [`super`] in vectors of sixteen, two of them at a time: a row has a multiple of 32 elements.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_add_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps,
    _mm512_fmadd_ps, _mm512_fmsub_ps, _mm512_loadu_ps, _mm512_maskz_loadu_epi16, _mm512_max_ps, _mm512_mul_ps,
    _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_reduce_ps, _mm512_scalef_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_sub_ps,
};
use std::mem::transmute;

use super::{Scores, Statistics, Weights};
use crate::cpu::prefetch::LINE;

/// # Safety
/// The CPU has AVX-512 F, DQ and BF16.
#[target_feature(enable = "avx512f,avx512dq,avx512bf16")]
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
/// The CPU has AVX-512 F and DQ.
#[target_feature(enable = "avx512f,avx512dq")]
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
/// The CPU has AVX-512 F, DQ and BF16.
#[target_feature(enable = "avx512f,avx512dq,avx512bf16")]
pub(super) unsafe fn gradients_pairs<const ROWS: usize>(
    of_scores: (Scores<'_>, &[f32]),
    of: Statistics<'_>,
    c: f32,
    p_out: &mut Weights<'_>,
    ds_out: &mut Weights<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe { gradients::<true, ROWS>(of_scores, of, c, p_out, ds_out) }
}

/// # Safety
/// The CPU has AVX-512 F and DQ.
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) unsafe fn gradients_wide<const ROWS: usize>(
    of_scores: (Scores<'_>, &[f32]),
    of: Statistics<'_>,
    c: f32,
    p_out: &mut Weights<'_>,
    ds_out: &mut Weights<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe { gradients::<false, ROWS>(of_scores, of, c, p_out, ds_out) }
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

/// (2ʳ − 1)/r for 0 ≤ r < 1 within 9·10⁻⁸ of 2ʳ, highest power first.
const COEFFICIENTS: [f32; 5] = [
    1.867_130_2e-3,
    9.017_03e-3,
    5.579_991_3e-2,
    2.401_644_4e-1,
    6.931_513e-1,
];

/// `2ˣ` within 3 ulp, 0 for −∞, not a number for what is none: the CPU takes numbers apart and puts them together.
///
/// # Safety
/// AVX-512 F and DQ.
#[inline(always)]
unsafe fn exp2(x: __m512) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        // What stands behind the point, rounding down.
        let r = _mm512_reduce_ps::<0x09>(x);
        let mut p = _mm512_set1_ps(COEFFICIENTS[0]);
        for &c in &COEFFICIENTS[1..] {
            p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
        }
        // It rounds the exponent down by itself.
        _mm512_scalef_ps(_mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0)), x)
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
        let (c, below) = (_mm512_set1_ps(c), largest.map(|largest| _mm512_set1_ps(largest * c)));
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
                    *p = exp2(_mm512_fmsub_ps(load(row, i + 16 * half), c, below[row]));
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
unsafe fn gradients<const PAIRS: bool, const ROWS: usize>(
    (scores, dp): (Scores<'_>, &[f32]),
    of: Statistics<'_>,
    c: f32,
    p_out: &mut Weights<'_>,
    ds_out: &mut Weights<'_>,
) {
    let per_unit = if PAIRS { 2 } else { 1 };
    let Scores { numbers, stride, len } = scores;
    let end = (ROWS - 1) * stride + len;
    assert!(len.is_multiple_of(32) && numbers.len() >= end && dp.len() >= end);
    assert!(of.logsumexp.len() >= len && of.along.len() >= len);
    for out in [&*p_out, &*ds_out] {
        assert!(out.units.len() >= (ROWS - 1) * out.stride + len / per_unit);
    }
    // SAFETY: every access lies inside the slices by the assertions.
    unsafe {
        let load = |x: &[f32], at: usize| _mm512_loadu_ps(x.as_ptr().add(at));
        let c = _mm512_set1_ps(c);
        for i in (0..len).step_by(32) {
            let (logsumexp, along) = (
                [0, 16].map(|half| load(of.logsumexp, i + half)),
                [0, 16].map(|half| load(of.along, i + half)),
            );
            for row in 0..ROWS {
                let (mut p, mut ds) = ([_mm512_setzero_ps(); 2], [_mm512_setzero_ps(); 2]);
                for half in 0..2 {
                    let at = row * stride + i + 16 * half;
                    p[half] = exp2(_mm512_fmsub_ps(load(numbers, at), c, logsumexp[half]));
                    ds[half] = _mm512_mul_ps(p[half], _mm512_sub_ps(load(dp, at), along[half]));
                }
                store::<PAIRS>(p, p_out.units.as_mut_ptr().add(row * p_out.stride + i / per_unit));
                store::<PAIRS>(ds, ds_out.units.as_mut_ptr().add(row * ds_out.stride + i / per_unit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::Isa;

    fn powers(x: [f32; 16]) -> [f32; 16] {
        #[target_feature(enable = "avx512f,avx512dq")]
        fn vector(x: [f32; 16]) -> [f32; 16] {
            let mut y = [0.0; 16];
            // SAFETY: sixteen numbers on both sides; the level is there.
            unsafe { _mm512_storeu_ps(y.as_mut_ptr(), exp2(_mm512_loadu_ps(x.as_ptr()))) };
            y
        }
        // SAFETY: the tests below ask for the level.
        unsafe { vector(x) }
    }

    #[test]
    fn powers_of_two_are_right_within_three_ulp() {
        if !Isa::Avx512.is_supported() {
            return;
        }
        for first in (-1260..1260).step_by(16) {
            let x: [f32; 16] = std::array::from_fn(|i| (first + i as i32) as f32 * 0.099_98);
            for (x, y) in x.into_iter().zip(powers(x)) {
                let exact = f64::from(x).exp2();
                assert!((f64::from(y) / exact - 1.0).abs() < 2e-7, "2^{x} is {exact}, not {y}");
            }
        }
        let mut x = [f32::NEG_INFINITY; 16];
        x[1..5].copy_from_slice(&[f32::NAN, 0.0, -1000.0, -3.0]);
        let y = powers(x);
        assert!(y[1].is_nan());
        assert_eq!((y[0], y[2], y[3], y[4], y[15]), (0.0, 1.0, 0.0, 0.125, 0.0));
    }
}
