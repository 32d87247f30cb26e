//! `cargo xtask parity`: remakes the numeric fixtures that hold our model against the reference, or checks them.
//!
//! The work is done by the Python scripts in `xtask/parity/`, which import nanochat from a checkout and NanoChat from
//! `transformers` as oracles and copy nothing of either. The fixtures lie in `crates/model/tests/fixtures/`.
//!
//! # Fixture format
//!
//! safetensors files hold F32 and I32 tensors only, their names sorted. Parameters go by nanochat's names
//! (`transformer.h.0.attn.c_q.weight`; weights are [out, in]) in both architectures. The string-valued header
//! `__metadata__` has, in every file,
//!
//! - `reference`, `reference_commit`, `torch_version`, `numpy_version`, `command`, and `transformers_version` where used;
//! - `sha256` over, for each tensor in order of its name, the line `NAME\n`, the line `F32\n` or `I32\n`, the line of
//!   its dimensions joined by commas, and its little-endian bytes.
//!
//! **`parity_2026_07`, `parity_2025_10`**: one forward and backward pass. Header `config`: JSON with `arch`,
//! `sequence_len`, `vocab_size`, `padded_vocab_size`, `n_layer`, `n_head`, `n_kv_head`, `n_embd`, and for 2026-07
//! `window_pattern` and `window_sizes` (by layer; W keeps W + 1 keys).
//!
//! | tensor | shape | |
//! | --- | --- | --- |
//! | `ids` | I32 [B, T] | |
//! | `targets` | I32 [B, T] | −1: not a target |
//! | `logits` | [B, T, vocab_size] | after the soft cap, padding cut off |
//! | `nll` | [B, T] | 0 where the target is −1 |
//! | `loss` | \[1\] | mean of `nll` over the targets ≥ 0 |
//! | `param.NAME` | as the parameter | all non-zero; padded rows included |
//! | `grad.NAME` | as the parameter | of `loss`; never of zero norm |
//!
//! **`trajectory_2026_07`, `trajectory_2025_10`**: ten optimisation steps from the `param.*` of the file that
//! `hyperparameters.start` names. Tensors: `ids` and `targets` I32 [10, B, T], `losses` \[10\] (each before its step),
//! `final.NAME` for some parameters after the tenth step. Header `config` as above; header `hyperparameters`: JSON with
//! `groups`: a list of `{"kind": "adamw", "names", "lr", "betas", "eps", "weight_decay"}` and
//! `{"kind": "muon", "names", "lr", "beta2"}` (rates already scaled by width, not by batch), and
//! `steps`: a list of ten `{"lr_multiplier", "muon_momentum", "muon_weight_decay"}`. A group's rate at a step is
//! `lr · lr_multiplier`. No gradient clip.
//!
//! **`optimizer`**: three steps of one parameter. Cases `adamw.{head,embedding,value_embedding,resid,x0,smear}.{matrix,vector}`
//! and `muon.{tall,wide,square,gate,row,zero_start}`; each has `CASE.param0`, `CASE.grad0`…`grad2` and
//! `CASE.param1`…`param3`, the parameter after each step. Header `hyperparameters`: JSON from case to
//! `{"lr": [3], "betas", "eps", "weight_decay"}` or `{"lr": [3], "momentum": [3], "weight_decay": [3], "beta2"}`, the
//! rate of a Muon case still without the factor √max(1, rows/columns).
//! In the `matrix` cases one row of the gradients is zero and one so small that eps counts; `muon.zero_start` begins
//! with a gradient of zeros. The reference forms 1 − β and 1 − βᵗ in f32, where β₂ = 0.995 leaves 1 − β₂ off by some 1e-6:
//! formed in f64 the embedding cases come out 1.2e-6 apart (of the change), in f32 2e-7.
//!
//! **`schedules.json`**: `horizons`: by `num_iterations`, `at` chosen `step`s the `lr_multiplier`, `muon_momentum` and
//! `weight_decay_multiplier`; `2026-07` and `2025-10`: by `depth` (and `target_param_data_ratio`) everything the
//! trainer derives, with `num_params` by group.
//!
//! **`init_2026_07.json`, `init_2025_10.json`**: `config`, and for each of `params` its `shape`, the `expected`
//! distribution (`kind` is `normal`, `uniform`, `zero` or `values`; `mean`, `std`, `min`, `max`, for `values` also the
//! `values`) and the reference's own `measured` statistics (`std` is the population's).
//!
//! The JSON files carry the provenance of the header as `about`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{Usage, compare};

/// The state of nanochat the 2026-07 model is held against; its history holds the 2025-10 one.
const CURRENT: &str = "92d63d4e8bb4df75c3b71618f31ddde2378b2bcd";
const CLASSIC: &str = "3a5e0bc50b123f37220f1ace6813f080455d19f3";

/// Python modules the scripts import, and how to get them.
const MODULES: &str = "torch transformers numpy filelock";
const PACKAGES: &str = "torch==2.9.1 transformers==5.23.0 numpy filelock";

/// Every fixture, by file name.
pub const FIXTURES: [&str; 8] = [
    "init_2025_10.json",
    "init_2026_07.json",
    "optimizer.safetensors",
    "parity_2025_10.safetensors",
    "parity_2026_07.safetensors",
    "schedules.json",
    "trajectory_2025_10.safetensors",
    "trajectory_2026_07.safetensors",
];

