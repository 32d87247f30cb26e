//! What is done outside the tape, as checks: decoding, optimizers, conversions.

use super::compare::{Allowance, Check, Output};
use super::random::Random;
use crate::device::Device;
use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Rounds values to the element type under test, so that the reference is given the same numbers.
#[derive(Clone, Copy)]
pub struct Rounding(DType);

impl Rounding {
    /// The values, rounded to the nearest (ties to even).
    pub fn round(self, values: &[f32]) -> Vec<f32> {
        round(values, self.0)
    }

    /// A tensor of the compute type with the rounded values.
    pub fn tensor(self, device: &Device, values: &[f32], shape: impl Into<Shape>) -> Tensor {
        device.tensor(&self.round(values), shape)
    }
}

/// `values` as `dtype` holds them.
pub(super) fn round(values: &[f32], dtype: DType) -> Vec<f32> {
    match dtype {
        DType::Bf16 => values.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect(),
        _ => values.to_vec(),
    }
}

type Run = Box<dyn Fn(&Device, Rounding) -> Vec<Tensor>>;

/// Something done on a device, and how near each tensor that it returns must come.
pub struct Procedure {
    op: &'static str,
    name: String,
    results: Vec<(&'static str, Allowance)>,
    run: Run,
}

impl Check for Procedure {
    fn op(&self) -> &'static str {
        self.op
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn outputs(&self, device: &Device, dtype: DType) -> Vec<Output> {
        let tensors = (self.run)(device, Rounding(dtype));
        assert_eq!(tensors.len(), self.results.len(), "{}: results", self.name);
        let results = self.results.iter().zip(&tensors);
        results
            .map(|(&(what, allowance), tensor)| Output::new(what, tensor.download_f64(), allowance))
            .collect()
    }
}

/// Makes procedures; the methods stand in the files named for what they check.
pub struct Procedures {
    pub(super) random: Random,
    /// All that were made.
    pub list: Vec<Procedure>,
}

impl Procedures {
    /// None yet.
    pub fn new(seed: u64) -> Procedures {
        Procedures {
            random: Random::new(seed),
            list: Vec::new(),
        }
    }

    pub(super) fn push(
        &mut self,
        op: &'static str,
        name: String,
        results: &[(&'static str, Allowance)],
        run: impl Fn(&Device, Rounding) -> Vec<Tensor> + 'static,
    ) {
        self.list.push(Procedure {
            op,
            name,
            results: results.to_vec(),
            run: Box::new(run),
        });
    }
}

/// An allowance for a sum of `longest_sum` terms, rounded to the compute type `roundings` times.
pub(super) fn within(longest_sum: usize, roundings: usize) -> Allowance {
    Allowance::Within { longest_sum, roundings }
}
