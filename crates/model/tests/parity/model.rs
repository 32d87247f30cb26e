//! Logits, losses and the gradient of every parameter.

use ferrochat_model::Gpt;
use ferrochat_tensor::{Device, Graph};

use super::devices;
use super::fixture::{Fixture, check};

const LIMIT: f64 = 1e-4;

/// A model with the fixture's weights.
pub fn model(device: &Device, fixture: &Fixture) -> Gpt {
    let config = fixture.config();
    if let Some(windows) = fixture.header("config")["window_sizes"].as_array() {
        let windows: Vec<usize> = windows.iter().map(|w| w.as_u64().unwrap() as usize).collect();
        assert_eq!(config.windows(), windows);
    }
    let gpt = Gpt::new(device, &config).unwrap();
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

fn check_model(file: &str) {
    let fixture = Fixture::read(file);
    for (backend, device) in devices() {
        let gpt = model(&device, &fixture);
        let shape = fixture.shape("ids");
        let ids = device.indices(&fixture.indices("ids"), &shape[..]);
        let targets = fixture.indices("targets");
        let count = targets.iter().filter(|&&t| t >= 0).count();
        let weights = vec![1.0 / count as f32; targets.len()];
        let weights = device.master_tensor(&weights, &shape[..]);
        let targets = device.indices(&targets, &shape[..]);

        let inference = Graph::inference(&device);
        let logits = inference.logits(&gpt.forward(&inference, &ids), &gpt.head());
        check(
            &format!("{backend} logits"),
            &logits.download(),
            &fixture.floats("logits"),
            LIMIT,
        );

        let graph = Graph::training(&device);
        let result = gpt.loss(&graph, &ids, &targets, &weights);
        check(
            &format!("{backend} nll"),
            &result.nll.download(),
            &fixture.floats("nll"),
            LIMIT,
        );
        check(
            &format!("{backend} loss"),
            &result.loss.download(),
            &fixture.floats("loss"),
            LIMIT,
        );
        graph.backward();
        for declaration in gpt.declarations() {
            let name = declaration.param.name();
            let grad = declaration
                .param
                .grad()
                .unwrap_or_else(|| panic!("{backend}: {name} has no gradient"));
            let reference = fixture.floats(&format!("grad.{name}"));
            check(
                &format!("{backend} gradient of {name}"),
                &grad.download(),
                &reference,
                LIMIT,
            );
        }
    }
}

#[test]
fn model_of_2026_07_agrees_with_the_reference() {
    check_model("parity_2026_07.safetensors");
}

#[test]
fn model_of_2025_10_agrees_with_transformers() {
    check_model("parity_2025_10.safetensors");
}
