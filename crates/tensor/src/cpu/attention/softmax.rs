//! The elementwise middle of attention, row by row: scores become probabilities, written at once as left operands of
//! the next product.
//!
//! Must never know heads, positions or products.

#[cfg(target_arch = "x86_64")]
mod avx512;

use std::ops::Range;

use super::STEP;
use crate::cpu::elem::Elem;
use crate::cpu::isa::Isa;
use crate::cpu::math::{dot, max, sum_by};
use crate::cpu::matmul::Micros;
use crate::cpu::prefetch::LINE;
use crate::dtype::DType;

/// `2ˣ` within 2 ulp for −126 ≤ x ≤ 127; 0 below. The bits differ between levels with and without fused operations.
#[inline(always)]
pub(super) fn exp2<const FUSED: bool>(x: f32) -> f32 {
    let fma = |a: f32, b: f32, c: f32| if FUSED { a.mul_add(b, c) } else { a * b + c };
    let shifted = x + ROUND;
    let r = x - (shifted - ROUND);
    let mut p = COEFFICIENTS[0];
    for &c in &COEFFICIENTS[1..] {
        p = fma(p, r, c);
    }
    let y = fma(p, r, 1.0);
    let scaled = f32::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23));
    // Not `x >= -126.0`: not a number stays that.
    if x < -126.0 { 0.0 } else { scaled }
}

/// 1.5·2²³: adding it rounds to an integer, which the low bits then hold.
const ROUND: f32 = 12_582_912.0;
/// (2ʳ − 1)/r for |r| ≤ ½ (Cephes), highest power first.
const COEFFICIENTS: [f32; 6] = [
    1.535_336_2e-4,
    1.339_887_4e-3,
    9.618_437e-3,
    5.550_332_6e-2,
    2.402_264_8e-1,
    6.931_472e-1,
];

/// The larger of two numbers is subtracted before the other is raised: `2^((a − b)·c)` as the blocks of a row are joined by.
pub(super) fn factor(a: f32, b: f32, c: f32) -> f32 {
    exp2::<false>((a - b) * c)
}

/// Whether the level fuses multiplications with additions in plain code.
fn fused(isa: Isa) -> bool {
    isa != Isa::Portable
}

/// Rows of scores.
#[derive(Clone, Copy)]
pub(super) struct Scores<'a> {
    pub(super) numbers: &'a [f32],
    /// From one row to the next.
    pub(super) stride: usize,
    pub(super) len: usize,
}

/// Rows of a left operand.
pub(super) struct Weights<'a> {
    pub(super) units: &'a mut [u32],
    /// From one row to the next.
    pub(super) stride: usize,
}

/// Bytes of memory that are asked for meanwhile, per row of so many scores.
pub(super) fn asked_for(scores: usize) -> usize {
    scores / STEP * LINE
}

/// Probabilities of one query: for the scores in `seen`, `2^((s − largest)·c)` into the row `out` of a left operand, 0
/// for the others. Returns the largest score and the sum.
pub(super) fn probabilities(
    micros: &Micros,
    scores: &mut [f32],
    seen: &Range<usize>,
    c: f32,
    out: &mut [u32],
) -> (f32, f32) {
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    let len = scores.len();
    let rows = Scores {
        numbers: scores,
        stride: len,
        len,
    };
    let out = &mut Weights {
        units: out,
        stride: len,
    };
    let [part] = rows_of_probabilities(micros, rows, c, out, std::ptr::null());
    part
}

/// [`probabilities`] of several queries at once, of all their scores; they are the same as one by one. Meanwhile memory is asked for,
/// [`asked_for`] for each row from `ahead` on, if that is anything.
pub(super) fn rows_of_probabilities<const ROWS: usize>(
    micros: &Micros,
    rows: Scores<'_>,
    c: f32,
    out: &mut Weights<'_>,
    ahead: *const i8,
) -> [(f32, f32); ROWS] {
    let isa = micros.isa;
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        // SAFETY: `Micros::new` checked the level, which has bf16 where there are pairs.
        return unsafe {
            if micros.pairs() {
                avx512::probabilities_pairs(rows, c, out, ahead)
            } else {
                avx512::probabilities_wide(rows, c, out, ahead)
            }
        };
    }
    assert!(!micros.pairs(), "only AVX-512 has products of pairs");
    let _ = ahead;
    std::array::from_fn(|row| {
        let scores = &rows.numbers[row * rows.stride..][..rows.len];
        let out = &mut out.units[row * out.stride..][..rows.len];
        if fused(isa) {
            isa.vectorize(
                #[inline(always)]
                || plain_probabilities::<true>(scores, c, out),
            )
        } else {
            plain_probabilities::<false>(scores, c, out)
        }
    })
}

