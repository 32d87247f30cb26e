//! A left operand that is read where it lies: rows of a matrix that are units already.

use super::super::kernel::{Kernel, Sums};
use super::super::pack::Encoding;
use super::super::view::MatrixRef;
use super::{CHAIN, Micros, RightPanels, Session};
use crate::cpu::elem::aligned_as;

/// Rows of units where they lie.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    units: &'a [u32],
    /// From one row to the next.
    stride: usize,
    rows: usize,
}

/// A as units where it lies and how many of them its rows are apart, if the microkernels can read it so.
///
/// Rows that would evict one another are packed: a multiple of a page apart, for tile registers, which read sixteen at
/// once, of half a page.
pub(in crate::cpu::matmul) fn in_place<'a>(
    kernel: &Kernel,
    encoding: Encoding,
    a: &MatrixRef<'a>,
) -> Option<(&'a [u32], usize)> {
    let apart = match (kernel.tiles, kernel.strided) {
        (Some(_), _) => 2048,
        (None, []) => return None,
        _ => 4096,
    };
    let (units, row, contiguous) = match (a, encoding) {
        (MatrixRef::F32(a), Encoding::Wide) => (aligned_as(a.data), a.row_stride, a.col_stride == 1),
        (MatrixRef::Bf16(a), Encoding::Pairs) if a.cols.is_multiple_of(2) && a.row_stride.is_multiple_of(2) => {
            (aligned_as(a.data), a.row_stride / 2, a.col_stride == 1)
        }
        _ => return None,
    };
    let near = (row * size_of::<u32>()).is_multiple_of(apart);
    units.filter(|_| contiguous && !near).map(|units| (units, row))
}

impl Micros {
    /// Those rows as a left operand, if the microkernels can read them where they lie; else they have to be packed.
    pub(crate) fn in_place<'a>(&self, rows: &MatrixRef<'a>) -> Option<Placed<'a>> {
        let (units, stride) = in_place(self.kernel, self.encoding, rows)?;
        let (rows, cols) = rows.shape();
        (rows <= self.kernel.mr && self.units(cols) <= CHAIN).then_some(Placed { units, stride, rows })
    }

    /// [`Micros::multiply`] of at most [`Micros::height`] rows and one chain: writes the product to `c`.
    pub(crate) fn multiply_in_place(
        &self,
        session: &mut Session,
        a: Placed<'_>,
        b: RightPanels<'_>,
        c: &mut [f32],
        stride: usize,
    ) {
        let nr = self.kernel.nr;
        let Placed {
            units,
            stride: row,
            rows,
        } = a;
        if rows == 0 || b.panels == 0 {
            return;
        }
        assert!(c.len() >= (rows - 1) * stride + b.panels * nr && (rows == 1 || stride >= b.panels * nr));
        assert!(rows <= self.kernel.mr && (1..=CHAIN).contains(&b.count));
        for part in self.kernel.parts(b.count) {
            let (count, add) = (part.len(), part.start > 0);
            let a = units[part.start..][..(rows - 1) * row + count].as_ptr();
            // SAFETY: `prepare` chose a kernel of a level that this CPU has.
            unsafe { session.prepare(rows, count) };
            for panel in 0..b.panels {
                let b = b.units[panel * b.stride + part.start * nr..][..count * nr].as_ptr();
                let c = &raw mut c[panel * nr];
                // SAFETY: the level as above; the slices have the extents that the kernel reads, and the rows of C lie
                // inside it by the assertion above.
                unsafe {
                    if let Some(tiles) = self.kernel.tiles {
                        (tiles.in_place)(rows, count, a, row * size_of::<u32>(), b, c, stride, add);
                    } else {
                        let sums = Sums { first: c, stride, add };
                        self.kernel.strided[rows - 1](count, (a, row), b, sums, None);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::LeftRows;
    use super::*;
    use crate::cpu::isa::Isa;
    use crate::cpu::matmul::View;

    #[test]
    fn rows_in_place_have_the_bits_of_packed_ones() {
        let (stride, k, cols) = (90, 46, 64);
        let numbers = |seed: usize, len: usize| -> Vec<bf16> {
            (0..len)
                .map(|i| bf16::from_f32(((i * 31 + seed) % 47) as f32 * 0.37 - 8.0))
                .collect()
        };
        let (a, b) = (numbers(1, 40 * stride), numbers(5, cols * k));
        for isa in Isa::supported() {
            let micros = Micros::new(isa, true);
            let mut session = micros.session();
            let mut right = vec![0; micros.right_len(k, cols)];
            micros.pack_right(View::row_major(&b, cols, k).into(), &mut right);
            let right = RightPanels {
                units: &right,
                stride: micros.units(k) * micros.width(),
                panels: cols / micros.width(),
                count: micros.units(k),
            };
            for rows in 1..=micros.height() {
                let view = || MatrixRef::from(View::strided(&a, rows, k, stride, 1));
                let Some(placed) = micros.in_place(&view()) else {
                    assert!(!micros.pairs(), "pairs of bf16 are units as they lie");
                    continue;
                };
                let (mut here, mut packed) = (vec![1.0; rows * cols], vec![2.0; rows * cols]);
                micros.multiply_in_place(&mut session, placed, right, &mut here, cols);
                let mut units = vec![0; micros.left_len(rows, k)];
                micros.pack_left(view(), rows, &mut units);
                micros.multiply(
                    &mut session,
                    LeftRows { units: &units, rows },
                    right,
                    &mut packed,
                    cols,
                    false,
                );
                assert_eq!(here, packed, "{} rows, {}", rows, isa.name());
            }
        }
    }
}
