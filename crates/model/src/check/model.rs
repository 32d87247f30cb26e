//! Logits, losses and the gradient of every parameter.

use ferrochat_tensor::check::Part;
use ferrochat_tensor::{Device, Graph};

use super::by_type;
use super::fixture::{Fixture, number};
use crate::gpt::Gpt;

/// A model with the fixture's weights.
pub(super) fn model(device: &Device, fixture: &Fixture) -> Gpt {
    let config = fixture.config();
    if let Some(windows) = fixture.header("config")["window_sizes"].as_array() {
        let windows: Vec<usize> = windows.iter().map(|window| number(window) as usize).collect();
        assert_eq!(config.windows(), windows);
    }
    let gpt = Gpt::new(device, &config).expect("a fixture's model can exist");
    let mut ours: Vec<&str> = gpt.declarations().iter().map(|d| d.param.name()).collect();
    ours.sort_unstable();
    assert_eq!(
        ours,
        fixture.names("param."),
        "the same parameters under the same names"
    );
    for declaration in gpt.declarations() {
        let name = format!("param.{}", declaration.param.name());
        assert_eq!(declaration.param.shape().dims(), fixture.shape(&name), "{name}");
        declaration.param.upload(&fixture.floats(&name));
    }
    gpt
}

pub(super) fn compare(device: &Device, fixture: &Fixture) -> Vec<Part> {
    // With activations in bf16 the CPU is off by 1.0e-2 (logits), 3.6e-3 (losses), 2.3e-2 (gradients of matrices) and
    // 3.2e-2 (of single scalars).
    let [of_logits, of_losses, of_gradients] =
        [(0.03, 1e-4), (0.01, 1e-4), (0.1, 1e-4)].map(|(bf16, wider)| by_type(device, bf16, wider));
    let gpt = model(device, fixture);
    let shape = fixture.shape("ids");
    let ids = device.indices(&fixture.indices("ids"), &shape[..]);
    let targets = fixture.indices("targets");
    let count = targets.iter().filter(|&&target| target >= 0).count();
    let weights = vec![1.0 / count as f32; targets.len()];
    let weights = device.master_tensor(&weights, &shape[..]);
    let targets = device.indices(&targets, &shape[..]);

    let inference = Graph::inference(device);
    let logits = inference.logits(&gpt.forward(&inference, &ids), &gpt.head()).download();
    let graph = Graph::training(device);
    let result = gpt.loss(&graph, &ids, &targets, &weights);
    graph.backward();
    let mut parts = vec![
        Part::measured("logits", &logits, &fixture.floats("logits"), of_logits),
        Part::measured("nll", &result.nll.download(), &fixture.floats("nll"), of_losses),
        Part::measured("loss", &result.loss.download(), &fixture.floats("loss"), of_losses),
    ];
    for declaration in gpt.declarations() {
        let name = declaration.param.name();
        let what = format!("gradient of {name}");
        let grad = declaration.param.grad().expect("every parameter has a gradient");
        let reference = fixture.floats(&format!("grad.{name}"));
        parts.push(Part::measured(what, &grad.download(), &reference, of_gradients));
    }
    parts
}
