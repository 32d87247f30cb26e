//! NVRTC for developers: the one that this machine has, or one from PyPI in a virtual environment of its own under the
//! build folder. Knows where compilers come from, and nothing of kernels.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use ferrochat_tensor::cuda::libraries::{self, FIRST_FOLDER, Version};

/// The first that knows all architectures that kernels are written for.
const LEAST: Version = Version {
    major: 12,
    minor: 8,
    patch: 0,
};

/// Which NVRTC will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any that knows the architectures; the newest, if it must be fetched.
    Any,
    /// One whose machine code drivers of CUDA 12 load too, as all later ones do.
    Compatible,
}

impl Wanted {
    fn accepts(self, version: Version) -> bool {
        version >= LEAST && (self == Wanted::Any || version.major == LEAST.major)
    }

    /// PyPI's name of it.
    fn package(self) -> &'static str {
        match self {
            Wanted::Any => "nvidia-cuda-nvrtc>=13,<14",
            Wanted::Compatible => "nvidia-cuda-nvrtc-cu12>=12.8",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Wanted::Any => "nvrtc",
            Wanted::Compatible => "nvrtc-cu12",
        }
    }
}

/// Sees to it that NVRTC can be called. Where this machine has none that will do, one is fetched, and the command begins
/// anew with it: a process looks for libraries once.
///
/// # Errors
/// There is none and none can be fetched.
pub fn ready(wanted: Wanted) -> Result<Version> {
    let found = libraries::find().nvrtc;
    let usable = found.is_usable().then_some(found.version).flatten();
    if let Some(version) = usable.filter(|version| wanted.accepts(*version)) {
        return Ok(version);
    }
    let environment = target_folder()?.join(wanted.folder());
    let folder = match library_folder(&environment) {
        Some(folder) => folder,
        None => fetch(&environment, wanted.package())?,
    };
    if std::env::var_os(FIRST_FOLDER).is_some_and(|first| Path::new(&first) == folder) {
        let what = found.problem.unwrap_or_else(|| "it is of the wrong version".to_owned());
        bail!("NVRTC in {} cannot be used: {what}", folder.display());
    }
    let program = std::env::current_exe().context("cannot name this program")?;
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(FIRST_FOLDER, folder)
        .exec();
    Err(error).context("cannot start this program again")
}

/// The build folder, of which this program is `release/xtask`.
pub fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot name this program")?;
    let folder = program
        .ancestors()
        .nth(2)
        .context("this program lies in no build folder")?;
    Ok(folder.to_owned())
}

/// The folder of a virtual environment that has `libnvrtc.so`.
fn library_folder(environment: &Path) -> Option<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let is_library = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libnvrtc.so")
    };
    let packages = entries(&environment.join("lib"));
    let mut folders = packages
        .iter()
        .flat_map(|python| entries(&python.join("site-packages/nvidia")))
        .map(|package| package.join("lib"));
    folders.find(|folder| entries(folder).iter().any(is_library))
}

fn fetch(environment: &Path, package: &str) -> Result<PathBuf> {
    eprintln!("fetching {package} from PyPI into {}", environment.display());
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(environment);
    run(&mut make, "a virtual environment cannot be made")?;
    let mut install = Command::new(environment.join("bin/python"));
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        package,
    ]);
    run(&mut install, &format!("{package} cannot be fetched from PyPI"))?;
    library_folder(environment).with_context(|| format!("{package} brought no libnvrtc.so"))
}

/// Runs a command; its last line is the reason if it fails.
fn run(command: &mut Command, failed: &str) -> Result<()> {
    let remedy = format!("{FIRST_FOLDER} can name a folder with libnvrtc.so instead");
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{failed}, because python3 is not installed; {remedy}")
        }
        Err(error) => bail!("{failed}: {error}; {remedy}"),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stderr, output.stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let mut lines = said.iter().flat_map(|text| text.lines().rev()).map(str::trim);
    let reason = lines.find(|line| !line.is_empty()).unwrap_or("no reason was given");
    bail!(
        "{failed}: {}; {remedy}",
        reason.trim_start_matches("ERROR: ").trim_end_matches('.')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_will_do() {
        let version = |major, minor| Version { major, minor, patch: 0 };
        assert!(Wanted::Any.accepts(version(13, 0)) && Wanted::Any.accepts(version(12, 8)));
        assert!(!Wanted::Any.accepts(version(12, 6)));
        assert!(Wanted::Compatible.accepts(version(12, 9)) && !Wanted::Compatible.accepts(version(13, 0)));
    }

    #[test]
    fn a_library_is_found_in_an_environment() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(library_folder(place.path()), None);
        let folder = place.path().join("lib/python3.12/site-packages/nvidia/cu13/lib");
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(library_folder(place.path()), None);
        fs::write(folder.join("libnvrtc.so.13"), "").unwrap();
        assert_eq!(library_folder(place.path()), Some(folder));
    }

    #[test]
    fn what_cannot_be_run_is_a_sentence() {
        let sentence = run(&mut Command::new("/nowhere/python3"), "it failed")
            .unwrap_err()
            .to_string();
        assert!(
            sentence.contains("python3 is not installed") && sentence.contains(FIRST_FOLDER),
            "{sentence}"
        );
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo first >&2; echo 'ERROR: No matching distribution.' >&2; echo; exit 1",
        ]);
        let sentence = run(&mut command, "it failed").unwrap_err().to_string();
        assert!(
            sentence.starts_with("it failed: No matching distribution; "),
            "{sentence}"
        );
    }
}
