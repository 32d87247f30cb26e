//! The files of kernels and NVRTC, which makes machine code of them. Knows compilers; nothing of cards that are there,
//! of launches or of files on disk.

use std::ffi::{CString, c_char};

use cudarc::nvrtc::{result as nvrtc, sys};

use super::cache::checksum;
use super::libraries;
use crate::dtype::DType;

/// A file of kernels.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its name without `.cu`.
    pub name: &'static str,
    /// Its text, to which the common part is prepended.
    text: &'static str,
}

const COMMON: &str = include_str!("source/common.cuh");

macro_rules! sources {
    ($($name:literal),*) => {
        /// Every file of kernels.
        pub const SOURCES: &[Source] = &[$(Source { name: $name, text: include_str!(concat!("source/", $name, ".cu")) }),*];
    };
}
sources!(
    "attention",
    "attention_decode",
    "attention_tensor",
    "elementwise",
    "embedding",
    "gates",
    "loss",
    "memory",
    "norms",
    "optimizer",
    "rotary",
    "sample"
);

/// The element types that every file is compiled for.
pub const ELEMENTS: [DType; 2] = [DType::F32, DType::Bf16];

/// The architectures that kernels are checked for and come compiled with: what all cards of 8.x and 10.x run, and Hopper.
pub const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90a", "sm_100"];

/// Machine code and what the compiler said.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// A cubin.
    pub code: Vec<u8>,
    /// Warnings, and with `verbose` registers, shared memory and spills of each kernel.
    pub log: String,
}

/// Why there is no machine code, as a sentence.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompileError {
    /// An architecture that this NVRTC has never heard of.
    #[error("{0}")]
    Unknown(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// The name of a compute capability as compilers take it. Hopper has instructions that only its own name admits.
pub fn architecture((major, minor): (u32, u32)) -> String {
    let own = if (major, minor) == (9, 0) { "a" } else { "" };
    format!("sm_{major}{minor}{own}")
}

/// The architectures whose machine code a card runs, its own first: later cards of a generation run the code of the
/// first, unless that uses what only the first has.
pub fn architectures((major, minor): (u32, u32)) -> Vec<String> {
    let (own, first) = (architecture((major, minor)), architecture((major, 0)));
    let inherits = first != own && !first.ends_with('a');
    std::iter::once(own).chain(inherits.then_some(first)).collect()
}

impl Source {
    fn whole(&self) -> String {
        format!("{COMMON}\n#line 1 \"{}.cu\"\n{}", self.name, self.text)
    }

    /// The file name of this source's machine code: another source, element type, architecture or way of compiling has
    /// another.
    pub fn file_name(&self, dtype: DType, architecture: &str) -> String {
        let made_from = format!("{:?}\n{}", options(dtype, architecture), self.whole());
        let hash = checksum(made_from.as_bytes());
        format!("{}-{}-{architecture}-{hash:016x}.cubin", self.name, dtype.name())
    }
}

fn options(dtype: DType, architecture: &str) -> Vec<String> {
    let element = match dtype {
        DType::Bf16 => "-DELEMENT_BF16",
        _ => "-DELEMENT_F32",
    };
    vec![
        format!("--gpu-architecture={architecture}"),
        "--std=c++17".to_owned(),
        // Else NVRTC takes generic lambdas for code of the host.
        "--device-as-default-execution-space".to_owned(),
        element.to_owned(),
    ]
}

/// Compiles a file of kernels for one element type and one architecture (`sm_80`). NVRTC must have been found
/// ([`libraries::nvrtc`]). Several threads may compile at once.
///
/// # Errors
/// What the compiler said.
pub fn compile(source: &Source, dtype: DType, architecture: &str, verbose: bool) -> Result<Compiled, CompileError> {
    let mut options = options(dtype, architecture);
    if verbose {
        options.push("--ptxas-options=-v".to_owned());
    }
    compile_text(&source.whole(), source.name, &options)
}

fn compile_text(text: &str, name: &str, options: &[String]) -> Result<Compiled, CompileError> {
    let failed =
        |error: sys::nvrtcResult| CompileError::Failed(format!("{name}.cu does not compile: NVRTC says {error:?}"));
    let text = CString::new(text).map_err(|_| CompileError::Failed(format!("{name}.cu holds a zero byte")))?;
    let file = CString::new(format!("{name}.cu")).expect("names of sources hold no zero byte");
    let program = nvrtc::create_program(&text, Some(&file)).map_err(|error| failed(error.0))?;
    // SAFETY: the program lives until `destroy_program` below.
    let compiled = unsafe { nvrtc::compile_program(program, options) };
    // SAFETY: as above.
    let log = unsafe { nvrtc::get_program_log(program) }
        .map(|log| text_of(&log))
        .unwrap_or_default();
    let result = match compiled.map_err(|error| error.0) {
        Ok(()) => machine_code(program).map(|code| Compiled { code, log }).map_err(failed),
        // Of our options only the architecture varies.
        Err(sys::nvrtcResult::NVRTC_ERROR_INVALID_OPTION) => Err(CompileError::Unknown(format!(
            "NVRTC {} does not know {}; {}",
            version(),
            options[0].trim_start_matches("--gpu-architecture="),
            libraries::nvrtc_remedy()
        ))),
        Err(error) => Err(CompileError::Failed(format!("{}\n{log}", failed(error)))),
    };
    // SAFETY: nobody uses the program after this.
    let _ = unsafe { nvrtc::destroy_program(program) };
    result
}

fn version() -> String {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: writes two numbers.
    let asked = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    asked
        .result()
        .map_or_else(|_| String::new(), |()| format!("{major}.{minor}"))
}

fn text_of(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn machine_code(program: sys::nvrtcProgram) -> Result<Vec<u8>, sys::nvrtcResult> {
    let mut size = 0;
    // SAFETY: writes one number.
    let asked = unsafe { sys::nvrtcGetCUBINSize(program, &raw mut size) };
    asked.result().map_err(|error| error.0)?;
    let mut code = vec![0u8; size];
    // SAFETY: the vector has the size that was asked for.
    let got = unsafe { sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()) };
    got.result().map_err(|error| error.0)?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_run_their_own_code_and_that_of_their_generation() {
        assert_eq!(architectures((8, 0)), ["sm_80"]);
        assert_eq!(architectures((8, 9)), ["sm_89", "sm_80"]);
        assert_eq!(architectures((9, 0)), ["sm_90a"]);
        assert_eq!(architectures((10, 3)), ["sm_103", "sm_100"]);
        assert_eq!(architectures((12, 1)), ["sm_121", "sm_120"]);
        // Code that only Hopper itself runs is nothing for what may come after it.
        assert_eq!(architectures((9, 1)), ["sm_91"]);
    }

    #[test]
    fn whatever_makes_other_code_makes_another_name() {
        let name = |source: &Source, dtype, architecture| source.file_name(dtype, architecture);
        let source = SOURCES[0];
        let other = Source { text: "x", ..source };
        let names = [
            name(&source, DType::F32, "sm_80"),
            name(&source, DType::Bf16, "sm_80"),
            name(&source, DType::F32, "sm_90a"),
            name(&other, DType::F32, "sm_80"),
        ];
        let different: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        assert_eq!(names[0], name(&source, DType::F32, "sm_80"));
    }
}
