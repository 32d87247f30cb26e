//! Matrix products on the CPU: `C = alpha · A · B (+ C)`.
//!
//! A and B are views with any strides, in f32 or bf16; sums are f32; C is f32 or
//! bf16. C is cut into tiles, each computed by one worker from start to end: block by block
//! of k, A and B are packed into the worker's scratch memory, and microkernels
//! add their product to the tile. B may also come packed once for many products.
//!
//! Architecture Invariant: element `(i, j)` of the product has the same bits
//! whatever the number of threads, the other rows and columns, the strides, and
//! whether B was packed beforehand (see `blocking`). Decoding with a KV cache
//! and without one therefore agree.
//!
//! Architecture Invariant: nothing here allocates memory.
//!
//! Must never know what the matrices mean.

mod blocking;
mod few;
mod kernel;
mod micros;
mod pack;
mod panels;
mod peak;
mod scratch;
mod side_by_side;
mod single;
mod slabs;
mod transpose;
mod view;

#[cfg(test)]
mod tests;

use std::ops::Range;

use half::bf16;

use self::blocking::{MAX_COLS, MAX_ROWS, cut, k_block, tile_shape};
pub(crate) use self::kernel::Session;
use self::kernel::{Format, Kernel};
pub(crate) use self::micros::{LeftRows, Micros, ROW, RightPanels, transposed_square};
use self::pack::{Encoding, pack_panels, pack_rows};
use self::panels::{Left, Panels};
pub(crate) use self::peak::peak;
pub(crate) use self::scratch::{Scratch, TileScratch};
pub(crate) use self::slabs::SharedScratch;
use self::slabs::Slab;
pub(crate) use self::view::{Element, MatrixMut, MatrixRef, View, ViewMut};
use super::isa::Isa;
use super::pool::Pool;

/// What products of a packed matrix are computed in; sums are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    F32,
    /// Both operands rounded to bf16. A level without bf16 arithmetic keeps the
    /// rounded values as f32.
    Bf16,
}

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
    #[cfg_attr(not(test), allow(dead_code))]
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
enum Output<'a> {
    Matrix(MatrixMut<'a>, Epilogue),
    Each(&'a EachTile<'a>),
}

/// The right operand, `[k, n]`.
#[derive(Clone, Copy)]
pub(crate) enum Rhs<'a> {
    Plain(MatrixRef<'a>),
    Packed(PackedB<'a>),
}

impl<'a> From<View<'a, f32>> for Rhs<'a> {
    fn from(view: View<'a, f32>) -> Self {
        Self::Plain(view.into())
    }
}

impl<'a> From<View<'a, bf16>> for Rhs<'a> {
    fn from(view: View<'a, bf16>) -> Self {
        Self::Plain(view.into())
    }
}

impl<'a> From<MatrixRef<'a>> for Rhs<'a> {
    fn from(matrix: MatrixRef<'a>) -> Self {
        Self::Plain(matrix)
    }
}

impl<'a> From<PackedB<'a>> for Rhs<'a> {
    fn from(packed: PackedB<'a>) -> Self {
        Self::Packed(packed)
    }
}

/// A right operand `[k, n]` that [`pack_b`] has packed.
#[derive(Clone, Copy)]
pub(crate) struct PackedB<'a> {
    units: &'a [u32],
    k: usize,
    n: usize,
    precision: Precision,
    isa: Isa,
}

impl<'a> PackedB<'a> {
    /// Names what `pack_b` wrote to `bytes` with the same arguments.
    ///
    /// # Panics
    /// If `bytes` is not aligned to 4 or shorter than [`packed_len`].
    pub(crate) fn new(bytes: &'a [u8], k: usize, n: usize, precision: Precision, isa: Isa) -> Self {
        let bytes = &bytes[..packed_len(k, n, precision, isa)];
        // SAFETY: any four bytes are a u32.
        let (before, units, _) = unsafe { bytes.align_to::<u32>() };
        assert!(before.is_empty(), "packed matrices are aligned to 4 bytes");
        Self::of_units(units, k, n, precision, isa)
    }

    fn of_units(units: &'a [u32], k: usize, n: usize, precision: Precision, isa: Isa) -> Self {
        Self {
            units,
            k,
            n,
            precision,
            isa,
        }
    }
}

/// The encoding and microkernels for products in `precision`.
fn prepare(precision: Precision, isa: Isa) -> (Encoding, &'static Kernel) {
    let encoding = match precision {
        Precision::F32 => Encoding::Wide,
        Precision::Bf16 if isa.has_bf16_dot() => Encoding::Pairs,
        Precision::Bf16 => Encoding::Rounded,
    };
    let kernel = kernel::find(isa, encoding.format())
        .expect("every level has an f32 kernel, and those with bf16 dot products that one");
    (encoding, kernel)
}

