//! What the tests share: every CPU level of this machine. Cases and measures are those of [`ferrochat_tensor::check`].
// Each test binary uses a part of this.
#![allow(dead_code)]

use ferrochat_tensor::{CpuOptions, DType, Device, detected_kernel};

/// A CPU device; none if this machine has no such kernel level.
pub fn cpu(kernel: &str, dtype: DType, threads: usize) -> Option<Device> {
    let options = CpuOptions {
        threads: Some(threads),
        dtype: Some(dtype),
        kernel: Some(kernel.into()),
    };
    Device::cpu(&options).ok()
}

/// Every kernel level of this machine in every element type.
pub fn cpu_levels() -> Vec<(&'static str, DType)> {
    let levels = ["portable", "avx2", "avx512", "avx512bf16"];
    let all = levels.map(|kernel| [(kernel, DType::F32), (kernel, DType::Bf16)]);
    let found: Vec<_> = all
        .into_iter()
        .flatten()
        .filter(|&(k, d)| cpu(k, d, 1).is_some())
        .collect();
    for needed in ["portable", detected_kernel()] {
        assert!(
            found.contains(&(needed, DType::F32)),
            "{needed} in float32 must be there"
        );
        assert!(
            found.contains(&(needed, DType::Bf16)),
            "{needed} in bfloat16 must be there"
        );
    }
    found
}
