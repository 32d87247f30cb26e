//! What users see of GPUs: without one, and on the simulated card of `crates/tensor/tests/card`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../tensor/tests/card/mod.rs"]
#[allow(dead_code, reason = "this test names the folder to processes of its own")]
mod card;
mod common;

use std::process::Output;

use common::{Place, TINY, stderr, with};
use ferrochat_tensor::cuda::libraries::Kind;
use serde_json::Value;

/// Runs the program without any GPU that this machine may have.
fn without(place: &Place, args: &[&str]) -> Output {
    let folder = place.folder.path();
    place
        .command(args)
        .env_remove("FERROCHAT_DEVICE")
        .env_remove("FERROCHAT_CUDA_LIBRARIES")
        .env("CUDA_VISIBLE_DEVICES", "-1")
        .env("HOME", folder)
        .output()
        .unwrap()
}

/// Runs the program on simulated cards.
fn simulated(place: &Place, settings: &[(&str, &str)], args: &[&str]) -> Output {
    place
        .command(args)
        .env_remove("FERROCHAT_DEVICE")
        .env("FERROCHAT_CUDA_LIBRARIES", card::libraries())
        .envs(settings.iter().copied())
        .output()
        .unwrap()
}

fn refused(output: &Output, about: &[&str]) {
    let sentence = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{sentence}");
    assert_eq!(sentence.trim_end().lines().count(), 1, "{sentence}");
    for word in about {
        assert!(sentence.contains(word), "{sentence:?} does not say {word:?}");
    }
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn without_a_gpu_asking_for_one_is_one_sentence() {
    let place = Place::new();
    let train = with(&["train", "base"], TINY);
    let commands = [
        with(&train, &["--device", "cuda"]),
        with(&train, &["--device", "cuda:3", "--dry-run"]),
        with(&["speedrun"], &["--device", "cuda"]),
    ];
    for args in &commands {
        refused(&without(&place, args), &["--device cuda:", "cannot be used"]);
    }
    assert!(!place.home().exists(), "something was written");
    let doctor = without(&place, &["doctor", "--device", "cuda"]);
    refused(&doctor, &["--device cuda:0 cannot be used"]);
    assert!(!doctor.stdout.is_empty(), "doctor says nothing");
}

#[test]
fn without_a_gpu_nothing_is_said_and_the_cpu_computes() {
    let place = Place::new();
    let plan = without(&place, &with(&with(&["train", "base"], TINY), &["--dry-run", "--json"]));
    let rate = json(&plan)["time"]["source"].as_str().unwrap().to_owned();
    assert!(rate.contains("cpu"), "{rate}");
    assert_eq!(stderr(&plan), "");
    let report = json(&without(&place, &["doctor", "--json"]));
    assert_eq!(report["gpu"]["cards"].as_array().unwrap().len(), 0);
    assert!(report["gpu"]["problem"].is_string());
    assert!(report["device"].as_str().unwrap().starts_with("cpu"));
    assert!(report["amx"].is_string());
}

#[test]
fn devices_that_do_not_exist_are_refused() {
    let place = Place::new();
    for wrong in ["gpu", "cuda:x", "tpu"] {
        place.refused(&["doctor", "--device", wrong], 2, &[wrong, "auto, cpu, cuda or cuda:N"]);
    }
    let output = place
        .command(&["doctor", "--json"])
        .env("FERROCHAT_DEVICE", "metal")
        .output();
    assert!(stderr(&output.unwrap()).contains("\"metal\""));
}

#[test]
fn a_card_is_found_described_and_taken() {
    let place = Place::new();
    let report = json(&simulated(&place, &[], &["doctor", "--json"]));
    let card = &report["gpu"]["cards"][0];
    assert_eq!(card["device"], "cuda:0");
    assert_eq!(card["compute_capability"], "8.0");
    assert_eq!(card["bf16_flops"], Value::Null);
    assert_eq!(report["gpu"]["problem"], Value::Null);
    let libraries = report["gpu"]["libraries"].as_array().unwrap();
    let here = card::libraries().to_str().unwrap();
    let ours = |library: &&Value| library["path"].as_str().is_some_and(|path| path.starts_with(here));
    assert_eq!(libraries.iter().filter(ours).count(), 3, "{libraries:?}");
    // Both by itself and by name.
    assert!(report["device"].as_str().unwrap().starts_with("cuda:0 "), "{report}");
    let asked = json(&simulated(
        &place,
        &[],
        &["doctor", "--json", "--device", "cuda:0", "--dtype", "f32"],
    ));
    assert_eq!(asked["compute_dtype"], "float32");
    let not_asked = json(&simulated(&place, &[], &["doctor", "--json", "--device", "cpu"]));
    assert!(not_asked["device"].as_str().unwrap().starts_with("cpu"));
    let table = simulated(&place, &[], &["doctor"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("cuda:0 Simulated Card") && table.contains("compute capability 8.0"),
        "{table}"
    );
}

#[test]
fn cards_that_are_not_there_or_too_old_are_refused() {
    let place = Place::new();
    let doctor = |settings: &[(&str, &str)], device: &str| simulated(&place, settings, &["doctor", "--device", device]);
    refused(&doctor(&[], "cuda:7"), &["cuda:7", "number 0"]);
    refused(&doctor(&[("SIMULATED_CARDS", "2")], "cuda:2"), &["cuda:2", "0 to 1"]);
    refused(&doctor(&[("SIMULATED_CARDS", "0")], "cuda"), &["cuda:0", "no card"]);
    refused(&doctor(&[("SIMULATED_CAPABILITY", "75")], "cuda"), &["7.5", "8.0"]);
}

#[test]
fn a_card_that_cannot_be_used_is_said_once_and_the_cpu_computes() {
    let place = Place::new();
    let old = simulated(&place, &[("SIMULATED_CAPABILITY", "75")], &["doctor", "--json"]);
    let sentence = stderr(&old);
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    assert!(
        sentence.contains("computing on the CPU") && sentence.contains("7.5"),
        "{sentence}"
    );
    let report = json(&old);
    assert!(report["device"].as_str().unwrap().starts_with("cpu"));
    assert!(report["gpu"]["problem"].as_str().unwrap().contains("7.5"));
    // A driver that shows no card is no reason to say anything.
    let none = simulated(&place, &[("SIMULATED_CARDS", "0")], &["doctor", "--json"]);
    assert_eq!(stderr(&none), "");
    assert!(
        json(&none)["gpu"]["problem"]
            .as_str()
            .unwrap()
            .contains("shows no card")
    );
}

/// cudarc keeps each function that it has looked up in a static called `_S` inside the function of that name: the symbol
/// table of the program says which it can ask for.
#[test]
fn every_function_that_cudarc_may_ask_for_is_looked_for_before() {
    // Called where the driver is new enough to have it.
    const NEWER: [&str; 1] = ["cuFuncGetParamInfo"];
    let program = std::fs::read(env!("CARGO_BIN_EXE_ferrochat")).unwrap();
    let checked: Vec<&str> = [Kind::Driver, Kind::Nvrtc, Kind::CublasLt]
        .iter()
        .flat_map(|kind| kind.symbols().iter().copied())
        .chain(NEWER)
        .collect();
    let mut asked = Vec::new();
    for room in ["6driver3sys", "5nvrtc3sys", "8cublaslt3sys"] {
        let prefix = format!("6cudarc{room}");
        for at in (0..program.len()).filter(|&at| program[at..].starts_with(prefix.as_bytes())) {
            // A name in a symbol stands behind its length.
            let rest = &program[at + prefix.len()..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let length: usize = String::from_utf8_lossy(&rest[..digits]).parse().unwrap_or(0);
            let Some(name) = rest.get(digits..digits + length) else {
                continue;
            };
            if rest[digits + length..].starts_with(b"2_S") {
                asked.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    for known in ["cuInit", "cublasLtCreate", "nvrtcCreateProgram"] {
        assert!(asked.iter().any(|name| name == known), "{known} is not among {asked:?}");
    }
    let forgotten: Vec<&String> = asked.iter().filter(|name| !checked.contains(&name.as_str())).collect();
    assert!(forgotten.is_empty(), "libraries/open.rs must look for {forgotten:?}");
}

#[test]
fn a_card_with_too_little_memory_is_refused() {
    let place = Place::new();
    let args = with(
        &with(&["train", "base"], TINY),
        &["--n-embd", "256", "--device", "cuda"],
    );
    // cuBLASLt's workspace of 32 MiB and a little more.
    let output = simulated(&place, &[("SIMULATED_MEMORY", "34000000")], &args);
    refused(&output, &["memory", "--device-batch-size"]);
}
