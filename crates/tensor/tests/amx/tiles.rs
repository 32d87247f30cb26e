//! The tile registers and what the instructions do to them, after the operation sections of
//! Intel's Software Developer's Manual.

use std::cell::UnsafeCell;

use super::decode::{Instruction, Rows};

/// A tile register: 16 rows of 64 bytes. What lies beyond its configured rows and columns is zero.
pub type Tile = [[u8; 64]; 16];

const ZERO: Tile = [[0; 64]; 16];

/// The registers of one thread.
struct File {
    /// Rows and bytes per row of each tile; none before LDTILECFG and after TILERELEASE.
    shapes: Option<[(usize, usize); 8]>,
    /// The memory that LDTILECFG read.
    config: [u8; 64],
    tiles: [Tile; 8],
}

thread_local! {
    // Constant and without a destructor, so that a signal handler finds it ready.
    static FILE: UnsafeCell<File> = const {
        UnsafeCell::new(File { shapes: None, config: [0; 64], tiles: [ZERO; 8] })
    };
}

/// Executes one instruction on this thread's registers.
///
/// # Errors
/// Why a processor would refuse it.
///
/// # Safety
/// The memory that the instruction names can be accessed.
pub unsafe fn execute(instruction: Instruction) -> Result<(), &'static str> {
    let file = FILE.with(UnsafeCell::get);
    // SAFETY: only this thread's handler touches the registers, and it does not interrupt itself.
    let file = unsafe { &mut *file };
    match instruction {
        Instruction::LoadConfig(address) => {
            // SAFETY: 64 bytes, the caller's promise.
            let config = unsafe { (address as *const [u8; 64]).read_unaligned() };
            file.tiles = [ZERO; 8];
            file.shapes = shapes(&config)?;
            file.config = config;
        }
        Instruction::StoreConfig(address) => {
            let config = if file.shapes.is_some() { file.config } else { [0; 64] };
            // SAFETY: 64 bytes, the caller's promise.
            unsafe { (address as *mut [u8; 64]).write_unaligned(config) };
        }
        Instruction::Release => {
            file.shapes = None;
            file.tiles = [ZERO; 8];
        }
        Instruction::Zero(tile) => {
            file.shape(tile)?;
            file.tiles[tile] = ZERO;
        }
        Instruction::Load(tile, rows) => {
            let (height, width) = file.shape(tile)?;
            let mut loaded = ZERO;
            for (row, bytes) in loaded.iter_mut().enumerate().take(height) {
                let from = at(rows, row) as *const u8;
                // SAFETY: the row of a tile, the caller's promise.
                unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), width) };
            }
            file.tiles[tile] = loaded;
        }
        Instruction::Store(tile, rows) => {
            let (height, width) = file.shape(tile)?;
            for (row, bytes) in file.tiles[tile].iter().enumerate().take(height) {
                let to = at(rows, row) as *mut u8;
                // SAFETY: the row of a tile, the caller's promise.
                unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), width) };
            }
        }
        Instruction::Dot { c, a, b } => {
            if c == a || c == b || a == b {
                return Err("a product needs three different tiles");
            }
            let (shape_c, shape_a, shape_b) = (file.shape(c)?, file.shape(a)?, file.shape(b)?);
            let (rows, bytes_k, cols) = (shape_c.0, shape_a.1, shape_c.1);
            if bytes_k % 4 != 0 || cols % 4 != 0 {
                return Err("a product needs rows of whole units");
            }
            if shape_a.0 != rows || shape_b != (bytes_k / 4, cols) {
                return Err("the shapes of a product's tiles do not fit");
            }
            let (a, b) = (file.tiles[a], file.tiles[b]);
            dot(&mut file.tiles[c], &a, &b, rows, bytes_k / 4, cols / 4);
        }
    }
    Ok(())
}

impl File {
    /// Rows and bytes per row.
    fn shape(&self, tile: usize) -> Result<(usize, usize), &'static str> {
        let shapes = self.shapes.as_ref().ok_or("tiles are used without a configuration")?;
        match shapes[tile] {
            (0, _) => Err("a tile is used that the configuration does not have"),
            shape => Ok(shape),
        }
    }
}

fn at(rows: Rows, row: usize) -> u64 {
    rows.start.wrapping_add(rows.stride.wrapping_mul(row as u64))
}

