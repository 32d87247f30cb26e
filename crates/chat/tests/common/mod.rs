//! Tiny random models and prompts for them.

#![allow(dead_code, clippy::unwrap_used)] // not every test needs all of it

use ferrochat_model::{Arch, Dials, Gpt, GptConfig, Rng};
use ferrochat_tensor::{CpuOptions, DType, Device};
use ferrochat_tokenizer::{SPLIT_PATTERN, Tokenizer};

pub fn tokenizer() -> Tokenizer {
    let ranks = include_bytes!("../../../tokenizer/tests/fixtures/ranks.tiktoken");
    Tokenizer::from_tiktoken(ranks, SPLIT_PATTERN).unwrap()
}

pub fn model(device: &Device, vocab_size: usize) -> Gpt {
    let dials = Dials {
        sequence_len: 48,
        vocab_size,
        head_dim: 6,
        n_embd: Some(24),
        ..Dials::default()
    };
    let gpt = Gpt::new(device, &GptConfig::from_depth(Arch::V2026_07, 2, &dials)).unwrap();
    for declaration in gpt.declarations() {
        let param = &declaration.param;
        let mut rng = Rng::derive(7, param.name(), 0);
        let values: Vec<f32> = (0..param.numel()).map(|_| rng.uniform() as f32 - 0.5).collect();
        param.upload(&values);
    }
    gpt
}

pub fn cpu() -> Device {
    let options = CpuOptions {
        dtype: Some(DType::F32),
        ..CpuOptions::default()
    };
    Device::cpu(&options).unwrap()
}

pub fn prompts(tokenizer: &Tokenizer, lengths: &[usize]) -> Vec<Vec<u32>> {
    let mut rng = Rng::new(11);
    let mut random = || (rng.next_u64() % u64::from(tokenizer.bos())) as u32;
    let prompt = |&length: &usize| {
        std::iter::once(tokenizer.bos())
            .chain((1..length).map(|_| random()))
            .collect()
    };
    lengths.iter().map(prompt).collect()
}
