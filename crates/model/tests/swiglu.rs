//! A new architecture is an edit of one file: `docs/examples/swiglu.patch` puts SwiGLU in place of ReLU².
//!
//! The test applies it to a copy of the crates and runs the model's own tests there: gradients against
//! finite differences, training, exact resume, decoding with the KV cache. It compiles two crates, so it
//! is among the slower tests.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

const PATCH: &str = include_str!("../../../docs/examples/swiglu.patch");
const PATCHED_FILE: &str = "crates/model/src/gpt.rs";

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

#[test]
fn swiglu_patch_touches_one_file_and_passes_the_models_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files: Vec<&str> = PATCH.lines().filter_map(|line| line.strip_prefix("+++ b/")).collect();
    assert_eq!(files, [PATCHED_FILE]);

    let copy = tempfile::tempdir().unwrap();
    for folder in ["crates/tensor", "crates/model"] {
        copy_tree(&root.join(folder), &copy.path().join(folder));
    }
    fs::copy(root.join("Cargo.lock"), copy.path().join("Cargo.lock")).unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let members = manifest.lines().filter(|line| !line.starts_with("default-members"));
    let manifest = members.collect::<Vec<_>>().join("\n").replace(", \"xtask\"", "");
    fs::write(copy.path().join("Cargo.toml"), manifest).unwrap();
    // The example and this test would look for the patch again.
    fs::remove_file(copy.path().join("crates/model/tests/swiglu.rs")).unwrap();

    let file = copy.path().join(PATCHED_FILE);
    let patch = diffy::Patch::from_str(PATCH).unwrap();
    let patched = diffy::apply(&fs::read_to_string(&file).unwrap(), &patch).expect("the patch fits today's gpt.rs");
    assert!(patched.contains("silu"));
    fs::write(&file, patched).unwrap();

    let output = Command::new(env!("CARGO"))
        .args([
            "test",
            "--release",
            "--offline",
            "-p",
            "ferrochat-model",
            "--test",
            "gpt",
        ])
        .current_dir(copy.path())
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("swiglu"),
        )
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for test in [
        "every_parameter_has_the_gradient_of_finite_differences",
        "a_small_model_learns_a_rule",
        "a_resumed_run_gives_the_bits_of_one_that_was_not_interrupted",
        "greedy_tokens_are_the_same_with_and_without_the_cache",
    ] {
        assert!(
            text.lines().any(|line| line.contains(test) && line.ends_with("ok")),
            "{test} did not run:\n{text}"
        );
    }
}
