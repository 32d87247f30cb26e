//! Scores and weighted values in vectors of sixteen, straight from rows in memory.
//!
//! For scores a lane is a key: sixteen rows by sixteen units are transposed in registers, without a store. For values a lane is
//! a channel, and in pairs two rows are interleaved.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_castsi512_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_shuffle_i32x4, _mm512_storeu_ps, _mm512_unpackhi_epi16, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi16, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::mem::transmute;

use super::{AGAIN, BLOCK, CHANNELS, LINE, Rows, ScoresKernel, ValuesKernel};

/// Kernels for so many rows; values of `double` times [`CHANNELS`] channels at a time where the registers suffice.
pub(super) fn kernels(pairs: bool, rows: usize, double: bool) -> Option<(ScoresKernel, ValuesKernel)> {
    macro_rules! table {
        ($scores:ident, $values:ident; $($rows:literal $both:literal $most:literal),*) => {
            match (rows, double) {
                $(($rows, true) => Some(($scores::<$rows, $both> as ScoresKernel, $values::<$rows, $most> as ValuesKernel)),)*
                $(($rows, false) => Some(($scores::<$rows, $both> as ScoresKernel, $values::<$rows, 2> as ValuesKernel)),)*
                _ => None,
            }
        };
    }
    // Two vectors of keys at a time, so that the chains of one go on while the other is transposed, up to four rows.
    if pairs {
        table!(scores_pairs, values_pairs; 1 true 4, 2 true 4, 3 true 4, 4 true 4, 5 false 2, 6 false 2, 7 false 2, 8 false 2)
    } else {
        table!(scores_wide, values_wide; 1 true 4, 2 true 4, 3 true 4, 4 true 4, 5 false 2, 6 false 2, 7 false 2, 8 false 2)
    }
}

/// # Safety
/// As [`ScoresKernel`]; AVX-512 F and BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn scores_pairs<const ROWS: usize, const BOTH: bool>(
    keys: Rows,
    units: usize,
    queries: *const u32,
    scores: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { all_scores::<true, ROWS, BOTH>(keys, units, queries, scores) }
}

/// # Safety
/// As [`ScoresKernel`]; AVX-512 F.
#[target_feature(enable = "avx512f")]
unsafe fn scores_wide<const ROWS: usize, const BOTH: bool>(
    keys: Rows,
    units: usize,
    queries: *const u32,
    scores: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { all_scores::<false, ROWS, BOTH>(keys, units, queries, scores) }
}

/// # Safety
/// As [`ValuesKernel`]; AVX-512 F, BW and BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn values_pairs<const ROWS: usize, const WIDTH: usize>(
    values: Rows,
    channels: usize,
    units: usize,
    weights: *const u32,
    sums: *mut f32,
    begin: bool,
) {
    // SAFETY: the caller's promise.
    unsafe { all_values::<true, ROWS, WIDTH>(values, channels, units, weights, sums, begin) }
}

/// # Safety
/// As [`ValuesKernel`]; AVX-512 F.
#[target_feature(enable = "avx512f")]
unsafe fn values_wide<const ROWS: usize, const WIDTH: usize>(
    values: Rows,
    channels: usize,
    units: usize,
    weights: *const u32,
    sums: *mut f32,
    begin: bool,
) {
    // SAFETY: the caller's promise.
    unsafe { all_values::<false, ROWS, WIDTH>(values, channels, units, weights, sums, begin) }
}

/// A step of the chain of a sum.
///
/// # Safety
/// AVX-512 F, for pairs BF16.
#[inline(always)]
unsafe fn multiply_add<const PAIRS: bool>(sum: __m512, x: u32, y: __m512i) -> __m512 {
    // SAFETY: the caller's promise; the transmutes rename vectors of 512 bits.
    unsafe {
        let x = _mm512_set1_epi32(x.cast_signed());
        if PAIRS {
            _mm512_dpbf16_ps(
                sum,
                transmute::<__m512i, __m512bh>(x),
                transmute::<__m512i, __m512bh>(y),
            )
        } else {
            _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(y), sum)
        }
    }
}

