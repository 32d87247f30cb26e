//! Our numbers against the reference's on any device, with fixtures that the program carries.
//!
//! `cargo xtask parity` makes the fixtures; the tests of this crate and `ferrochat selftest` compare with them.
//! Distances are ‖ours − reference‖/‖reference‖; a reference of zero norm fails, since it would prove nothing.
//!
//! This room must never know which device it is given: only its element type decides what may be off.

mod fixture;
mod model;
mod optimizer;
mod trajectory;

use ferrochat_tensor::check::Part;
use ferrochat_tensor::{DType, Device};
pub use fixture::{Fixture, config};

const MODEL_2026_07: &[u8] = include_bytes!("../../tests/fixtures/parity_2026_07.safetensors");
const MODEL_2025_10: &[u8] = include_bytes!("../../tests/fixtures/parity_2025_10.safetensors");
const TRAJECTORY_2026_07: &[u8] = include_bytes!("../../tests/fixtures/trajectory_2026_07.safetensors");
const TRAJECTORY_2025_10: &[u8] = include_bytes!("../../tests/fixtures/trajectory_2025_10.safetensors");
const OPTIMIZER: &[u8] = include_bytes!("../../tests/fixtures/optimizer.safetensors");

/// A comparison with the reference.
pub struct Parity {
    /// What is compared with whom.
    pub name: &'static str,
    /// Does it on a device.
    pub run: fn(&Device) -> Vec<Part>,
}

/// All comparisons.
pub const PARITIES: [Parity; 6] = [
    Parity {
        name: "model of 2026-07 and the reference",
        run: |device| model::compare(device, &Fixture::new(MODEL_2026_07)),
    },
    Parity {
        name: "model of 2025-10 and transformers",
        run: |device| model::compare(device, &Fixture::new(MODEL_2025_10)),
    },
    Parity {
        name: "AdamW and the reference",
        run: |device| optimizer::compare_adamw(device, &Fixture::new(OPTIMIZER)),
    },
    Parity {
        name: "Muon and the reference",
        run: |device| optimizer::compare_muon(device, &Fixture::new(OPTIMIZER)),
    },
    Parity {
        name: "ten steps of 2026-07 and the reference",
        run: |device| {
            let start = Fixture::new(MODEL_2026_07);
            trajectory::compare(device, &Fixture::new(TRAJECTORY_2026_07), &start)
        },
    },
    Parity {
        name: "ten steps of 2025-10 and transformers",
        run: |device| {
            let start = Fixture::new(MODEL_2025_10);
            trajectory::compare(device, &Fixture::new(TRAJECTORY_2025_10), &start)
        },
    },
];

/// The first number for a device that computes in bf16, else the second.
fn by_type(device: &Device, bf16: f64, wider: f64) -> f64 {
    if device.compute_dtype() == DType::Bf16 {
        bf16
    } else {
        wider
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One weight that is another is noticed: the limits are not so wide that nothing fails.
    #[test]
    fn another_model_does_not_agree() {
        let mut bytes = MODEL_2026_07.to_vec();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let weight = tensors.tensor("param.lm_head.weight").unwrap().data().as_ptr();
        let at = weight as usize - bytes.as_ptr() as usize;
        bytes[at..at + 4].copy_from_slice(&1.5f32.to_le_bytes());
        let parts = model::compare(&Device::oracle(), &Fixture::new(&bytes));
        let wrong: Vec<&str> = parts
            .iter()
            .filter(|part| part.complaint.is_some())
            .map(|part| &*part.what)
            .collect();
        assert!(wrong.contains(&"logits") && wrong.contains(&"loss"), "{wrong:?}");
    }
}
