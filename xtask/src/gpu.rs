//! `cargo xtask gpu`: one folder with all that a machine with a GPU needs for checking the GPU backend: the program, machine
//! code of all kernels, and a script. Rust, a toolkit and NVRTC are not needed there. Knows files and sizes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use ferrochat_tensor::cuda::{ARCHITECTURES, keep};

use crate::kernels::{check_architectures, compile_all};
use crate::{Usage, nvrtc};

/// Most bytes of the folder: what is quickly copied to a machine rented by the minute.
const MOST_BYTES: u64 = 60 << 20;

/// The script that runs the self-test.
const RUN: &str = r#"#!/bin/sh
# The self-test on a GPU. Arguments go to it: ./run --device cuda:1
cd "$(dirname "$0")" || exit 1
FERROCHAT_HOME="${FERROCHAT_HOME:-$PWD/home}"
export FERROCHAT_HOME
case " $* " in
*" --device"*) exec ./ferrochat selftest "$@" ;;
*) exec ./ferrochat selftest --device cuda "$@" ;;
esac
"#;

/// Gather the program and compiled kernels for a machine with a GPU
#[derive(clap::Args)]
pub struct Args {
    /// The folder to make [default: gpu in the build folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Architectures, separated by commas
    #[arg(long, value_name = "SM", value_delimiter = ',', default_values = ARCHITECTURES)]
    arch: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// The folder holds other files or cannot be written, something does not compile, or the whole is too large.
pub fn run(args: &Args) -> Result<()> {
    check_architectures(&args.arch)?;
    let target = nvrtc::target_folder()?;
    let out = args.out.clone().unwrap_or_else(|| target.join("gpu"));
    prepare(&out)?;
    let version = nvrtc::ready(nvrtc::Wanted::Compatible)?;
    eprintln!("compiling kernels with NVRTC {version}");
    let mut kernels = Vec::new();
    for (job, compiled) in compile_all(&args.arch, false) {
        let compiled = compiled.with_context(|| job.to_string())?;
        kernels.push((job.source.file_name(job.element, &job.architecture), compiled.code));
    }
    let built = tempfile::tempdir().context("cannot make a temporary folder")?;
    let program = built.path().join("ferrochat");
    build(&target, &program)?;
    let bytes = gather(&out, &program, &kernels, &args.arch)?;
    println!(
        "{}: {:.1} MiB, {} files of machine code",
        out.display(),
        mebibytes(bytes),
        kernels.len()
    );
    check_size(&out, bytes)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn check_size(out: &Path, bytes: u64) -> Result<()> {
    if bytes > MOST_BYTES {
        let (bytes, most) = (mebibytes(bytes), mebibytes(MOST_BYTES));
        bail!(
            "{} has {bytes:.1} MiB, and {most:.0} is the most; --arch names fewer architectures",
            out.display()
        );
    }
    Ok(())
}

/// Refuses a folder that is not an earlier one of ours, and empties one that is.
fn prepare(out: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", out.display());
    fs::create_dir_all(out).with_context(failed)?;
    let is_empty = fs::read_dir(out).with_context(failed)?.next().is_none();
    let is_ours = fs::read_to_string(out.join("run")).is_ok_and(|text| text.starts_with("#!/bin/sh\n# The self-test"));
    if !is_empty && !is_ours {
        bail!(Usage(format!(
            "--out {} holds other files; name a new or empty folder",
            out.display()
        )));
    }
    // What the self-test has left there stays.
    let kernels = out.join("kernels");
    if kernels.exists() {
        fs::remove_dir_all(&kernels).with_context(failed)?;
    }
    Ok(())
}

/// Builds the program and strips it.
fn build(target: &Path, program: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(["build", "--release", "--package", "ferrochat", "--target-dir"]);
    let status = command.arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    if !status.context("cannot start cargo")?.success() {
        bail!("the program cannot be built");
    }
    let built = target.join("release/ferrochat");
    let stripped = Command::new("strip").arg("-o").arg(program).arg(&built).status();
    if !stripped.is_ok_and(|status| status.success()) {
        eprintln!("strip does not work here, so the program stays larger than it need be");
        fs::copy(&built, program).with_context(|| format!("cannot read {}", built.display()))?;
    }
    Ok(())
}

/// Puts everything into the folder: its size in bytes.
fn gather(out: &Path, program: &Path, kernels: &[(String, Vec<u8>)], architectures: &[String]) -> Result<u64> {
    let write = |name: &str, bytes: &[u8], mode: u32| -> Result<()> {
        let path = out.join(name);
        let failed = || format!("cannot write {}", path.display());
        // A program that is running is not written to; it may be replaced.
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).with_context(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).with_context(failed)
    };
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    write("README", readme(&bytes, architectures).as_bytes(), 0o644)?;
    write("ferrochat", &bytes, 0o755)?;
    write("run", RUN.as_bytes(), 0o755)?;
    let folder = out.join("kernels");
    for (name, code) in kernels {
        keep(&folder, name, code).with_context(|| format!("cannot write {}", folder.join(name).display()))?;
    }
    let names = ["README", "ferrochat", "run"].map(|name| out.join(name));
    let compiled = kernels.iter().map(|(name, _)| folder.join(name));
    names.into_iter().chain(compiled).try_fold(0, |sum, path| {
        let bytes = fs::metadata(&path).map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
        Ok(sum + bytes.len())
    })
}

fn readme(program: &[u8], architectures: &[String]) -> String {
    let glibc = newest_glibc(program).map_or_else(String::new, |(major, minor)| {
        format!(" with glibc {major}.{minor} or later")
    });
    format!(
        "ferrochat's check of its GPU backend.

    ./run               on the first GPU
    ./run --device cuda:1
    ./ferrochat doctor  what this machine has and lacks

Needed: Linux on {machine}{glibc}, an NVIDIA driver of CUDA 12.0 or later, and cuBLASLt (`pip install
nvidia-cublas-cu12` into an active virtual environment, a toolkit, or FERROCHAT_CUDA_LIBRARIES=FOLDER).
Not needed: Rust, the network, NVRTC. Machine code for {architectures} lies in kernels/; cards of other generations
need NVRTC (`pip install nvidia-cuda-nvrtc-cu12`).

Nothing is written outside this folder: FERROCHAT_HOME is home/ unless it is set.
",
        machine = std::env::consts::ARCH,
        architectures = architectures.join(", "),
    )
}

/// The newest version of the C library that a program asks for, from the names of its symbols' versions.
fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let places = program
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK);
    let versions = places.filter_map(|(at, _)| {
        let text = program[at + MARK.len()..].split(|byte| *byte == 0).next()?;
        let mut parts = std::str::from_utf8(text.get(..text.len().min(12))?).ok()?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gathered_and_gathered_again() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("gpu");
        let program = place.path().join("program");
        fs::write(&program, b"\0GLIBC_2.17\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0").unwrap();
        let architectures = ["sm_80".to_owned()];
        prepare(&out).unwrap();
        gather(&out, &program, &[("old.cubin".into(), vec![1; 100])], &architectures).unwrap();
        fs::create_dir(out.join("home")).unwrap();
        prepare(&out).unwrap();
        let bytes = gather(&out, &program, &[("new.cubin".into(), vec![1; 100])], &architectures).unwrap();
        let sizes =
            ["README", "run", "ferrochat", "kernels/new.cubin"].map(|name| fs::metadata(out.join(name)).unwrap().len());
        assert_eq!(bytes, sizes.iter().sum::<u64>());
        assert!(!out.join("kernels/old.cubin").exists() && out.join("home").exists());
        assert!(fs::read_to_string(out.join("README")).unwrap().contains("glibc 2.34"));
        for name in ["run", "ferrochat"] {
            assert_eq!(
                fs::metadata(out.join(name)).unwrap().permissions().mode() & 0o777,
                0o755
            );
        }
    }

    #[test]
    fn the_script_names_the_device_once() {
        let place = tempfile::tempdir().unwrap();
        let script = "#!/bin/sh\necho \"$FERROCHAT_HOME $*\"\n";
        for (name, text) in [("run", RUN), ("ferrochat", script)] {
            let path = place.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let said = |args: &[&str]| {
            let mut command = Command::new("sh");
            command
                .arg(place.path().join("run"))
                .args(args)
                .env_remove("FERROCHAT_HOME");
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let home = place.path().canonicalize().unwrap().join("home");
        assert_eq!(
            said(&["--json"]),
            format!("{} selftest --device cuda --json\n", home.display())
        );
        assert!(said(&["--device", "cuda:1"]).ends_with("home selftest --device cuda:1\n"));
        assert!(said(&["--device=cpu"]).ends_with("home selftest --device=cpu\n"));
    }

    #[test]
    fn folders_of_others_are_left_alone() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("kernels")).unwrap();
        assert!(prepare(place.path()).unwrap_err().is::<Usage>());
        assert!(place.path().join("kernels").exists());
        fs::write(place.path().join("file"), "").unwrap();
        assert!(prepare(&place.path().join("file")).is_err());
    }

    #[test]
    fn too_much_is_refused() {
        assert!(check_size(Path::new("x"), MOST_BYTES).is_ok());
        let sentence = check_size(Path::new("x"), MOST_BYTES + 1_000_000)
            .unwrap_err()
            .to_string();
        assert!(
            sentence.contains("61.0 MiB") && sentence.contains("60 is the most"),
            "{sentence}"
        );
    }
}
