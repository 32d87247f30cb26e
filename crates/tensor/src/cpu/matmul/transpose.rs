//! Transposes a square of 16 × 16 units into a panel.

use crate::cpu::isa::Isa;

/// `panel[unit][left + line] = square[line][unit]` for the units and lines that the panel has.
#[inline(always)]
pub(super) fn transpose<const WIDTH: usize>(
    isa: Isa,
    square: &[[u32; 16]; 16],
    left: usize,
    panel: &mut [[u32; WIDTH]],
) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 && panel.len() == 16 && left + 16 <= WIDTH {
        // SAFETY: a pack runs at a level that the CPU supports, see `Isa::vectorize`;
        // the panel has 16 rows of `WIDTH`, of which columns `left..left + 16` are written.
        unsafe {
            let dst = panel.as_flattened_mut().as_mut_ptr().add(left);
            avx512(square.as_ptr().cast(), size_of_val(&square[0]), dst, WIDTH);
        }
        return;
    }
    let _ = isa;
    let lines = 16.min(WIDTH - left);
    for (unit, dst) in panel.iter_mut().enumerate() {
        for (dst, line) in dst[left..left + lines].iter_mut().zip(square) {
            *dst = line[unit];
        }
    }
}

/// `dst[unit][line] = square[line][unit]` for lines that lie `bytes` apart, at any address.
///
/// # Safety
/// The CPU has AVX-512F; `square` has 16 lines of 16 units, `dst` 16 rows of 16, `stride` apart.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn avx512(square: *const u8, bytes: usize, dst: *mut u32, stride: usize) {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_setzero_si512};
    let mut lines = [_mm512_setzero_si512(); 16];
    for (i, line) in lines.iter_mut().enumerate() {
        // SAFETY: whole lines of the square.
        *line = unsafe { _mm512_loadu_si512(square.add(i * bytes).cast()) };
    }
    // SAFETY: the caller's promise.
    unsafe { turned(&lines, dst, stride) };
}

/// `dst[column][unit]` of a square of 16 columns × 16 units whose elements are bf16 side by side: row k of them lies `row` elements
/// behind row k − 1, and a unit is two of them.
///
/// # Safety
/// The CPU has AVX-512 F; there are 32 rows of 16 bf16, and `dst` has 16 rows of 16, `stride` apart.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn avx512_pairs(rows: *const u16, row: usize, dst: *mut u32, stride: usize) {
    use std::arch::x86_64::{
        _mm256_loadu_si256, _mm512_cvtepu16_epi32, _mm512_or_si512, _mm512_setzero_si512, _mm512_slli_epi32,
    };
    let mut lines = [_mm512_setzero_si512(); 16];
    for (i, line) in lines.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *line = unsafe {
            let wide = |k: usize| _mm512_cvtepu16_epi32(_mm256_loadu_si256(rows.add(k * row).cast()));
            _mm512_or_si512(wide(2 * i), _mm512_slli_epi32::<16>(wide(2 * i + 1)))
        };
    }
    // SAFETY: the caller's promise.
    unsafe { turned(&lines, dst, stride) };
}

/// Stores the transposition of the lines.
///
/// # Safety
/// The CPU has AVX-512 F; `dst` has 16 rows of 16, `stride` apart.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn turned(lines: &[std::arch::x86_64::__m512i; 16], dst: *mut u32, stride: usize) {
    use std::arch::x86_64::{
        _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_storeu_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
        _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    };
    let mut pairs = [_mm512_setzero_si512(); 16];
    for i in 0..8 {
        let (x, y) = (lines[2 * i], lines[2 * i + 1]);
        pairs[2 * i] = _mm512_unpacklo_epi32(x, y);
        pairs[2 * i + 1] = _mm512_unpackhi_epi32(x, y);
    }
    // `quads[4 i + j]` holds columns j, 4 + j, 8 + j, 12 + j of rows 4 i .. 4 i + 4.
    let mut quads = [_mm512_setzero_si512(); 16];
    for i in (0..16).step_by(4) {
        quads[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        quads[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        quads[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        quads[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    for j in 0..4 {
        // Quarters 0 and 2 of the upper and lower eight rows, then 1 and 3.
        let even_upper = _mm512_shuffle_i32x4::<0x88>(quads[j], quads[4 + j]);
        let even_lower = _mm512_shuffle_i32x4::<0x88>(quads[8 + j], quads[12 + j]);
        let odd_upper = _mm512_shuffle_i32x4::<0xdd>(quads[j], quads[4 + j]);
        let odd_lower = _mm512_shuffle_i32x4::<0xdd>(quads[8 + j], quads[12 + j]);
        let columns = [
            _mm512_shuffle_i32x4::<0x88>(even_upper, even_lower),
            _mm512_shuffle_i32x4::<0x88>(odd_upper, odd_lower),
            _mm512_shuffle_i32x4::<0xdd>(even_upper, even_lower),
            _mm512_shuffle_i32x4::<0xdd>(odd_upper, odd_lower),
        ];
        for (quarter, column) in columns.into_iter().enumerate() {
            // SAFETY: row `4 quarter + j` of the 16 that the caller promised.
            unsafe {
                let dst = dst.add((4 * quarter + j) * stride);
                _mm512_storeu_epi32(dst.cast::<i32>(), column);
            }
        }
    }
}
