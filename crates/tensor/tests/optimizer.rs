//! What optimizers need of a device, as properties; `cpu_vs_oracle.rs` compares the numbers.

mod common;

use common::{cpu, cpu_levels};
use ferrochat_tensor::Device;
use ferrochat_tensor::check::{Random, norm};

fn values(seed: u64, shape: [usize; 2], scale: f32) -> Vec<f32> {
    Random::new(seed).values(shape[0] * shape[1], scale)
}

/// A product of a matrix with itself, as in Polar Express.
#[test]
fn gram_matrix_is_symmetric() {
    for (kernel, dtype) in cpu_levels() {
        let device = cpu(kernel, dtype, 2).expect("a level that was found");
        let shape = [65, 130];
        let x = device.tensor(&values(19, shape, 1.0), shape);
        let gram = device.matmul((&x, false), (&x, true), 1.0, None).download();
        for i in 0..65 {
            for j in 0..i {
                assert_eq!(gram[i * 65 + j], gram[j * 65 + i], "{}", device.name());
            }
        }
    }
}

/// On the oracle: the norm is kept, and what differed in size becomes alike.
#[test]
fn normuon_keeps_the_norm() {
    let device = Device::oracle();
    for shape in [[7, 5], [5, 7], [6, 6]] {
        let by_row = shape[0] >= shape[1];
        let group = |i: usize| if by_row { i / shape[1] } else { i % shape[1] };
        let mut x = values(22, shape, 1.0);
        x.iter_mut().enumerate().for_each(|(i, x)| *x *= 1.0 + group(i) as f32);
        let tensor = device.master_tensor(&x, shape);
        let before = norm(&tensor.download_f64());
        let second = device.master([7.min(shape[0].max(shape[1]))]);
        second.fill(0.0);
        device.normuon(&tensor, &second, 0.9);
        let after = tensor.download_f64();
        assert!((norm(&after) / before - 1.0).abs() < 1e-12);
        let size = |g: usize| -> f64 { (0..x.len()).filter(|&i| group(i) == g).map(|i| after[i].powi(2)).sum() };
        assert!(
            (size(0) / size(4) - 1.0).abs() < 1e-12,
            "one step from zero: equal sizes"
        );
    }
}
