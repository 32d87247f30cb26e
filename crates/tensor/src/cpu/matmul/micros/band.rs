//! One panel of rows at a time, for callers that go from product to product while operands are in the cache: the left
//! operand by rows or by k, and memory asked for what comes next between microkernels.

use super::{CHAIN, LeftRows, Micros, ROW, RightPanels, pack_panels};
use crate::cpu::matmul::kernel::AHEAD;
use crate::cpu::matmul::{MatrixRef, PackedB, panel_stride, prepare};

/// At most [`Micros::height`] rows of a left operand.
#[derive(Clone, Copy)]
pub(crate) enum Band<'a> {
    /// `[chunk][row][ROW]`, as [`Micros::pack_left`] makes them.
    Rows(LeftRows<'a>),
    /// So many rows as `[unit][height]`, as [`Micros::pack_columns`] makes them.
    Columns(&'a [u32], usize),
}

/// Memory that will be wanted soon: microkernels ask for it while they multiply. All at once, requests would wait for each
/// other and the microkernels for them.
pub(crate) struct Ahead<const N: usize> {
    /// One after the other.
    stretches: [Stretch; N],
}

/// Pieces of memory of one length.
#[derive(Clone, Copy)]
pub(crate) struct Stretch {
    /// What is next of the first piece that is left.
    next: *const u8,
    /// Bytes that are left of that piece.
    left: usize,
    /// Bytes of a piece, and from the end of one to the next.
    len: usize,
    gap: usize,
    /// Pieces that are left.
    pieces: usize,
}

impl Stretch {
    /// So many elements from that address on. They are not read, so need not be there.
    pub(crate) fn new<T>(start: *const T, len: usize) -> Self {
        Self::pieces(start, len, len, 1)
    }

    /// Pieces of so many elements, `stride` apart.
    fn pieces<T>(start: *const T, len: usize, stride: usize, pieces: usize) -> Self {
        let len = len * size_of::<T>();
        Self {
            next: start.cast(),
            left: len,
            len,
            gap: stride * size_of::<T>() - len,
            pieces,
        }
    }
}

impl<const N: usize> Ahead<N> {
    pub(crate) fn new(stretches: [Stretch; N]) -> Self {
        Self { stretches }
    }

    /// Where the next `bytes` are, of which only the first are meant at the end of a piece.
    #[inline]
    fn take(&mut self, bytes: usize) -> Option<*const u8> {
        let stretch = self.stretches.iter_mut().find(|stretch| stretch.pieces > 0)?;
        let (next, len) = (stretch.next, bytes.min(stretch.left));
        stretch.next = next.wrapping_add(len);
        stretch.left -= len;
        if stretch.left == 0 {
            stretch.next = stretch.next.wrapping_add(stretch.gap);
            stretch.left = stretch.len;
            stretch.pieces -= 1;
        }
        Some(next)
    }
}

impl Micros {
    /// Whether there are microkernels for [`Band::Columns`].
    pub(crate) fn takes_columns(&self) -> bool {
        !self.kernel.by_k.is_empty()
    }

    /// Packs at most [`Micros::height`] rows that lie side by side in memory, k being the slow direction, as
    /// `[unit][height]`; rows that are missing and the rest of the last unit become zeros.
    pub(crate) fn pack_columns(&self, rows: MatrixRef<'_>, dst: &mut [u32]) {
        pack_panels(self.isa, self.encoding, rows, self.kernel.mr, dst);
    }

    /// Writes the product to `c`, whose rows are `stride` apart, or adds it (`add`), and asks for some memory meanwhile.
    ///
    /// # Panics
    /// If the level works on tile registers.
    pub(crate) fn multiply_band<const N: usize>(
        &self,
        a: Band<'_>,
        b: RightPanels<'_>,
        c: &mut [f32],
        stride: usize,
        add: bool,
        ahead: &mut Ahead<N>,
    ) {
        let (mr, nr) = (self.kernel.mr, self.kernel.nr);
        let height = match a {
            Band::Rows(a) => a.rows,
            Band::Columns(_, height) => height,
        };
        assert!(self.takes_columns() && (1..=mr).contains(&height) && b.panels > 0 && b.count > 0);
        assert!(c.len() >= (height - 1) * stride + b.panels * nr && (height == 1 || stride >= b.panels * nr));
        for start in (0..b.count).step_by(CHAIN) {
            let count = CHAIN.min(b.count - start);
            let (kernel, a) = match a {
                Band::Rows(a) => (
                    self.kernel.by_rows,
                    &a.units[start / CHAIN * a.rows * ROW..][..(height - 1) * ROW + count],
                ),
                Band::Columns(a, _) => (self.kernel.by_k, &a[start * mr..(start + count) * mr]),
            };
            for panel in 0..b.panels {
                let b = &b.units[panel * b.stride + start * nr..][..count * nr];
                let next = ahead.take(count * AHEAD).map_or(b.as_ptr(), <*const u8>::cast);
                // SAFETY: `prepare` chose a kernel of a level that this CPU has, and it needs no session, having no
                // tile registers; the slices have the extents that it reads, and C that by the assertion above.
                unsafe {
                    let c = c.as_mut_ptr().add(panel * nr);
                    kernel[height - 1](count, a.as_ptr(), b.as_ptr(), c, stride, add || start > 0, next);
                }
            }
        }
    }
}

impl RightPanels<'_> {
    /// All of it, as something to ask memory for.
    pub(crate) fn stretch(&self, micros: &Micros) -> Stretch {
        let nr = micros.width();
        Stretch::pieces(self.units.as_ptr(), self.count * nr, self.stride, self.panels)
    }
}

