//! The GPU backend: cuBLASLt for matrix products, our own kernels for everything else, one stream, no host
//! synchronisation but `synchronize`, `download` and `choose`.
//!
//! `context.rs` is the card, its stream and memory; `sources.rs` turns `source/*.cu` into machine code, `cache.rs`
//! keeps that on disk, `modules.rs` loads it; `launch.rs` is the one way to start a kernel; `matmul.rs` is cuBLASLt.
//! Every other file has the host side of the kernels of the source file of its name, and `kernels.rs` is the seam.
//!
//! Kernels are compiled once per element type: inside a `.cu` file `T` is the compute type. This room must never know
//! GPT, tokens or files other than its kernel cache.

pub mod cards;
pub mod libraries;

mod attention;
mod cache;
mod context;
mod elementwise;
mod embedding;
mod gates;
mod kernels;
mod launch;
mod loss;
mod matmul;
mod memory;
mod modules;
mod norms;
mod optimizer;
mod rotary;
mod sample;
mod sources;

use std::path::PathBuf;
use std::rc::Rc;

use crate::device::{Device, TensorError};
use crate::dtype::DType;

pub use cache::keep;
pub use context::CardInfo;
pub use sources::{
    ARCHITECTURES, CompileError, Compiled, ELEMENTS, SOURCES, Source, architecture, architectures, compile,
};

use context::Context;
use launch::Scratch;
use matmul::Blas;
use modules::Modules;

/// How to open a card.
#[derive(Clone, Debug, Default)]
pub struct CudaOptions {
    /// Which card, as the driver counts them (`CUDA_VISIBLE_DEVICES` applies).
    pub index: usize,
    /// Element type of activations: `Bf16` or `F32`. None: `FERROCHAT_DTYPE`, else bf16.
    pub dtype: Option<DType>,
    /// Folders with compiled kernels, looked through in this order; new ones are written to the first. None: kernels are
    /// compiled anew by each process.
    pub kernels: Vec<PathBuf>,
}

/// The backend of one card.
pub(crate) struct Cuda {
    // Fields are dropped in this order: the context last.
    modules: Modules,
    blas: Blas,
    scratch: Scratch,
    dtype: DType,
    context: Rc<Context>,
}

impl Cuda {
    fn open(options: &CudaOptions) -> Result<Cuda, TensorError> {
        let dtype = match options.dtype {
            Some(dtype @ (DType::F32 | DType::Bf16)) => dtype,
            Some(other) => return Err(unsupported_dtype(other.name())),
            None => dtype_from_env()?,
        };
        libraries::load().map_err(|error| TensorError::Unsupported(error.to_string()))?;
        let context = Rc::new(Context::open(options.index)?);
        Ok(Cuda {
            modules: Modules::new(context.info(), &options.kernels),
            blas: Blas::new(&context)?,
            scratch: Scratch::new(&context),
            dtype,
            context,
        })
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // No kernel is at work when its machine code is unloaded.
        self.context.settle();
    }
}

impl Device {
    /// A GPU.
    ///
    /// # Errors
    /// One sentence: no driver, a library that is missing or too old, no such card, a card below compute capability
    /// 8.0, an element type other than `F32` and `Bf16`.
    pub fn cuda(options: &CudaOptions) -> Result<Device, TensorError> {
        Ok(Device::new(Rc::new(Cuda::open(options)?)))
    }
}

/// The cards that the driver shows, in its order.
///
/// # Errors
/// One sentence: there is no driver, or it does not answer.
pub fn cards() -> Result<Vec<CardInfo>, TensorError> {
    libraries::load_driver().map_err(|error| TensorError::Unsupported(error.to_string()))?;
    context::list()
}

fn dtype_from_env() -> Result<DType, TensorError> {
    match std::env::var("FERROCHAT_DTYPE").as_deref() {
        Ok("float32" | "f32") => Ok(DType::F32),
        Ok("bfloat16" | "bf16" | "") | Err(_) => Ok(DType::Bf16),
        Ok(other) => Err(unsupported_dtype(other)),
    }
}

fn unsupported_dtype(name: &str) -> TensorError {
    TensorError::Unsupported(format!(
        "element type {name}: a GPU computes in float32 or bfloat16 (FERROCHAT_DTYPE, --dtype)"
    ))
}

/// What the driver said when it should not have said anything: an error that no caller can mend, raised as a panic payload
/// from inside an operation like [`TensorError::OutOfMemory`]; the program turns it into a sentence.
fn fault(what: &str, error: impl std::fmt::Display) -> ! {
    std::panic::panic_any(TensorError::Fault(format!("{what}: {error}")))
}
