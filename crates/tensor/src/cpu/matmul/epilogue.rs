//! Where a product goes: what is done with sums as soon as they are finished, while they are in the cache.

use std::ops::Range;

use half::bf16;

use super::kernel::{Rounded, Sums};
use super::view::{Element, MatrixMut};
use crate::cpu::isa::Isa;

/// What becomes of the product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epilogue {
    /// The factor on the product.
    pub(crate) alpha: f32,
    /// Whether to add to C instead of overwriting it.
    pub(crate) accumulate: bool,
}

impl Epilogue {
    /// `C = A · B`.
    pub(crate) const STORE: Self = Self {
        alpha: 1.0,
        accumulate: false,
    };
    /// `C += A · B`.
    pub(crate) const ADD: Self = Self {
        alpha: 1.0,
        accumulate: true,
    };
}

/// A finished tile of a product that is not stored: rows of sums, `stride` apart.
pub(crate) struct Tile<'a> {
    pub(crate) rows: Range<usize>,
    pub(crate) cols: Range<usize>,
    /// The caller may use it as scratch.
    pub(crate) sums: &'a mut [f32],
    pub(crate) stride: usize,
}

/// What is done with each tile of a product, by the worker that computed it and while it is in the cache.
pub(crate) type EachTile<'a> = dyn Fn(Tile<'_>) + Sync + 'a;

/// Where a product goes.
pub(super) enum Output<'a> {
    Matrix(MatrixMut<'a>, Epilogue),
    /// A product that is symmetric: what lies on and below the diagonal is computed and also stored above it.
    Symmetric(MatrixMut<'a>, Epilogue),
    Each(&'a EachTile<'a>),
}

impl Output<'_> {
    /// Says which rows and columns come next, so that memory can fetch what they will be added to.
    pub(super) fn expect(&self, rows: &Range<usize>, cols: &Range<usize>) {
        match self {
            Self::Matrix(MatrixMut::F32(c), _) => c.prefetch(rows, cols),
            Self::Matrix(MatrixMut::Bf16(c), _) => c.prefetch(rows, cols),
            Self::Symmetric(..) | Self::Each(_) => {}
        }
    }

    /// Where the sums of these rows and columns may go at once, if what microkernels do is all that is done with them. `from_c`
    /// says whether those that add begin their sums with C instead of adding it to them.
    pub(super) fn direct(&self, rows: &Range<usize>, cols: &Range<usize>, from_c: bool) -> Option<Sums> {
        match self {
            Self::Matrix(MatrixMut::F32(c), epilogue) if epilogue.alpha == 1.0 && !(from_c && epilogue.accumulate) => {
                let (first, stride) = c.corner(rows, cols);
                let add = epilogue.accumulate;
                Some(Sums { first, stride, add })
            }
            _ => None,
        }
    }

    /// Where finished sums of these rows and columns may go if rounding them is all that is done with them.
    pub(super) fn rounded(&self, rows: &Range<usize>, cols: &Range<usize>) -> Option<Rounded> {
        match self {
            Self::Matrix(MatrixMut::Bf16(c), epilogue) if epilogue.alpha == 1.0 => {
                let (first, stride) = c.corner(rows, cols);
                let accumulate = epilogue.accumulate;
                Some(Rounded {
                    first,
                    stride,
                    accumulate,
                })
            }
            _ => None,
        }
    }

    /// Takes finished rows of sums, `stride` apart.
    ///
    /// # Safety
    /// Nobody else may touch that part of C meanwhile.
    pub(super) unsafe fn take(
        &self,
        isa: Isa,
        rows: Range<usize>,
        cols: Range<usize>,
        sums: &mut [f32],
        stride: usize,
    ) {
        match self {
            Self::Each(each) => each(Tile {
                rows,
                cols,
                sums,
                stride,
            }),
            Self::Matrix(c, epilogue) => {
                for (row, sums) in rows.zip(sums.chunks_exact(stride)) {
                    // SAFETY: the caller's promise.
                    unsafe { store(isa, *epilogue, sums, c, row, cols.clone()) };
                }
            }
            Self::Symmetric(c, epilogue) => {
                for (row, sums) in rows.clone().zip(sums.chunks_exact(stride)) {
                    // SAFETY: the caller's promise.
                    unsafe { store(isa, *epilogue, sums, c, row, cols.start..cols.end.min(row + 1)) };
                }
                for start in (cols.start..cols.end.min(rows.end)).step_by(WIDTH) {
                    let width = WIDTH.min(cols.end - start);
                    // SAFETY: nobody stores above the diagonal but who computes what lies below it.
                    unsafe {
                        mirror(
                            isa,
                            *epilogue,
                            &sums[start - cols.start..],
                            stride,
                            c,
                            rows.clone(),
                            start,
                            width,
                        );
                    };
                }
            }
        }
    }
}