/// Remake the parity fixtures from a checkout of the reference
#[derive(clap::Args)]
pub struct Args {
    /// A git checkout of nanochat at commit 92d63d4, with its history back to 3a5e0bc
    #[arg(long, value_name = "DIR")]
    reference: PathBuf,
    /// The Python interpreter that has torch and transformers
    #[arg(long, value_name = "PYTHON", default_value = "python3")]
    python: PathBuf,
    /// Change nothing: remake into a temporary folder and fail where the committed fixtures differ
    #[arg(long)]
    check: bool,
}

/// Run the command.
///
/// # Errors
/// [`Usage`] where an argument is wrong; otherwise when a script fails, a file cannot be written, or a check fails.
pub fn run(args: &Args) -> Result<()> {
    verify_reference(&args.reference)?;
    verify_python(&args.python)?;
    let made = tempfile::tempdir().context("cannot make a temporary folder")?;
    generate(args, made.path())?;
    let committed = fixtures_folder();
    if args.check {
        return compare::folders(&committed, made.path(), &FIXTURES);
    }
    fs::create_dir_all(&committed).with_context(|| format!("cannot make {}", committed.display()))?;
    for name in FIXTURES {
        let to = committed.join(name);
        fs::copy(made.path().join(name), &to).with_context(|| format!("cannot write {}", to.display()))?;
        println!("wrote {name}");
    }
    Ok(())
}

/// Where the fixtures are committed.
pub fn fixtures_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/model/tests/fixtures")
}

/// The reference must be what the fixtures claim: this commit, unchanged, with the older one in reach.
fn verify_reference(dir: &Path) -> Result<()> {
    let shown = dir.display();
    if !dir.join("nanochat/gpt.py").is_file() {
        bail!(Usage(format!(
            "--reference {shown} is not a checkout of nanochat (it has no nanochat/gpt.py)"
        )));
    }
    let head = git(dir, &["rev-parse", "HEAD"])?;
    if head.as_deref() != Some(CURRENT) {
        let at = head.map_or("outside git".to_owned(), |head| {
            format!("at commit {}", &head[..head.len().min(7)])
        });
        bail!(Usage(format!(
            "--reference {shown} is {at}; the fixtures need {} (git -C {shown} checkout {})",
            &CURRENT[..7],
            &CURRENT[..7]
        )));
    }
    if git(dir, &["status", "--porcelain", "--", "nanochat", "scripts"])?.as_deref() != Some("") {
        bail!(Usage(format!(
            "--reference {shown} has local changes in nanochat/ or scripts/; use a clean checkout"
        )));
    }
    if git(dir, &["cat-file", "-e", &format!("{CLASSIC}^{{commit}}")])?.is_none() {
        bail!(Usage(format!(
            "--reference {shown} lacks commit {}; use a clone with its full history",
            &CLASSIC[..7]
        )));
    }
    Ok(())
}

/// What git prints, trimmed, or `None` where it refuses.
fn git(dir: &Path, words: &[&str]) -> Result<Option<String>> {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(words)
        .output()
        .context("cannot start git")?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success().then_some(text))
}

fn verify_python(python: &Path) -> Result<()> {
    let shown = python.display();
    let probe = format!(
        "from importlib.util import find_spec; print(', '.join(m for m in '{MODULES}'.split() if not find_spec(m)))"
    );
    let output = Command::new(python).args(["-c", &probe]).output().map_err(|error| {
        Usage(format!(
            "cannot start {shown} ({error}); name a Python interpreter with --python"
        ))
    })?;
    if !output.status.success() {
        bail!(Usage(format!("--python {shown} is not a working Python 3 interpreter")));
    }
    let lacking = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !lacking.is_empty() {
        bail!(Usage(format!(
            "{shown} lacks {lacking}: {shown} -m pip install {PACKAGES}"
        )));
    }
    Ok(())
}

/// Run the scripts so that another machine gets the same numbers: f32, one thread, no compiled kernels, and the
/// instruction set that every x86 machine of the last ten years has.
fn generate(args: &Args, out: &Path) -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/generate.py");
    let status = Command::new(&args.python)
        .arg(&script)
        .arg(&args.reference)
        .arg(out)
        .envs([
            ("NANOCHAT_DTYPE", "float32"),
            ("TORCHDYNAMO_DISABLE", "1"),
            ("OMP_NUM_THREADS", "1"),
            ("MKL_CBWR", "AVX2"),
            ("ATEN_CPU_CAPABILITY", "avx2"),
            ("CUDA_VISIBLE_DEVICES", ""),
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ])
        .status()
        .with_context(|| format!("cannot start {}", args.python.display()))?;
    if !status.success() {
        bail!("{} failed ({status}); its message is above", script.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(dir: &Path) -> String {
        let error = verify_reference(dir).expect_err("must be refused");
        assert!(error.is::<Usage>(), "{error}");
        error.to_string()
    }

    #[test]
    fn a_folder_that_is_no_checkout_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refusal(dir.path()).contains("not a checkout"));
        assert!(refusal(&dir.path().join("missing")).contains("not a checkout"));
    }

    #[test]
    fn another_commit_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("nanochat")).unwrap();
        fs::write(dir.path().join("nanochat/gpt.py"), "").unwrap();
        for words in [
            &["init", "-q"][..],
            &[
                "-c",
                "user.name=x",
                "-c",
                "user.email=x@y",
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                "x",
            ],
        ] {
            assert!(git(dir.path(), words).unwrap().is_some());
        }
        let text = refusal(dir.path());
        assert!(text.contains("at commit") && text.contains("92d63d4"), "{text}");
    }

    #[test]
    fn a_missing_interpreter_is_a_usage_error() {
        let error = verify_python(Path::new("no-such-python")).expect_err("must be refused");
        assert!(error.is::<Usage>() && error.to_string().contains("--python"));
    }
}
