//! Microkernels for AMX: 32 × 32, four of eight tile registers as accumulators.
//!
//! A tile register holds up to 16 rows of 64 bytes. One instruction adds to 16 × 16 elements of C the product
//! of 16 rows of A and 16 columns of B over 16 units, which are 32 elements of k. Packed
//! operands are made of such tiles already, in their ordinary layouts:
//!
//! ```text
//!                                   B, [unit][32]: 16 units are two tiles,
//!                                   whose rows are 128 bytes apart
//!                                     ┌───────────┬───────────┐
//!                                     │   tmm6    │   tmm7    │  16 units
//!                                     └───────────┴───────────┘
//! A, by rows:     ┌───────────┐       ┌───────────┬───────────┐
//! [row][stride]   │   tmm4    │       │   tmm0    │   tmm1    │  rows 0 to 15
//!                 ├───────────┤       ├───────────┼───────────┤  of C
//!                 │   tmm5    │       │   tmm2    │   tmm3    │  rows 16 to 31
//!                 └───────────┘       └───────────┴───────────┘
//!                   16 units            columns 0 to 31 of C
//! ```
//!
//! So four loads feed four products. Rows of bf16 in the activations' own memory are rows of units too: A is packed
//! only where it has to be transposed or rounded. The *configuration* says how many rows and bytes of each register are
//! in use. Fewer rows of C, or fewer units at the end of k, are another configuration and the same code:
//! nothing is read or written beyond the operands, so whatever lies behind them cannot spread.
//!
//! An element is the sum over steps of 16 units, k rising, of what the instruction adds: the even elements' chain of
//! fused multiply-adds plus the odd elements'. It flushes denormals to zero, as does the dot product of AVX-512.
//!
//! There are no intrinsics for this on stable Rust, hence the assembly. **It has not run on a processor with AMX yet:**
//! the tests execute its instructions in software (`tests/amx`), and somebody else's emulation of a whole machine under Linux
//! agrees with them (LOG.md); its speed is unknown.

use std::arch::asm;

use super::{A_STRIDE, Kernel, Micro, Tiles};

const MR: usize = 32;
const NR: usize = 32;
/// Rows of a tile, and units (or columns of C) in a row of it.
const SIDE: usize = 16;
/// Bytes of a unit, and of an element of C.
const UNIT: usize = 4;

const fn micros() -> [Micro; MR] {
    let mut micros: [Micro; MR] = [lower; MR];
    let mut height = 1;
    while height <= SIDE {
        micros[height - 1] = upper;
        height += 1;
    }
    micros
}

static BY_ROWS: [Micro; MR] = micros();

pub(super) const BF16: Kernel = Kernel {
    mr: MR,
    nr: NR,
    by_rows: &BY_ROWS,
    by_k: &[],
    strided: &[],
    streaming: &[],
    // A panel of A stays in the nearest cache while panels of B go through it.
    max_k: 128,
    tiles: Some(Tiles {
        step: SIDE,
        configure,
        release,
        in_place,
    }),
};

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Sets the tile registers up for microkernels of `height` rows that take steps of up to `units` units.
/// It costs some hundred cycles and clears the registers.
///
/// # Safety
/// The process may use AMX. `height` is 1 to `MR`, `units` at least 1; the microkernels that follow have
/// that height, and whole steps of 16 units or, if `units` is less, one of that many.
unsafe fn configure(height: usize, units: usize) {
    let units = units.min(SIDE);
    let (above, below) = (height.min(SIDE) as u8, height.saturating_sub(SIDE) as u8);
    let mut config = Config {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [0; 16],
        rows: [0; 16],
    };
    let (whole, k) = ((SIDE * UNIT) as u16, (units * UNIT) as u16);
    let shapes = [
        (above, whole),
        (above, whole),
        (below, whole),
        (below, whole),
        (above, k),
        (below, k),
        (units as u8, whole),
        (units as u8, whole),
    ];
    for (tile, (rows, bytes)) in shapes.into_iter().enumerate() {
        config.rows[tile] = rows;
        // A register without rows has no columns either.
        config.row_bytes[tile] = if rows == 0 { 0 } else { bytes };
    }
    // SAFETY: the process may use AMX, and the configuration is a valid one. From here to `release` the
    // registers hold state that no Rust code knows or touches.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, readonly, preserves_flags)) };
}

