//! Ten steps of training: forward, backward, both optimizers, schedule.

use ferrochat_tensor::check::Part;
use ferrochat_tensor::{Device, Graph};

use super::by_type;
use super::fixture::{Fixture, number};
use super::model::model;
use crate::optim::{Optimizer, Rates};
use crate::schedule::Pace;

pub(super) fn compare(device: &Device, fixture: &Fixture, start: &Fixture) -> Vec<Part> {
    // With activations in bf16 the CPU's losses are off by up to 5.7e-3, its weights by up to 3.2e-2.
    let [of_losses, of_weights] = [(0.02, 1e-3), (0.1, 1e-3)].map(|(bf16, wider)| by_type(device, bf16, wider));
    let hyperparameters = fixture.header("hyperparameters");
    let steps = hyperparameters["steps"]
        .as_array()
        .expect("hyperparameters of each step");
    let [_, batch, time] = fixture.shape("ids")[..] else {
        panic!("ids of all steps");
    };
    let (ids, targets) = (fixture.indices("ids"), fixture.indices("targets"));
    let gpt = model(device, start);
    let mut optimizer = Optimizer::new(&gpt, &Rates::default());
    let graph = Graph::training(device);
    let mut parts = Vec::new();
    for (i, (now, reference)) in steps.iter().zip(fixture.floats("losses")).enumerate() {
        let range = i * batch * time..(i + 1) * batch * time;
        let targets = &targets[range.clone()];
        let count = targets.iter().filter(|&&target| target >= 0).count();
        let nll = gpt.loss(
            &graph,
            &device.indices(&ids[range], [batch, time]),
            &device.indices(targets, [batch, time]),
            &device.master_tensor(&vec![1.0 / count as f32; batch * time], [batch, time]),
        );
        let loss = nll.loss.download();
        parts.push(Part::measured(
            format!("loss of step {i}"),
            &loss,
            &[reference],
            of_losses,
        ));
        graph.backward();
        optimizer.step(&Pace {
            lr_multiplier: number(&now["lr_multiplier"]),
            momentum: number(&now["muon_momentum"]),
            weight_decay: number(&now["muon_weight_decay"]),
        });
    }
    for name in fixture.names("final.") {
        let ours = gpt
            .parameter(&name)
            .expect("a parameter of the fixture")
            .value()
            .download();
        let reference = fixture.floats(&format!("final.{name}"));
        parts.push(Part::measured(name, &ours, &reference, of_weights));
    }
    parts
}
