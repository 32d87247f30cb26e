//! The CPU backend: one kernel set per instruction level, chosen at run time, on a pool of threads.
//!
//! Kernels are written once over the element type and compiled for `f32` and bf16. They know
//! lengths and strides, never a model. This file holds the set-up; `kernels.rs` connects the seam to the kernels.
//!
//! Architecture Invariant: a kernel's bits depend on its inputs and the instruction level alone,
//! never on the number of threads: tasks have fixed sizes, each output one owner, each sum one order.
//!
//! Architecture Invariant: kernels do not allocate once they have seen their largest shapes.

mod amx;
mod attention;
mod cache;
mod elem;
mod elements;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
#[path = "../../tests/amx/mod.rs"]
mod emulator;
mod gates;
pub(crate) mod isa;
mod kernels;
mod linear;
mod logits;
mod loss;
mod math;
pub(crate) mod matmul;
mod optimizer;
pub(crate) mod pool;
mod prefetch;
mod probe;
mod rotary;
mod rows;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::amx::{Amx, amx, emulate_amx};
use self::isa::Isa;
use self::pool::Pool;
use crate::device::TensorError;
use crate::dtype::DType;
use crate::ops::choose::Chooser;

/// How to set up the CPU.
#[derive(Clone, Debug, Default)]
pub struct CpuOptions {
    /// Threads, the caller's included; none: one per available core.
    pub threads: Option<usize>,
    /// Element type of activations; none: `FERROCHAT_DTYPE`, else bf16 where the hardware
    /// multiplies it, else f32.
    pub dtype: Option<DType>,
    /// Kernel level by name (`portable`, `avx2`, `avx512`, `avx512bf16`, `amx`, which
    /// has been tested in emulation only); none:
    /// `FERROCHAT_KERNEL`, else the best this machine has.
    pub kernel: Option<String>,
}

/// The processor as a [`crate::Backend`].
pub(crate) struct Cpu {
    isa: Isa,
    dtype: DType,
    pool: Pool,
    /// Partial sums of reductions, by block.
    partials: Mutex<Vec<f32>>,
    /// Short vectors that a kernel fills and uses at once.
    gate_sums: Mutex<Vec<f32>>,
    /// One per worker.
    choosers: Box<[Mutex<Chooser>]>,
}

impl Cpu {
    pub(crate) fn new(options: &CpuOptions) -> Result<Cpu, TensorError> {
        let isa = match &options.kernel {
            Some(name) => Isa::parse(name).map_err(|reason| format!("kernel level {name}: {reason}")),
            None => Isa::from_env("FERROCHAT_KERNEL"),
        }
        .map_err(TensorError::Unsupported)?;
        let dtype = match options.dtype {
            Some(dtype @ (DType::F32 | DType::Bf16)) => dtype,
            Some(other) => return Err(unsupported_dtype(other.name())),
            None => dtype_from_env(isa)?,
        };
        let threads = match options.threads {
            Some(0) => return Err(TensorError::Unsupported("0 threads: at least 1 is needed".into())),
            Some(threads) => threads,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let pool = Pool::new(threads)
            .map_err(|error| TensorError::Unsupported(format!("{threads} threads cannot be started: {error}")))?;
        let choosers = (0..pool.threads()).map(|_| Mutex::default()).collect();
        Ok(Cpu {
            isa,
            dtype,
            pool,
            partials: Mutex::default(),
            gate_sums: Mutex::default(),
            choosers,
        })
    }
}

/// The best kernel level of this machine, by name.
pub fn detected_kernel() -> &'static str {
    Isa::detect().name()
}

fn dtype_from_env(isa: Isa) -> Result<DType, TensorError> {
    match std::env::var("FERROCHAT_DTYPE").as_deref() {
        Ok("float32" | "f32") => Ok(DType::F32),
        Ok("bfloat16" | "bf16") => Ok(DType::Bf16),
        Ok("") | Err(_) => Ok(if isa.has_bf16_dot() { DType::Bf16 } else { DType::F32 }),
        Ok(other) => Err(unsupported_dtype(other)),
    }
}

fn unsupported_dtype(name: &str) -> TensorError {
    TensorError::Unsupported(format!(
        "element type {name}: the CPU computes in float32 or bfloat16 (FERROCHAT_DTYPE, --dtype)"
    ))
}

/// Scratch of the backend. Whatever a panic left in it is overwritten before it is read.
fn locked(scratch: &Mutex<Vec<f32>>) -> MutexGuard<'_, Vec<f32>> {
    scratch.lock().unwrap_or_else(PoisonError::into_inner)
}
