//! Measures of error, and how large an error may be.

use crate::device::Device;
use crate::dtype::DType;

/// ‖x‖.
pub fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// ‖ours − reference‖/‖reference‖; infinite if the reference is zero or either is not finite.
///
/// # Panics
/// If their lengths differ.
pub fn relative_error(ours: &[f64], reference: &[f64]) -> f64 {
    error_relative_to(norm(reference), ours, reference)
}

/// ‖ours − reference‖/size, where the size is that of something else than the reference.
pub(super) fn error_relative_to(size: f64, ours: &[f64], reference: &[f64]) -> f64 {
    assert_eq!(ours.len(), reference.len(), "as many numbers as the reference has");
    let difference = ours.iter().zip(reference).map(|(a, b)| (a - b) * (a - b));
    let error = difference.sum::<f64>().sqrt() / size;
    if error.is_finite() && size > 0.0 {
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

/// Greatest relative error of one rounding to `dtype` (0 for integers).
pub fn unit_roundoff(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 2f64.powi(-53),
        DType::F32 => 2f64.powi(-24),
        DType::Bf16 => 2f64.powi(-8),
        DType::I32 | DType::Byte => 0.0,
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
