//! One check on two devices, and what their results differ by.

use super::measure::{error_relative_to, norm, relative_error, tolerance};
use crate::cpu::CpuOptions;
use crate::device::{Device, TensorError};
use crate::dtype::DType;

/// How near a result must come to the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowance {
    /// Every element equal: copies, conversions.
    Exact,
    /// Within [`tolerance`].
    Within {
        /// The longest sum that an element is.
        longest_sum: usize,
        /// Roundings to the compute type on its way.
        roundings: usize,
    },
    /// Within what was measured of a long chain of operations.
    Measured {
        /// Where all is computed in `f32`.
        f32: f64,
        /// Where activations are bf16.
        bf16: f64,
    },
}

/// Fewer elements than this are no statistics.
const FEW: usize = 16;

/// A result or gradient of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Which one, for people.
    pub what: String,
    /// Its elements.
    pub values: Vec<f64>,
    /// What errors are relative to: its norm, or the norm of the terms where a sum's terms cancel.
    pub size: f64,
    /// How near it must come.
    pub allowance: Allowance,
}

impl Output {
    /// A result that is measured by its own norm.
    pub fn new(what: impl Into<String>, values: Vec<f64>, allowance: Allowance) -> Output {
        Output {
            what: what.into(),
            size: norm(&values),
            values,
            allowance,
        }
    }

    /// The relative error allowed where the compute type is `dtype`.
    fn tolerance(&self, dtype: DType) -> f64 {
        match self.allowance {
            Allowance::Exact => 0.0,
            Allowance::Within { longest_sum, roundings } => {
                // Among few numbers the errors of several roundings may all point one way.
                let few = self.values.len() < FEW;
                tolerance(dtype, longest_sum, if few { roundings * roundings } else { roundings })
            }
            Allowance::Measured { f32, bf16 } => match dtype {
                DType::Bf16 => bf16,
                _ => f32,
            },
        }
    }
}

/// Something that can be done on any device.
pub trait Check {
    /// The operation, by the name of its kernel.
    fn op(&self) -> &'static str;
    /// Operation and shape, for people.
    fn name(&self) -> &str;
    /// All results and gradients on a device, from inputs that were rounded to `dtype`.
    fn outputs(&self, device: &Device, dtype: DType) -> Vec<Output>;
}

/// How one result compares.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Which result.
    pub what: String,
    /// ‖ours − reference‖/‖reference‖.
    pub error: f64,
    /// The most that it may be.
    pub tolerance: f64,
    /// A sentence if the error is too large, or that of a single element.
    pub complaint: Option<String>,
}

impl Part {
    /// Numbers beside stored ones, where ‖ours − reference‖/‖reference‖ may be `tolerance`; a reference of zero norm
    /// fails, since it would prove nothing.
    ///
    /// # Panics
    /// If there are not as many of both.
    pub fn measured(what: impl Into<String>, ours: &[f32], reference: &[f32], tolerance: f64) -> Part {
        let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x)).collect() };
        let error = relative_error(&wide(ours), &wide(reference));
        let too_large = || format!("is off by {error:.2e}, allowed {tolerance:.0e}");
        Part {
            what: what.into(),
            error,
            tolerance,
            complaint: (error > tolerance).then(too_large),
        }
    }

    /// What must hold beside numbers; `otherwise` says what is wrong.
    pub fn required(what: impl Into<String>, holds: bool, otherwise: impl Into<String>) -> Part {
        Part {
            what: what.into(),
            error: 0.0,
            tolerance: 0.0,
            complaint: (!holds).then(|| otherwise.into()),
        }
    }
}

/// How a check went on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The operation.
    pub op: &'static str,
    /// Operation and shape.
    pub name: String,
    /// Element type of the device.
    pub dtype: DType,
    /// Each result and gradient.
    pub parts: Vec<Part>,
    /// Whether a second run, in memory full of NaN, gave the same bits.
    pub repeats: bool,
}

impl Outcome {
    /// Nothing to complain of.
    pub fn passed(&self) -> bool {
        self.repeats && self.parts.iter().all(|part| part.complaint.is_none())
    }

    /// The result that comes nearest to its tolerance or exceeds it most.
    pub fn worst(&self) -> Option<&Part> {
        let ratio = |part: &Part| {
            let ratio = if part.error == 0.0 {
                0.0
            } else {
                part.error / part.tolerance
            };
            // Whatever has a complaint is worse than what has none.
            if part.complaint.is_some() { 1e300 + ratio } else { ratio }
        };
        self.parts.iter().max_by(|a, b| ratio(a).total_cmp(&ratio(b)))
    }

