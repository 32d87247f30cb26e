//! The microkernels: the innermost loops, one set per instruction set.
//!
//! Each adds `rows × k` of A times `k × nr` of B to `rows × nr` of C, with one accumulator
//! per element and k rising, so an element's bits do not depend on `rows`. There is one for every
//! height from 1 to `mr`: remainders and decoding (a few rows) cost what they hold.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(super) mod portable;

use std::ops::Range;

use half::bf16;

use super::blocking::MAX_K;
use crate::cpu::isa::Isa;

/// What one 32-bit unit of a packed operand holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// An f32.
    F32,
    /// Two bf16 with neighbouring k, the lower one in the lower half.
    Bf16Pairs,
}

impl Format {
    /// Elements of k per unit.
    pub(super) fn k_per_unit(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16Pairs => 2,
        }
    }

    /// Units that hold `k` elements.
    pub(super) fn units(self, k: usize) -> usize {
        k.div_ceil(self.k_per_unit())
    }
}

/// Units from one row of A to the next when it is packed by rows: past the longest block,
/// and no multiple of a page, so that the rows of a panel fall into different cache sets.
pub(super) const A_STRIDE: usize = MAX_K + 16;

/// Adds a block of k to a panel of C.
///
/// Arguments: units of k; A (see [`Kernel::by_rows`], [`Kernel::by_k`]); B, a panel `[unit][nr]`;
/// C and the distance between its rows; whether to add to C or overwrite it; memory that will be wanted soon, of which [`AHEAD`]
/// bytes are asked for with each unit, by kernels that can (nothing is read there: any address will do).
///
/// # Safety
/// The CPU has the kernel's instruction set, and [`Session::prepare`] was called; A and B hold that
/// many units; C has as many rows of `nr` as the kernel's height.
pub(super) type Micro = unsafe fn(usize, *const u32, *const u32, *mut f32, usize, bool, *const u32);

/// Bytes of memory that a [`Micro`] asks for with a unit of k: in small shares requests neither wait for each other nor the
/// arithmetic for them.
pub(super) const AHEAD: usize = 16;

/// Where the product of a panel of A goes.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) first: *mut f32,
    /// From one row to the next.
    pub(super) stride: usize,
    /// Whether it is added.
    pub(super) add: bool,
}

/// A bf16 C that finished sums are rounded to: `C = alpha · sums (+ addend)`.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) struct Rounded {
    pub(super) first: *mut bf16,
    /// From one row to the next.
    pub(super) stride: usize,
    pub(super) alpha: f32,
    /// The first element of what they are added to, which may be C itself, the distance between its rows, and its factor.
    pub(super) addend: Option<(*const bf16, usize, f32)>,
}

impl Rounded {
    /// So many columns further on.
    pub(super) fn right(self, columns: usize) -> Self {
        let addend = self.addend;
        Self {
            first: self.first.wrapping_add(columns),
            addend: addend.map(|(first, stride, factor)| (first.wrapping_add(columns), stride, factor)),
            ..self
        }
    }
}

/// As [`Micro`], for rows of A that lie as many units apart as stands beside A. With a last argument, which only kernels of
/// pairs heed, the sums are finished and go there; those that they are added to are only read.
pub(super) type Strided = unsafe fn(usize, (*const u32, usize), *const u32, Sums, Option<Rounded>);

/// Memory to ask for while units are multiplied: with each of them two lines, `step` bytes further than those before.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) struct Coming {
    pub(super) first: *const i8,
    pub(super) step: usize,
}

impl Coming {
    /// Always the same.
    pub(super) fn again(b: *const u32) -> Self {
        Self {
            first: b.cast(),
            step: 0,
        }
    }

    /// From `bytes` behind `b` on; one `share`-th of a unit of `nr` with each.
    pub(super) fn after(b: *const u32, bytes: usize, share: usize, nr: usize) -> Self {
        Self {
            first: b.cast::<i8>().wrapping_add(bytes),
            step: nr * size_of::<u32>() / share,
        }
    }
}

/// As [`Strided`], for a B that comes from memory.
pub(super) type Streaming = unsafe fn(usize, (*const u32, usize), (*const u32, Coming), Sums, Option<Rounded>);

