//! The CPU backend.
mod stub;

use crate::device::TensorError;
use crate::dtype::DType;

/// How to set up the CPU.
#[derive(Clone, Debug, Default)]
pub struct CpuOptions {
    /// Worker threads; none: one per available core.
    pub threads: Option<usize>,
    /// Element type of activations; none: `FERROCHAT_DTYPE`, else bf16 where the hardware has it, else f32.
    pub dtype: Option<DType>,
    /// Kernel level by name (`portable`, `avx2`, `avx512`, `avx512bf16`); none: `FERROCHAT_KERNEL`, else the best.
    pub kernel: Option<String>,
}

/// The CPU backend.
pub struct Cpu;
impl Cpu {
    pub(crate) fn new(_options: &CpuOptions) -> Result<Cpu, TensorError> {
        Ok(Cpu)
    }
}
/// Name of the kernel level.
pub fn detected_kernel() -> &'static str {
    "portable"
}
