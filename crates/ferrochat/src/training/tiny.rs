//! What tests of lessons share: a model of a moment, its gradient, and a tokenizer.

use ferrochat_model::{Arch, Dials, Gpt, GptConfig, Rng};
use ferrochat_tensor::Device;
use ferrochat_tokenizer::{CharTrainer, Tokenizer};

/// A model in double precision with every feature of its architecture and no weight zero; 37 ids.
pub fn model() -> Gpt {
    let dials = Dials {
        sequence_len: 32,
        vocab_size: 37,
        head_dim: 6,
        n_embd: Some(24),
        ..Dials::default()
    };
    let config = GptConfig::from_depth(Arch::V2026_07, 2, &dials);
    let gpt = Gpt::new(&Device::oracle(), &config).unwrap();
    for declaration in gpt.declarations() {
        let param = &declaration.param;
        let mut rng = Rng::derive(5, param.name(), 0);
        let values: Vec<f32> = (0..param.numel()).map(|_| rng.uniform() as f32 - 0.5).collect();
        param.upload(&values);
    }
    gpt
}

/// The gradient of every parameter, which is forgotten.
pub fn gradient(gpt: &Gpt) -> Vec<(String, Vec<f64>)> {
    let params = gpt.declarations().iter().map(|declaration| &declaration.param);
    params
        .map(|param| {
            let gradient = param.grad().unwrap().download_f64();
            param.clear_grad();
            (param.name().to_owned(), gradient)
        })
        .collect()
}

/// A tokenizer of letters and spaces.
pub fn letters() -> Tokenizer {
    let mut trainer = CharTrainer::new();
    trainer.feed("abcdefghijklmnopqrstuvwxyz ");
    trainer.finish().unwrap()
}
