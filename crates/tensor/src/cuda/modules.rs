//! From `source/*.cu` to kernels that can be started: compiled by NVRTC at first use, kept on disk under a name made of
//! card architecture and source hash, loaded once per element type.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUfunction_attribute};
use cudarc::nvrtc::{result as nvrtc, sys as nvrtc_sys};

use super::context::{CardInfo, sentence};
use super::{fault, libraries};
use crate::device::TensorError;
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
    "elementwise",
    "gates",
    "loss",
    "memory",
    "norms",
    "optimizer",
    "rotary",
    "sample"
);

/// Machine code and what the compiler said.
pub struct Compiled {
    /// A cubin.
    pub code: Vec<u8>,
    /// Warnings, and with `verbose` registers, shared memory and spills of each kernel.
    pub log: String,
}

/// The name of a compute capability as compilers take it. Hopper has instructions that only its own name admits.
pub fn architecture((major, minor): (u32, u32)) -> String {
    let own = if (major, minor) == (9, 0) { "a" } else { "" };
    format!("sm_{major}{minor}{own}")
}

impl Source {
    fn whole(&self) -> String {
        format!("{COMMON}\n#line 1 \"{}.cu\"\n{}", self.name, self.text)
    }

    /// The file name of this source's machine code: another source, element type or architecture has another.
    pub fn file_name(&self, dtype: DType, architecture: &str) -> String {
        let hash = checksum(self.whole().as_bytes());
        format!("{}-{}-{architecture}-{hash:016x}.cubin", self.name, dtype.name())
    }
}

/// Compiles a file of kernels for one element type and one architecture (`sm_80`). NVRTC must have been found
/// ([`libraries::nvrtc`]).
///
/// # Errors
/// What the compiler said.
pub fn compile(source: &Source, dtype: DType, architecture: &str, verbose: bool) -> Result<Compiled, String> {
    let text = CString::new(source.whole()).map_err(|_| "a source holds a zero byte".to_owned())?;
    let name = CString::new(format!("{}.cu", source.name)).expect("names of sources hold no zero byte");
    let mut options = vec![
        format!("--gpu-architecture={architecture}"),
        "--std=c++17".to_owned(),
        match dtype {
            DType::Bf16 => "-DELEMENT_BF16",
            _ => "-DELEMENT_F32",
        }
        .to_owned(),
    ];
    if verbose {
        options.push("--ptxas-options=-v".to_owned());
    }
    let program = nvrtc::create_program(&text, Some(&name)).map_err(|error| format!("NVRTC: {error}"))?;
    // SAFETY: the program lives until `destroy_program` below.
    let compiled = unsafe { nvrtc::compile_program(program, &options) };
    // SAFETY: as above.
    let log = unsafe { nvrtc::get_program_log(program) }
        .map(|log| text_of(&log))
        .unwrap_or_default();
    let result = match compiled {
        Ok(()) => machine_code(program).map(|code| Compiled { code, log }),
        Err(error) => Err(format!(
            "{}.cu does not compile for {architecture}: {error}\n{log}",
            source.name
        )),
    };
    // SAFETY: nobody uses the program after this.
    let _ = unsafe { nvrtc::destroy_program(program) };
    result
}

fn text_of(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn machine_code(program: nvrtc_sys::nvrtcProgram) -> Result<Vec<u8>, String> {
    let mut size = 0;
    // SAFETY: writes one number.
    let asked = unsafe { nvrtc_sys::nvrtcGetCUBINSize(program, &raw mut size) };
    asked.result().map_err(|error| format!("NVRTC: {error}"))?;
    let mut code = vec![0u8; size];
    // SAFETY: the vector has the size that was asked for.
    let got = unsafe { nvrtc_sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()) };
    got.result().map_err(|error| format!("NVRTC: {error}"))?;
    Ok(code)
}

/// A kernel of a loaded module.
pub(super) struct Function {
    pub(super) handle: sys::CUfunction,
    /// Sizes of its parameters in bytes; none if the driver cannot say.
    pub(super) parameters: Option<Vec<usize>>,
    name: &'static str,
}

/// The modules of one card, loaded as they are needed.
pub(super) struct Modules {
    architectures: Vec<String>,
    driver_version: usize,
    folders: Vec<PathBuf>,
    loaded: RefCell<HashMap<(&'static str, DType), sys::CUmodule>>,
    functions: RefCell<HashMap<(&'static str, &'static str, DType), Rc<Function>>>,
}

impl Modules {
    pub(super) fn new(card: &CardInfo, folders: &[PathBuf]) -> Modules {
        let mut architectures = vec![architecture(card.capability)];
        // Machine code runs on later cards of the same generation.
        if card.capability.1 > 0 {
            architectures.push(architecture((card.capability.0, 0)));
        }
        Modules {
            architectures,
            driver_version: card.driver_version,
            folders: folders.to_vec(),
            loaded: RefCell::default(),
            functions: RefCell::default(),
        }
    }

