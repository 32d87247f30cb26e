//! The gradient of the whole model against central differences, in double precision.

use ferrochat_model::Gpt;
use ferrochat_tensor::{Device, Graph};

use super::{ARCHS, random, small, tokens};

fn loss(gpt: &Gpt, g: &Graph) -> f64 {
    let device = gpt.device();
    let ids = device.indices(&tokens(14, 1), [2, 7]);
    let mut targets = tokens(14, 2);
    targets[3] = -1;
    let weights: Vec<f32> = (0..14).map(|i| 0.25 - 0.05 * i as f32).collect();
    let weights = device.master_tensor(&weights, [2, 7]);
    gpt.loss(g, &ids, &device.indices(&targets, [2, 7]), &weights)
        .loss
        .download_f64()[0]
}

#[test]
fn every_parameter_has_the_gradient_of_finite_differences() {
    let device = Device::oracle();
    for arch in ARCHS {
        let gpt = random(&device, &small(arch, 16));
        let graph = Graph::training(&device);
        loss(&gpt, &graph);
        graph.backward();
        let inference = Graph::inference(&device);
        for declaration in gpt.declarations() {
            let param = &declaration.param;
            let grad = param.grad().unwrap().download_f64();
            let value = param.value().download_f64();
            // The largest entries, for which the relative error means something.
            let mut order: Vec<usize> = (0..grad.len()).collect();
            order.sort_by(|&a, &b| grad[b].abs().total_cmp(&grad[a].abs()));
            for &i in order.iter().take(4) {
                let at = |step: f64| {
                    let mut moved = value.clone();
                    moved[i] += step;
                    param.value().upload_f64(&moved);
                    param.touch();
                    loss(&gpt, &inference)
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                at(0.0);
                let name = param.name();
                assert!(numeric.abs() > 1e-7, "{arch} {name}[{i}]: no gradient");
                let error = (numeric - grad[i]).abs() / numeric.abs();
                assert!(error < 1e-5, "{arch} {name}[{i}]: {} for {numeric}", grad[i]);
            }
        }
    }
}
