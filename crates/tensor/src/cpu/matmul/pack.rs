//! Brings operands into the order in which the microkernels read them.
//!
//! Both operands are seen as *lines* along k: the rows of A, the columns of B.
//! A packed line is a sequence of 32-bit units (see [`Format`]).
//!
//! Must never know tiles, threads or C.

use super::kernel::{A_STRIDE, Format};
use super::side_by_side;
use super::transpose::transpose;
use super::view::{Element, MatrixRef, View};
use crate::cpu::isa::Isa;

/// How elements become units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Each an f32; bf16 is widened.
    Wide,
    /// Each rounded to bf16 and widened again: bf16 precision on an f32 kernel.
    Rounded,
    /// Neighbours in k as a pair of bf16.
    Pairs,
}

impl Encoding {
    /// The units this encoding makes.
    pub(super) fn format(self) -> Format {
        match self {
            Self::Wide | Self::Rounded => Format::F32,
            Self::Pairs => Format::Bf16Pairs,
        }
    }
}

/// An [`Encoding`] as a type, so that the loops compile for each.
pub(super) trait Encode {
    /// Elements of k in a unit.
    const K_PER_UNIT: usize;
    /// A unit of the element at k and, in pairs, the one at k + 1.
    fn unit<S: Element>(first: S, second: S) -> u32;
}

struct Wide;
struct Rounded;
struct Pairs;

impl Encode for Wide {
    const K_PER_UNIT: usize = 1;
    #[inline(always)]
    fn unit<S: Element>(first: S, _: S) -> u32 {
        first.to_f32().to_bits()
    }
}

impl Encode for Rounded {
    const K_PER_UNIT: usize = 1;
    #[inline(always)]
    fn unit<S: Element>(first: S, _: S) -> u32 {
        u32::from(first.bf16_bits()) << 16
    }
}

impl Encode for Pairs {
    const K_PER_UNIT: usize = 2;
    #[inline(always)]
    fn unit<S: Element>(first: S, second: S) -> u32 {
        u32::from(first.bf16_bits()) | u32::from(second.bf16_bits()) << 16
    }
}

