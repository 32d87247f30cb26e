//! The software that executes AMX instructions where the processor has none: its decoder against what the GNU
//! assembler makes, its arithmetic against the definition and, where there is AMX, against the processor.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "amx/mod.rs"]
mod amx;

use amx::decode::{Instruction, Registers, Rows, decode};
use amx::tiles::{Tile, dot};

/// Register number n holds 0x1000 (n + 1).
fn registers() -> Registers {
    Registers {
        rip: 0x40_0000,
        general: std::array::from_fn(|n| 0x1000 * (n as u64 + 1)),
    }
}

/// Machine code as GNU as 2.40 writes it (`as -msyntax=intel -mnaked-reg`, `objdump -d`).
#[test]
fn the_decoder_reads_what_the_gnu_assembler_writes() {
    const RAX: u64 = 0x1000;
    const RCX: u64 = 0x2000;
    const RDX: u64 = 0x3000;
    const RSP: u64 = 0x5000;
    const RBP: u64 = 0x6000;
    const RDI: u64 = 0x8000;
    const R9: u64 = 0xa000;
    const R12: u64 = 0xd000;
    const R13: u64 = 0xe000;
    const R14: u64 = 0xf000;
    const R15: u64 = 0x1_0000;
    let rows = |start, stride| Rows { start, stride };
    let cases: [(&[u8], Instruction); 16] = [
        // ldtilecfg [rax]
        (&[0xc4, 0xe2, 0x78, 0x49, 0x00], Instruction::LoadConfig(RAX)),
        // ldtilecfg [rip + 0x1234]
        (
            &[0xc4, 0xe2, 0x78, 0x49, 0x05, 0x34, 0x12, 0, 0],
            Instruction::LoadConfig(0x40_0000 + 9 + 0x1234),
        ),
        // ldtilecfg [rsp + 8]
        (
            &[0xc4, 0xe2, 0x78, 0x49, 0x44, 0x24, 0x08],
            Instruction::LoadConfig(RSP + 8),
        ),
        // ldtilecfg [r13 + r14*4 + 0x12345]
        (
            &[0xc4, 0x82, 0x78, 0x49, 0x84, 0xb5, 0x45, 0x23, 0x01, 0x00],
            Instruction::LoadConfig(R13 + 4 * R14 + 0x1_2345),
        ),
        // sttilecfg [rbp - 64]
        (
            &[0xc4, 0xe2, 0x79, 0x49, 0x45, 0xc0],
            Instruction::StoreConfig(RBP - 64),
        ),
        // tilerelease
        (&[0xc4, 0xe2, 0x78, 0x49, 0xc0], Instruction::Release),
        // tilezero tmm0, tmm7
        (&[0xc4, 0xe2, 0x7b, 0x49, 0xc0], Instruction::Zero(0)),
        (&[0xc4, 0xe2, 0x7b, 0x49, 0xf8], Instruction::Zero(7)),
        // tileloadd tmm4, [rdi + rcx]
        (
            &[0xc4, 0xe2, 0x7b, 0x4b, 0x24, 0x0f],
            Instruction::Load(4, rows(RDI, RCX)),
        ),
        // tileloadd tmm7, [rdi + rcx + 64]
        (
            &[0xc4, 0xe2, 0x7b, 0x4b, 0x7c, 0x0f, 0x40],
            Instruction::Load(7, rows(RDI + 64, RCX)),
        ),
        // tileloadd tmm5, [r12 + r9*2 + 0x1000]
        (
            &[0xc4, 0x82, 0x7b, 0x4b, 0xac, 0x4c, 0x00, 0x10, 0x00, 0x00],
            Instruction::Load(5, rows(R12 + 0x1000, 2 * R9)),
        ),
        // tileloaddt1 tmm6, [r13 + rcx]
        (
            &[0xc4, 0xc2, 0x79, 0x4b, 0x74, 0x0d, 0x00],
            Instruction::Load(6, rows(R13, RCX)),
        ),
        // tilestored [rdx + r15], tmm1
        (
            &[0xc4, 0xa2, 0x7a, 0x4b, 0x0c, 0x3a],
            Instruction::Store(1, rows(RDX, R15)),
        ),
        // tilestored [rdx + r15 + 64], tmm3
        (
            &[0xc4, 0xa2, 0x7a, 0x4b, 0x5c, 0x3a, 0x40],
            Instruction::Store(3, rows(RDX + 64, R15)),
        ),
        // tdpbf16ps tmm0, tmm4, tmm6
        (&[0xc4, 0xe2, 0x4a, 0x5c, 0xc4], Instruction::Dot { c: 0, a: 4, b: 6 }),
        // tdpbf16ps tmm3, tmm5, tmm7
        (&[0xc4, 0xe2, 0x42, 0x5c, 0xdd], Instruction::Dot { c: 3, a: 5, b: 7 }),
    ];
    for (code, expected) in cases {
        let mut memory = [0x90; 16];
        memory[..code.len()].copy_from_slice(code);
        assert_eq!(decode(&memory, &registers()), Some((expected, code.len())), "{code:x?}");
    }
}

