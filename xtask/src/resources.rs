//! What kernels take of a card, read from what NVRTC says (`--ptxas-options=-v`) and from its machine code, an ELF file.
//! Both say how many registers a kernel has, and must agree. Knows these two formats only.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use object::elf::{FileHeader64, SHT_SYMTAB};
use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};
use object::{Endianness, SymbolIndex};
use serde::Serialize;

/// What one kernel takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Registers of a thread.
    pub registers: u32,
    /// Static shared memory of a block.
    pub shared_bytes: u32,
    /// Local memory of a thread: arrays that do not fit into registers or are indexed at run time, and spills.
    pub stack_bytes: u32,
    /// Bytes of spilled registers that the code writes.
    pub spill_store_bytes: u32,
    /// Bytes of spilled registers that the code reads.
    pub spill_load_bytes: u32,
    /// Machine code.
    pub code_bytes: u64,
}

/// What NVRTC said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// By kernel; sizes of code are not in it.
    pub kernels: BTreeMap<String, Resources>,
    /// Everything that is not about resources.
    pub warnings: String,
}

/// Reads NVRTC's log.
pub fn of_log(text: &str) -> Log {
    let mut log = Log::default();
    let mut current: Option<String> = None;
    for line in text.lines() {
        let Some(said) = line.strip_prefix("ptxas").and_then(|rest| rest.split_once([':', '.'])) else {
            log.warnings.push_str(line);
            log.warnings.push('\n');
            continue;
        };
        if !matches!(said.0.trim(), "info" | "") {
            log.warnings.push_str(line);
            log.warnings.push('\n');
        }
        let said = said.1;
        if let Some((_, name)) = said.split_once("Compiling entry function '") {
            current = name.split('\'').next().map(str::to_owned);
        }
        let Some(name) = &current else { continue };
        let kernel = log.kernels.entry(name.clone()).or_default();
        let before = |what: &str| number_before(said, what);
        // Functions that are not inlined have lines of their own, and count for the kernel.
        kernel.stack_bytes = kernel.stack_bytes.max(before(" bytes stack frame"));
        kernel.stack_bytes = kernel.stack_bytes.max(before(" bytes cumulative stack size"));
        kernel.spill_store_bytes += before(" bytes spill stores");
        kernel.spill_load_bytes += before(" bytes spill loads");
        kernel.registers = kernel.registers.max(before(" registers"));
        kernel.shared_bytes = kernel.shared_bytes.max(before(" bytes smem"));
    }
    Log {
        warnings: log.warnings.trim().to_owned(),
        ..log
    }
}

/// The number that ends where `what` begins; 0 if it does not occur.
fn number_before(text: &str, what: &str) -> u32 {
    let Some((before, _)) = text.split_once(what) else {
        return 0;
    };
    let digits = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    before[digits..].parse().unwrap_or(0)
}

/// The resources of all kernels of a compilation.
///
/// # Errors
/// The machine code is no ELF file, or it has other kernels or registers than the log says.
pub fn of_compilation(log: &Log, code: &[u8]) -> Result<BTreeMap<String, Resources>> {
    let functions = functions(code).context("the machine code cannot be read")?;
    let mut kernels = log.kernels.clone();
    for (name, kernel) in &mut kernels {
        let Some(function) = functions.get(name) else {
            bail!("there is no machine code of {name}");
        };
        if function.registers != Some(kernel.registers) {
            bail!(
                "the compiler says that {name} has {} registers and its machine code says {:?}",
                kernel.registers,
                function.registers
            );
        }
        kernel.code_bytes = function.code_bytes;
    }
    Ok(kernels)
}

/// What machine code says of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Function {
    code_bytes: u64,
    registers: Option<u32>,
}

