//! Microkernels for AVX-512: 12 × 32, 24 of 32 registers as accumulators.

use std::arch::x86_64::{
    __m256i, __m512, __m512bh, __m512i, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm256_loadu_si256, _mm512_add_ps,
    _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_fmadd_ps,
    _mm512_loadu_epi32, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_slli_epi32, _mm512_storeu_ps, _mm512_storeu_si512,
};
use std::mem::transmute;

use super::{A_STRIDE, AHEAD, Coming, Kernel, MAX_K, Rounded, Sums, heights};
use crate::cpu::prefetch::LINE;

const MR: usize = 12;
const NR: usize = 32;

pub(super) const F32: Kernel = Kernel {
    mr: MR,
    nr: NR,
    by_rows: heights!(micro_f32, A_STRIDE, 1; 1 2 3 4 5 6 7 8 9 10 11 12),
    by_k: heights!(micro_f32, 1, MR; 1 2 3 4 5 6 7 8 9 10 11 12),
    strided: heights!(strided_f32, Strided; 1 2 3 4 5 6 7 8 9 10 11 12),
    streaming: heights!(streaming_f32, Streaming; 1 2 3 4 5 6 7 8 9 10 11 12),
    max_k: MAX_K,
    tiles: None,
};

pub(super) const BF16: Kernel = Kernel {
    mr: MR,
    nr: NR,
    by_rows: heights!(micro_bf16, A_STRIDE, 1; 1 2 3 4 5 6 7 8 9 10 11 12),
    by_k: heights!(micro_bf16, 1, MR; 1 2 3 4 5 6 7 8 9 10 11 12),
    strided: heights!(strided_bf16, Strided; 1 2 3 4 5 6 7 8 9 10 11 12),
    streaming: heights!(streaming_bf16, Streaming; 1 2 3 4 5 6 7 8 9 10 11 12),
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
    next: *const u32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        expect::<HEIGHT>(c, c_stride);
        let sum = sums_f32::<HEIGHT, false>(units, a, ROW, STEP, b, soon(next));
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
    next: *const u32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        expect::<HEIGHT>(c, c_stride);
        let sum = sums_bf16::<HEIGHT, false>(units, a, ROW, STEP, b, soon(next));
        store(&sum, c, c_stride, add);
    }
}

/// # Safety
/// See [`super::Strided`].
#[target_feature(enable = "avx512f")]
unsafe fn strided_f32<const HEIGHT: usize>(
    units: usize,
    (a, row): (*const u32, usize),
    b: *const u32,
    sums: Sums,
    _: Option<Rounded>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        expect::<HEIGHT>(sums.first, sums.stride);
        let sum = sums_f32::<HEIGHT, false>(units, a, row, 1, b, soon(b));
        store(&sum, sums.first, sums.stride, sums.add);
    }
}

/// # Safety
/// See [`super::Streaming`].
#[target_feature(enable = "avx512f")]
unsafe fn streaming_f32<const HEIGHT: usize>(
    units: usize,
    (a, row): (*const u32, usize),
    (b, coming): (*const u32, Coming),
    sums: Sums,
    _: Option<Rounded>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let sum = sums_f32::<HEIGHT, true>(units, a, row, 1, b, coming);
        store(&sum, sums.first, sums.stride, sums.add);
    }
}

/// # Safety
/// See [`super::Strided`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn strided_bf16<const HEIGHT: usize>(
    units: usize,
    (a, row): (*const u32, usize),
    b: *const u32,
    sums: Sums,
    c: Option<Rounded>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(c) = c {
            for row in 0..HEIGHT {
                _mm_prefetch::<_MM_HINT_T0>(c.first.wrapping_add(row * c.stride).cast());
                if let Some((first, stride, _)) = c.addend {
                    _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(row * stride).cast());
                }
            }
            let sum = sums_bf16::<HEIGHT, false>(units, a, row, 1, b, soon(b));
            round(&sum, sums, c);
        } else {
            expect::<HEIGHT>(sums.first, sums.stride);
            let sum = sums_bf16::<HEIGHT, false>(units, a, row, 1, b, soon(b));
            store(&sum, sums.first, sums.stride, sums.add);
        }
    }
}

/// # Safety
/// See [`super::Streaming`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn streaming_bf16<const HEIGHT: usize>(
    units: usize,
    (a, row): (*const u32, usize),
    (b, coming): (*const u32, Coming),
    sums: Sums,
    c: Option<Rounded>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let sum = sums_bf16::<HEIGHT, true>(units, a, row, 1, b, coming);
        match c {
            Some(c) => round(&sum, sums, c),
            None => store(&sum, sums.first, sums.stride, sums.add),
        }
    }
}