/// Reads a configuration: palette, first row, 14 reserved bytes, then bytes per row as 16 numbers of
/// two bytes and rows as 16 bytes, of which 8 are in use.
fn shapes(config: &[u8; 64]) -> Result<Option<[(usize, usize); 8]>, &'static str> {
    match config[0] {
        0 => return Ok(None),
        1 => {}
        _ => return Err("an unknown palette"),
    }
    if config[1] != 0 {
        return Err("loading from the middle of a tile is not emulated");
    }
    if config[2..16]
        .iter()
        .chain(&config[32..48])
        .chain(&config[56..])
        .any(|&byte| byte != 0)
    {
        return Err("a reserved byte of the configuration is not zero");
    }
    let mut shapes = [(0, 0); 8];
    for (tile, shape) in shapes.iter_mut().enumerate() {
        let width = usize::from(u16::from_le_bytes([config[16 + 2 * tile], config[17 + 2 * tile]]));
        let height = usize::from(config[48 + tile]);
        if height > 16 || width > 64 || (height == 0) != (width == 0) {
            return Err("a tile of the configuration has an impossible shape");
        }
        *shape = (height, width);
    }
    Ok(Some(shapes))
}

/// TDPBF16PS on tiles of `rows × units`, `units × cols` and `rows × cols`.
///
/// The even and the odd elements of k have a chain of fused multiply-adds each, from zero; their sum is
/// added to C. Rounding is to nearest even; denormals are zeros, coming in and going out.
pub fn dot(c: &mut Tile, a: &Tile, b: &Tile, rows: usize, units: usize, cols: usize) {
    for (c, a) in c.iter_mut().zip(a).take(rows) {
        if units > 0 {
            // SAFETY: `install` found AVX-512F, and the tiles hold `units` as their type says.
            unsafe { dot_row(c, a, b, units) };
        }
        c[4 * cols..].fill(0);
    }
    c[rows..].fill([0; 64]);
}

/// One row of [`dot`], all columns. In assembly, because only there may the control word
/// be changed that makes denormals zeros.
///
/// # Safety
/// The processor has AVX-512F; `units` is at least 1 and at most 16.
#[target_feature(enable = "avx512f")]
unsafe fn dot_row(c: &mut [u8; 64], a: &[u8; 64], b: &Tile, units: usize) {
    // All exceptions masked (0x1f80), denormals are zero (1 << 6), flush to zero (1 << 15).
    let mut control: [u32; 2] = [0x1f80 | 1 << 6 | 1 << 15, 0];
    // SAFETY: reads `units` units of A and rows of B, writes C, and restores the control word.
    unsafe {
        std::arch::asm!(
            "stmxcsr [{control} + 4]",
            "ldmxcsr [{control}]",
            "vpxord {even}, {even}, {even}",
            "vpxord {odd}, {odd}, {odd}",
            "2:",
            // The lower half of a unit is the even element; a bf16 is the upper half of an f32.
            "vpbroadcastd {a_odd}, [{a}]",
            "vmovdqu32 {b_odd}, [{b}]",
            "vpslld {a_even}, {a_odd}, 16",
            "vpslld {b_even}, {b_odd}, 16",
            "vpsrld {a_odd}, {a_odd}, 16",
            "vpsrld {b_odd}, {b_odd}, 16",
            "vpslld {a_odd}, {a_odd}, 16",
            "vpslld {b_odd}, {b_odd}, 16",
            "vfmadd231ps {even}, {a_even}, {b_even}",
            "vfmadd231ps {odd}, {a_odd}, {b_odd}",
            "add {a}, 4",
            "add {b}, 64",
            "dec {units}",
            "jnz 2b",
            "vaddps {even}, {even}, {odd}",
            "vmovups {odd}, [{c}]",
            "vaddps {odd}, {odd}, {even}",
            "vmovups [{c}], {odd}",
            "ldmxcsr [{control} + 4]",
            control = in(reg) control.as_mut_ptr(),
            a = inout(reg) a.as_ptr() => _,
            b = inout(reg) b.as_ptr() => _,
            c = in(reg) c.as_mut_ptr(),
            units = inout(reg) units => _,
            even = out(zmm_reg) _,
            odd = out(zmm_reg) _,
            a_even = out(zmm_reg) _,
            a_odd = out(zmm_reg) _,
            b_even = out(zmm_reg) _,
            b_odd = out(zmm_reg) _,
            options(nostack),
        );
    }
}
