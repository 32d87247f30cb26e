//! Our numbers against the reference's, read from the fixtures that `cargo xtask parity` makes.
//!
//! Distances are ‖ours − reference‖/‖reference‖; a reference of zero norm fails, since it would prove nothing.

#![allow(clippy::unwrap_used)] // the whole crate is a test

mod fixture;
mod initial;
mod model;
mod optimizer;
mod schedules;
mod trajectory;

use ferrochat_tensor::{CpuOptions, DType, Device};

/// The backends that must agree with the reference: the oracle, and the CPU in `f32`.
fn devices() -> [(&'static str, Device); 2] {
    let options = CpuOptions {
        dtype: Some(DType::F32),
        ..CpuOptions::default()
    };
    [
        ("oracle", Device::oracle()),
        ("cpu", Device::cpu(&options).expect("every machine computes in f32")),
    ]
}