/// The size in bytes of a packed `[k, n]` right operand. It depends on the level.
pub(crate) fn packed_len(k: usize, n: usize, precision: Precision, isa: Isa) -> usize {
    let (encoding, kernel) = prepare(precision, isa);
    n.next_multiple_of(kernel.nr) * encoding.format().units(k) * size_of::<u32>()
}

/// Packs the right operand `b: [k, n]` into `dst`, to be used by [`PackedB`].
///
/// # Panics
/// If `dst` is not aligned to 4 or its length is not [`packed_len`].
pub(crate) fn pack_b<'a>(pool: &Pool, isa: Isa, precision: Precision, b: impl Into<MatrixRef<'a>>, dst: &mut [u8]) {
    let b = b.into();
    let (k, n) = b.shape();
    let (encoding, kernel) = prepare(precision, isa);
    assert_eq!(dst.len(), packed_len(k, n, precision, isa));
    // SAFETY: any four bytes are a u32 and the reverse.
    let (before, units, _) = unsafe { dst.align_to_mut::<u32>() };
    assert!(before.is_empty(), "packed matrices are aligned to 4 bytes");
    let panel = encoding.format().units(k) * kernel.nr;
    let dst = ViewMut::row_major(units, n.div_ceil(kernel.nr), panel);
    pool.run(n.div_ceil(kernel.nr), &|index| {
        let cols = index * kernel.nr..n.min((index + 1) * kernel.nr);
        // SAFETY: each task has its own panel.
        let dst = unsafe { dst.row_part(index, 0..panel) };
        pack_panels(isa, encoding, b.part(0..k, cols).t(), kernel.nr, dst);
    });
}

/// Packs the right operand `b: [k, n]` on the calling thread into memory of a task, for several [`tile_matmul`].
///
/// # Panics
/// If `dst` has less than [`packed_len`] bytes.
#[cfg_attr(not(test), allow(dead_code))] // For small products inside a task.
pub(crate) fn pack_tile<'a, 'b>(
    isa: Isa,
    precision: Precision,
    b: impl Into<MatrixRef<'b>>,
    dst: &'a mut [u32],
) -> PackedB<'a> {
    let b = b.into();
    let (k, n) = b.shape();
    let (encoding, kernel) = prepare(precision, isa);
    let units = &mut dst[..packed_len(k, n, precision, isa) / size_of::<u32>()];
    pack_panels(isa, encoding, b.t(), kernel.nr, units);
    PackedB::of_units(units, k, n, precision, isa)
}

/// `C = alpha · A · B (+ C)` on all threads of the pool, for `A: [m, k]`, `B: [k, n]`, `C: [m, n]`.
///
/// Two bf16 operands are multiplied as bf16 where the level can, else widened;
/// an f32 operand makes the product f32. With a packed B its precision rules.
///
/// # Panics
/// If the shapes do not fit or B was packed for another level; if called from a task.
pub(crate) fn matmul<'a>(
    pool: &Pool,
    isa: Isa,
    a: impl Into<MatrixRef<'a>>,
    b: impl Into<Rhs<'a>>,
    c: impl Into<MatrixMut<'a>>,
    epilogue: Epilogue,
) {
    let product = Product::new(isa, a.into(), b.into(), Output::Matrix(c.into(), epilogue));
    let (m, n) = (product.m, product.n);
    if let Some(cut) = cut(m, n, product.units(), product.kernel, product.can_share()) {
        return slabs::multiply(pool, &product, cut);
    }
    let (rows, cols) = tile_shape(m, n, product.units(), product.kernel);
    let across = n.div_ceil(cols);
    pool.run_with_worker(m.div_ceil(rows) * across, &|tile, worker| {
        let (top, left) = (tile / across * rows, tile % across * cols);
        let scratch = &mut pool.scratch(worker).tiles;
        // SAFETY: tiles are disjoint, and each is one task's.
        unsafe { product.tile(top..m.min(top + rows), left..n.min(left + cols), scratch) };
    });
}

/// [`matmul`] whose result is not stored: `each` gets its tiles. `shape` is their largest size, none: what suits the product.
/// Tiles that share columns follow each other, so that B streams through the cache once.
///
/// # Panics
/// As [`matmul`]; if the workers have no room for such tiles or their width is no multiple of the microkernel's.
pub(crate) fn matmul_each<'a>(
    pool: &Pool,
    isa: Isa,
    a: impl Into<MatrixRef<'a>>,
    b: impl Into<Rhs<'a>>,
    shape: Option<(usize, usize)>,
    each: &EachTile<'_>,
) {
    let product = Product::new(isa, a.into(), b.into(), Output::Each(each));
    let (m, n) = (product.m, product.n);
    let (rows, cols) = shape.unwrap_or_else(|| tile_shape(m, n, product.units(), product.kernel));
    assert!(rows <= MAX_ROWS && cols <= MAX_COLS && cols.is_multiple_of(product.kernel.nr));
    let down = m.div_ceil(rows);
    pool.run_with_worker(down * n.div_ceil(cols), &|tile, worker| {
        let (top, left) = (tile % down * rows, tile / down * cols);
        let scratch = &mut pool.scratch(worker).tiles;
        // SAFETY: nothing is stored.
        unsafe { product.tile(top..m.min(top + rows), left..n.min(left + cols), scratch) };
    });
}

