//! The model as a whole: its gradient, its cache, its checkpoints.

#![allow(clippy::unwrap_used)] // the whole crate is a test

mod checkpoint;
mod decoding;
mod gradient;
#[path = "../../../tensor/tests/common/mod.rs"]
mod kernels;
mod precision;
mod prompts;
mod training;

use ferrochat_model::{Arch, Dials, Gpt, GptConfig, Rng};
use ferrochat_tensor::{CpuOptions, DType, Device};

/// A small model with every feature of its architecture, grouped-query heads and odd sizes.
fn small(arch: Arch, sequence_len: usize) -> GptConfig {
    let dials = Dials {
        sequence_len,
        vocab_size: 37,
        head_dim: 6,
        n_embd: Some(24),
        n_kv_head: Some(2),
        ..Dials::default()
    };
    GptConfig::from_depth(arch, 3, &dials)
}

/// That model with no weight zero.
fn random(device: &Device, config: &GptConfig) -> Gpt {
    let gpt = Gpt::new(device, config).unwrap();
    for declaration in gpt.declarations() {
        let param = &declaration.param;
        let mut rng = Rng::derive(5, param.name(), 0);
        let values: Vec<f32> = (0..param.numel()).map(|_| rng.uniform() as f32 - 0.5).collect();
        param.upload(&values);
    }
    gpt
}

fn tokens(count: usize, seed: u64) -> Vec<i32> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| (rng.next_u64() % 37) as i32).collect()
}

fn cpu(threads: Option<usize>) -> Device {
    Device::cpu(&CpuOptions {
        dtype: Some(DType::F32),
        threads,
        ..CpuOptions::default()
    })
    .unwrap()
}

const ARCHS: [Arch; 2] = [Arch::V2025_10, Arch::V2026_07];