/// Stores the part of a row.
///
/// # Safety
/// Nobody else may touch it meanwhile.
unsafe fn store(isa: Isa, epilogue: Epilogue, sums: &[f32], c: &MatrixMut<'_>, row: usize, cols: Range<usize>) {
    if cols.is_empty() {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        match c {
            MatrixMut::F32(c) => store_f32(isa, epilogue, sums, c.row_part(row, cols)),
            MatrixMut::Bf16(c) => store_bf16(isa, epilogue, sums, c.row_part(row, cols)),
        }
    }
}

/// Stores a row of sums in the type of the only row of `c`, rounded as the results of products are.
pub(crate) fn store_row(isa: Isa, sums: &[f32], c: &mut MatrixMut<'_>) {
    let (rows, cols) = c.shape();
    assert!(isa.is_supported() && rows == 1 && sums.len() >= cols);
    // SAFETY: the view is lent exclusively.
    unsafe { store(isa, Epilogue::STORE, sums, c, 0, 0..cols) };
}

/// Columns and rows that [`mirror`] takes at a time.
const WIDTH: usize = 16;

/// Stores `width` columns of sums, from column `start` on, as the rows of C that they are above the diagonal.
///
/// # Safety
/// Nobody else may touch those meanwhile.
unsafe fn mirror(
    isa: Isa,
    epilogue: Epilogue,
    sums: &[f32],
    stride: usize,
    c: &MatrixMut<'_>,
    rows: Range<usize>,
    start: usize,
    width: usize,
) {
    for top in rows.clone().step_by(WIDTH) {
        let height = WIDTH.min(rows.end - top);
        let mut square = [[0.0; WIDTH]; WIDTH];
        for (i, sums) in sums.chunks(stride).skip(top - rows.start).take(height).enumerate() {
            for (line, &sum) in square.iter_mut().zip(&sums[..width]) {
                line[i] = sum;
            }
        }
        for (j, line) in (start..start + width).zip(&square) {
            let from = (j + 1).max(top);
            if from < top + height {
                // SAFETY: the caller's promise.
                unsafe { store(isa, epilogue, &line[from - top..height], c, j, from..top + height) };
            }
        }
    }
}

fn store_f32(isa: Isa, epilogue: Epilogue, sums: &[f32], c: &mut [f32]) {
    isa.vectorize(
        #[inline(always)]
        || store_each(epilogue, sums, c),
    );
}

fn store_bf16(isa: Isa, epilogue: Epilogue, sums: &[f32], c: &mut [bf16]) {
    #[cfg(target_arch = "x86_64")]
    if isa.has_bf16_dot() {
        assert!(sums.len() >= c.len());
        // SAFETY: a level in use is one that the CPU has, see `Product::new` and `store_row`.
        return unsafe { store_each_bf16(epilogue, sums, c) };
    }
    isa.vectorize(
        #[inline(always)]
        || store_each(epilogue, sums, c),
    );
}