/// [`matmul`] on the calling thread alone, for small products inside a task.
///
/// # Panics
/// As [`matmul`].
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) fn tile_matmul<'a>(
    isa: Isa,
    a: impl Into<MatrixRef<'a>>,
    b: impl Into<Rhs<'a>>,
    c: impl Into<MatrixMut<'a>>,
    epilogue: Epilogue,
    scratch: &mut TileScratch,
) {
    let product = Product::new(isa, a.into(), b.into(), Output::Matrix(c.into(), epilogue));
    let (m, n) = (product.m, product.n);
    for top in (0..m).step_by(MAX_ROWS) {
        for left in (0..n).step_by(MAX_COLS) {
            let (rows, cols) = (top..m.min(top + MAX_ROWS), left..n.min(left + MAX_COLS));
            // SAFETY: one tile after the other.
            unsafe { product.tile(rows, cols, scratch) };
        }
    }
}

/// A product with its kernel chosen.
struct Product<'a> {
    isa: Isa,
    kernel: &'static Kernel,
    encoding: Encoding,
    m: usize,
    n: usize,
    k: usize,
    a: MatrixRef<'a>,
    b: Rhs<'a>,
    output: Output<'a>,
}

impl<'a> Product<'a> {
    fn new(isa: Isa, a: MatrixRef<'a>, b: Rhs<'a>, output: Output<'a>) -> Self {
        assert!(isa.is_supported(), "this CPU lacks {}", isa.name());
        let ((b_rows, n), precision) = match (&a, &b) {
            (_, Rhs::Packed(packed)) => {
                assert!(packed.isa == isa, "B was packed for another kernel level");
                ((packed.k, packed.n), packed.precision)
            }
            // Widened bf16 needs no rounding, so it is f32 to a level without bf16.
            (MatrixRef::Bf16(_), Rhs::Plain(b @ MatrixRef::Bf16(_))) if isa.has_bf16_dot() => {
                (b.shape(), Precision::Bf16)
            }
            (_, Rhs::Plain(b)) => (b.shape(), Precision::F32),
        };
        let (m, k) = a.shape();
        assert_eq!(k, b_rows, "columns of A and rows of B");
        if let Output::Matrix(c, _) = &output {
            assert_eq!((m, n), c.shape(), "shape of C");
        }
        let (encoding, kernel) = prepare(precision, isa);
        Self {
            isa,
            kernel,
            encoding,
            m,
            n,
            k,
            a,
            b,
            output,
        }
    }

    fn format(&self) -> Format {
        self.encoding.format()
    }

    /// Units of k.
    fn units(&self) -> usize {
        self.format().units(self.k)
    }

    /// Whether A is packed as `[panel][unit][mr]` rather than by rows: its rows lie side by side.
    fn a_by_k(&self) -> bool {
        self.a.rows_side_by_side() && !self.kernel.by_k.is_empty()
    }

    /// Whether the microkernels read A where it lies: rows of bf16 are rows of units already. Packing helps
    /// only rows that would evict one another, being a multiple of half a page apart.
    fn reads_a_in_place(&self) -> bool {
        match &self.a {
            MatrixRef::Bf16(a) => {
                self.kernel.tiles.is_some()
                    && a.col_stride == 1
                    && self.k.is_multiple_of(2)
                    && !(a.row_stride * size_of::<bf16>()).is_multiple_of(2048)
            }
            MatrixRef::F32(_) => false,
        }
    }

    /// Which operands cost something to pack, so that tiles gain by sharing them.
    fn can_share(&self) -> (bool, bool) {
        (self.a.rows_side_by_side(), matches!(self.b, Rhs::Plain(_)))
    }

    /// Computes one tile of C. `cols` begins at a panel of B, and the tile has at
    /// most `MAX_ROWS` × `MAX_COLS`.
    ///
    /// # Safety
    /// Nobody else may touch that part of C meanwhile.
    unsafe fn tile(&self, rows: Range<usize>, cols: Range<usize>, scratch: &mut TileScratch) {
        let TileScratch { a, b, acc } = scratch;
        if !self.multiply_few(&rows, &cols, a, acc) {
            self.add(&rows, &cols, 0..self.units(), None, a, b, acc);
        }
        // SAFETY: the caller's promise.
        unsafe { self.finish(rows, cols, acc) };
    }

