//! Sums of a symmetric product are stored twice: where they are, and where they are seen from the other side of the diagonal.
//!
//! Must never know which product it is.

use std::ops::Range;

use half::bf16;

use super::epilogue::{Epilogue, Part, store};
use super::transpose::transpose;
use super::view::{Element, MatrixMut, ViewMut};
use crate::cpu::isa::Isa;

/// Rows and columns of a square that [`store_symmetric`] takes at a time.
pub(super) const SIDE: usize = 16;

/// Stores sums of a symmetric product where they are on and below the diagonal, and where they are on the other side of it.
///
/// # Safety
/// Nobody else may touch those parts of C meanwhile.
pub(super) unsafe fn store_symmetric(
    isa: Isa,
    epilogue: Epilogue,
    (sums, stride): (&[f32], usize),
    c: &MatrixMut<'_>,
    rows: Range<usize>,
    cols: Range<usize>,
) {
    for top in rows.clone().step_by(SIDE) {
        let down = top..rows.end.min(top + SIDE);
        for left in (cols.start..cols.end.min(down.end)).step_by(SIDE) {
            let across = left..cols.end.min(left + SIDE);
            let sums = &sums[(top - rows.start) * stride + left - cols.start..];
            let whole = down.len() == SIDE && across.len() == SIDE && across.end <= down.start;
            // SAFETY: the caller's promise; nobody stores above the diagonal but who computes what lies below it. A level in
            // use is one that the CPU has.
            unsafe {
                match c {
                    _ if !whole => {
                        let (down, across) = (down.clone(), across.clone());
                        let turned = turned(sums, stride, down.len(), across.len());
                        let turned = (turned.as_flattened(), SIDE);
                        store(isa, epilogue, turned, c, across.clone(), down.clone(), Part::Above);
                        store(isa, epilogue, (sums, stride), c, down, across, Part::OnAndBelow);
                    }
                    MatrixMut::F32(c) => store_square_in(isa, epilogue, (sums, stride), c, (top, left)),
                    #[cfg(target_arch = "x86_64")]
                    MatrixMut::Bf16(c) if isa.has_bf16_dot() => {
                        store_square_bf16(isa, epilogue, (sums, stride), c, (top, left));
                    }
                    MatrixMut::Bf16(c) => store_square_in(isa, epilogue, (sums, stride), c, (top, left)),
                }
            }
        }
    }
}

/// The transposition of a corner of a square.
fn turned(sums: &[f32], stride: usize, rows: usize, cols: usize) -> [[f32; SIDE]; SIDE] {
    let mut turned = [[0.0; SIDE]; SIDE];
    for (row, sums) in sums.chunks(stride).enumerate().take(rows) {
        for (line, &sum) in turned.iter_mut().zip(&sums[..cols]) {
            line[row] = sum;
        }
    }
    turned
}

/// Stores a whole square below the diagonal, from this row and column on, on both sides.
///
/// # Safety
/// Nobody else may touch those parts of C meanwhile; `isa` is the level for which this is compiled, or a lower one.
#[inline(always)]
unsafe fn store_square<T: Element>(
    isa: Isa,
    epilogue: Epilogue,
    (sums, stride): (&[f32], usize),
    c: &ViewMut<'_, T>,
    (top, left): (usize, usize),
    round: impl Fn([f32; SIDE]) -> [T; SIDE],
) {
    let sums = &sums[..(SIDE - 1) * stride + SIDE];
    let (down, across) = (top..top + SIDE, left..left + SIDE);
    let below = Square::of(epilogue, c, &down, &across);
    let above = Square::of(epilogue, c, &across, &down);
    let mut square = [[0; SIDE]; SIDE];
    for (i, line) in square.iter_mut().enumerate() {
        // SAFETY: inside the sums, as they were cut above; a row of that part of C.
        unsafe {
            let x = sums.as_ptr().add(i * stride).cast::<[f32; SIDE]>().read_unaligned();
            below.put(i, x, &round);
            *line = x.map(f32::to_bits);
        }
    }
    let mut turned = [[0; SIDE]; SIDE];
    transpose(isa, &square, 0, &mut turned);
    for (i, line) in turned.iter().enumerate() {
        // SAFETY: as above.
        unsafe { above.put(i, line.map(f32::from_bits), &round) };
    }
}

/// A square of C and what it is added to.
struct Square<T> {
    epilogue: Epilogue,
    to: (*mut T, usize),
    addend: (*const T, usize, f32),
}

impl<T: Element> Square<T> {
    #[inline(always)]
    fn of(epilogue: Epilogue, c: &ViewMut<'_, T>, rows: &Range<usize>, cols: &Range<usize>) -> Self {
        let (to, addend) = (c.corner(rows, cols), c.addend(rows, cols));
        Self { epilogue, to, addend }
    }

    /// Stores a row.
    ///
    /// # Safety
    /// It is one of the square, which nobody else touches meanwhile.
    #[inline(always)]
    unsafe fn put(&self, row: usize, x: [f32; SIDE], round: &impl Fn([f32; SIDE]) -> [T; SIDE]) {
        let mut x = x.map(|x| self.epilogue.alpha * x);
        if self.epilogue.accumulate {
            let (first, stride, factor) = self.addend;
            // SAFETY: the caller's promise.
            let addend = unsafe { first.add(row * stride).cast::<[T; SIDE]>().read_unaligned() };
            for (x, addend) in x.iter_mut().zip(addend) {
                *x += factor * addend.to_f32();
            }
        }
        let (first, stride) = self.to;
        // SAFETY: the caller's promise.
        unsafe { first.add(row * stride).cast::<[T; SIDE]>().write_unaligned(round(x)) };
    }
}

/// [`store_square`] for either type.
///
/// # Safety
/// As [`store_square`].
unsafe fn store_square_in<T: Element>(
    isa: Isa,
    epilogue: Epilogue,
    sums: (&[f32], usize),
    c: &ViewMut<'_, T>,
    corner: (usize, usize),
) {
    isa.vectorize(
        #[inline(always)]
        || {
            // SAFETY: the caller's promise.
            unsafe {
                store_square(
                    isa,
                    epilogue,
                    sums,
                    c,
                    corner,
                    #[inline(always)]
                    |x| x.map(T::from_f32),
                );
            }
        },
    );
}

/// [`store_square`] with the conversion of AVX512-BF16, as the other elements are rounded there.
///
/// # Safety
/// As [`store_square`]; the CPU has these features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn store_square_bf16(
    isa: Isa,
    epilogue: Epilogue,
    sums: (&[f32], usize),
    c: &ViewMut<'_, bf16>,
    corner: (usize, usize),
) {
    use std::arch::x86_64::{__m256bh, __m512, _mm512_cvtneps_pbh};
    use std::mem::transmute;
    // SAFETY: the caller's promise; the transmutations rename vectors of 512 and 256 bits.
    unsafe {
        store_square(
            isa,
            epilogue,
            sums,
            c,
            corner,
            #[inline(always)]
            |x| transmute::<__m256bh, [bf16; SIDE]>(_mm512_cvtneps_pbh(transmute::<[f32; SIDE], __m512>(x))),
        );
    }
}