#[inline(always)]
fn store_each<T: Element>(epilogue: Epilogue, sums: &[f32], c: &mut [T]) {
    let Epilogue { alpha, accumulate } = epilogue;
    if accumulate {
        for (c, x) in c.iter_mut().zip(sums) {
            *c = T::from_f32(c.to_f32() + alpha * x);
        }
    } else {
        for (c, x) in c.iter_mut().zip(sums) {
            *c = T::from_f32(alpha * x);
        }
    }
}

/// [`store_each`] with the conversion of AVX512-BF16. It rounds as [`Element`] does, and makes numbers too small for a
/// normal float zero.
///
/// # Safety
/// The CPU has these features; there are as many sums as elements.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn store_each_bf16(epilogue: Epilogue, sums: &[f32], c: &mut [bf16]) {
    use std::arch::x86_64::{
        __m256bh, __m256i, __m512bh, __m512i, _mm256_loadu_si256, _mm256_mask_storeu_epi16, _mm256_maskz_loadu_epi16,
        _mm512_add_ps, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh,
        _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_slli_epi32, _mm512_storeu_si512,
    };
    use std::mem::transmute;
    let alpha = _mm512_set1_ps(epilogue.alpha);
    let whole = c.len() / 32 * 32;
    // SAFETY: all lanes, and in the remainder those inside the mask, are elements of both slices; the transmutations
    // rename vectors of 512 and 256 bits.
    unsafe {
        let (sums, to) = (sums.as_ptr(), c.as_mut_ptr().cast::<i16>());
        let widen = |x: __m256i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x)));
        for start in (0..whole).step_by(32) {
            let to = to.add(start);
            let mut low = _mm512_mul_ps(alpha, _mm512_loadu_ps(sums.add(start)));
            let mut high = _mm512_mul_ps(alpha, _mm512_loadu_ps(sums.add(start + 16)));
            if epilogue.accumulate {
                low = _mm512_add_ps(widen(_mm256_loadu_si256(to.cast())), low);
                high = _mm512_add_ps(widen(_mm256_loadu_si256(to.add(16).cast())), high);
            }
            let rounded = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(to.cast(), rounded);
        }
        for start in (whole..c.len()).step_by(16) {
            let mask = (0xffff_u32 >> 16_usize.saturating_sub(c.len() - start)) as u16;
            let to = to.add(start);
            let mut x = _mm512_mul_ps(alpha, _mm512_maskz_loadu_ps(mask, sums.add(start)));
            if epilogue.accumulate {
                x = _mm512_add_ps(widen(_mm256_maskz_loadu_epi16(mask, to)), x);
            }
            let rounded = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x));
            _mm256_mask_storeu_epi16(to, mask, rounded);
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn the_conversion_of_avx512_bf16_rounds_as_ours() {
        if !Isa::Avx512Bf16.is_supported() {
            return;
        }
        let sums: Vec<f32> = (0..=u32::MAX).step_by(65_521 * 3).map(f32::from_bits).collect();
        let old: Vec<bf16> = (0..sums.len()).map(|i| bf16::from_bits((i * 31) as u16)).collect();
        for len in [0, 1, 15, 16, 17, 31, 32, 33, 47, 49, sums.len()] {
            for (alpha, accumulate) in [(1.0, false), (-0.75, false), (1.0, true)] {
                let epilogue = Epilogue { alpha, accumulate };
                let (mut found, mut expected) = (old.clone(), old.clone());
                store_bf16(Isa::Avx512Bf16, epilogue, &sums, &mut found[..len]);
                store_bf16(Isa::Avx512, epilogue, &sums, &mut expected[..len]);
                for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let (found, expected) = (found.to_f32(), expected.to_f32());
                    let same = found.to_bits() == expected.to_bits();
                    let tiny = found == 0.0 && expected.abs() <= f32::MIN_POSITIVE;
                    assert!(
                        same || tiny || found.is_nan() && expected.is_nan(),
                        "{i} {len}: {found} {expected}"
                    );
                }
            }
        }
    }
}