    /// Adds the blocks of k in `units` to the sums `acc` of a tile; the first one overwrites them. Operands that
    /// are in `slab` need not be packed.
    fn add(
        &self,
        rows: &Range<usize>,
        cols: &Range<usize>,
        units: Range<usize>,
        slab: Option<Slab<'_>>,
        a_block: &mut [u32],
        b_block: &mut [u32],
        acc: &mut [f32],
    ) {
        let Self {
            isa, kernel, encoding, ..
        } = *self;
        let (all, nr) = (self.units(), kernel.nr);
        let stride = cols.len().next_multiple_of(nr);
        let acc = &mut acc[..rows.len() * stride];
        if all == 0 {
            acc.fill(0.0);
        }
        let block = k_block(all, kernel);
        let by_k = self.a_by_k();
        let mut session = Session::new(kernel);
        for start in units.clone().step_by(block) {
            let count = block.min(units.end - start);
            let k_per_unit = self.format().k_per_unit();
            let ks = start * k_per_unit..self.k.min((start + count) * k_per_unit);

            let shared = slab.and_then(|slab| slab.a(start, count, rows.start));
            let a = match (shared, self.a.part(rows.clone(), ks.clone())) {
                (Some(a), _) if by_k => Left::ByK(a),
                (Some(a), _) => Left::ByRows(a),
                (None, MatrixRef::Bf16(a)) if self.reads_a_in_place() => Left::InPlace(a),
                (None, a) if by_k => {
                    let len = rows.len().next_multiple_of(kernel.mr) * count;
                    pack_panels(isa, encoding, a, kernel.mr, &mut a_block[..len]);
                    Left::ByK(a_block)
                }
                (None, a) => {
                    pack_rows(isa, encoding, a, a_block);
                    Left::ByRows(a_block)
                }
            };
            if let (Left::ByRows(a), Rhs::Plain(b), Encoding::Wide, 1) = (a, &self.b, encoding, rows.len())
                && single::takes(b)
            {
                let b = b.part(ks, cols.clone());
                single::multiply(isa, &a[..count], b, acc, start > 0);
                continue;
            }
            let (b, panel_stride) = match &self.b {
                Rhs::Packed(packed) => {
                    let panel = &packed.units[cols.start / nr * all * nr..];
                    (&panel[start * nr..], all * nr)
                }
                Rhs::Plain(b) => {
                    if let Some(b) = slab.and_then(|slab| slab.b(start, count, cols.start)) {
                        (b, count * nr)
                    } else {
                        let dst = &mut b_block[..stride * count];
                        pack_panels(isa, encoding, b.part(ks, cols.clone()).t(), nr, dst);
                        (&*dst, count * nr)
                    }
                }
            };
            let panels = Panels {
                a,
                b,
                panel_stride,
                count,
            };
            panels.multiply(&mut session, kernel, rows.len(), acc, stride, start > 0);
        }
    }

    /// Writes the finished tile `acc` to C.
    ///
    /// # Safety
    /// As [`Product::tile`].
    unsafe fn finish(&self, rows: Range<usize>, cols: Range<usize>, acc: &mut [f32]) {
        let stride = cols.len().next_multiple_of(self.kernel.nr);
        let (c, alpha, accumulate) = match &self.output {
            Output::Matrix(c, Epilogue { alpha, accumulate }) => (c, *alpha, *accumulate),
            Output::Each(each) => {
                return each(Tile {
                    rows,
                    cols,
                    sums: acc,
                    stride,
                });
            }
        };
        self.isa.vectorize(
            #[inline(always)]
            || {
                for (row, acc) in rows.zip(acc.chunks_exact(stride)) {
                    // SAFETY: the tile is ours alone.
                    unsafe {
                        match c {
                            MatrixMut::F32(c) => {
                                finish_row(alpha, accumulate, acc, c.row_part(row, cols.clone()));
                            }
                            MatrixMut::Bf16(c) => {
                                finish_row(alpha, accumulate, acc, c.row_part(row, cols.clone()));
                            }
                        }
                    }
                }
            },
        );
    }
}

#[inline(always)]
fn finish_row<T: Element>(alpha: f32, accumulate: bool, acc: &[f32], c: &mut [T]) {
    if accumulate {
        for (c, x) in c.iter_mut().zip(acc) {
            *c = T::from_f32(c.to_f32() + alpha * x);
        }
    } else {
        for (c, x) in c.iter_mut().zip(acc) {
            *c = T::from_f32(alpha * x);
        }
    }
}
