//! Muon (Jordan et al. 2024) for the matrices of the blocks, in the form of 2026-07: row equilibration, Polar
//! Express (arXiv 2505.16932), renormalisation, NorMuon (arXiv 2510.05491), cautious weight decay.

use ferrochat_tensor::{Device, NormRule, Param, Shape, Tensor};

use super::groups::MUON_BETA2;

/// Coefficients (a, b, c) of the five Polar Express iterations.
const POLAR_EXPRESS: [(f64, f64, f64); 5] = [
    (8.156_554_524_902_461, -22.483_292_925_577_95, 15.878_769_915_207_462),
    (4.042_929_935_166_739, -2.808_917_465_908_714, 0.500_017_845_105_131_6),
    (3.891_667_802_292_660_7, -2.772_484_153_217_685, 0.506_064_817_850_339_3),
    (
        3.285_753_657_755_655,
        -2.368_129_493_342_537_6,
        0.464_490_242_330_031_06,
    ),
    (
        2.346_541_325_859_637_7,
        -1.709_782_838_268_708_1,
        0.423_235_511_693_053_23,
    ),
];

/// Elements of the matrices that are made orthogonal together: two of 384 × 1536. Small matrices leave a device idle, or its
/// cores waiting for each other's results; of large ones each is work enough.
const TOGETHER: usize = 5 << 18;

/// Keeps norms away from zero.
const EPS: f32 = 1e-6;

/// Muon's memory of one matrix.
pub struct Muon {
    /// Running mean of the gradient, like the matrix, master type.
    pub momentum: Tensor,
    /// Running mean of the squared update per row `[m, 1]` (m ≥ n) or per column `[1, n]`.
    pub second: Tensor,
}

impl Muon {
    /// The state before the first step.
    pub fn new(device: &Device, param: &Param) -> Muon {
        let (rows, cols) = (param.shape().rows(), param.shape().last());
        let second = if rows >= cols { [rows, 1] } else { [1, cols] };
        Muon {
            momentum: super::zeros(device, param.shape()),
            second: super::zeros(device, second.into()),
        }
    }

    /// One step on the matrix `param` along `grad`; the caller says so to [`Param::touch`].
    pub fn step(&mut self, param: &Param, grad: &Tensor, lr: f64, momentum: f64, weight_decay: f64) {
        let device = grad.device();
        let x = device.activation(grad.shape());
        self.direction(grad, momentum, &x);
        let x = orthogonalize(device, x);
        self.update(param, &x, lr, weight_decay);
    }

    /// Where a matrix should go, as [`orthogonalize`] wants it: `x` of compute type is overwritten.
    pub fn direction(&self, grad: &Tensor, momentum: f64, x: &Tensor) {
        let device = grad.device();
        device.nesterov(grad, &self.momentum, momentum as f32, x);
        device.equilibrate_rows(x);
        device.normalize(x, NormRule::Divide { factor: 1.01, eps: EPS });
    }

    /// Moves `param` along its orthogonal direction.
    pub fn update(&self, param: &Param, orthogonal: &Tensor, lr: f64, weight_decay: f64) {
        let weight = param.value();
        let device = weight.device();
        let (rows, cols) = (weight.shape().rows(), weight.shape().last());

        let update = device.master(weight.shape());
        update.copy_from(orthogonal);
        let target = (rows.min(cols) as f64).sqrt() as f32;
        device.normalize(&update, NormRule::Snap { target, eps: EPS });
        device.normuon(&update, &self.second, MUON_BETA2 as f32);

        let lr = lr * (rows as f64 / cols as f64).max(1.0).sqrt();
        device.cautious_update(weight, &update, lr as f32, weight_decay as f32);
    }
}

