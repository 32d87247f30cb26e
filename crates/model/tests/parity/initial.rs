//! Starting weights: shape, bounds, mean and deviation of every parameter.

use ferrochat_model::Gpt;
use ferrochat_model::check::config;
use ferrochat_tensor::Device;

use super::fixture::json;

/// Allowed distance of a sample's statistics in standard errors.
const SIGMAS: f64 = 5.0;

fn check_initial(file: &str) {
    let fixture = json(file);
    let gpt = Gpt::new(&Device::oracle(), &config(&fixture["config"])).unwrap();
    gpt.initialize(42);
    let theirs = fixture["params"].as_object().unwrap();
    assert_eq!(gpt.declarations().len(), theirs.len());
    for declaration in gpt.declarations() {
        let name = declaration.param.name();
        let theirs = &theirs[name];
        assert_eq!(
            serde_json::json!(declaration.param.shape().dims()),
            theirs["shape"],
            "{name}"
        );
        let values: Vec<f64> = declaration
            .param
            .value()
            .download()
            .into_iter()
            .map(f64::from)
            .collect();
        let expected = &theirs["expected"];
        if let Some(exact) = expected["values"].as_array() {
            for (i, value) in values.iter().enumerate() {
                let wanted = exact[i % exact.len()].as_f64().unwrap();
                assert!((value - wanted).abs() < 1e-7, "{name}[{i}]: {value} for {wanted}");
            }
            continue;
        }
        let count = values.len() as f64;
        let (mean, std) = (expected["mean"].as_f64().unwrap(), expected["std"].as_f64().unwrap());
        let slack = SIGMAS * std / count.sqrt();
        let our_mean = values.iter().sum::<f64>() / count;
        let our_std = (values.iter().map(|x| (x - our_mean).powi(2)).sum::<f64>() / count).sqrt();
        assert!(
            std > 0.0 && (our_mean - mean).abs() < slack,
            "{name}: mean {our_mean} for {mean}"
        );
        assert!((our_std - std).abs() < slack, "{name}: deviation {our_std} for {std}");
        if let (Some(min), Some(max)) = (expected["min"].as_f64(), expected["max"].as_f64()) {
            assert!(
                values.iter().all(|&x| x >= min - 1e-7 && x <= max + 1e-7),
                "{name}: out of bounds"
            );
        } else {
            assert!(
                values.iter().any(|x| (x - mean).abs() > 2.5 * std),
                "{name}: not normal"
            );
        }
    }
}

#[test]
fn starting_weights_of_2026_07() {
    check_initial("init_2026_07.json");
}

#[test]
fn starting_weights_of_2025_10() {
    check_initial("init_2025_10.json");
}

#[test]
fn starting_weights_depend_on_the_seed_alone() {
    let fixture = json("init_2026_07.json");
    let weights = |seed| {
        let gpt = Gpt::new(&Device::oracle(), &config(&fixture["config"])).unwrap();
        gpt.initialize(seed);
        gpt.parameter("transformer.h.1.attn.c_q.weight")
            .unwrap()
            .value()
            .download()
    };
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
}