/// Quarter i of each of four vectors, for all i.
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn quarters(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let (ab, cd) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0x44>(c, d));
        let (ab_2, cd_2) = (_mm512_shuffle_i32x4::<0xee>(a, b), _mm512_shuffle_i32x4::<0xee>(c, d));
        [
            _mm512_shuffle_i32x4::<0x88>(ab, cd),
            _mm512_shuffle_i32x4::<0xdd>(ab, cd),
            _mm512_shuffle_i32x4::<0x88>(ab_2, cd_2),
            _mm512_shuffle_i32x4::<0xdd>(ab_2, cd_2),
        ]
    }
}

/// Unit i of each quarter of four vectors, for all i.
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn units_of(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ab_2, cd_2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ab_2, cd_2),
            _mm512_unpackhi_epi64(ab_2, cd_2),
        ]
    }
}

/// Adds four units of keys to the chains.
///
/// # Safety
/// As [`multiply_add`]; `queries` has four units for each row, `units` apart.
#[inline(always)]
unsafe fn add_four<const PAIRS: bool, const ROWS: usize>(
    sums: &mut [__m512; ROWS],
    keys: [__m512i; 4],
    queries: *const u32,
    units: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for (row, sum) in sums.iter_mut().enumerate() {
            let x = queries.add(row * units);
            *sum = multiply_add::<PAIRS>(*sum, *x, keys[0]);
            *sum = multiply_add::<PAIRS>(*sum, *x.add(1), keys[1]);
            *sum = multiply_add::<PAIRS>(*sum, *x.add(2), keys[2]);
            *sum = multiply_add::<PAIRS>(*sum, *x.add(3), keys[3]);
        }
    }
}

/// Adds sixteen units of sixteen rows from `rows` on to the chains, and asks for as many lines at `ahead`.
///
/// # Safety
/// As [`add_four`]; the rows are there.
#[inline(always)]
unsafe fn add_square<const PAIRS: bool, const ROWS: usize>(
    sums: &mut [__m512; ROWS],
    (rows, bytes): (*const u8, usize),
    queries: *const u32,
    units: usize,
    ahead: *const i8,
) {
    // SAFETY: the caller's promise; a prefetch reads nothing.
    unsafe {
        // All at once and in their order: in the order of the loads below, or one line of two, they come later.
        for line in 0..16 {
            _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(line * LINE));
            _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(line * LINE).wrapping_sub(AGAIN));
        }
        let load = |row: usize| _mm512_loadu_si512(rows.add(row * bytes).cast());
        // First quarters change places, then units inside them, so that the first units are there first.
        let a = quarters(load(0), load(4), load(8), load(12));
        let b = quarters(load(1), load(5), load(9), load(13));
        let c = quarters(load(2), load(6), load(10), load(14));
        let d = quarters(load(3), load(7), load(11), load(15));
        add_four::<PAIRS, ROWS>(sums, units_of(a[0], b[0], c[0], d[0]), queries, units);
        add_four::<PAIRS, ROWS>(sums, units_of(a[1], b[1], c[1], d[1]), queries.add(4), units);
        add_four::<PAIRS, ROWS>(sums, units_of(a[2], b[2], c[2], d[2]), queries.add(8), units);
        add_four::<PAIRS, ROWS>(sums, units_of(a[3], b[3], c[3], d[3]), queries.add(12), units);
    }
}

/// # Safety
/// As the functions above.
#[inline(always)]
unsafe fn store<const ROWS: usize>(sums: [__m512; ROWS], scores: *mut f32) {
    for (row, sum) in sums.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(scores.add(row * BLOCK), sum) };
    }
}

