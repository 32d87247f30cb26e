//! What the tests share: seeded random values, error measures, and the operations as cases
//! that run alike on any device.
// Each test binary uses a part of this.
#![allow(dead_code)]

pub mod cases;
pub mod step;

use ferrochat_tensor::{CpuOptions, DType, Device, detected_kernel};

/// A small generator (Steele et al. 2014, SplitMix64): the same values on every machine.
pub struct Random(u64);

impl Random {
    /// A generator for a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Of either sign, with a magnitude in [0.1, 1.1): never zero and never so near to it that a
    /// finite difference steps over the kink of a ReLU. Exact in `f32`.
    pub fn value(&mut self) -> f32 {
        let bits = self.bits();
        let magnitude = 0.1 + (bits >> 40) as f32 / (1u64 << 24) as f32;
        if bits & 1 == 0 { magnitude } else { -magnitude }
    }

    /// Many of them, times `scale`.
    pub fn values(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| self.value() * scale).collect()
    }

    /// An index below `bound`.
    pub fn index(&mut self, bound: usize) -> i32 {
        (self.bits() % bound as u64) as i32
    }

    /// Many of them.
    pub fn indices(&mut self, len: usize, bound: usize) -> Vec<i32> {
        (0..len).map(|_| self.index(bound)).collect()
    }
}

/// ‖x‖.
pub fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// ‖ours − reference‖/‖reference‖; infinite if the reference is zero or either is not finite.
pub fn relative_error(ours: &[f64], reference: &[f64]) -> f64 {
    assert_eq!(ours.len(), reference.len(), "as many numbers as the reference has");
    let difference: Vec<f64> = ours.iter().zip(reference).map(|(a, b)| a - b).collect();
    let error = norm(&difference) / norm(reference);
    if error.is_finite() && norm(reference) > 0.0 {
        error
    } else {
        f64::INFINITY
    }
}

/// The values as this device's activations hold them: what another device must be given to
/// see the same numbers.
pub fn rounded(device: &Device, values: &[f32]) -> Vec<f32> {
    device.tensor(values, [values.len()]).download()
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

/// Greatest relative error of one rounding to `dtype`.
pub fn unit_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 2f64.powi(-53),
        DType::F32 => 2f64.powi(-24),
        DType::Bf16 => 2f64.powi(-8),
        _ => unreachable!("integers are exact"),
    }
}

/// ‖ours − reference‖/‖reference‖ allowed of a result with sums of `longest_sum` terms in `f32`, that
/// is rounded `roundings` times to `dtype` on its way.
///
/// A sum of n terms of random sign in `f32` loses about √n/3 roundings of 2⁻²⁴, functions like exp and
/// quotients a few; a rounding to bf16 loses at most 2⁻⁸, independent ones add up as squares.
pub fn tolerance(dtype: DType, longest_sum: usize, roundings: usize) -> f64 {
    let sums = (12.0 + 0.5 * (longest_sum as f64).sqrt()) * unit_roundoff(DType::F32);
    match dtype {
        DType::Bf16 => sums + (roundings as f64).sqrt() * unit_roundoff(DType::Bf16),
        _ => sums * ((1 + roundings) as f64).sqrt(),
    }
}
