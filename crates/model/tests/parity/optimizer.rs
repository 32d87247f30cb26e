//! Three steps of AdamW and Muon on stored gradients. What is compared is the change of the weights.

use ferrochat_model::optim::{AdamW, Muon};
use ferrochat_tensor::{Device, Param};
use serde_json::Value;

use super::devices;
use super::fixture::{Fixture, check};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn check_case(
    backend: &str,
    device: &Device,
    fixture: &Fixture,
    case: &str,
    limit: f64,
    mut step: impl FnMut(&Param, &ferrochat_tensor::Tensor, usize),
) {
    let start = fixture.floats(&format!("{case}.param0"));
    let shape = fixture.shape(&format!("{case}.param0"));
    let param = Param::new(device, case, &shape[..]);
    param.upload(&start);
    let change = |after: &[f32]| -> Vec<f32> { after.iter().zip(&start).map(|(a, b)| a - b).collect() };
    for i in 0..3 {
        let grad = device.master_tensor(&fixture.floats(&format!("{case}.grad{i}")), &shape[..]);
        step(&param, &grad, i);
        param.touch();
        let ours = change(&param.value().download());
        let theirs = change(&fixture.floats(&format!("{case}.param{}", i + 1)));
        if theirs.iter().all(|&x| x == 0.0) {
            assert!(
                case.ends_with("zero_start") && ours == theirs,
                "{case}: no change at step {i}"
            );
            continue;
        }
        check(&format!("{backend} {case} step {i}"), &ours, &theirs, limit);
    }
}

#[test]
fn adamw_agrees_with_the_reference() {
    let fixture = Fixture::read("optimizer.safetensors");
    let cases = fixture.header("hyperparameters");
    for (backend, device) in devices() {
        // The reference forms 1 − βᵗ in f32, which is off by 1e-6 where β is 0.995; f64 is not.
        let limit = if backend == "oracle" { 2e-6 } else { 1e-6 };
        for (case, numbers) in cases
            .as_object()
            .unwrap()
            .iter()
            .filter(|(case, _)| case.starts_with("adamw"))
        {
            let shape = fixture.shape(&format!("{case}.param0"));
            let mut adamw = AdamW::new(&device, &Param::new(&device, "", &shape[..]));
            let betas = [number(&numbers["betas"][0]), number(&numbers["betas"][1])];
            let decay = number(&numbers["weight_decay"]);
            check_case(backend, &device, &fixture, case, limit, |param, grad, i| {
                adamw.step(param, grad, number(&numbers["lr"][i]), betas, decay);
            });
        }
    }
}

#[test]
fn muon_agrees_with_the_reference() {
    let fixture = Fixture::read("optimizer.safetensors");
    let cases = fixture.header("hyperparameters");
    for (backend, device) in devices() {
        for (case, numbers) in cases
            .as_object()
            .unwrap()
            .iter()
            .filter(|(case, _)| case.starts_with("muon"))
        {
            let shape = fixture.shape(&format!("{case}.param0"));
            let mut muon = Muon::new(&device, &Param::new(&device, "", &shape[..]));
            check_case(backend, &device, &fixture, case, 1e-3, |param, grad, i| {
                let [lr, momentum, decay] = ["lr", "momentum", "weight_decay"].map(|key| number(&numbers[key][i]));
                muon.step(param, grad, lr, momentum, decay);
            });
        }
    }
}