/// Moves all singular values of a matrix `[m, n]`, or of each of several `[count, m, n]`, towards 1, by products in their type
/// alone. None may be above 1.
pub fn orthogonalize(device: &Device, mut x: Tensor) -> Tensor {
    // The Gram matrix of the shorter side is the smaller one.
    let (rows, cols) = sides(&x);
    let tall = rows > cols;
    for (a, b, c) in POLAR_EXPRESS {
        let (a, b, c) = (a as f32, b as f32, c as f32);
        let gram = device.matmul((&x, tall), (&x, !tall), 1.0, None);
        // Its own transposition, said so that a device may compute half of the product.
        let poly = device.matmul((&gram, false), (&gram, true), c, Some((&gram, b)));
        x = if tall {
            device.matmul((&x, false), (&poly, false), 1.0, Some((&x, a)))
        } else {
            device.matmul((&poly, false), (&x, false), 1.0, Some((&x, a)))
        };
    }
    x
}

/// Matrices, each with its number, as batches of one shape.
pub(super) fn batches<'a>(matrices: impl Iterator<Item = (usize, &'a Param)>) -> Vec<Vec<usize>> {
    let mut batches: Vec<(Shape, Vec<usize>)> = Vec::new();
    for (number, param) in matrices {
        let shape = param.shape();
        // Each begins at a cache line.
        let fits = |count: usize| shape.len().is_multiple_of(32) && (count + 1) * shape.len() <= TOGETHER;
        let room = batches.iter_mut().find(|(of, batch)| *of == shape && fits(batch.len()));
        match room {
            Some((_, batch)) => batch.push(number),
            None => batches.push((shape, vec![number])),
        }
    }
    batches.into_iter().map(|(_, batch)| batch).collect()
}

/// Rows and columns of a matrix, or of each of several.
fn sides(x: &Tensor) -> (usize, usize) {
    match *x.shape().dims() {
        [.., rows, cols] => (rows, cols),
        _ => (1, x.len()),
    }
}

#[cfg(test)]
mod tests {
    use ferrochat_tensor::CpuOptions;

    use super::*;

    #[test]
    fn matrices_together_go_where_each_goes_alone() {
        let device = Device::cpu(&CpuOptions::default()).expect("the CPU computes");
        for (rows, cols) in [(32, 32), (64, 48), (48, 96)] {
            let values = |seed: usize| -> Vec<f32> {
                (0..rows * cols)
                    .map(|i| ((i * i + 7 * seed * i + seed) as f32).sin())
                    .collect()
            };
            let made = |number: usize| {
                let param = Param::new(&device, "matrix", [rows, cols]);
                param.upload(&values(number));
                let state = Muon::new(&device, &param);
                (param, device.master_tensor(&values(number + 10), [rows, cols]), state)
            };
            let mut alone: Vec<_> = (0..3).map(made).collect();
            for (param, grad, state) in &mut alone {
                state.step(param, grad, 0.02, 0.95, 0.1);
            }
            let together: Vec<_> = (0..3).map(made).collect();
            let x = device.activation([3, rows, cols]);
            for (i, (_, grad, state)) in together.iter().enumerate() {
                state.direction(grad, 0.95, &x.part(i));
            }
            let x = orthogonalize(&device, x);
            for (i, (param, _, state)) in together.iter().enumerate() {
                state.update(param, &x.part(i), 0.02, 0.1);
            }
            for ((alone, ..), (together, ..)) in alone.iter().zip(&together) {
                assert_eq!(alone.value().download(), together.value().download());
            }
            assert_ne!(alone[0].0.value().download(), values(0), "they moved");
        }
    }

    #[test]
    fn batches_have_one_shape_and_a_limit() {
        let device = Device::oracle().dry_run();
        let shapes = [
            [384, 384],
            [7, 5],
            [384, 1536],
            [384, 384],
            [7, 5],
            [384, 1536],
            [384, 1536],
            [4096, 4096],
        ];
        let params = shapes.map(|shape| Param::new(&device, "", shape));
        let batches = batches(params.iter().enumerate());
        assert_eq!(batches, [vec![0, 3], vec![1], vec![2, 5], vec![4], vec![6], vec![7]]);
    }
}