#[test]
fn other_instructions_are_not_taken_for_tiles() {
    let others: [&[u8]; 6] = [
        &[0x0f, 0x0b],                   // ud2
        &[0xc4, 0xe2, 0x7d, 0x18, 0x00], // vbroadcastss ymm0, [rax]
        &[0xc4, 0xe2, 0x4b, 0x5e, 0xc4], // tdpbssd tmm0, tmm4, tmm6: not ours
        &[0xc4, 0xe2, 0x7b, 0x4b, 0x20], // tileloadd without SIB
        &[0xc4, 0xe2, 0xfb, 0x49, 0xc0], // tilezero with W1
        &[0xc4, 0xe1, 0x7b, 0x49, 0xc0], // another map
    ];
    for code in others {
        let mut memory = [0x90; 16];
        memory[..code.len()].copy_from_slice(code);
        assert_eq!(decode(&memory, &registers()), None, "{code:x?}");
    }
}

/// Pseudo-random units: pairs of bf16 of moderate size.
fn random_tile(state: &mut u64) -> Tile {
    std::array::from_fn(|_| {
        let mut row = [0; 64];
        for bf16 in row.as_chunks_mut::<2>().0 {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (sign, exponent, mantissa) = (*state >> 63, 120 + (*state >> 40) % 12, (*state >> 50) % 128);
            *bf16 = ((sign << 15 | exponent << 7 | mantissa) as u16).to_le_bytes();
        }
        row
    })
}

/// Zeros, denormals, and the smallest numbers that are none.
const TINY: [u16; 6] = [0x0000, 0x0001, 0x0040, 0x007f, 0x0080, 0x00ff];
/// The greatest numbers, infinity, not-a-number.
const HUGE: [u16; 4] = [0x7f00, 0x7f7f, 0x7f80, 0x7fc0];

/// The same, but in row `r` one of `edges(r).1` numbers, on average, is one of `edges(r).0`, of either sign.
fn extreme_tile(state: &mut u64, edges: impl Fn(usize) -> (&'static [u16], usize)) -> Tile {
    let mut tile = random_tile(state);
    for (row, bytes) in tile.iter_mut().enumerate() {
        let (edges, odds) = edges(row);
        for (i, bf16) in bytes.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let draw = (usize::from(u16::from_le_bytes(*bf16)) * 40_503 + 977 * i) >> 5;
            if draw.is_multiple_of(odds) {
                let edge = edges[draw / odds % edges.len()];
                *bf16 = (edge | u16::from(bf16[1] & 0x80) << 8).to_le_bytes();
            }
        }
    }
    tile
}

fn floats(state: &mut u64) -> Tile {
    let mut tile = random_tile(state);
    for row in &mut tile {
        for x in row.as_chunks_mut::<4>().0 {
            *x = (f32::from_le_bytes(*x) * 3.0).to_le_bytes();
        }
    }
    tile
}

fn element(tile: &Tile, row: usize, col: usize) -> f32 {
    f32::from_le_bytes(tile[row][4 * col..4 * col + 4].try_into().expect("bytes of one number"))
}

/// Element `k` of row `row`, or, in B, of column `row`.
fn half(tile: &Tile, row: usize, index: usize) -> f32 {
    let bits = u16::from_le_bytes(
        tile[row][2 * index..2 * index + 2]
            .try_into()
            .expect("bytes of one number"),
    );
    f32::from_bits(u32::from(bits) << 16)
}

#[test]
fn a_product_is_two_chains_of_fused_multiply_adds() {
    let mut state = 1;
    for (rows, units, cols) in [(16, 16, 16), (1, 16, 16), (16, 1, 16), (16, 16, 1), (5, 7, 3)] {
        let (before, a, b) = (floats(&mut state), random_tile(&mut state), random_tile(&mut state));
        let mut c = before;
        dot(&mut c, &a, &b, rows, units, cols);
        for row in 0..16 {
            for col in 0..16 {
                let chain = |odd: usize| {
                    (0..units).fold(0.0_f32, |sum, unit| {
                        half(&a, row, 2 * unit + odd).mul_add(half(&b, unit, 2 * col + odd), sum)
                    })
                };
                let expected = element(&before, row, col) + (chain(0) + chain(1));
                let expected = if row < rows && col < cols { expected } else { 0.0 };
                assert_eq!(
                    element(&c, row, col).to_bits(),
                    expected.to_bits(),
                    "{rows} {units} {cols}: {row} {col}"
                );
            }
        }
    }
}