#[inline(always)]
fn plain_probabilities<const FUSED: bool>(scores: &[f32], c: f32, out: &mut [u32]) -> (f32, f32) {
    let largest = max(scores);
    for (out, &s) in out.iter_mut().zip(scores) {
        *out = exp2::<FUSED>((s - largest) * c).to_bits();
    }
    (largest, sum_by(out.len(), |i| f32::from_bits(out[i])))
}

/// `Σ dy·y` of one query.
#[inline(always)]
pub(super) fn along<T: Elem>(micros: &Micros, dy: &[T], y: &[T]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if micros.pairs() {
        let bf16s = |x: &[T]| {
            assert_eq!(T::DTYPE, DType::Bf16, "pairs are bf16");
            // SAFETY: checked type.
            unsafe { std::slice::from_raw_parts(x.as_ptr().cast::<u16>(), x.len()) }
        };
        // SAFETY: the level has products of pairs.
        return unsafe { avx512::along_pairs(bf16s(dy), bf16s(y)) };
    }
    dot(micros.isa, dy, y)
}

/// What the queries of a block add to the gradient of their scores.
#[derive(Clone, Copy)]
pub(super) struct Statistics<'a> {
    /// Log-sum-exp of the scaled scores, in powers of two.
    pub(super) logsumexp: &'a [f32],
    /// `Σ dy·y`.
    pub(super) along: &'a [f32],
}

/// Probabilities `p = 2^(s·c − logsumexp)` and gradients `p·(dp − along)` of the scores of one key with many
/// queries, those outside `seen` 0, into rows of left operands.
pub(super) fn gradients(
    micros: &Micros,
    (scores, dp): (&mut [f32], &[f32]),
    of: Statistics<'_>,
    seen: &Range<usize>,
    c: f32,
    (p_out, ds_out): (&mut [u32], &mut [u32]),
) {
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    let (len, units) = (scores.len(), micros.units(scores.len()));
    let (isa, dp, p_out, ds_out) = (micros.isa, &dp[..len], &mut p_out[..units], &mut ds_out[..units]);
    let of = Statistics {
        logsumexp: &of.logsumexp[..len],
        along: &of.along[..len],
    };
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        // SAFETY: as in `probabilities`; all slices have the length of `scores`.
        return unsafe {
            if micros.pairs() {
                avx512::gradients_pairs(scores, dp, of, c, p_out, ds_out);
            } else {
                avx512::gradients_wide(scores, dp, of, c, p_out, ds_out);
            }
        };
    }
    assert!(!micros.pairs(), "only AVX-512 has products of pairs");
    if fused(isa) {
        isa.vectorize(
            #[inline(always)]
            || plain_gradients::<true>(scores, dp, of, c, p_out, ds_out),
        );
    } else {
        plain_gradients::<false>(scores, dp, of, c, p_out, ds_out);
    }
}

#[inline(always)]
fn plain_gradients<const FUSED: bool>(
    scores: &[f32],
    dp: &[f32],
    of: Statistics<'_>,
    c: f32,
    p_out: &mut [u32],
    ds_out: &mut [u32],
) {
    let Statistics { logsumexp, along } = of;
    let len = scores.len();
    let (dp, logsumexp, along) = (&dp[..len], &logsumexp[..len], &along[..len]);
    let (p_out, ds_out) = (&mut p_out[..len], &mut ds_out[..len]);
    for i in 0..len {
        let p = exp2::<FUSED>(scores[i] * c - logsumexp[i]);
        p_out[i] = p.to_bits();
        ds_out[i] = (p * (dp[i] - along[i])).to_bits();
    }
}
