//! Ten steps of training: forward, backward, both optimizers, schedule.

use ferrochat_model::{Optimizer, Pace, Rates};
use ferrochat_tensor::Graph;

use super::devices;
use super::fixture::{Fixture, check};
use super::model::model;

fn check_trajectory(file: &str) {
    let fixture = Fixture::read(file);
    let hyperparameters = fixture.header("hyperparameters");
    let start = Fixture::read(hyperparameters["start"].as_str().unwrap());
    let [_, batch, time] = fixture.shape("ids")[..] else {
        panic!("ids of ten steps");
    };
    let (ids, targets) = (fixture.indices("ids"), fixture.indices("targets"));
    for (backend, device) in devices() {
        let gpt = model(&device, &start);
        let mut optimizer = Optimizer::new(&gpt, &Rates::default());
        let graph = Graph::training(&device);
        let mut losses = Vec::new();
        for (i, now) in hyperparameters["steps"].as_array().unwrap().iter().enumerate() {
            let range = i * batch * time..(i + 1) * batch * time;
            let targets = &targets[range.clone()];
            let count = targets.iter().filter(|&&t| t >= 0).count();
            let loss = gpt.loss(
                &graph,
                &device.indices(&ids[range], [batch, time]),
                &device.indices(targets, [batch, time]),
                &device.master_tensor(&vec![1.0 / count as f32; batch * time], [batch, time]),
            );
            losses.push(loss.loss.download()[0]);
            graph.backward();
            let number = |key: &str| now[key].as_f64().unwrap();
            optimizer.step(&Pace {
                lr_multiplier: number("lr_multiplier"),
                momentum: number("muon_momentum"),
                weight_decay: number("muon_weight_decay"),
            });
        }
        for (i, (ours, theirs)) in losses.iter().zip(fixture.floats("losses")).enumerate() {
            check(&format!("{backend} loss of step {i}"), &[*ours], &[theirs], 1e-3);
        }
        for name in fixture.names("final.") {
            let ours = gpt.parameter(&name).unwrap().value().download();
            check(
                &format!("{backend} {name}"),
                &ours,
                &fixture.floats(&format!("final.{name}")),
                1e-3,
            );
        }
    }
}

#[test]
fn trajectory_of_2026_07_agrees_with_the_reference() {
    check_trajectory("trajectory_2026_07.safetensors");
}

#[test]
fn trajectory_of_2025_10_agrees_with_transformers() {
    check_trajectory("trajectory_2025_10.safetensors");
}