    /// The kernel `name` of the file `file`, compiled and loaded if need be.
    pub(super) fn function(&self, file: &'static str, name: &'static str, dtype: DType) -> Rc<Function> {
        if let Some(function) = self.functions.borrow().get(&(file, name, dtype)) {
            return Rc::clone(function);
        }
        let module = *self.loaded.borrow_mut().entry((file, dtype)).or_insert_with(|| {
            self.load(file, dtype)
                .unwrap_or_else(|error| std::panic::panic_any(error))
        });
        let c_name = CString::new(name).expect("names of kernels hold no zero byte");
        // SAFETY: the module stays loaded as long as `self`.
        let handle = unsafe { result::module::get_function(module, c_name) }
            .unwrap_or_else(|error| fault(&format!("looking for the kernel {file}/{name}"), sentence(error)));
        let function = Rc::new(Function {
            handle,
            parameters: (self.driver_version >= 12040).then(|| parameter_sizes(handle)),
            name,
        });
        self.functions
            .borrow_mut()
            .insert((file, name, dtype), Rc::clone(&function));
        function
    }

    /// Lets a kernel use more shared memory than every card has.
    pub(super) fn allow_shared(&self, function: &Function, bytes: usize) {
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the kernel is loaded.
        let allowed = unsafe { result::function::set_function_attribute(function.handle, attribute, bytes as i32) };
        allowed.unwrap_or_else(|error| {
            let what = format!(
                "asking for {bytes} bytes of shared memory for the kernel {}",
                function.name
            );
            fault(&what, sentence(error));
        });
    }

    fn load(&self, file: &'static str, dtype: DType) -> Result<sys::CUmodule, TensorError> {
        let source = SOURCES
            .iter()
            .find(|source| source.name == file)
            .expect("kernels are launched from files that exist");
        for architecture in &self.architectures {
            let name = source.file_name(dtype, architecture);
            for folder in &self.folders {
                // What is damaged on disk is made anew.
                if let Some(Ok(module)) = read(&folder.join(&name)).map(|code| load_module(&code)) {
                    return Ok(module);
                }
            }
        }
        libraries::nvrtc().map_err(|error| TensorError::Unsupported(error.to_string()))?;
        let architecture = &self.architectures[0];
        let compiled = compile(source, dtype, architecture, false).map_err(TensorError::Fault)?;
        if let Some(folder) = self.folders.first() {
            // A cache that cannot be written costs time, not results.
            let _ = keep(folder, &source.file_name(dtype, architecture), &compiled.code);
        }
        load_module(&compiled.code)
            .map_err(|error| TensorError::Fault(format!("loading the kernels of {file}.cu: {}", sentence(error))))
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        for (_, module) in self.loaded.get_mut().drain() {
            // SAFETY: no kernel of it is launched again. At the end there is nobody to tell of an error.
            let _ = unsafe { result::module::unload(module) };
        }
    }
}

fn load_module(code: &[u8]) -> Result<sys::CUmodule, DriverError> {
    // SAFETY: the driver checks the header of the image and knows its size from it.
    unsafe { result::module::load_data(code.as_ptr().cast()) }
}

fn parameter_sizes(function: sys::CUfunction) -> Vec<usize> {
    let mut sizes = Vec::new();
    loop {
        let (mut offset, mut size) = (0, 0);
        // SAFETY: writes two numbers; past the last parameter it says so.
        let asked = unsafe { sys::cuFuncGetParamInfo(function, sizes.len(), &raw mut offset, &raw mut size) };
        if asked.result().is_err() {
            return sizes;
        }
        sizes.push(size);
    }
}

/// FNV-1a (Fowler, Noll, Vo): tells versions apart and damage from none; nobody is kept out by it.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Machine code kept by [`keep`], if it is there and whole: the driver believes what an image says of its own size.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut code = std::fs::read(path).ok()?;
    let end = code.len().checked_sub(8)?;
    let whole = code[end..] == checksum(&code[..end]).to_le_bytes();
    code.truncate(end);
    whole.then_some(code)
}

/// Writes machine code and its checksum to a file that appears whole or not at all.
///
/// # Errors
/// The folder or the file cannot be written.
pub fn keep(folder: &Path, name: &str, code: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    std::fs::write(&temporary, [code, &checksum(code).to_le_bytes()].concat())?;
    std::fs::rename(&temporary, folder.join(name)).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}
