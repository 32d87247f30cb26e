//! Matrix products on the CPU: `C = alpha · A · B (+ C)`.
//!
//! A and B are views with any strides, in f32 or bf16; sums are f32; C is f32 or
//! bf16. C is cut into tiles, each computed by one worker from start to end: block by block
//! of k, B is packed into the worker's scratch memory, A too where the microkernels cannot read it
//! where it lies, and they add the product to the tile. B may also come packed once for many products.
//!
//! Architecture Invariant: element `(i, j)` of the product has the same bits
//! whatever the number of threads, the other rows and columns, the strides, and
//! whether B was packed beforehand (see `blocking`). Decoding with a KV cache
//! and without one therefore agree.
//!
//! Architecture Invariant: nothing here allocates memory.
//!
//! Must never know what the matrices mean.

mod advance;
mod blocking;
mod epilogue;
mod few;
mod kernel;
mod micros;
mod pack;
mod panels;
mod peak;
mod product;
mod scratch;
mod side_by_side;
mod single;
mod slabs;
mod symmetric;
mod transpose;
mod turns;
mod view;

#[cfg(test)]
mod tests;

use half::bf16;

use self::blocking::{MAX_COLS, MAX_ROWS};
use self::epilogue::Output;
pub(crate) use self::epilogue::{EachTile, Epilogue, Tile, store_row};
use self::kernel::Kernel;
pub(crate) use self::kernel::Session;
pub(crate) use self::micros::{
    Ahead, Band, CHAIN, LeftRows, Micros, Placed, ROW, RightPanels, Stretch, publish, stream, transposed_square,
};
use self::pack::{Encoding, pack_panels};
pub(crate) use self::peak::peak;
use self::product::Product;
pub(crate) use self::scratch::Scratch;
use self::scratch::TileScratch;
pub(crate) use self::slabs::SharedScratch;
use self::turns::Turns;
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

/// From one panel of a packed right operand to the next, in units, for panels of `len`. Blocks of k of neighbouring panels
/// are used together: a multiple of 128 KiB apart, as with a vocabulary of 2¹⁵, they would all fall into the same sets of a
/// second-level cache and evict one another.
fn panel_stride(len: usize) -> usize {
    const SETS: usize = 1 << 15;
    const APART: usize = 1 << 11;
    if len > 0 && len.is_multiple_of(SETS) {
        len + APART
    } else {
        len
    }
}

/// The size in bytes of a packed `[k, n]` right operand. It depends on the level.
pub(crate) fn packed_len(k: usize, n: usize, precision: Precision, isa: Isa) -> usize {
    let (encoding, kernel) = prepare(precision, isa);
    n.div_ceil(kernel.nr) * panel_stride(encoding.format().units(k) * kernel.nr) * size_of::<u32>()
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
    let dst = ViewMut::row_major(units, n.div_ceil(kernel.nr), panel_stride(panel));
    pool.run(n.div_ceil(kernel.nr), &|index| {
        let cols = index * kernel.nr..n.min((index + 1) * kernel.nr);
        // SAFETY: each task has its own panel.
        let dst = unsafe { dst.row_part(index, 0..panel) };
        pack_panels(isa, encoding, b.part(0..k, cols).t(), kernel.nr, dst);
    });
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
    multiply(
        pool,
        &Product::new(isa, a.into(), b.into(), Output::Matrix(c.into(), epilogue)),
    );
}

/// [`matmul`] for as many products of one shape: `operands` tells A and B of each, and their Cs stand one below the other in `c`.
///
/// Where B is A's `own_transposition`, a large product takes little more than half of the work: what lies above the diagonal is
/// taken from below. That needs no symmetric addend.
///
/// A worker gets whole products, as far as there are enough, and the same ones in each batch of so many: so what one product
/// makes and the next one takes stays in its cache.
///
/// # Panics
/// As [`matmul`].
pub(crate) fn matmul_batch<'a: 'c, 'c>(
    pool: &Pool,
    isa: Isa,
    batch: usize,
    operands: &(dyn Fn(usize) -> (MatrixRef<'a>, MatrixRef<'a>) + Sync),
    own_transposition: bool,
    c: impl Into<MatrixMut<'c>>,
    epilogue: Epilogue,
) {
    let c = c.into();
    multiply_batch(pool, batch, &|index| {
        let (a, b) = operands(index);
        let (m, _) = a.shape();
        let c = c.rows(index * m..(index + 1) * m);
        let output = if own_transposition {
            Output::Symmetric(c, epilogue)
        } else {
            Output::Matrix(c, epilogue)
        };
        Product::new(isa, a, Rhs::Plain(b), output)
    });
}

fn multiply_batch<'a>(pool: &Pool, batch: usize, product: &(dyn Fn(usize) -> Product<'a> + Sync)) {
    if batch < 2 || product(0).cut().is_some() {
        return (0..batch).for_each(|index| multiply(pool, &product(index)));
    }
    let tiles = product(0).tiles();
    let turns = Turns::new(pool.threads(), batch * tiles, 0);
    pool.run_with_worker(batch * tiles, &|_, worker| {
        let task = turns.take(worker);
        // SAFETY: each tile is one task's.
        unsafe { product(task / tiles).tile_of(task % tiles, &mut pool.scratch(worker).tiles) };
    });
}

fn multiply(pool: &Pool, product: &Product<'_>) {
    if let Some(cut) = product.cut() {
        return slabs::multiply(pool, product, cut);
    }
    pool.run_with_worker(product.tiles(), &|tile, worker| {
        // SAFETY: each tile is one task's.
        unsafe { product.tile_of(tile, &mut pool.scratch(worker).tiles) };
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
    let (rows, cols) = shape.unwrap_or_else(|| product.tile_shape());
    assert!(rows <= MAX_ROWS && cols <= MAX_COLS && cols.is_multiple_of(product.kernel.nr));
    let down = m.div_ceil(rows);
    pool.run_with_worker(down * n.div_ceil(cols), &|tile, worker| {
        let (top, left) = (tile % down * rows, tile / down * cols);
        let scratch = &mut pool.scratch(worker).tiles;
        // SAFETY: nothing is stored.
        unsafe { product.tile(top..m.min(top + rows), left..n.min(left + cols), scratch) };
    });
}
