//! Packs lines that lie side by side in memory, k being the slow direction: both operands of weight gradients.

use half::bf16;

use super::pack::Encode;
use super::view::{Element, View};
use crate::cpu::isa::Isa;

/// How many units of k are taken at a time.
///
/// A strip of k goes into every panel before the next one is read, so that memory is read in
/// long runs; and each panel receives a strip at once, because panels lie at
/// multiples of a page, where single writes to each would evict one another.
const STRIP: usize = 8;

/// Packs all lines in panels of `WIDTH`, each `units` long.
#[inline(always)]
pub(super) fn pack<S: Element, E: Encode, const WIDTH: usize>(lines: &View<'_, S>, units: usize, dst: &mut [u32]) {
    let (dst, _) = dst.as_chunks_mut::<WIDTH>();
    for strip in (0..units).step_by(STRIP) {
        let len = STRIP.min(units - strip);
        for (panel, first) in (0..lines.rows).step_by(WIDTH).enumerate() {
            let dst = &mut dst[panel * units + strip..][..len];
            for (index, dst) in (strip..).zip(dst) {
                let k = index * E::K_PER_UNIT;
                let (x, y) = (at(lines, k, first), at(lines, k + E::K_PER_UNIT - 1, first));
                if let (Some(x), Some(y)) = (x.first_chunk::<WIDTH>(), y.first_chunk::<WIDTH>()) {
                    for i in 0..WIDTH {
                        dst[i] = E::unit(x[i], y[i]);
                    }
                } else {
                    let y = y.iter().copied().chain(std::iter::repeat(S::from_f32(0.0)));
                    dst.fill(0);
                    for ((dst, &x), y) in dst.iter_mut().zip(x).zip(y) {
                        *dst = E::unit(x, y);
                    }
                }
            }
        }
    }
}

/// The elements at `k` of the lines from `first` on; none past the end.
#[inline(always)]
fn at<'a, S>(lines: &View<'a, S>, k: usize, first: usize) -> &'a [S] {
    let start = k * lines.col_stride;
    lines.data.get(start + first..start + lines.rows).unwrap_or_default()
}

/// [`pack`] of bf16 in pairs with the permutations of AVX-512; whether the level and width have them.
pub(super) fn pack_pairs<const WIDTH: usize>(isa: Isa, lines: &View<'_, bf16>, units: usize, dst: &mut [u32]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 && (WIDTH.is_multiple_of(16) || WIDTH == 12) {
        assert!(isa.is_supported() && lines.row_stride == 1);
        assert!(units == lines.cols.div_ceil(2) && lines.rows.div_ceil(WIDTH) * units * WIDTH <= dst.len());
        // SAFETY: the CPU has the level; the assertion above bounds what is written, and what is read
        // lies in the lines.
        unsafe { avx512::pack::<WIDTH>(lines, dst.as_mut_ptr()) };
        return true;
    }
    let _ = (isa, lines, units, dst);
    false
}