/// Gives the registers back: a thread that keeps them has 8 KiB more to save at each switch.
///
/// # Safety
/// The process may use AMX.
unsafe fn release() {
    // SAFETY: the caller's promise.
    unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
}

/// # Safety
/// See [`Micro`]; `configure` was called for the height and `units`.
unsafe fn upper(units: usize, a: *const u32, b: *const u32, c: *mut f32, c_stride: usize, add: bool, _: *const u32) {
    // SAFETY: the caller's promise.
    unsafe { one(units, a, A_STRIDE * UNIT, b, c, c_stride, add) }
}

/// # Safety
/// As [`upper`].
unsafe fn lower(units: usize, a: *const u32, b: *const u32, c: *mut f32, c_stride: usize, add: bool, _: *const u32) {
    // SAFETY: the caller's promise.
    unsafe { two(units, a, A_STRIDE * UNIT, b, c, c_stride, add) }
}

/// # Safety
/// As [`upper`], for that height, rows of A `a_stride` bytes apart.
unsafe fn in_place(
    height: usize,
    units: usize,
    a: *const u32,
    a_stride: usize,
    b: *const u32,
    c: *mut f32,
    c_stride: usize,
    add: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if height <= SIDE {
            one(units, a, a_stride, b, c, c_stride, add);
        } else {
            two(units, a, a_stride, b, c, c_stride, add);
        }
    }
}

