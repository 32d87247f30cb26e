//! The GPU backend on a simulated card (`tests/card`), against the oracle: every kernel, every launch, every product.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod card;
#[macro_use]
#[path = "common/groups.rs"]
mod groups;

use ferrochat_tensor::check::{GROUPS, References, Sizes, compare};
use ferrochat_tensor::cuda::CudaOptions;
use ferrochat_tensor::{DType, Device};

fn simulated(dtype: DType) -> Device {
    card::install();
    let options = CudaOptions {
        dtype: Some(dtype),
        ..CudaOptions::default()
    };
    Device::cuda(&options).expect("the simulated card")
}

/// Runs the checks of a group in both element types.
fn check_group(name: &str) {
    let group = GROUPS
        .iter()
        .find(|group| group.name == name)
        .expect("a group of checks");
    let references = References::new(None).expect("the references");
    for dtype in [DType::F32, DType::Bf16] {
        let device = simulated(dtype);
        let mut complaints = Vec::new();
        for check in (group.checks)(Sizes::Small) {
            let outcome = compare(&*check, &device, references.of(&*check));
            complaints.extend(outcome.complaints());
        }
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}

test_every_group!();
