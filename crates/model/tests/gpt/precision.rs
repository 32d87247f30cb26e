//! What bf16 costs the gradients of a small model, against `f32` with the same weights and batches: how large the error
//! is, and that it has no direction. A kernel that rounds once too often shows here before any score of a trained model does.

use ferrochat_model::{Arch, Dials, Gpt, GptConfig, Rng};
use ferrochat_tensor::{DType, Device, Graph};

use crate::{cpu, kernels, tokens};

const BATCH: [usize; 2] = [4, 96];
const BATCHES: u64 = 6;

/// ‖error‖/‖gradient‖ of a matrix over all batches. Measured: 0.007 to 0.0153.
const ERROR: f64 = 0.019;
/// Part of the gradient that is missing or too much on average. Measured: 0.0006.
const SHRINKAGE: f64 = 0.0012;
/// Fewer numbers are no statistics, and the terms of single ones cancel.
const FEW: usize = 1000;

/// A model as after some training: nothing is zero, and the logits say something.
fn model(device: &Device) -> Gpt {
    let dials = Dials {
        sequence_len: BATCH[1],
        vocab_size: 37,
        head_dim: 32,
        n_embd: Some(128),
        ..Dials::default()
    };
    let gpt = Gpt::new(device, &GptConfig::from_depth(Arch::V2026_07, 4, &dials)).unwrap();
    gpt.initialize(3);
    for declaration in gpt.declarations() {
        let param = &declaration.param;
        let mut rng = Rng::derive(8, param.name(), 0);
        let mut more = || 0.1 * (rng.uniform() as f32 - 0.5);
        let values: Vec<f32> = param.value().download().iter().map(|x| x + more()).collect();
        param.upload(&values);
    }
    gpt
}

/// The gradient of every parameter, batch by batch.
fn gradients(gpt: &Gpt) -> Vec<Vec<Vec<f32>>> {
    let device = gpt.device();
    let graph = Graph::training(device);
    let of_batch = |seed| {
        let ids = tokens(BATCH[0] * (BATCH[1] + 1), seed);
        let part = |first: usize| -> Vec<i32> {
            let rows = ids.chunks_exact(BATCH[1] + 1);
            rows.flat_map(|row| row[first..first + BATCH[1]].to_vec()).collect()
        };
        let weights = device.master_tensor(&[1.0 / (BATCH[0] * BATCH[1]) as f32; BATCH[0] * BATCH[1]], BATCH);
        let (inputs, targets) = (device.indices(&part(0), BATCH), device.indices(&part(1), BATCH));
        gpt.loss(&graph, &inputs, &targets, &weights);
        graph.backward();
        let params = gpt.declarations().iter().map(|declaration| &declaration.param);
        let gradient = params.map(|param| {
            let gradient = param.grad().unwrap().download();
            param.clear_grad();
            gradient
        });
        gradient.collect()
    };
    (0..BATCHES).map(of_batch).collect()
}

#[test]
fn bf16_gradients_are_near_and_not_smaller_or_larger() {
    let exact_of = gradients(&model(&cpu(None)));
    for kernel in ["portable", "avx2", "avx512", "avx512bf16"] {
        let Some(device) = kernels::cpu(kernel, DType::Bf16, 2) else {
            continue;
        };
        let ours = model(&device);
        let ours_of = gradients(&ours);
        for (i, declaration) in ours.declarations().iter().enumerate() {
            let (mut error, mut along, mut size) = (0.0, 0.0, 0.0);
            for (ours, exact) in ours_of.iter().zip(&exact_of) {
                for (&a, &b) in ours[i].iter().zip(&exact[i]) {
                    let (difference, b) = (f64::from(a - b), f64::from(b));
                    error += difference * difference;
                    along += difference * b;
                    size += b * b;
                }
            }
            let (error, shrinkage) = ((error / size).sqrt(), along / size);
            let name = declaration.param.name();
            println!(
                "{kernel} {name} {} {error:.5} {shrinkage:+.5}",
                declaration.param.numel()
            );
            if declaration.param.numel() >= FEW {
                assert!(error < ERROR, "{kernel}: {name} is off by {error:.4}");
                assert!(
                    shrinkage.abs() < SHRINKAGE,
                    "{kernel}: {name} is off by {shrinkage:+.4} of itself"
                );
            }
        }
    }
}
