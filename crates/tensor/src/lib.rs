//! Arithmetic for transformers: devices, fused operations with their gradients, the tape.
//!
//! The crate is written at the grain at which a GPT is written: about fifteen fused
//! operations instead of a general tensor library. Three layers, each in its own files:
//!
//! * [`Graph`] is what a model sees: one method per operation. A training graph records
//!   what the backward pass needs on a tape; an inference graph records nothing, so memory
//!   is returned as soon as a [`Tensor`] is dropped. [`Device::dry_run`] runs either without
//!   arithmetic and counts FLOPs, bytes and peak memory.
//! * `ops/` has one file per operation: shapes, mathematics, gradient rule, tape record, cost.
//! * [`Backend`] is the seam. Kernels receive opaque [`Buffer`]s and numbers; no slice of
//!   floats crosses it, and reading a value back ([`Tensor::download`]) is an explicit synchronisation.
//! * [`check`] says what is right: every operation as a case that any device must agree on with the oracle.
//!
//! This room must never know GPT, tokens or files.
//!
//! ```
//! use ferrochat_tensor::{CpuOptions, Device, Graph, Param};
//! let device = Device::cpu(&CpuOptions::default())?;
//! let weight = Param::new(&device, "weight", [2, 3]);
//! weight.upload(&[1.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
//! let graph = Graph::inference(&device);
//! let x = device.tensor(&[3.0, 4.0, 5.0], [1, 3]);
//! assert_eq!(graph.linear(&x, &weight).download(), [3.0, 8.0]);
//! # Ok::<(), ferrochat_tensor::TensorError>(())
//! ```

mod backend;
pub mod check;
mod cpu;
#[cfg(target_os = "linux")]
pub mod cuda;
mod device;
mod dtype;
mod graph;
mod host;
mod memory;
mod ops;
mod oracle;
mod param;
mod profile;
mod shape;
mod tape;
mod tensor;

pub use backend::{
    AttentionArgs, Backend, Buffer, Host, HostMut, Layout, MatmulArgs, NllArgs, NllGradients, NllScratch, RotaryArgs,
    ScalarArg, SmearArgs, Stream, ValueGateArgs, Weight,
};
#[doc(hidden)]
pub use cpu::emulate_amx;
pub use cpu::{Amx, CpuOptions, amx, detected_kernel};
pub use device::{Cost, Device, MemoryUse, TensorError};
pub use dtype::DType;
pub use graph::Graph;
pub use ops::{
    activation::Activation,
    choose::Choice,
    mix::Scalar,
    nll::{Nll, NllHead},
    optimizer::{AdamwStep, NormRule},
    rotary::{MAX_HEAD_DIM, RotaryTable},
};
pub use param::Param;
pub use profile::OpUse;
pub use shape::Shape;
pub use tensor::Tensor;