/// The microkernels of an instruction set for one format.
pub(super) struct Kernel {
    /// Greatest height.
    pub(super) mr: usize,
    /// Width, the same for all heights.
    pub(super) nr: usize,
    /// `by_rows[h - 1]` has height h and reads A as `[row][A_STRIDE]`.
    pub(super) by_rows: &'static [Micro],
    /// `by_k[h - 1]` has height h and reads A as `[unit][mr]`. Empty: A is always packed by rows.
    pub(super) by_k: &'static [Micro],
    /// `strided[h - 1]` has height h and reads A where it lies. Empty: finished sums have to be rounded apart,
    /// and A to be packed where there are no `tiles` either.
    pub(super) strided: &'static [Strided],
    /// As `strided`, and there where that is.
    pub(super) streaming: &'static [Streaming],
    /// The longest block of k, in units.
    pub(super) max_k: usize,
    /// For kernels on tile registers.
    pub(super) tiles: Option<Tiles>,
}

/// What microkernels on tile registers need around them.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    /// Units of k that one step takes. A microkernel takes whole steps, or less than one.
    step: usize,
    /// Prepares for microkernels of that height and that many units.
    configure: unsafe fn(usize, usize),
    /// Gives the registers back.
    release: unsafe fn(),
    /// The microkernel of a height, for any distance between the rows of A.
    pub(super) in_place: InPlace,
}

/// As [`Micro`], with the height first, and the distance between A's rows in bytes after A.
pub(super) type InPlace = unsafe fn(usize, usize, *const u32, usize, *const u32, *mut f32, usize, bool);

impl Kernel {
    /// Units of k below which a step is not worth less than a whole one.
    pub(super) fn step(&self) -> usize {
        self.tiles.map_or(1, |tiles| tiles.step)
    }

    /// The parts of a block of `units` that the microkernels take one after the other.
    pub(super) fn parts(&self, units: usize) -> impl Iterator<Item = Range<usize>> {
        let whole = self.tiles.map_or(units, |tiles| units / tiles.step * tiles.step);
        [0..whole, whole..units].into_iter().filter(|part| !part.is_empty())
    }
}

/// The time in which a thread calls microkernels.
pub(crate) struct Session {
    tiles: Option<Tiles>,
    /// What the registers are configured for.
    shape: Option<(usize, usize)>,
}

impl Session {
    pub(super) fn new(kernel: &Kernel) -> Self {
        Self {
            tiles: kernel.tiles,
            shape: None,
        }
    }

    /// To be called before microkernels of another height or, in units, another length.
    ///
    /// # Safety
    /// The CPU has the kernel's instruction set.
    pub(super) unsafe fn prepare(&mut self, height: usize, units: usize) {
        if let Some(tiles) = self.tiles {
            let shape = (height, units.min(tiles.step));
            if self.shape.replace(shape) != Some(shape) {
                // SAFETY: the caller's promise.
                unsafe { (tiles.configure)(height, units) };
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (Some(tiles), Some(_)) = (self.tiles, self.shape) {
            // SAFETY: `prepare` was called.
            unsafe { (tiles.release)() };
        }
    }
}

/// The kernel of `isa` for `format`, where it has one; every level has `F32`.
pub(super) fn find(isa: Isa, format: Format) -> Option<&'static Kernel> {
    match (isa, format) {
        (Isa::Portable, Format::F32) => Some(&portable::F32),
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2, Format::F32) => Some(&avx2::F32),
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx, Format::F32) => Some(&avx512::F32),
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512Bf16, Format::Bf16Pairs) => Some(&avx512::BF16),
        #[cfg(target_arch = "x86_64")]
        (Isa::Amx, Format::Bf16Pairs) => Some(&amx::BF16),
        _ => None,
    }
}

/// The table of one microkernel for all heights: `heights!(micro, row, step; 1 2 3)`, of another type `T`
/// `heights!(micro, T; 1 2 3)`.
macro_rules! heights {
    ($micro:ident, $row:expr, $step:expr; $($height:literal)*) => {
        &[$($micro::<$height, { $row }, { $step }> as $crate::cpu::matmul::kernel::Micro),*]
    };
    ($micro:ident, $type:ident; $($height:literal)*) => {
        &[$($micro::<$height> as $crate::cpu::matmul::kernel::$type),*]
    };
}
use heights;
