//! Muon (Jordan et al. 2024) for the matrices of the blocks, in the form of 2026-07: row equilibration, Polar
//! Express (arXiv 2505.16932), renormalisation, NorMuon (arXiv 2510.05491), cautious weight decay.

use ferrochat_tensor::{Device, NormRule, Param, Tensor};

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
        let weight = param.value();
        let device = weight.device();
        let (rows, cols) = (weight.shape().rows(), weight.shape().last());

        let direction = device.nesterov(grad, &self.momentum, momentum as f32);
        device.equilibrate_rows(&direction);
        let orthogonal = orthogonalize(device, direction);

        let update = device.master(weight.shape());
        update.copy_from(&orthogonal);
        let target = (rows.min(cols) as f64).sqrt() as f32;
        device.normalize(&update, NormRule::Snap { target, eps: EPS });
        device.normuon(&update, &self.second, MUON_BETA2 as f32);

        let lr = lr * (rows as f64 / cols as f64).max(1.0).sqrt();
        device.cautious_update(weight, &update, lr as f32, weight_decay as f32);
    }
}

/// Moves all singular values of `x` towards 1, by products in the type of `x` alone.
fn orthogonalize(device: &Device, mut x: Tensor) -> Tensor {
    device.normalize(&x, NormRule::Divide { factor: 1.01, eps: EPS });
    // The Gram matrix of the shorter side is the smaller one.
    let tall = x.shape().rows() > x.shape().last();
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