/// Heights from 1 to 16: one row of tiles. Rows of A are `a_stride` bytes apart.
///
/// # Safety
/// As [`upper`].
#[inline]
unsafe fn one(units: usize, a: *const u32, a_stride: usize, b: *const u32, c: *mut f32, c_stride: usize, add: bool) {
    // SAFETY: the configuration keeps every access inside the operands.
    unsafe {
        asm!(
            "test {add:e}, {add:e}",
            "jz 3f",
            "tileloadd tmm0, [{c} + {c_stride}*1]",
            "tileloadd tmm1, [{c} + {c_stride}*1 + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "2:",
            "tileloadd tmm4, [{a} + {a_stride}*1]",
            "tileloadd tmm6, [{b} + {b_stride}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {b_stride}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, {a_step}",
            "add {b}, {b_step}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{c} + {c_stride}*1], tmm0",
            "tilestored [{c} + {c_stride}*1 + 64], tmm1",
            add = in(reg) u32::from(add),
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            c = in(reg) c,
            a_stride = in(reg) a_stride,
            b_stride = in(reg) NR * UNIT,
            c_stride = in(reg) c_stride * UNIT,
            steps = inout(reg) units.div_ceil(SIDE) => _,
            a_step = const SIDE * UNIT,
            b_step = const SIDE * NR * UNIT,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Heights from 17 to 32: two rows of tiles.
///
/// # Safety
/// As [`one`].
#[inline]
unsafe fn two(units: usize, a: *const u32, a_stride: usize, b: *const u32, c: *mut f32, c_stride: usize, add: bool) {
    // SAFETY: as in `one`; the second row of tiles begins at row 16, which A and C have.
    unsafe {
        asm!(
            "test {add:e}, {add:e}",
            "jz 3f",
            "tileloadd tmm0, [{c} + {c_stride}*1]",
            "tileloadd tmm1, [{c} + {c_stride}*1 + 64]",
            "tileloadd tmm2, [{c_below} + {c_stride}*1]",
            "tileloadd tmm3, [{c_below} + {c_stride}*1 + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {a_stride}*1]",
            "tileloadd tmm6, [{b} + {b_stride}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {b_stride}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a_below} + {a_stride}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, {a_step}",
            "add {a_below}, {a_step}",
            "add {b}, {b_step}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{c} + {c_stride}*1], tmm0",
            "tilestored [{c} + {c_stride}*1 + 64], tmm1",
            "tilestored [{c_below} + {c_stride}*1], tmm2",
            "tilestored [{c_below} + {c_stride}*1 + 64], tmm3",
            add = in(reg) u32::from(add),
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            c = in(reg) c,
            a_below = inout(reg) a.byte_add(SIDE * a_stride) => _,
            c_below = in(reg) c.add(SIDE * c_stride),
            a_stride = in(reg) a_stride,
            b_stride = in(reg) NR * UNIT,
            c_stride = in(reg) c_stride * UNIT,
            steps = inout(reg) units.div_ceil(SIDE) => _,
            a_step = const SIDE * UNIT,
            b_step = const SIDE * NR * UNIT,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use half::bf16;

    use super::super::Session;
    use super::*;
    use crate::cpu::isa::Isa;

    /// Every height, with and without whole steps, on operands that end where the kernel must end: beyond them lie NaN in A and
    /// B, which would spread, and marks in C, which must stay.
    #[test]
    fn nothing_beyond_the_operands_is_read_or_written() {
        if !Isa::Amx.is_supported() {
            return;
        }
        const STRIDE: usize = 48;
        let nan = u32::from(bf16::NAN.to_bits()) * 0x1_0001;
        let two = u32::from(bf16::from_f32(2.0).to_bits()) * 0x1_0001;
        let three = u32::from(bf16::from_f32(3.0).to_bits()) * 0x1_0001;
        for (height, units) in (1..=MR).flat_map(|height| [1, 7, 15, 16, 48].map(|units| (height, units))) {
            let mut a = vec![nan; (MR + 1) * A_STRIDE];
            for row in 0..height {
                a[row * A_STRIDE..][..units].fill(two);
            }
            let mut b = vec![nan; (units + 16) * NR];
            b[..units * NR].fill(three);
            let mut c = vec![-1.0; (MR + 1) * STRIDE];
            let mut expected = c.clone();
            for add in [false, true] {
                let mut session = Session::new(&BF16);
                // SAFETY: the operands have the extents that are asked for.
                unsafe {
                    session.prepare(height, units);
                    let (a, b) = (a.as_ptr(), b.as_ptr());
                    BF16.by_rows[height - 1](units, a, b, c.as_mut_ptr(), STRIDE, add, b);
                }
                drop(session);
                for row in expected.chunks_mut(STRIDE).take(height) {
                    for x in &mut row[..NR] {
                        *x = 12.0 * units as f32 + if add { *x } else { 0.0 };
                    }
                }
                assert!(c == expected, "{height} rows, {units} units, add: {add}");
            }
        }
    }

    #[test]
    fn this_level_runs_its_own_instructions() {
        if !Isa::Amx.is_supported() || Isa::detect() == Isa::Amx {
            return;
        }
        let before = crate::cpu::emulator::executed();
        let ones = vec![bf16::ONE; 64 * 64];
        let mut c = vec![0.0_f32; 64 * 64];
        let pool = crate::cpu::pool::Pool::new(1).unwrap();
        use crate::cpu::matmul::{Epilogue, View, ViewMut, matmul};
        let view = || View::row_major(&ones, 64, 64);
        matmul(
            &pool,
            Isa::Amx,
            view(),
            view(),
            ViewMut::row_major(&mut c, 64, 64),
            Epilogue::STORE,
        );
        assert!(c.iter().all(|&x| x == 64.0));
        // Four times two steps of four loads and four products, at least.
        assert!(crate::cpu::emulator::executed() - before >= 4 * 2 * 8);
    }
}
