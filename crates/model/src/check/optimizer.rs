//! Three steps of AdamW and Muon on stored gradients. What is compared is the change of the weights.

use ferrochat_tensor::check::Part;
use ferrochat_tensor::{DType, Device, Param, Tensor};
use serde_json::Value;

use super::by_type;
use super::fixture::{Fixture, number};
use crate::optim::{AdamW, Muon};

/// The fixture's cases whose name begins with `prefix`, with their hyperparameters.
fn cases(fixture: &Fixture, prefix: &str) -> Vec<(String, Value)> {
    let all = fixture.header("hyperparameters");
    let cases = all.as_object().expect("hyperparameters by case");
    let wanted = cases.iter().filter(|(case, _)| case.starts_with(prefix));
    wanted.map(|(case, numbers)| (case.clone(), numbers.clone())).collect()
}

fn steps(
    device: &Device,
    fixture: &Fixture,
    case: &str,
    limit: f64,
    mut step: impl FnMut(&Param, &Tensor, usize),
) -> Vec<Part> {
    let start = fixture.floats(&format!("{case}.param0"));
    let shape = fixture.shape(&format!("{case}.param0"));
    let param = Param::new(device, case, &shape[..]);
    param.upload(&start);
    let change = |after: &[f32]| -> Vec<f32> { after.iter().zip(&start).map(|(a, b)| a - b).collect() };
    let one = |i: usize| {
        let grad = device.master_tensor(&fixture.floats(&format!("{case}.grad{i}")), &shape[..]);
        step(&param, &grad, i);
        param.touch();
        let ours = change(&param.value().download());
        let theirs = change(&fixture.floats(&format!("{case}.param{}", i + 1)));
        let what = format!("{case} step {i}");
        if theirs.iter().all(|&x| x == 0.0) {
            let expected = case.ends_with("zero_start") && ours == theirs;
            return Part::required(what, expected, "changed what must not change");
        }
        Part::measured(what, &ours, &theirs, limit)
    };
    (0..3).map(one).collect()
}

pub(super) fn compare_adamw(device: &Device, fixture: &Fixture) -> Vec<Part> {
    // The reference forms 1 − βᵗ in f32, which is off by 1e-6 where β is 0.995; f64 is not.
    let limit = if device.master_dtype() == DType::F64 {
        2e-6
    } else {
        1e-6
    };
    let mut parts = Vec::new();
    for (case, numbers) in cases(fixture, "adamw") {
        let shape = fixture.shape(&format!("{case}.param0"));
        let mut adamw = AdamW::new(device, &Param::new(device, "", &shape[..]));
        let betas = [number(&numbers["betas"][0]), number(&numbers["betas"][1])];
        let decay = number(&numbers["weight_decay"]);
        parts.extend(steps(device, fixture, &case, limit, |param, grad, i| {
            adamw.step(param, grad, number(&numbers["lr"][i]), betas, decay);
        }));
    }
    parts
}

pub(super) fn compare_muon(device: &Device, fixture: &Fixture) -> Vec<Part> {
    // Five iterations in bf16 leave the CPU's update up to 12% from where f32 takes it.
    let limit = by_type(device, 0.25, 1e-3);
    let mut parts = Vec::new();
    for (case, numbers) in cases(fixture, "muon") {
        let shape = fixture.shape(&format!("{case}.param0"));
        let mut muon = Muon::new(device, &Param::new(device, "", &shape[..]));
        parts.extend(steps(device, fixture, &case, limit, |param, grad, i| {
            let [lr, momentum, decay] = ["lr", "momentum", "weight_decay"].map(|key| number(&numbers[key][i]));
            muon.step(param, grad, lr, momentum, decay);
        }));
    }
    parts
}
