//! Checkpoints: what is written comes back, and whatever is wrong with one is said in a sentence.

use std::fs;
use std::path::{Path, PathBuf};

use ferrochat_model::checkpoint::{self, Checkpoint, CheckpointError, Contents};
use ferrochat_model::{GptConfig, Optimizer, Rates};
use ferrochat_tensor::Device;
use serde_json::{Value, json};

use super::training::Run;
use super::{ARCHS, cpu, random, small};

fn save(run_folder: &Path, run: &Run, step: u64) -> Result<PathBuf, CheckpointError> {
    checkpoint::save(
        run_folder,
        &Contents {
            gpt: &run.gpt,
            optimizer: Some(&run.optimizer),
            step,
            tokenizer: "fingerprint",
            trainer: &json!({"loss": [1.5, null], "rng": u64::MAX}),
            files: &[("loader.bin", b"position"), ("empty.bin", b"")],
        },
    )
}

fn saved() -> (tempfile::TempDir, PathBuf, Run) {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new(&cpu(None), ARCHS[1]);
    run.step(0);
    let path = save(folder.path(), &run, 123).unwrap();
    (folder, path, run)
}

/// Everything a resuming trainer does.
fn resume(folder: &Path) -> Result<Checkpoint, CheckpointError> {
    let checkpoint = Checkpoint::open(folder)?;
    let mut run = Run::new(&cpu(None), ARCHS[1]);
    checkpoint.expect(run.gpt.config(), "fingerprint")?;
    checkpoint.load_model(&run.gpt)?;
    checkpoint.load_optimizer(&mut run.optimizer)?;
    checkpoint.file("loader.bin")?;
    checkpoint.file("empty.bin")?;
    Ok(checkpoint)
}

fn refusal(folder: &Path) -> String {
    let sentence = resume(folder).expect_err("must be refused").to_string();
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence
}

#[test]
fn what_is_saved_comes_back() {
    let (folder, path, run) = saved();
    assert_eq!(path, folder.path().join("step_000123"));
    assert_eq!(checkpoint::latest(folder.path()).unwrap(), path);
    let loaded = Run::new(&cpu(None), ARCHS[1]);
    let checkpoint = resume(&path).unwrap();
    checkpoint.verify().unwrap();
    checkpoint.load_model(&loaded.gpt).unwrap();
    assert_eq!(loaded.weights(), run.weights());
    let meta = checkpoint.meta();
    assert_eq!(
        (meta.step, &meta.config, &meta.tokenizer[..]),
        (123, run.gpt.config(), "fingerprint")
    );
    assert_eq!(meta.trainer, json!({"loss": [1.5, null], "rng": u64::MAX}));
    assert_eq!(checkpoint.file("loader.bin").unwrap(), b"position");
    assert!(
        checkpoint
            .file("other.bin")
            .unwrap_err()
            .to_string()
            .contains("other.bin")
    );
    // Other programs must be able to read the weights.
    let bytes = fs::read(path.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("lm_head.weight").unwrap().shape(), [64, 24]);
}

#[test]
fn saving_a_step_again_replaces_it() {
    let (folder, path, mut run) = saved();
    run.step(1);
    assert_eq!(save(folder.path(), &run, 123).unwrap(), path);
    let loaded = Run::new(&cpu(None), ARCHS[1]);
    Checkpoint::open(&path).unwrap().load_model(&loaded.gpt).unwrap();
    assert_eq!(loaded.weights(), run.weights());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_flipped_byte_anywhere_is_found() {
    let (_folder, path, _) = saved();
    for entry in fs::read_dir(&path).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        let whole = fs::read(&file).unwrap();
        for at in [0, 3, 9, whole.len() / 3, whole.len() / 2, whole.len().saturating_sub(1)] {
            // A blank more or less in the manifest is no damage.
            if at >= whole.len() || (name == "manifest.json" && whole[at].is_ascii_whitespace()) {
                continue;
            }
            let mut bytes = whole.clone();
            bytes[at] ^= 0x15;
            fs::write(&file, &bytes).unwrap();
            let sentence = refusal(&path);
            assert!(
                name == "manifest.json" || sentence.contains(name),
                "{name} at {at}: {sentence}"
            );
        }
        fs::write(&file, whole).unwrap();
    }
    resume(&path).unwrap();
}

#[test]
fn truncated_and_missing_files_are_named() {
    let (_folder, path, _) = saved();
    for name in [
        "model.safetensors",
        "optimizer.safetensors",
        "meta.json",
        "loader.bin",
        "manifest.json",
    ] {
        let file = path.join(name);
        let whole = fs::read(&file).unwrap();
        for length in [0, 7, whole.len() - 1] {
            fs::write(&file, &whole[..length]).unwrap();
            assert!(refusal(&path).contains(name));
        }
        fs::remove_file(&file).unwrap();
        assert!(refusal(&path).contains(name));
        fs::write(&file, whole).unwrap();
    }
    assert!(refusal(&path.join("nowhere")).contains("not a checkpoint"));
    resume(&path).unwrap();
}

