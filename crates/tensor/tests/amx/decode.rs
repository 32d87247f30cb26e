//! Machine code of the tile instructions: all of them are VEX-encoded, in opcode map 2 (0F38), 128 bits, W0.

/// The longest encoding: three bytes of VEX, opcode, ModRM, SIB, a displacement of four bytes.
pub const LONGEST: usize = 10;

/// The registers from which addresses are made, `general` in the order of their encodings (RAX, RCX, RDX, RBX, RSP, ...).
pub struct Registers {
    pub rip: u64,
    pub general: [u64; 16],
}

/// Where the rows of a tile lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    pub start: u64,
    pub stride: u64,
}

/// A tile instruction, its addresses computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// LDTILECFG
    LoadConfig(u64),
    /// STTILECFG
    StoreConfig(u64),
    /// TILERELEASE
    Release,
    /// TILEZERO
    Zero(usize),
    /// TILELOADD and TILELOADDT1, which differ in a hint to the caches.
    Load(usize, Rows),
    /// TILESTORED
    Store(usize, Rows),
    /// TDPBF16PS
    Dot { c: usize, a: usize, b: usize },
}

/// A memory operand in its parts.
struct Memory {
    base: u64,
    index: u64,
    /// Bytes of ModRM, SIB and displacement.
    length: usize,
}

/// The instruction at the start of `code` and its length; none if it is no tile instruction.
pub fn decode(code: &[u8], registers: &Registers) -> Option<(Instruction, usize)> {
    let &[0xc4, second, third, opcode, modrm, ..] = code else {
        return None;
    };
    // The R, X, B and vvvv fields are stored inverted.
    let extension = |bit: u8| usize::from(second >> bit & 1 == 0) * 8;
    let (r, x, b) = (extension(7), extension(6), extension(5));
    let vvvv = usize::from(!third >> 3 & 15);
    if second & 31 != 2 || third & 0b1000_0100 != 0 || r != 0 {
        return None;
    }
    let prefix = third & 3; // None, 66, F3, F2.
    let (kind, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
    let in_register = kind == 3;
    let memory = || memory(&code[4..], registers, x, b);
    // Tiles in memory always have a SIB byte: its index register holds the stride.
    let rows = || {
        let memory = memory()?;
        let (start, stride) = (memory.base, memory.index);
        (rm == 4).then_some((Rows { start, stride }, 4 + memory.length))
    };
    match (opcode, prefix, in_register) {
        (0x5c, 2, true) if b == 0 && vvvv < 8 => {
            let dot = Instruction::Dot { c: reg, a: rm, b: vvvv };
            Some((dot, 5))
        }
        _ if vvvv != 0 => None,
        (0x49, 0, true) if (reg, rm) == (0, 0) => Some((Instruction::Release, 5)),
        (0x49, 3, true) if rm == 0 => Some((Instruction::Zero(reg), 5)),
        (0x49, 0 | 1, false) if reg == 0 => {
            let memory = memory()?;
            let mut address = memory.base.wrapping_add(memory.index);
            let length = 4 + memory.length;
            if (kind, rm) == (0, 5) {
                // Relative to the next instruction.
                address = address.wrapping_add(registers.rip).wrapping_add(length as u64);
            }
            let instruction = if prefix == 0 {
                Instruction::LoadConfig(address)
            } else {
                Instruction::StoreConfig(address)
            };
            Some((instruction, length))
        }
        (0x4b, 1 | 3, false) => rows().map(|(rows, length)| (Instruction::Load(reg, rows), length)),
        (0x4b, 2, false) => rows().map(|(rows, length)| (Instruction::Store(reg, rows), length)),
        _ => None,
    }
}

/// The memory operand that begins with the ModRM byte `code[0]`. With RIP as its base only the displacement is counted.
fn memory(code: &[u8], registers: &Registers, x: usize, b: usize) -> Option<Memory> {
    let (kind, rm) = (code[0] >> 6, usize::from(code[0] & 7));
    let (base, index, mut length) = if rm == 4 {
        let sib = *code.get(1)?;
        let (scale, index, base) = (sib >> 6, usize::from(sib >> 3 & 7) + x, usize::from(sib & 7) + b);
        if kind == 0 && base & 7 == 5 {
            return None; // No base register: nothing that we use.
        }
        let index = if index == 4 {
            0
        } else {
            registers.general[index] << scale
        };
        (registers.general[base], index, 2)
    } else if kind == 0 && rm == 5 {
        (0, 0, 1)
    } else {
        (registers.general[rm + b], 0, 1)
    };
    let displacement = match kind {
        0 if rm != 5 => 0,
        1 => i64::from(code.get(length)?.cast_signed()),
        _ => i64::from(i32::from_le_bytes(code.get(length..length + 4)?.try_into().ok()?)),
    };
    length += match kind {
        0 if rm != 5 => 0,
        1 => 1,
        _ => 4,
    };
    Some(Memory {
        base: base.wrapping_add_signed(displacement),
        index,
        length,
    })
}
