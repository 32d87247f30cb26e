//! What is tested, what it is compared with, and how much is done.

use anyhow::Result;
use ferrochat_model::{Arch, Dials, GptConfig};
use ferrochat_tensor::{CpuOptions, DType, Device};

use crate::cli::MachineArgs;
use crate::device;
use crate::errors::usage;

/// The device under test, as often as a part needs a fresh one.
pub struct Subject {
    machine: MachineArgs,
    /// Small sizes, few steps.
    pub quick: bool,
    name: String,
    is_gpu: bool,
}

impl Subject {
    /// Opens the device once, so that what cannot work is refused before any work.
    ///
    /// # Errors
    /// As [`device::open`].
    pub fn open(machine: &MachineArgs, quick: bool) -> Result<Subject> {
        let device = device::open(machine)?;
        Ok(Subject {
            machine: machine.clone(),
            quick,
            name: device.name(),
            is_gpu: device::is_gpu(&device),
        })
    }

    /// The device's description.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Whether it is not the CPU.
    pub fn is_gpu(&self) -> bool {
        self.is_gpu
    }

    /// One line about what is compared with what.
    pub fn describe(&self) -> String {
        let beside = if self.is_gpu {
            "the CPU"
        } else {
            "the CPU's portable kernels"
        };
        format!("{}, beside the oracle and {beside}", self.name)
    }

    /// The element types to test: the one of `--dtype`, else both.
    pub fn dtypes(&self) -> Vec<DType> {
        match self.machine.dtype.as_deref() {
            None => vec![DType::F32, DType::Bf16],
            Some("bf16" | "bfloat16") => vec![DType::Bf16],
            Some(_) => vec![DType::F32],
        }
    }

    /// A fresh device that computes in `dtype`.
    ///
    /// # Errors
    /// As [`device::open`].
    pub fn device(&self, dtype: DType) -> Result<Device> {
        let name = if dtype == DType::Bf16 { "bf16" } else { "f32" };
        device::open(&MachineArgs {
            dtype: Some(name.to_owned()),
            ..self.machine.clone()
        })
    }

    /// Kernels of the CPU that the device is compared with: a GPU with the best, the CPU with the plainest.
    pub fn reference_kernel(&self) -> Option<&'static str> {
        (!self.is_gpu).then_some("portable")
    }

    /// The CPU in `f32`.
    ///
    /// # Errors
    /// As [`Device::cpu`].
    pub fn reference(&self) -> Result<Device> {
        let options = CpuOptions {
            threads: self.machine.compute.threads,
            dtype: Some(DType::F32),
            kernel: self.reference_kernel().map(str::to_owned),
        };
        Device::cpu(&options).map_err(usage)
    }

    /// The model that is trained and decoded: depth 4 at its usual width and 512 tokens; shorter rows for the CPU's
    /// portable kernels; quick: a model of a moment.
    pub fn model(&self) -> GptConfig {
        let dials = Dials {
            sequence_len: match (self.quick, self.is_gpu) {
                (true, _) => 64,
                (false, false) => 128,
                (false, true) => 512,
            },
            vocab_size: if self.quick { 192 } else { 512 },
            head_dim: if self.quick { 32 } else { 128 },
            n_embd: self.quick.then_some(64),
            ..Dials::default()
        };
        GptConfig::from_depth(Arch::V2026_07, if self.quick { 2 } else { 4 }, &dials)
    }

    /// Rows of a batch, and steps of the training that is compared.
    pub fn training(&self) -> (usize, usize) {
        match (self.quick, self.is_gpu) {
            (true, _) => (4, 10),
            (false, false) => (4, 30),
            (false, true) => (8, 100),
        }
    }
}