/// The two vectors of keys of a step in turns (`BOTH`), or one after the other.
///
/// # Safety
/// As the functions above.
#[inline(always)]
unsafe fn all_scores<const PAIRS: bool, const ROWS: usize, const BOTH: bool>(
    keys: Rows,
    units: usize,
    queries: *const u32,
    scores: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut ahead = keys.ahead;
        let zero = [_mm512_setzero_ps(); ROWS];
        for head in 0..keys.heads {
            let first = keys.first.add(head * units * 4);
            let queries = queries.add(head * ROWS * units);
            let scores = scores.add(head * ROWS * BLOCK);
            if BOTH {
                let (mut low, mut high) = (zero, zero);
                for unit in (0..units).step_by(16) {
                    let (rows, queries) = (first.add(unit * 4), queries.add(unit));
                    add_square::<PAIRS, ROWS>(&mut low, (rows, keys.bytes), queries, units, ahead);
                    ahead = ahead.wrapping_add(16 * LINE);
                    let rows = rows.add(16 * keys.bytes);
                    add_square::<PAIRS, ROWS>(&mut high, (rows, keys.bytes), queries, units, ahead);
                    ahead = ahead.wrapping_add(16 * LINE);
                }
                store(low, scores);
                store(high, scores.add(16));
            } else {
                for half in 0..2 {
                    let mut sums = zero;
                    for unit in (0..units).step_by(16) {
                        let rows = first.add(half * 16 * keys.bytes + unit * 4);
                        add_square::<PAIRS, ROWS>(&mut sums, (rows, keys.bytes), queries.add(unit), units, ahead);
                        ahead = ahead.wrapping_add(16 * LINE);
                    }
                    store(sums, scores.add(half * 16));
                }
            }
        }
    }
}

/// Channels in `WIDTH` vectors at a time.
///
/// # Safety
/// As the functions above.
#[inline(always)]
unsafe fn all_values<const PAIRS: bool, const ROWS: usize, const WIDTH: usize>(
    values: Rows,
    channels: usize,
    units: usize,
    weights: *const u32,
    sums: *mut f32,
    begin: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut ahead = values.ahead;
        let (size, per_unit) = if PAIRS { (2, 2) } else { (4, 1) };
        for head in 0..values.heads {
            let weights = weights.add(head * ROWS * BLOCK);
            for channel in (0..channels).step_by(16 * WIDTH) {
                let at = sums.add(head * ROWS * channels + channel);
                let mut sums = [[_mm512_setzero_ps(); WIDTH]; ROWS];
                if !begin {
                    for (row, sums) in sums.iter_mut().enumerate() {
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = _mm512_loadu_ps(at.add(row * channels + 16 * i));
                        }
                    }
                }
                let mut from = values.first.add((head * channels + channel) * size);
                for unit in 0..units {
                    let mut lines = [_mm512_setzero_si512(); WIDTH];
                    for i in 0..WIDTH / 2 {
                        let load = |at: *const u8| _mm512_loadu_si512(at.cast());
                        let line = from.add(i * CHANNELS * size);
                        if PAIRS {
                            let (x, y) = (load(line), load(line.wrapping_add(values.bytes)));
                            lines[2 * i] = _mm512_unpacklo_epi16(x, y);
                            lines[2 * i + 1] = _mm512_unpackhi_epi16(x, y);
                        } else {
                            lines[2 * i] = load(line);
                            lines[2 * i + 1] = load(line.add(LINE));
                        }
                        _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(2 * i * LINE));
                        _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add((2 * i + 1) * LINE));
                        _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(2 * i * LINE).wrapping_sub(AGAIN));
                        _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add((2 * i + 1) * LINE).wrapping_sub(AGAIN));
                    }
                    ahead = ahead.wrapping_add(WIDTH * LINE);
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let x = *weights.add(row * BLOCK + unit);
                        for (sum, line) in sums.iter_mut().zip(lines) {
                            *sum = multiply_add::<PAIRS>(*sum, x, line);
                        }
                    }
                    from = from.wrapping_add(per_unit * values.bytes);
                }
                for (row, sums) in sums.iter().enumerate() {
                    for (i, &sum) in sums.iter().enumerate() {
                        _mm512_storeu_ps(at.add(row * channels + 16 * i), sum);
                    }
                }
            }
        }
    }
}