/// Replaces a file and makes the manifest agree: the work of an enemy and not of a bad disk.
fn forge(path: &Path, name: &str, bytes: &[u8]) {
    use sha2::Digest;
    fs::write(path.join(name), bytes).unwrap();
    let manifest = path.join("manifest.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let hash = format!("{:x}", sha2::Sha256::digest(bytes));
    value["files"][name] = json!({"bytes": bytes.len(), "sha256": hash});
    fs::write(manifest, value.to_string()).unwrap();
}

fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn hostile_tensor_files_are_refused() {
    let (_folder, path, _) = saved();
    let whole = fs::read(path.join("model.safetensors")).unwrap();
    let tensor = |shape: &str, end: u64| {
        with_header(
            &format!(r#"{{"lm_head.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#),
            16,
        )
    };
    let header = String::from_utf8(whole[8..8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize].to_vec());
    let header = header.unwrap();
    let data = whole.len() - 8 - header.len();
    let mut longer = whole.clone();
    longer.push(0);
    let hostile: [Vec<u8>; 12] = [
        Vec::new(),
        vec![0; 8],
        vec![0xFF; 64],
        with_header("{", 0),
        with_header("[]", 0),
        with_header(&"[".repeat(100_000), 0),
        tensor("[2,2]", 16),
        tensor("[2,3]", 16),
        tensor("[18446744073709551615,18446744073709551615]", 16),
        tensor("[4611686018427387904]", u64::MAX),
        with_header(&header.replace("\"F32\"", "\"I32\""), data),
        longer,
    ];
    for (i, bytes) in hostile.iter().enumerate() {
        forge(&path, "model.safetensors", bytes);
        assert!(refusal(&path).contains("model.safetensors"), "{i}");
    }
    forge(&path, "model.safetensors", &whole);
    forge(&path, "optimizer.safetensors", &whole);
    assert!(refusal(&path).contains("optimizer.safetensors"));
}

#[test]
fn hostile_configurations_are_refused() {
    let (_folder, path, _) = saved();
    let meta: Value = serde_json::from_slice(&fs::read(path.join("meta.json")).unwrap()).unwrap();
    let changes = [
        ("n_layer", json!(1_000_000_000_000_u64)),
        ("n_layer", json!(4)),
        ("n_embd", json!(0)),
        ("n_embd", json!(u64::MAX)),
        ("n_head", json!(0)),
        ("vocab_size", json!(-1)),
        ("vocab_multiple", json!(u64::MAX)),
        ("sequence_len", json!(u64::MAX)),
        ("window_pattern", json!("")),
        ("rotary_base", json!("x")),
        ("unheard_of", json!(1)),
    ];
    for (key, value) in changes {
        let mut forged = meta.clone();
        forged["config"][key] = value.clone();
        forge(&path, "meta.json", forged.to_string().as_bytes());
        assert!(Checkpoint::open(&path).is_err(), "{key} {value}");
    }
    let mut forged = meta.clone();
    forged["format"] = json!(2);
    forge(&path, "meta.json", forged.to_string().as_bytes());
    assert!(refusal(&path).contains("format"));
    forge(&path, "meta.json", meta.to_string().as_bytes());
    for name in ["../model.safetensors", "/etc/passwd", ""] {
        let manifest = path.join("manifest.json");
        let whole = fs::read(&manifest).unwrap();
        let mut value: Value = serde_json::from_slice(&whole).unwrap();
        value["files"][name] = json!({"bytes": 1, "sha256": ""});
        fs::write(&manifest, value.to_string()).unwrap();
        assert!(refusal(&path).contains("names a file"));
        fs::write(&manifest, whole).unwrap();
    }
    resume(&path).unwrap();
}

#[test]
fn a_foreign_checkpoint_is_refused_by_its_first_difference() {
    let (_folder, path, run) = saved();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let config = run.gpt.config().clone();
    checkpoint.expect(&config, "fingerprint").unwrap();
    let other = GptConfig {
        backout: false,
        ..config.clone()
    };
    let sentence = checkpoint.expect(&other, "fingerprint").unwrap_err().to_string();
    assert!(sentence.contains("backout is true there and false here"), "{sentence}");
    assert!(
        checkpoint
            .expect(&config, "another")
            .unwrap_err()
            .to_string()
            .contains("tokenizer")
    );
    let device = Device::oracle();
    let classic = random(&device, &small(ARCHS[0], 16));
    assert!(matches!(
        checkpoint.load_model(&classic),
        Err(CheckpointError::Foreign { .. })
    ));
    let mut optimizer = Optimizer::new(&classic, &Rates::default());
    assert!(matches!(
        checkpoint.load_optimizer(&mut optimizer),
        Err(CheckpointError::Foreign { .. })
    ));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let run = Run::new(&cpu(None), ARCHS[0]);
    let sentence = save(&file.join("run"), &run, 1).unwrap_err().to_string();
    assert!(
        sentence.starts_with("cannot write ") && sentence.contains("file"),
        "{sentence}"
    );
}