/// [`pack`] of f32 as they are with the vectors of AVX-512; whether the level and width have them.
pub(super) fn pack_wide<const WIDTH: usize>(isa: Isa, lines: &View<'_, f32>, units: usize, dst: &mut [u32]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 && (WIDTH.is_multiple_of(16) || WIDTH == 12) {
        assert!(isa.is_supported() && lines.row_stride == 1);
        assert!(units == lines.cols && lines.rows.div_ceil(WIDTH) * units * WIDTH <= dst.len());
        // SAFETY: as in `pack_pairs`.
        unsafe { avx512::pack_wide::<WIDTH>(lines, dst.as_mut_ptr()) };
        return true;
    }
    let _ = (isa, lines, units, dst);
    false
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512i, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm_storeu_ps, _mm_storeu_si128, _mm256_maskz_loadu_epi16,
        _mm256_setzero_si256, _mm256_storeu_ps, _mm256_storeu_si256, _mm512_castps512_ps256, _mm512_castsi256_si512,
        _mm512_castsi512_si256, _mm512_extractf32x4_ps, _mm512_extracti32x4_epi32, _mm512_inserti64x4,
        _mm512_maskz_loadu_ps, _mm512_permutexvar_epi16, _mm512_setr_epi64, _mm512_storeu_ps, _mm512_storeu_si512,
    };

    use half::bf16;

    use super::{STRIP, View};
    use crate::cpu::prefetch::LINE;

    /// Elements of k from what is packed to what memory is asked for.
    const AHEAD: usize = 3 * STRIP;

    /// Lanes of two 16-element halves, taken in turn.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn in_turn() -> __m512i {
        let lanes = |i: i64| i | (16 + i) << 16 | (i + 1) << 32 | (17 + i) << 48;
        _mm512_setr_epi64(
            lanes(0),
            lanes(2),
            lanes(4),
            lanes(6),
            lanes(8),
            lanes(10),
            lanes(12),
            lanes(14),
        )
    }

    /// # Safety
    /// The CPU has these features; lines have `row_stride` 1; `dst` holds their panels.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn pack<const WIDTH: usize>(lines: &View<'_, bf16>, dst: *mut u32) {
        let (k, units) = (lines.cols, lines.cols.div_ceil(2));
        let order = in_turn();
        for strip in (0..units).step_by(STRIP) {
            let end = units.min(strip + STRIP);
            for (panel, first) in (0..lines.rows).step_by(WIDTH).enumerate() {
                for left in (0..WIDTH).step_by(16) {
                    let lanes = lines.rows.saturating_sub(first + left).min(WIDTH - left).min(16);
                    let mask = ((1_u32 << lanes) - 1) as u16;
                    // SAFETY: lanes outside the mask are not read, the others lie inside the lines, whose
                    // last row of memory is k - 1; what is written are the units of this panel.
                    unsafe {
                        // An address outside the lines is made where no lane is read, hence the wrapping.
                        let src = lines.data.as_ptr().cast::<i16>().wrapping_add(first + left);
                        let dst = dst.add(panel * units * WIDTH + left);
                        // One panel of those that share a cache line asks for it.
                        let begins_line = src.addr() % LINE < WIDTH.min(16) * size_of::<bf16>();
                        for unit in strip..end {
                            if begins_line {
                                let ahead = src.wrapping_add((2 * unit + AHEAD) * lines.col_stride);
                                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                                _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(lines.col_stride).cast());
                            }
                            let x = _mm256_maskz_loadu_epi16(mask, src.wrapping_add(2 * unit * lines.col_stride));
                            let y = if 2 * unit + 1 < k {
                                _mm256_maskz_loadu_epi16(mask, src.wrapping_add((2 * unit + 1) * lines.col_stride))
                            } else {
                                _mm256_setzero_si256()
                            };
                            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(x), y);
                            let pairs = _mm512_permutexvar_epi16(order, both);
                            let dst = dst.add(unit * WIDTH);
                            if WIDTH - left >= 16 {
                                _mm512_storeu_si512(dst.cast(), pairs);
                            } else {
                                _mm256_storeu_si256(dst.cast(), _mm512_castsi512_si256(pairs));
                                _mm_storeu_si128(dst.add(8).cast(), _mm512_extracti32x4_epi32::<2>(pairs));
                            }
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`pack`].
    #[target_feature(enable = "avx512f,avx512dq")]
    pub(super) unsafe fn pack_wide<const WIDTH: usize>(lines: &View<'_, f32>, dst: *mut u32) {
        let units = lines.cols;
        for strip in (0..units).step_by(STRIP) {
            let end = units.min(strip + STRIP);
            for (panel, first) in (0..lines.rows).step_by(WIDTH).enumerate() {
                for left in (0..WIDTH).step_by(16) {
                    let lanes = lines.rows.saturating_sub(first + left).min(WIDTH - left).min(16);
                    let mask = ((1_u32 << lanes) - 1) as u16;
                    // SAFETY: as in `pack`.
                    unsafe {
                        let src = lines.data.as_ptr().wrapping_add(first + left);
                        let dst = dst.add(panel * units * WIDTH + left).cast::<f32>();
                        for unit in strip..end {
                            let ahead = src.wrapping_add((unit + AHEAD) * lines.col_stride);
                            _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                            let x = _mm512_maskz_loadu_ps(mask, src.wrapping_add(unit * lines.col_stride));
                            let dst = dst.add(unit * WIDTH);
                            if WIDTH - left >= 16 {
                                _mm512_storeu_ps(dst, x);
                            } else {
                                _mm256_storeu_ps(dst, _mm512_castps512_ps256(x));
                                _mm_storeu_ps(dst.add(8), _mm512_extractf32x4_ps::<2>(x));
                            }
                        }
                    }
                }
            }
        }
    }
}
