//! Everything that the trainer derives from depth and horizon.

use ferrochat_model::{Arch, Dials, Facts, GptConfig, Horizon, HorizonRequest, Schedule};
use serde_json::Value;

use super::fixture::json;

fn size(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn close(what: &str, ours: f64, theirs: &Value) {
    let theirs = theirs.as_f64().unwrap();
    assert!(
        (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1e-3),
        "{what}: {ours} for {theirs}"
    );
}

#[test]
fn schedules_agree_with_the_reference() {
    let fixture = json("schedules.json");
    for run in fixture["horizons"].as_array().unwrap() {
        let schedule = Schedule::pretraining(size(&run["num_iterations"]), 1.0);
        let at = run["at"].as_array().unwrap();
        assert!(at.len() >= 8);
        for now in at {
            let step = size(&now["step"]);
            let pace = schedule.at(step);
            let what = format!("step {step} of {}", schedule.steps);
            close(&what, pace.lr_multiplier, &now["lr_multiplier"]);
            close(&what, pace.momentum, &now["muon_momentum"]);
            close(&what, pace.weight_decay, &now["weight_decay_multiplier"]);
        }
    }
}

fn check_depth(arch: Arch, theirs: &Value) {
    let dials = Dials {
        sequence_len: size(&theirs["sequence_len"]),
        vocab_size: size(&theirs["vocab_size"]),
        ..Dials::default()
    };
    let config = GptConfig::from_depth(arch, size(&theirs["depth"]), &dials);
    assert_eq!(config.n_embd, size(&theirs["n_embd"]));
    assert_eq!(config.n_head, size(&theirs["n_head"]));
    assert_eq!(config.n_kv_head, size(&theirs["n_kv_head"]));
    if let Some(windows) = theirs["window_sizes"].as_array() {
        assert_eq!(config.windows(), windows.iter().map(size).collect::<Vec<_>>());
    }
    let facts = Facts::of(&config).unwrap();
    let (counts, ours) = (&theirs["num_params"], facts.parameters);
    assert_eq!(ours.wte, size(&counts["wte"]));
    assert_eq!(ours.lm_head, size(&counts["lm_head"]));
    assert_eq!(ours.matrices, size(&counts["transformer_matrices"]));
    assert_eq!(ours.total, size(&counts["total"]));
    if arch == Arch::V2026_07 {
        assert_eq!(ours.value_embeds, size(&counts["value_embeds"]));
        assert_eq!(ours.scalars, size(&counts["scalars"]));
        assert_eq!(ours.scaling(), size(&theirs["num_scaling_params"]));
    }
    close("FLOPs per token", facts.flops_per_token, &theirs["flops_per_token"]);

    let request = HorizonRequest {
        tokens_per_parameter: theirs["target_param_data_ratio"].as_f64(),
        ..HorizonRequest::default()
    };
    let horizon = Horizon::derive(arch, &config, &dials, &request).unwrap();
    assert_eq!(horizon.batch_tokens, size(&theirs["total_batch_size"]));
    assert_eq!(horizon.steps, size(&theirs["num_iterations"]));
    assert_eq!(horizon.tokens(), size(&theirs["total_tokens"]));
    if arch == Arch::V2026_07 {
        assert_eq!(horizon.target_tokens, size(&theirs["target_tokens"]));
        close("rate by batch", horizon.lr_scale, &theirs["batch_lr_scale"]);
        close("weight decay", horizon.weight_decay, &theirs["weight_decay_scaled"]);
    }
}

#[test]
fn horizons_agree_with_the_reference() {
    let fixture = json("schedules.json");
    for arch in [Arch::V2025_10, Arch::V2026_07] {
        let depths = fixture[arch.name()].as_array().unwrap();
        assert!(depths.len() >= 5);
        for theirs in depths {
            check_depth(arch, theirs);
        }
    }
}

#[test]
fn the_published_run_has_its_published_numbers() {
    let dials = Dials {
        vocab_size: 65536,
        ..Dials::default()
    };
    let config = GptConfig::from_depth(Arch::V2025_10, 20, &dials);
    assert_eq!(Facts::of(&config).unwrap().parameters.total, 560_988_160);
    let horizon = Horizon::derive(Arch::V2025_10, &config, &dials, &HorizonRequest::default()).unwrap();
    assert_eq!((horizon.steps, horizon.tokens()), (21_400, 11_219_763_200));
}