#[test]
fn denormals_are_zeros() {
    let mut a = [[0; 64]; 16];
    let mut b = a;
    let set = |tile: &mut Tile, bits: u16| tile[0][..2].copy_from_slice(&bits.to_le_bytes());
    let product = |a: &Tile, b: &Tile, before: f32| {
        let mut c = [[0; 64]; 16];
        c[0][..4].copy_from_slice(&before.to_le_bytes());
        dot(&mut c, a, b, 1, 1, 1);
        element(&c, 0, 0)
    };
    set(&mut a, 0x0040); // Half the smallest normal number ...
    set(&mut b, 0x7f00); // ... times 2^127 would be 1.
    assert_eq!(product(&a, &b, 2.0), 2.0);
    set(&mut a, 0x0080); // The smallest normal number ...
    assert_eq!(product(&a, &b, 2.0), 4.0);
    set(&mut b, 0x3f00); // ... times a half is a denormal.
    assert_eq!(product(&a, &b, 0.0), 0.0);
    assert_eq!(product(&a, &b, f32::from_bits(1)), 0.0);
    // The control word is as it was: Rust's own arithmetic has denormals.
    assert!(std::hint::black_box(f32::MIN_POSITIVE) * std::hint::black_box(0.5) > 0.0);
}

/// Runs real instructions: executed by the processor where it has AMX, else by the emulator. Either
/// way the result is that of [`dot`] to the last bit, which ties the emulator to the hardware as soon as there is one.
#[test]
fn instructions_do_what_the_emulator_computes() {
    if !is_x86_feature_detected!("avx512f") {
        return;
    }
    let in_hardware = ferrochat_tensor::amx() == ferrochat_tensor::Amx::Present;
    if !in_hardware {
        amx::install();
    }
    let before_all = amx::executed();
    let mut state = 2;
    let shapes = [(16, 16, 16), (3, 16, 16), (16, 5, 16), (1, 1, 1), (9, 2, 11)];
    for (rows, units, cols, extreme) in shapes
        .into_iter()
        .flat_map(|(m, k, n)| [(m, k, n, false), (m, k, n, true)])
    {
        let (before, a, b) = if extreme {
            // Rows of tiny results, of some tiny terms, of some overflow, and of rare overflow.
            let by_row = |row| [(&TINY[..], 1), (&TINY, 8), (&HUGE, 64), (&HUGE, 512)][row % 4];
            let mut tile = |edges: &dyn Fn(usize) -> (&'static [u16], usize)| extreme_tile(&mut state, edges);
            (tile(&by_row), tile(&by_row), tile(&|_| (&TINY, 16)))
        } else {
            (floats(&mut state), random_tile(&mut state), random_tile(&mut state))
        };
        let mut expected = before;
        dot(&mut expected, &a, &b, rows, units, cols);
        let mut config = [0_u8; 64];
        config[0] = 1;
        for (tile, (rows, cols)) in [(rows, cols), (rows, units), (units, cols)].into_iter().enumerate() {
            config[16 + 2 * tile] = (4 * cols) as u8;
            config[48 + tile] = rows as u8;
        }
        let mut found = before;
        // SAFETY: tiles of 16 × 64 bytes, which no configuration exceeds.
        unsafe {
            std::arch::asm!(
                "ldtilecfg [{config}]",
                "tileloadd tmm0, [{c} + {stride}*1]",
                "tileloadd tmm1, [{a} + {stride}*1]",
                "tileloaddt1 tmm2, [{b} + {stride}*1]",
                "tdpbf16ps tmm0, tmm1, tmm2",
                "tilestored [{c} + {stride}*1], tmm0",
                "sttilecfg [{config}]",
                "tilerelease",
                config = in(reg) config.as_mut_ptr(),
                c = in(reg) found.as_mut_ptr(),
                a = in(reg) a.as_ptr(),
                b = in(reg) b.as_ptr(),
                stride = in(reg) 64_usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _,
                options(nostack),
            );
        }
        assert_eq!((config[0], config[48]), (1, rows as u8));
        for row in 0..16 {
            let outside = &found[row][4 * cols..];
            if row < rows {
                for col in 0..cols {
                    let (found, expected) = (element(&found, row, col), element(&expected, row, col));
                    assert!(
                        found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                        "{rows} {units} {cols}: {row} {col}: {found:e}, not {expected:e}"
                    );
                }
                assert!(outside == &before[row][4 * cols..], "columns beyond the tile");
            } else {
                assert!(found[row] == before[row], "rows beyond the tile");
            }
        }
    }
    assert_eq!(amx::executed() - before_all, if in_hardware { 0 } else { 2 * 5 * 8 });
}
