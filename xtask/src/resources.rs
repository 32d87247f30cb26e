//! What kernels take of a card, read from what NVRTC says (`--ptxas-options=-v`) and from its machine code, an ELF file.
//! Both say how many registers a kernel has, and must agree. Knows these two formats only.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolIndex};
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
/// The machine code is no ELF file, or has other kernels or registers than the log says.
pub fn of_compilation(log: &Log, code: &[u8]) -> Result<BTreeMap<String, Resources>> {
    let file =
        object::read::elf::ElfFile64::<object::Endianness>::parse(code).context("the machine code is no ELF file")?;
    let registers = registers(&file)?;
    let mut kernels = log.kernels.clone();
    for section in file.sections() {
        let Some(name) = section.name().ok().and_then(|name| name.strip_prefix(".text.")) else {
            continue;
        };
        // A function that is not inlined has a section too.
        let Some(kernel) = kernels.get_mut(name) else { continue };
        kernel.code_bytes = section.size();
        if registers.get(name) != Some(&kernel.registers) {
            bail!(
                "the compiler says that {name} has {} registers and its machine code says {:?}",
                kernel.registers,
                registers.get(name)
            );
        }
    }
    if let Some((name, _)) = kernels.iter().find(|(_, kernel)| kernel.code_bytes == 0) {
        bail!("there is no machine code of {name}");
    }
    Ok(kernels)
}

/// Registers by function, from `.nv.info`: a list of (format, attribute, value), where a value of format 4 is a size
/// and as many bytes, and other values are two bytes.
fn registers(file: &object::read::elf::ElfFile64) -> Result<BTreeMap<String, u32>> {
    const SIZED: u8 = 4;
    const REGISTERS: u8 = 0x2f;
    let section = file
        .section_by_name(".nv.info")
        .context("the machine code has no .nv.info")?;
    let mut rest = section.data().context("the machine code's .nv.info cannot be read")?;
    let mut found = BTreeMap::new();
    while let [format, attribute, low, high, after @ ..] = rest {
        let size = usize::from(u16::from_le_bytes([*low, *high]));
        rest = after;
        if *format != SIZED {
            continue;
        }
        let Some((value, after)) = rest.split_at_checked(size) else {
            bail!("the machine code's .nv.info is cut off");
        };
        rest = after;
        if let (REGISTERS, Ok(value)) = (*attribute, <[u8; 8]>::try_from(value)) {
            let value = u64::from_le_bytes(value);
            let symbol = file.symbol_by_index(SymbolIndex((value & 0xffff_ffff) as usize));
            let name = symbol
                .and_then(|symbol| symbol.name())
                .context("a kernel without a name")?;
            found.insert(name.to_owned(), (value >> 32) as u32);
        }
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
        assert_eq!(sentence, "the machine code is no ELF file");
    }
}