/// What a [`super::Micro`] asks for.
#[inline]
fn soon(next: *const u32) -> Coming {
    Coming {
        first: next.cast(),
        step: AHEAD,
    }
}

/// Asks for what comes with a unit, for the second-level cache.
#[inline]
#[target_feature(enable = "avx512f")]
fn ask(coming: Coming, unit: usize) {
    let lines = coming.first.wrapping_add(unit * coming.step);
    _mm_prefetch::<_MM_HINT_T1>(lines);
    _mm_prefetch::<_MM_HINT_T1>(lines.wrapping_add(LINE));
}

/// # Safety
/// A has `HEIGHT` rows of `units`, `row` apart and their units `step`; B holds `units`. Of what is coming two lines are asked for
/// with each unit (`STREAMS`), or one as often as `step` is worth it.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn sums_f32<const HEIGHT: usize, const STREAMS: bool>(
    units: usize,
    a: *const u32,
    row: usize,
    step: usize,
    b: *const u32,
    coming: Coming,
) -> [[__m512; 2]; HEIGHT] {
    let mut sum = [[_mm512_setzero_ps(); 2]; HEIGHT];
    // SAFETY: the caller's promise.
    unsafe {
        let (a, b) = (a.cast::<f32>(), b.cast::<f32>());
        for first in (0..units).step_by(LINE / AHEAD) {
            if !STREAMS {
                _mm_prefetch::<_MM_HINT_T1>(coming.first.wrapping_add(first * coming.step));
            }
            for unit in first..units.min(first + LINE / AHEAD) {
                if STREAMS {
                    ask(coming, unit);
                }
                let b0 = _mm512_loadu_ps(b.add(unit * NR));
                let b1 = _mm512_loadu_ps(b.add(unit * NR + 16));
                for (index, sum) in sum.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.add(index * row + unit * step));
                    sum[0] = _mm512_fmadd_ps(x, b0, sum[0]);
                    sum[1] = _mm512_fmadd_ps(x, b1, sum[1]);
                }
            }
        }
    }
    sum
}

/// # Safety
/// As [`sums_f32`].
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn sums_bf16<const HEIGHT: usize, const STREAMS: bool>(
    units: usize,
    a: *const u32,
    row: usize,
    step: usize,
    b: *const u32,
    coming: Coming,
) -> [[__m512; 2]; HEIGHT] {
    let mut sum = [[_mm512_setzero_ps(); 2]; HEIGHT];
    // SAFETY: the caller's promise; the transmutes rename vectors of 512 bits.
    unsafe {
        for first in (0..units).step_by(LINE / AHEAD) {
            if !STREAMS {
                _mm_prefetch::<_MM_HINT_T1>(coming.first.wrapping_add(first * coming.step));
            }
            for unit in first..units.min(first + LINE / AHEAD) {
                if STREAMS {
                    ask(coming, unit);
                }
                let b = b.add(unit * NR).cast::<i32>();
                let b0 = transmute::<__m512i, __m512bh>(_mm512_loadu_epi32(b));
                let b1 = transmute::<__m512i, __m512bh>(_mm512_loadu_epi32(b.add(16)));
                for (index, sum) in sum.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32((*a.add(index * row + unit * step)).cast_signed());
                    let x = transmute::<__m512i, __m512bh>(x);
                    sum[0] = _mm512_dpbf16_ps(sum[0], x, b0);
                    sum[1] = _mm512_dpbf16_ps(sum[1], x, b1);
                }
            }
        }
    }
    sum
}

/// Rounds finished sums and stores them; see `store_in_bf16`, which does it with the same instructions.
///
/// # Safety
/// See [`super::Strided`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn round(sum: &[[__m512; 2]], sums: Sums, c: Rounded) {
    let widen = |x: __m256i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x)));
    let alpha = _mm512_set1_ps(c.alpha);
    for (row, &[mut low, mut high]) in sum.iter().enumerate() {
        // SAFETY: inside the rows of the sums and of C; the transmute renames a vector of 512 bits.
        unsafe {
            if sums.add {
                let before = sums.first.add(row * sums.stride);
                low = _mm512_add_ps(_mm512_loadu_ps(before), low);
                high = _mm512_add_ps(_mm512_loadu_ps(before.add(16)), high);
            }
            (low, high) = (_mm512_mul_ps(alpha, low), _mm512_mul_ps(alpha, high));
            if let Some((first, stride, factor)) = c.addend {
                let (addend, factor) = (first.add(row * stride), _mm512_set1_ps(factor));
                let widened = |at| _mm512_mul_ps(factor, widen(_mm256_loadu_si256(addend.add(at).cast())));
                (low, high) = (_mm512_add_ps(widened(0), low), _mm512_add_ps(widened(16), high));
            }
            let rounded = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(c.first.add(row * c.stride).cast(), rounded);
        }
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