    /// All complaints as sentences that begin with operation, shape and element type.
    pub fn complaints(&self) -> Vec<String> {
        let name = format!("{} in {}", self.name, self.dtype.name());
        let wrong = self
            .parts
            .iter()
            .filter_map(|part| part.complaint.as_ref().map(|text| (part, text)));
        let mut all: Vec<String> = wrong
            .map(|(part, text)| format!("{name}: {} {text}", part.what))
            .collect();
        if !self.repeats {
            all.push(format!("{name}: other bits when it ran a second time"));
        }
        all
    }
}

/// How results compare with the reference's, part by part. `reference_dtype` is what the reference computes in.
///
/// # Panics
/// If they are not the results of one check.
pub fn disagreements(ours: &[Output], reference: &[Output], dtype: DType, reference_dtype: DType) -> Vec<Part> {
    assert_eq!(ours.len(), reference.len(), "results of one check");
    let pairs = ours.iter().zip(reference);
    pairs
        .map(|(ours, wanted)| part(ours, wanted, dtype, reference_dtype))
        .collect()
}

fn part(ours: &Output, wanted: &Output, dtype: DType, reference_dtype: DType) -> Part {
    // A reference that is not exact may be off as well.
    let own = match reference_dtype {
        DType::F64 => 0.0,
        _ => ours.tolerance(reference_dtype),
    };
    let tolerance = own + ours.tolerance(dtype);
    let equal = ours.values == wanted.values;
    let error = if equal {
        0.0
    } else {
        error_relative_to(wanted.size, &ours.values, &wanted.values)
    };
    let complaint = if equal {
        None
    } else if error > tolerance {
        Some(format!("is off by {error:.2e}, allowed {tolerance:.2e}"))
    } else if matches!(ours.allowance, Allowance::Measured { .. }) {
        // Errors of a chain are not spread evenly over the elements.
        None
    } else {
        element_complaint(ours, wanted, tolerance)
    };
    Part {
        what: ours.what.clone(),
        error,
        tolerance,
        complaint,
    }
}

/// Elements whose size together says what a single one among them may be off by.
const NEIGHBOURS: usize = 64;

/// Single elements may be off by a few times that of their own size and of the root mean square (of all, or of their
/// neighbours where rows differ in size): a wrong element at the edge of a tile does not hide in a norm.
fn element_complaint(ours: &Output, wanted: &Output, tolerance: f64) -> Option<String> {
    let of_all = wanted.size / (wanted.values.len() as f64).sqrt();
    let blocks = ours.values.chunks(NEIGHBOURS).zip(wanted.values.chunks(NEIGHBOURS));
    for (block, (ours, wanted)) in blocks.enumerate() {
        let size = of_all.max(norm(wanted) / (wanted.len() as f64).sqrt());
        for (i, (a, b)) in ours.iter().zip(wanted).enumerate() {
            let allowed = tolerance * (2.0 * b.abs() + 8.0 * size);
            if (a - b).abs() > allowed {
                let i = block * NEIGHBOURS + i;
                return Some(format!(
                    "has {a:e} instead of {b:e} at element {i}, allowed are {allowed:.2e} more or less"
                ));
            }
        }
    }
    None
}

/// The devices that say what is right.
pub struct References {
    /// Exact and slow.
    oracle: Device,
    /// For what would take the oracle minutes: the CPU in `f32`, itself checked against the oracle by the tests.
    cpu: Device,
}

/// Floating-point operations up to which the oracle is asked.
const ORACLE_FLOPS: f64 = 4e8;

impl References {
    /// Oracle and CPU, which runs the given kernel level (none: the best).
    ///
    /// # Errors
    /// The CPU has no such kernel.
    pub fn new(kernel: Option<&str>) -> Result<References, TensorError> {
        let options = CpuOptions {
            dtype: Some(DType::F32),
            kernel: kernel.map(str::to_owned),
            threads: None,
        };
        Ok(References {
            oracle: Device::oracle(),
            cpu: Device::cpu(&options)?,
        })
    }

    /// The reference for a check: the oracle where its arithmetic is not too much for it.
    pub fn of(&self, check: &dyn Check) -> &Device {
        if cost(check) <= ORACLE_FLOPS {
            &self.oracle
        } else {
            &self.cpu
        }
    }
}

/// Floating-point operations of a check.
pub(super) fn cost(check: &dyn Check) -> f64 {
    let dry = Device::oracle().dry_run();
    check.outputs(&dry, DType::F32);
    dry.take_cost().flops
}

/// Runs a check on a device, twice, and on the reference.
pub fn compare(check: &dyn Check, device: &Device, reference: &Device) -> Outcome {
    let dtype = device.compute_dtype();
    let wanted = check.outputs(reference, dtype);
    let ours = check.outputs(device, dtype);
    // What the first run gave back serves the second one, which must not read what it did not write.
    device.fill_unused(f32::NAN);
    let again = check.outputs(device, dtype);
    Outcome {
        op: check.op(),
        name: check.name().to_owned(),
        dtype,
        parts: disagreements(&ours, &wanted, dtype, reference.compute_dtype()),
        repeats: ours == again,
    }
}
