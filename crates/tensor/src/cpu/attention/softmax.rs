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

/// Rows of probabilities whose instructions overlap: each alone would wait for its largest score.
const TOGETHER: usize = 4;
/// Rows of gradients that are made together, with one look at what belongs to the queries.
const PAIR: usize = 2;

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

/// Scores outside `seen` get the probability 0.
#[inline(always)]
fn hide(scores: &mut [f32], seen: &Range<usize>) {
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
}

/// Probabilities of rows of scores in memory, one query each: for the scores in `seen`, `2^((s − largest)·c)` into the rows of a left
/// operand, 0 for the others. The largest score and the sum of each row go to `parts`.
pub(super) fn probabilities(
    micros: &Micros,
    (scores, stride, len): (&mut [f32], usize, usize),
    seen: &[Range<usize>],
    c: f32,
    out: &mut Weights<'_>,
    parts: &mut [(f32, f32)],
) {
    for (scores, seen) in scores.chunks_mut(stride).zip(seen) {
        hide(&mut scores[..len], seen);
    }
    let mut row = 0;
    while row < seen.len() {
        let rows = Scores {
            numbers: &scores[row * stride..],
            stride,
            len,
        };
        let mut weights = Weights {
            units: &mut out.units[row * out.stride..],
            stride: out.stride,
        };
        if seen.len() - row >= TOGETHER {
            let some = rows_of_probabilities::<TOGETHER>(micros, rows, c, &mut weights, std::ptr::null());
            parts[row..row + TOGETHER].copy_from_slice(&some);
            row += TOGETHER;
        } else {
            [parts[row]] = rows_of_probabilities::<1>(micros, rows, c, &mut weights, std::ptr::null());
            row += 1;
        }
    }
    for (row, _) in seen.iter().enumerate().filter(|(_, seen)| seen.is_empty()) {
        out.units[row * out.stride..][..micros.units(len)].fill(0);
        parts[row] = (f32::NEG_INFINITY, 0.0);
    }
}

/// Probabilities of several queries at once, of all their scores; they are the same as one by one. Meanwhile memory is asked for,
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

/// Probabilities `p = 2^(s·c − logsumexp)` and gradients `p·(dp − along)` of rows of scores in memory, one key with many
/// queries each, those outside `seen` 0, into rows of left operands. The rows of `dp` lie as those of the scores.
pub(super) fn gradients(
    micros: &Micros,
    ((scores, stride, len), dp): ((&mut [f32], usize, usize), &[f32]),
    of: Statistics<'_>,
    seen: &[Range<usize>],
    c: f32,
    (p_out, ds_out): (&mut Weights<'_>, &mut Weights<'_>),
) {
    for (scores, seen) in scores.chunks_mut(stride).zip(seen) {
        hide(&mut scores[..len], seen);
    }
    let mut row = 0;
    while row < seen.len() {
        let rows = Scores {
            numbers: &scores[row * stride..],
            stride,
            len,
        };
        let of_scores = (rows, &dp[row * stride..]);
        let p_out = &mut Weights {
            units: &mut p_out.units[row * p_out.stride..],
            stride: p_out.stride,
        };
        let ds_out = &mut Weights {
            units: &mut ds_out.units[row * ds_out.stride..],
            stride: ds_out.stride,
        };
        if seen.len() - row >= PAIR {
            rows_of_gradients::<PAIR>(micros, of_scores, of, c, p_out, ds_out);
            row += PAIR;
        } else {
            rows_of_gradients::<1>(micros, of_scores, of, c, p_out, ds_out);
            row += 1;
        }
    }
}

fn rows_of_gradients<const ROWS: usize>(
    micros: &Micros,
    (scores, dp): (Scores<'_>, &[f32]),
    of: Statistics<'_>,
    c: f32,
    p_out: &mut Weights<'_>,
    ds_out: &mut Weights<'_>,
) {
    let isa = micros.isa;
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        // SAFETY: as in `rows_of_probabilities`.
        return unsafe {
            if micros.pairs() {
                avx512::gradients_pairs::<ROWS>((scores, dp), of, c, p_out, ds_out);
            } else {
                avx512::gradients_wide::<ROWS>((scores, dp), of, c, p_out, ds_out);
            }
        };
    }
    assert!(!micros.pairs(), "only AVX-512 has products of pairs");
    for row in 0..ROWS {
        let (at, len) = (row * scores.stride, scores.len);
        let (scores, dp) = (&scores.numbers[at..][..len], &dp[at..][..len]);
        let p_out = &mut p_out.units[row * p_out.stride..][..len];
        let ds_out = &mut ds_out.units[row * ds_out.stride..][..len];
        if fused(isa) {
            isa.vectorize(
                #[inline(always)]
                || plain_gradients::<true>(scores, dp, of, c, p_out, ds_out),
            );
        } else {
            plain_gradients::<false>(scores, dp, of, c, p_out, ds_out);
        }
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
