//! Kernels that can be started: machine code from disk, or made by NVRTC at first use and kept there under a name made
//! of card architecture and source hash; loaded once per element type.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::path::PathBuf;
use std::rc::Rc;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUfunction_attribute};

use super::context::{CardInfo, sentence};
use super::sources::{CompileError, SOURCES, Source, architectures, compile};
use super::{cache, fault, libraries};
use crate::device::TensorError;
use crate::dtype::DType;

/// A kernel of a loaded module.
pub(super) struct Function {
    pub(super) handle: sys::CUfunction,
    /// Sizes of its parameters in bytes; none if the driver cannot say.
    pub(super) parameters: Option<Vec<usize>>,
    name: &'static str,
}

impl Function {
    /// Lets the kernel use more shared memory than every card has.
    pub(super) fn allow_shared(&self, bytes: usize) {
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the kernel is loaded.
        let allowed = unsafe { result::function::set_function_attribute(self.handle, attribute, bytes as i32) };
        allowed.unwrap_or_else(|error| {
            let what = format!("asking for {bytes} bytes of shared memory for the kernel {}", self.name);
            fault(&what, sentence(error));
        });
    }
}

/// A file of kernels, a kernel of it, and an element type.
type Key = (&'static str, &'static str, DType);

/// The modules of one card, loaded as they are needed.
pub(super) struct Modules {
    architectures: Vec<String>,
    driver_version: usize,
    folders: Vec<PathBuf>,
    loaded: RefCell<HashMap<(&'static str, DType), sys::CUmodule>>,
    functions: RefCell<HashMap<Key, Rc<Function>>>,
}

impl Modules {
    pub(super) fn new(card: &CardInfo, folders: &[PathBuf]) -> Modules {
        Modules {
            architectures: architectures(card.capability),
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

    fn load(&self, file: &'static str, dtype: DType) -> Result<sys::CUmodule, TensorError> {
        let source = SOURCES
            .iter()
            .find(|source| source.name == file)
            .expect("kernels are launched from files that exist");
        if let Some(module) = self.kept(source, dtype) {
            return Ok(module);
        }
        let architecture = &self.architectures[0];
        libraries::nvrtc().map_err(|error| {
            TensorError::Unsupported(format!("there are no compiled kernels for {architecture}, and {error}"))
        })?;
        let compiled = compile(source, dtype, architecture, false).map_err(|error| match error {
            CompileError::Unknown(sentence) => TensorError::Unsupported(sentence),
            CompileError::Failed(sentence) => TensorError::Fault(sentence),
        })?;
        if let Some(folder) = self.folders.first() {
            // A cache that cannot be written costs time, not results.
            let _ = cache::keep(folder, &source.file_name(dtype, architecture), &compiled.code);
        }
        load_module(&compiled.code)
            .map_err(|error| TensorError::Fault(format!("loading the kernels of {file}.cu: {}", sentence(error))))
    }

    /// The module as it lies on disk. What is damaged, or refused by the driver, is as good as missing: it is made anew.
    fn kept(&self, source: &Source, dtype: DType) -> Option<sys::CUmodule> {
        let names = self
            .architectures
            .iter()
            .map(|architecture| source.file_name(dtype, architecture));
        let files = names.flat_map(|name| self.folders.iter().map(move |folder| folder.join(&name)));
        let mut modules = files.filter_map(|file| load_module(&cache::read(&file)?).ok());
        modules.next()
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
