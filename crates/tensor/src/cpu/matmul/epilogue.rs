//! Where a product goes: what is done with sums as soon as they are finished, while they are in the cache.

use std::ops::Range;

use half::bf16;

use super::kernel::{Rounded, Sums};
use super::symmetric::store_symmetric;
use super::view::{Element, MatrixMut, ViewMut};
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
            Self::Matrix(MatrixMut::F32(c), epilogue)
                if epilogue.alpha == 1.0 && (!epilogue.accumulate || c.adds_to_itself() && !from_c) =>
            {
                let (first, stride) = c.corner(rows, cols);
                let add = epilogue.accumulate;
                Some(Sums { first, stride, add })
            }
            _ => None,
        }
    }

    /// Where finished sums of these rows and columns may go if microkernels round them.
    pub(super) fn rounded(&self, rows: &Range<usize>, cols: &Range<usize>) -> Option<Rounded> {
        match self {
            Self::Matrix(MatrixMut::Bf16(c), epilogue) => {
                let (first, stride) = c.corner(rows, cols);
                Some(Rounded {
                    first,
                    stride,
                    alpha: epilogue.alpha,
                    addend: epilogue.accumulate.then(|| c.addend(rows, cols)),
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
            // SAFETY: the caller's promise.
            Self::Matrix(c, epilogue) => unsafe { store(isa, *epilogue, (sums, stride), c, rows, cols, Part::All) },
            // SAFETY: the caller's promise; nobody stores above the diagonal but who computes what lies below it.
            Self::Symmetric(c, epilogue) => unsafe { store_symmetric(isa, *epilogue, (sums, stride), c, rows, cols) },
        }
    }
}

/// Which elements are stored: a part of C on one side of its diagonal, or all.
#[derive(Clone, Copy)]
pub(super) enum Part {
    All,
    OnAndBelow,
    Above,
}

impl Part {
    /// Of some columns of a row.
    #[inline(always)]
    fn of(self, row: usize, cols: &Range<usize>) -> Range<usize> {
        match self {
            Self::All => cols.clone(),
            Self::OnAndBelow => cols.start..cols.end.min(row + 1),
            Self::Above => cols.start.max(row + 1)..cols.end,
        }
    }
}

/// Stores rows of sums, so many apart.
///
/// # Safety
/// Nobody else may touch that part of C meanwhile.
pub(super) unsafe fn store(
    isa: Isa,
    epilogue: Epilogue,
    (sums, stride): (&[f32], usize),
    c: &MatrixMut<'_>,
    rows: Range<usize>,
    cols: Range<usize>,
    part: Part,
) {
    // SAFETY: the caller's promise; a level in use is one that the CPU has, see `Product::new` and `store_row`.
    unsafe {
        match c {
            MatrixMut::F32(c) => store_in(isa, epilogue, sums, stride, c, rows, cols, part),
            #[cfg(target_arch = "x86_64")]
            MatrixMut::Bf16(c) if isa.has_bf16_dot() => store_in_bf16(epilogue, sums, stride, c, rows, cols, part),
            MatrixMut::Bf16(c) => store_in(isa, epilogue, sums, stride, c, rows, cols, part),
        }
    }
}

/// [`store`] for either type.
///
/// # Safety
/// As [`store`].
unsafe fn store_in<T: Element>(
    isa: Isa,
    epilogue: Epilogue,
    sums: &[f32],
    stride: usize,
    c: &ViewMut<'_, T>,
    rows: Range<usize>,
    cols: Range<usize>,
    part: Part,
) {
    isa.vectorize(
        #[inline(always)]
        || {
            store_rows(
                sums,
                stride,
                rows,
                cols,
                part,
                // SAFETY: the caller's promise.
                #[inline(always)]
                |sums, row, cols| unsafe { store_each(epilogue, sums, c, row, cols) },
            );
        },
    );
}

/// Calls `each` with the sums, the row and the columns of what is to be stored of every row.
#[inline(always)]
fn store_rows(
    sums: &[f32],
    stride: usize,
    rows: Range<usize>,
    cols: Range<usize>,
    part: Part,
    each: impl Fn(&[f32], usize, Range<usize>),
) {
    for (row, sums) in rows.zip(sums.chunks(stride)) {
        let here = part.of(row, &cols);
        if !here.is_empty() {
            each(&sums[here.start - cols.start..here.end - cols.start], row, here);
        }
    }
}

/// Stores a row of sums in the type of the only row of `c`, rounded as the results of products are.
pub(crate) fn store_row(isa: Isa, sums: &[f32], c: &mut MatrixMut<'_>) {
    let (rows, cols) = c.shape();
    assert!(isa.is_supported() && rows == 1 && sums.len() >= cols);
    // SAFETY: the view is lent exclusively.
    unsafe { store(isa, Epilogue::STORE, (sums, cols.max(1)), c, 0..1, 0..cols, Part::All) };
}

/// Stores the sums of some columns of a row.
///
/// # Safety
/// Nobody else may touch them meanwhile.
#[inline(always)]
unsafe fn store_each<T: Element>(epilogue: Epilogue, sums: &[f32], c: &ViewMut<'_, T>, row: usize, cols: Range<usize>) {
    let Epilogue { alpha, accumulate } = epilogue;
    let other = c.other_row(row, cols.clone());
    // SAFETY: the caller's promise.
    let c = unsafe { c.row_part(row, cols) };
    match (accumulate, other) {
        (false, _) => {
            for (c, x) in c.iter_mut().zip(sums) {
                *c = T::from_f32(alpha * x);
            }
        }
        (true, None) => {
            for (c, x) in c.iter_mut().zip(sums) {
                *c = T::from_f32(c.to_f32() + alpha * x);
            }
        }
        (true, Some((other, factor))) => {
            for ((c, x), other) in c.iter_mut().zip(sums).zip(other) {
                *c = T::from_f32(factor * other.to_f32() + alpha * x);
            }
        }
    }
}

/// [`store_in`] with the conversion of AVX512-BF16. It rounds as [`Element`] does, and makes numbers too
/// small for a normal float zero.
///
/// # Safety
/// The CPU has these features. Nobody else may touch that part of C meanwhile.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn store_in_bf16(
    epilogue: Epilogue,
    sums: &[f32],
    stride: usize,
    c: &ViewMut<'_, bf16>,
    rows: Range<usize>,
    cols: Range<usize>,
    part: Part,
) {
    use std::arch::x86_64::{
        __m256bh, __m256i, __m512bh, __m512i, _mm256_loadu_si256, _mm256_mask_storeu_epi16, _mm256_maskz_loadu_epi16,
        _mm512_add_ps, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh,
        _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_slli_epi32, _mm512_storeu_si512,
    };
    use std::mem::transmute;
    let alpha = _mm512_set1_ps(epilogue.alpha);
    let widen = |x: __m256i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x)));
    let each = |sums: &[f32], row: usize, cols: Range<usize>| {
        let (len, rows) = (cols.len(), row..row + 1);
        let (addend, _, factor) = c.addend(&rows, &cols);
        let (to, factor) = (c.corner(&rows, &cols).0.cast::<i16>(), _mm512_set1_ps(factor));
        let (from, addend) = (sums.as_ptr(), addend.cast::<i16>());
        let whole = len / 32 * 32;
        // SAFETY: all lanes, and in the remainder those inside the mask, are elements of the sums, of C and of what is added; the
        // transmutations rename vectors of 512 and 256 bits.
        unsafe {
            for start in (0..whole).step_by(32) {
                let mut low = _mm512_mul_ps(alpha, _mm512_loadu_ps(from.add(start)));
                let mut high = _mm512_mul_ps(alpha, _mm512_loadu_ps(from.add(start + 16)));
                if epilogue.accumulate {
                    let addend = addend.add(start);
                    let widened = |at| _mm512_mul_ps(factor, widen(_mm256_loadu_si256(addend.add(at).cast())));
                    (low, high) = (_mm512_add_ps(widened(0), low), _mm512_add_ps(widened(16), high));
                }
                let rounded = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(to.add(start).cast(), rounded);
            }
            for start in (whole..len).step_by(16) {
                let mask = (0xffff_u32 >> 16_usize.saturating_sub(len - start)) as u16;
                let mut x = _mm512_mul_ps(alpha, _mm512_maskz_loadu_ps(mask, from.add(start)));
                if epilogue.accumulate {
                    let addend = widen(_mm256_maskz_loadu_epi16(mask, addend.add(start)));
                    x = _mm512_add_ps(_mm512_mul_ps(factor, addend), x);
                }
                let rounded = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x));
                _mm256_mask_storeu_epi16(to.add(start), mask, rounded);
            }
        }
    };
    store_rows(sums, stride, rows, cols, part, each);
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
                for (isa, c) in [(Isa::Avx512Bf16, &mut found), (Isa::Avx512, &mut expected)] {
                    let c = ViewMut::row_major(&mut c[..len], 1, len).into();
                    // SAFETY: the view is lent exclusively.
                    unsafe { store(isa, epilogue, (&sums, sums.len()), &c, 0..1, 0..len, Part::All) };
                }
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