/// Calls `$function::<S, E>(lines as View<S>, ...)` for the types at hand.
macro_rules! dispatch {
    ($isa:expr, $encoding:expr, $lines:expr, $function:ident, $($argument:expr),*) => {
        match ($lines, $encoding) {
            (MatrixRef::F32(lines), Encoding::Wide) => {
                $isa.vectorize(#[inline(always)] || $function::<f32, Wide>(lines, $($argument),*))
            }
            (MatrixRef::F32(lines), Encoding::Rounded) => {
                $isa.vectorize(#[inline(always)] || $function::<f32, Rounded>(lines, $($argument),*))
            }
            (MatrixRef::F32(lines), Encoding::Pairs) => {
                $isa.vectorize(#[inline(always)] || $function::<f32, Pairs>(lines, $($argument),*))
            }
            // A bf16 is rounded already.
            (MatrixRef::Bf16(lines), Encoding::Wide | Encoding::Rounded) => {
                $isa.vectorize(#[inline(always)] || $function::<_, Wide>(lines, $($argument),*))
            }
            (MatrixRef::Bf16(lines), Encoding::Pairs) => {
                $isa.vectorize(#[inline(always)] || $function::<_, Pairs>(lines, $($argument),*))
            }
        }
    };
}

/// Packs lines as `[line][A_STRIDE]`.
pub(super) fn pack_rows(isa: Isa, encoding: Encoding, lines: MatrixRef<'_>, dst: &mut [u32]) {
    dispatch!(isa, encoding, lines, rows, isa, dst);
}

/// Packs lines in panels of `width` as `[panel][unit][width]`, the last panel
/// and the last unit filled up with zeros.
pub(super) fn pack_panels(isa: Isa, encoding: Encoding, lines: MatrixRef<'_>, width: usize, dst: &mut [u32]) {
    if let (MatrixRef::Bf16(lines), Encoding::Pairs) = (&lines, encoding)
        && lines.row_stride == 1
    {
        let units = lines.cols.div_ceil(2);
        let done = match width {
            12 => side_by_side::pack_pairs::<12>(isa, lines, units, dst),
            16 => side_by_side::pack_pairs::<16>(isa, lines, units, dst),
            32 => side_by_side::pack_pairs::<32>(isa, lines, units, dst),
            _ => false,
        };
        if done {
            return;
        }
    }
    if let (MatrixRef::F32(lines), Encoding::Wide) = (&lines, encoding)
        && lines.row_stride == 1
    {
        let done = match width {
            12 => side_by_side::pack_wide::<12>(isa, lines, lines.cols, dst),
            16 => side_by_side::pack_wide::<16>(isa, lines, lines.cols, dst),
            32 => side_by_side::pack_wide::<32>(isa, lines, lines.cols, dst),
            _ => false,
        };
        if done {
            return;
        }
    }
    match width {
        4 => dispatch!(isa, encoding, lines, panels4, isa, dst),
        6 => dispatch!(isa, encoding, lines, panels6, isa, dst),
        8 => dispatch!(isa, encoding, lines, panels8, isa, dst),
        12 => dispatch!(isa, encoding, lines, panels12, isa, dst),
        16 => dispatch!(isa, encoding, lines, panels16, isa, dst),
        32 => dispatch!(isa, encoding, lines, panels32, isa, dst),
        _ => unreachable!("no microkernel is {width} wide or high"),
    }
}

/// `panels` with its width in its name: a macro cannot pass on a mixture of inferred and given
/// type arguments.
macro_rules! panels_of {
    ($($name:ident = $width:literal),*) => {$(
        #[inline(always)]
        fn $name<S: Element, E: Encode>(lines: View<'_, S>, isa: Isa, dst: &mut [u32]) {
            panels::<S, E, $width>(lines, isa, dst);
        }
    )*};
}
panels_of!(
    panels4 = 4,
    panels6 = 6,
    panels8 = 8,
    panels12 = 12,
    panels16 = 16,
    panels32 = 32
);

/// Unit `index` of the line that begins at `start`.
#[inline(always)]
fn unit<S: Element, E: Encode>(lines: &View<'_, S>, start: usize, index: usize) -> u32 {
    let k = index * E::K_PER_UNIT;
    let first = lines.data[start + k * lines.col_stride];
    let second = if E::K_PER_UNIT == 2 && k + 1 < lines.cols {
        lines.data[start + (k + 1) * lines.col_stride]
    } else {
        S::from_f32(0.0)
    };
    E::unit(first, second)
}

/// Units of a stretch of a line that lies contiguous; `dst` sets their number.
#[inline(always)]
fn contiguous_line<S: Element, E: Encode>(line: &[S], dst: &mut [u32]) {
    if E::K_PER_UNIT == 1 {
        for (dst, &x) in dst.iter_mut().zip(line) {
            *dst = E::unit(x, x);
        }
    } else {
        let (pairs, rest) = line.as_chunks::<2>();
        for (dst, &[first, second]) in dst.iter_mut().zip(pairs) {
            *dst = E::unit(first, second);
        }
        if let (Some(dst), Some(&last)) = (dst.get_mut(pairs.len()), rest.first()) {
            *dst = E::unit(last, S::from_f32(0.0));
        }
    }
}

#[inline(always)]
fn rows<S: Element, E: Encode>(lines: View<'_, S>, isa: Isa, dst: &mut [u32]) {
    if lines.row_stride == 1 && lines.col_stride != 1 {
        rows_side_by_side::<S, E>(&lines, isa, dst);
        return;
    }
    let units = lines.cols.div_ceil(E::K_PER_UNIT);
    for (row, dst) in dst.chunks_mut(A_STRIDE).take(lines.rows).enumerate() {
        let (start, dst) = (row * lines.row_stride, &mut dst[..units]);
        if lines.col_stride == 1 {
            contiguous_line::<S, E>(&lines.data[start..start + lines.cols], dst);
        } else {
            for (index, dst) in dst.iter_mut().enumerate() {
                *dst = unit::<S, E>(&lines, start, index);
            }
        }
    }
}

/// [`rows`] of lines that lie side by side in memory, where k is the slow direction: squares of
/// 16 × 16 units are transposed.
#[inline(always)]
fn rows_side_by_side<S: Element, E: Encode>(lines: &View<'_, S>, isa: Isa, dst: &mut [u32]) {
    let units = lines.cols.div_ceil(E::K_PER_UNIT);
    let (dst, _) = dst.as_chunks_mut::<A_STRIDE>();
    let zeros = [S::from_f32(0.0); 16];
    let mut square = [[0_u32; 16]; 16];
    for (first, dst) in (0..lines.rows).step_by(16).zip(dst.chunks_mut(16)) {
        let count = 16.min(lines.rows - first);
        let at = |k: usize| &lines.data[first + k * lines.col_stride..][..count];
        for left in (0..units).step_by(16) {
            for (index, square) in (left..units.min(left + 16)).zip(&mut square) {
                let k = index * E::K_PER_UNIT;
                let x = at(k);
                let y = if E::K_PER_UNIT == 1 {
                    x
                } else if k + 1 < lines.cols {
                    at(k + 1)
                } else {
                    &zeros[..count]
                };
                if let (Ok(x), Ok(y)) = (<&[S; 16]>::try_from(x), <&[S; 16]>::try_from(y)) {
                    for (unit, (&x, &y)) in square.iter_mut().zip(x.iter().zip(y)) {
                        *unit = E::unit(x, y);
                    }
                } else {
                    for (unit, (&x, &y)) in square.iter_mut().zip(x.iter().zip(y)) {
                        *unit = E::unit(x, y);
                    }
                }
            }
            // Whole squares are written, leftovers of the last one included: a row has room for them behind its units.
            transpose(isa, &square, left, dst);
        }
    }
}

#[inline(always)]
fn panels<S: Element, E: Encode, const WIDTH: usize>(lines: View<'_, S>, isa: Isa, dst: &mut [u32]) {
    let units = lines.cols.div_ceil(E::K_PER_UNIT);
    if units == 0 {
        return;
    }
    if lines.row_stride == 1 {
        side_by_side::pack::<S, E, WIDTH>(&lines, units, dst);
        return;
    }
    let panels = dst.chunks_exact_mut(units * WIDTH);
    for (first, panel) in (0..lines.rows).step_by(WIDTH).zip(panels) {
        let (panel, _) = panel.as_chunks_mut::<WIDTH>();
        let count = WIDTH.min(lines.rows - first);
        if lines.col_stride == 1 {
            one_by_one::<S, E, WIDTH>(&lines, first, count, isa, panel);
        } else {
            for (index, dst) in panel.iter_mut().enumerate() {
                dst.fill(0);
                for (line, dst) in dst.iter_mut().enumerate().take(count) {
                    *dst = unit::<S, E>(&lines, (first + line) * lines.row_stride, index);
                }
            }
        }
    }
}

/// A panel of lines that are each contiguous: squares of 16 × 16 units are transposed.
#[inline(always)]
fn one_by_one<S: Element, E: Encode, const WIDTH: usize>(
    lines: &View<'_, S>,
    first: usize,
    count: usize,
    isa: Isa,
    panel: &mut [[u32; WIDTH]],
) {
    let mut square = [[0_u32; 16]; 16];
    for (start, panel) in (0..).step_by(16).zip(panel.chunks_mut(16)) {
        let from = start * E::K_PER_UNIT;
        let to = lines.cols.min(from + 16 * E::K_PER_UNIT);
        for left in (0..WIDTH).step_by(16) {
            let here = count.saturating_sub(left).min(16);
            for (line, dst) in square.iter_mut().enumerate() {
                if line < here {
                    let begin = (first + left + line) * lines.row_stride;
                    let line = &lines.data[begin + from..begin + to];
                    if line.len() == 16 * E::K_PER_UNIT {
                        // Of a length known to the compiler: no call for 64 bytes.
                        contiguous_line::<S, E>(&line[..16 * E::K_PER_UNIT], &mut dst[..]);
                    } else {
                        contiguous_line::<S, E>(line, &mut dst[..panel.len()]);
                    }
                } else {
                    dst.fill(0);
                }
            }
            transpose(isa, &square, left, panel);
        }
    }
}