/// The functions of machine code, by name.
fn functions(code: &[u8]) -> Result<BTreeMap<String, Function>> {
    let header = FileHeader64::<Endianness>::parse(code)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, code)?;
    let symbols = sections.symbols(endian, code, SHT_SYMTAB)?;
    let mut functions = BTreeMap::<String, Function>::new();
    for section in sections.iter() {
        let name = String::from_utf8_lossy(sections.section_name(endian, section)?);
        if let Some(name) = name.strip_prefix(".text.") {
            functions.entry(name.to_owned()).or_default().code_bytes = section.sh_size(endian);
        }
        if name != ".nv.info" {
            continue;
        }
        for (symbol, registers) in registers(section.data(endian, code)?)? {
            let symbol = symbols.symbol(SymbolIndex(symbol as usize))?;
            let name = symbol.name(endian, symbols.strings())?;
            let name = String::from_utf8_lossy(name).into_owned();
            functions.entry(name).or_default().registers = Some(registers);
        }
    }
    Ok(functions)
}

/// Numbers of symbols and their registers from `.nv.info`: a list of (format, attribute, value), where a value of format
/// 4 is a size and as many bytes, and every other value is two bytes.
fn registers(mut info: &[u8]) -> Result<Vec<(u32, u32)>> {
    const SIZED: u8 = 4;
    const REGISTERS: u8 = 0x2f;
    let mut found = Vec::new();
    while let [format, attribute, low, high, rest @ ..] = info {
        let size = if *format == SIZED {
            u16::from_le_bytes([*low, *high])
        } else {
            0
        };
        let Some((value, rest)) = rest.split_at_checked(size.into()) else {
            bail!(".nv.info is cut off");
        };
        if let (SIZED, REGISTERS, Ok(value)) = (*format, *attribute, <[u8; 8]>::try_from(value)) {
            let value = u64::from_le_bytes(value);
            found.push((value as u32, (value >> 32) as u32));
        }
        info = rest;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as NVRTC 13 writes them.
    const LOG: &str = "memory.cu(141): warning #177-D: variable \"unused\" was declared but never referenced
  int unused;
      ^

ptxas info    : 8 bytes gmem, 16 bytes cmem[4]
ptxas info    : Compiling entry function 'spilly' for 'sm_80'
ptxas info    : Function properties for spilly
ptxas         .     1744 bytes stack frame, 2120 bytes spill stores, 2308 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 1744 bytes cumulative stack size, 132 bytes smem, 372 bytes cmem[0]
ptxas info    : Compile time = 195.281 ms
ptxas info    : Compiling entry function 'fill' for 'sm_80'
ptxas info    : Function properties for fill
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 26 registers, used 0 barriers, 376 bytes cmem[0]
ptxas info    : Compile time = 6.967 ms
ptxas warning : something is odd
";

    #[test]
    fn a_log_is_read() {
        let log = of_log(LOG);
        let fill = Resources {
            registers: 26,
            ..Resources::default()
        };
        let spilly = Resources {
            registers: 64,
            shared_bytes: 132,
            stack_bytes: 1744,
            spill_store_bytes: 2120,
            spill_load_bytes: 2308,
            code_bytes: 0,
        };
        assert_eq!(log.kernels.len(), 2);
        assert_eq!((&log.kernels["fill"], &log.kernels["spilly"]), (&fill, &spilly));
        assert!(log.warnings.starts_with("memory.cu(141): warning"), "{}", log.warnings);
        assert!(
            log.warnings.ends_with("ptxas warning : something is odd"),
            "{}",
            log.warnings
        );
        assert!(!log.warnings.contains("info"), "{}", log.warnings);
        assert_eq!(of_log(""), Log::default());
    }

    #[test]
    fn what_is_no_machine_code_is_refused() {
        let sentence = of_compilation(&of_log(LOG), b"simulated card").unwrap_err().to_string();
        assert_eq!(sentence, "the machine code cannot be read");
    }

    #[test]
    fn registers_are_found_among_other_attributes() {
        let mut info = vec![3, 0x1b, 0xff, 0, 4, 0x11, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        info.extend([
            4, 0x2f, 8, 0, 7, 0, 0, 0, 64, 0, 0, 0, 1, 2, 0, 0, 4, 0x2f, 8, 0, 9, 0, 0, 0, 255, 0, 0, 0,
        ]);
        assert_eq!(registers(&info).unwrap(), [(7, 64), (9, 255)]);
        assert!(registers(&info[..info.len() - 1]).is_err());
        assert_eq!(registers(&[]).unwrap(), []);
    }
}
