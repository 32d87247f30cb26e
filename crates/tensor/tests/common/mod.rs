//! What the tests share: every CPU level of this machine. Cases and measures are those of [`ferrochat_tensor::check`].
// Each test binary uses a part of this.
#![allow(dead_code)]

use ferrochat_tensor::{CpuOptions, DType, Device, detected_kernel};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "../amx/mod.rs"]
pub mod amx;

/// Has kernel level `amx` executed in software where the processor has AVX512-BF16 and no AMX.
/// Returns whether that is so.
pub fn emulate_amx() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if is_x86_feature_detected!("avx512bf16") && ferrochat_tensor::amx() != ferrochat_tensor::Amx::Present {
        amx::install();
        ferrochat_tensor::emulate_amx();
        return true;
    }
    false
}

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
    let emulated = emulate_amx();
    let levels = ["portable", "avx2", "avx512", "avx512bf16", "amx"];
    let all = levels.map(|kernel| [(kernel, DType::F32), (kernel, DType::Bf16)]);
    let found: Vec<_> = all
        .into_iter()
        .flatten()
        .filter(|&(k, d)| cpu(k, d, 1).is_some())
        .collect();
    for needed in ["portable", detected_kernel()]
        .into_iter()
        .chain(emulated.then_some("amx"))
    {
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