impl<'a> PackedB<'a> {
    /// `panels` panels from column `col` on, and of k `count` units from element `k` on.
    ///
    /// # Panics
    /// If a panel does not begin at that column or a unit at that element.
    pub(crate) fn panels(
        &self,
        micros: &Micros,
        (k, col): (usize, usize),
        count: usize,
        panels: usize,
    ) -> RightPanels<'a> {
        let nr = micros.width();
        let (encoding, _) = prepare(self.precision, self.isa);
        assert!(
            self.isa == micros.isa && encoding == micros.encoding,
            "packed for other microkernels"
        );
        assert!(col.is_multiple_of(nr) && k.is_multiple_of(micros.per_unit()));
        let stride = panel_stride(micros.units(self.k) * nr);
        RightPanels {
            units: &self.units[col / nr * stride + k / micros.per_unit() * nr..],
            stride,
            panels,
            count,
        }
    }
}

/// Copies to memory that is not read soon, where it can without bringing that into the cache first.
///
/// What is written this way is visible to other threads after [`publish`].
pub(crate) fn stream(micros: &Micros, from: &[u32], to: &mut [u32]) {
    assert_eq!(from.len(), to.len());
    #[cfg(target_arch = "x86_64")]
    if micros.isa >= crate::cpu::isa::Isa::Avx512
        && to.as_ptr().addr().is_multiple_of(64)
        && to.len().is_multiple_of(16)
    {
        /// # Safety
        /// The CPU has AVX-512F; as many units on both sides, in whole vectors, `to` at a cache line.
        #[target_feature(enable = "avx512f")]
        unsafe fn whole(from: &[u32], to: &mut [u32]) {
            use std::arch::x86_64::{_mm512_loadu_si512, _mm512_stream_si512};
            for (from, to) in from.as_chunks::<16>().0.iter().zip(to.as_chunks_mut::<16>().0) {
                // SAFETY: whole vectors of both.
                unsafe { _mm512_stream_si512(to.as_mut_ptr().cast(), _mm512_loadu_si512(from.as_ptr().cast())) };
            }
        }
        // SAFETY: a `Micros` is made for a level that this CPU has; the rest as checked.
        return unsafe { whole(from, to) };
    }
    let _ = micros;
    to.copy_from_slice(from);
}

/// Makes what [`stream`] wrote visible to whom this thread hands it.
pub(crate) fn publish() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}
