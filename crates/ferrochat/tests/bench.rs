//! `bench`: figures that can be, beside ceilings that can be; nonsense is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::Place;
use serde_json::Value;

/// A model so small that a debug build runs it.
const SMALL: &[&str] = &[
    "--depth",
    "2",
    "--head-dim",
    "16",
    "--aspect-ratio",
    "16",
    "--max-seq-len",
    "32",
    "--vocab-size",
    "300",
    "--threads",
    "2",
];

fn lines(place: &Place, args: &[&str]) -> Vec<Value> {
    let text = place.succeed(&common::with(args, SMALL));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(line: &Value, field: &str) -> f64 {
    line[field].as_f64().unwrap_or_else(|| panic!("{field} in {line}"))
}

/// Time and rate are positive, the median lies in its spread, the ceilings were seen.
fn check_timing(line: &Value) {
    let seconds = &line["seconds"];
    let median = number(seconds, "median");
    let quartiles: Vec<f64> = serde_json::from_value(seconds["quartiles"].clone()).unwrap();
    let range: Vec<f64> = serde_json::from_value(seconds["range"].clone()).unwrap();
    assert!(
        0.0 < range[0] && range[0] <= quartiles[0] && quartiles[0] <= median,
        "{line}"
    );
    assert!(median <= quartiles[1] && quartiles[1] <= range[1], "{line}");
    for field in ["probe_flops_per_second", "read_bytes_per_second", "percent"] {
        assert!(number(line, field) >= 0.0, "{field}: {line}");
    }
    assert!(number(line, "probe_flops_per_second") > 1e6, "{line}");
    assert!(number(line, "read_bytes_per_second") > 1e6, "{line}");
    assert!(line["bound"] == "compute" || line["bound"] == "memory", "{line}");
}

#[test]
fn training_is_told_by_step_and_as_a_whole() {
    let place = Place::new();
    let args = [
        "bench",
        "train",
        "--device-batch-size",
        "2",
        "--steps",
        "3",
        "--warmup",
        "1",
    ];
    let all = lines(&place, &common::with(&args, &["--json", "--losses"]));
    assert_eq!(all.len(), 4);
    let last = &all[3];
    for field in [
        "tokens_per_second",
        "flops_per_second",
        "peak_rss_bytes",
        "probe_flops_per_second",
        "percent_of_probe",
        "read_bytes_per_second",
        "first_step_seconds",
    ] {
        assert!(number(last, field) > 0.0, "{field}: {last}");
    }
    assert_eq!(number(last, "tokens_per_step"), 64.0);
    assert_eq!(last["step_seconds"]["samples"], 3);
    let rate = number(last, "flops_per_token") * number(last, "tokens_per_second");
    assert!((rate / number(last, "flops_per_second") - 1.0).abs() < 1e-9);
    let shares = last["share"].as_object().unwrap();
    let sum: f64 = shares.values().map(|share| share.as_f64().unwrap()).sum();
    assert!(sum > 0.1 && sum <= 1.0, "{sum}");
    for op in [
        "linear",
        "linear_backward_input",
        "linear_backward_weight",
        "attention_backward",
        "adamw",
    ] {
        assert!(shares.contains_key(op), "{op} in {shares:?}");
    }
    let phases = last["phases"].as_object().unwrap();
    let sum: f64 = phases.values().map(|share| share.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    let losses: Vec<f64> = serde_json::from_value(last["losses"].clone()).unwrap();
    assert_eq!(losses.len(), 3);
    for (line, loss) in all.iter().zip(&losses) {
        assert_eq!(number(line, "loss"), *loss);
        // About the logarithm of the vocabulary: random tokens cannot be foretold.
        assert!((*loss - 300_f64.ln()).abs() < 0.3, "{loss}");
    }
}

/// The ids of a file are learned from, and learned.
#[test]
fn a_file_of_ids_can_be_learned() {
    let place = Place::new();
    let ids: Vec<u8> = (0..33_u16).flat_map(u16::to_le_bytes).collect();
    let path = place.folder.path().join("ids");
    std::fs::write(&path, ids).unwrap();
    let args = [
        "bench",
        "train",
        "--device-batch-size",
        "1",
        "--steps",
        "60",
        "--warmup",
        "0",
    ];
    let all = lines(
        &place,
        &common::with(&args, &["--json", "--losses", "--ids", path.to_str().unwrap()]),
    );
    let losses: Vec<f64> = serde_json::from_value(all.last().unwrap()["losses"].clone()).unwrap();
    assert!(losses[59] < losses[0] - 0.3, "{losses:?}");
}

#[test]
fn operations_are_told_each_by_itself() {
    let place = Place::new();
    let all = lines(
        &place,
        &["bench", "ops", "--device-batch-size", "2", "--samples", "2", "--json"],
    );
    let names: Vec<&str> = all.iter().map(|line| line["name"].as_str().unwrap()).collect();
    for op in [
        "rms_norm",
        "rms_norm_backward",
        "weighted_nll_and_gradients",
        "normuon",
        "step",
    ] {
        assert!(names.contains(&op), "{op} in {names:?}");
    }
    all.iter().for_each(check_timing);
    let seconds = |name: &str| {
        let line = all.iter().find(|line| line["name"] == name).unwrap();
        number(&line["seconds"], "median")
    };
    assert!(seconds("rms_norm") < seconds("step"));
    let cached: Vec<&Value> = all.iter().filter(|line| !line["kv_heads"].is_null()).collect();
    assert!(
        [1, 8, 64]
            .iter()
            .all(|&batch| cached.iter().any(|line| line["batch"] == batch))
    );
    for line in cached {
        let element = if line["dtype"] == "float32" { 4.0 } else { 2.0 };
        let sizes = ["batch", "positions", "kv_heads", "head_dim"].map(|size| number(line, size));
        assert_eq!(number(line, "bytes"), 2.0 * element * sizes.iter().product::<f64>());
    }
}

#[test]
fn products_have_every_shape_and_both_types() {
    let place = Place::new();
    let args = ["bench", "gemm", "--rows", "64", "--samples", "2", "--json"];
    let all = lines(&place, &common::with(&args, &["--only", "training", "--only", "muon"]));
    all.iter().for_each(check_timing);
    let has = |product: &str, m: u64, n: u64, k: u64| {
        let sides = |line: &&Value| line["m"] == m && line["n"] == n && line["k"] == k;
        all.iter()
            .filter(|line| line["product"] == product)
            .any(|line| sides(&line))
    };
    // Width 32: up to 128 and down again, a head of 320 rows.
    assert!(has("x·Wᵀ", 64, 128, 32) && has("dy·W", 64, 32, 128) && has("dyᵀ·x", 128, 32, 64));
    assert!(has("x·Wᵀ", 64, 320, 32) && has("gram", 32, 32, 128) && has("update", 128, 32, 32));
    let flops = |line: &Value| 2.0 * number(line, "m") * number(line, "n") * number(line, "k");
    assert!(all.iter().all(|line| number(line, "flops") == flops(line)));
    let count = |dtype: &str| all.iter().filter(|line| line["dtype"] == dtype).count();
    assert!(count("float32") > 0);
    assert!(count("bfloat16") == count("float32") || count("bfloat16") == 0);
}

#[test]
fn decoding_counts_weights_and_keys() {
    let place = Place::new();
    let args = [
        "bench",
        "decode",
        "--batch",
        "1,3",
        "--prompt-tokens",
        "5",
        "--tokens",
        "2",
        "--samples",
        "2",
    ];
    let all = lines(&place, &common::with(&args, &["--json", "--dtype", "f32"]));
    assert_eq!(all.len(), 3);
    all.iter().for_each(check_timing);
    let [one, three] = [&all[1], &all[2]];
    assert_eq!(number(one, "weight_bytes"), number(three, "weight_bytes"));
    assert!((number(three, "kv_bytes") / number(one, "kv_bytes") - 3.0).abs() < 1e-9);
    // Measured at lengths 8 to 11: ten keys and values on the mean, 2 layers × 32 channels × 4 bytes.
    assert_eq!(number(one, "kv_bytes"), 9.5 * 2.0 * 2.0 * 32.0 * 4.0);
    assert_eq!(
        number(one, "bytes"),
        number(one, "weight_bytes") + number(one, "kv_bytes")
    );
    assert!(all.iter().all(|line| number(line, "tokens_per_second") > 0.0));
}

#[test]
fn people_get_tables() {
    let place = Place::new();
    let text = place.succeed(&common::with(
        &[
            "bench",
            "train",
            "--device-batch-size",
            "1",
            "--steps",
            "1",
            "--warmup",
            "0",
        ],
        SMALL,
    ));
    assert!(
        text.contains("tokens/s") && text.contains("linear_backward_weight"),
        "{text}"
    );
    let text = place.succeed(&common::with(
        &[
            "bench",
            "gemm",
            "--only",
            "muon",
            "--rows",
            "8",
            "--samples",
            "1",
            "--dtype",
            "f32",
        ],
        SMALL,
    ));
    assert!(text.contains("reached") && text.contains("gram²"), "{text}");
}

#[test]
fn nonsense_is_refused() {
    let place = Place::new();
    place.refused(&["bench", "loader-of-rafts"], 2, &["loader-of-rafts"]);
    place.refused(&["bench", "train", "--steps", "0"], 2, &["--steps", "at least 1"]);
    place.refused(&["bench", "train", "--depth", "0"], 2, &["depth of 0"]);
    place.refused(&["bench", "train", "--window-pattern", "XL"], 2, &["XL", "SSSL"]);
    place.refused(&["bench", "train", "--arch", "2024"], 2, &["2024", "2025-10"]);
    place.refused(&["bench", "train", "--head-dim", "0"], 2, &["--head-dim 0"]);
    place.refused(&["bench", "train", "--ids", "nowhere"], 1, &["nowhere"]);
    place.refused(&["bench", "gemm", "--only", "cubes"], 2, &["cubes", "square"]);
    place.refused(&["bench", "gemm", "--rows", "0"], 2, &["--rows"]);
    place.refused(&["bench", "ops", "--samples", "0"], 2, &["--samples"]);
    place.refused(&["bench", "decode", "--batch", "1,0"], 2, &["--batch"]);
    place.refused(&["bench", "decode", "--batch", "one"], 2, &["one"]);
    place.refused(&["bench", "decode", "--dtype", "fp8"], 2, &["fp8"]);
}
