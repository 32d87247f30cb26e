//! Our numbers against the reference's, read from the fixtures that `cargo xtask parity` makes.
//! What any device can be compared with is in [`ferrochat_model::check`].

#![allow(clippy::unwrap_used)] // the whole crate is a test

mod fixture;
mod initial;
#[path = "../../../tensor/tests/common/mod.rs"]
mod kernels;
mod schedules;

use ferrochat_model::check::PARITIES;
use ferrochat_tensor::{CpuOptions, DType, Device};

/// The backends that must agree with the reference: the oracle, and the CPU in both types, on AMX in software too
/// where the comparison takes few steps.
fn devices(short: bool) -> Vec<(&'static str, Device)> {
    let cpu = |dtype| {
        let options = CpuOptions {
            dtype: Some(dtype),
            ..CpuOptions::default()
        };
        Device::cpu(&options).expect("every machine computes in f32 and bf16")
    };
    let mut devices = vec![
        ("oracle", Device::oracle()),
        ("cpu", cpu(DType::F32)),
        ("cpu in bf16", cpu(DType::Bf16)),
    ];
    if short {
        kernels::emulate_amx();
        devices.extend(kernels::cpu("amx", DType::Bf16, 2).map(|device| ("cpu with AMX", device)));
    }
    devices
}

fn check(index: usize, at_least: usize) {
    let parity = &PARITIES[index];
    for (backend, device) in devices(!parity.name.contains("ten steps")) {
        let parts = (parity.run)(&device);
        assert!(parts.len() >= at_least, "{}: {} comparisons", parity.name, parts.len());
        for part in parts {
            let what = part.what;
            assert!(
                part.complaint.is_none(),
                "{backend}: {}, {what}: {:?}",
                parity.name,
                part.complaint
            );
        }
    }
}

#[test]
fn model_of_2026_07_agrees_with_the_reference() {
    check(0, 20);
}

#[test]
fn model_of_2025_10_agrees_with_transformers() {
    check(1, 15);
}

#[test]
fn adamw_agrees_with_the_reference() {
    check(2, 6);
}

#[test]
fn muon_agrees_with_the_reference() {
    check(3, 6);
}

#[test]
fn trajectory_of_2026_07_agrees_with_the_reference() {
    check(4, 20);
}

#[test]
fn trajectory_of_2025_10_agrees_with_transformers() {
    check(5, 15);
}

#[test]
fn every_comparison_has_its_test() {
    assert_eq!(PARITIES.len(), 6);
}
