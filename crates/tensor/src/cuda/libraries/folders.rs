//! The folders in which NVIDIA's libraries may lie, in the order in which they are looked through. Knows the layouts of
//! toolkits and of Python's wheels; opens no library.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The variable that names a folder to look in first.
pub const FIRST_FOLDER: &str = "FERROCHAT_CUDA_LIBRARIES";

/// Where the driver lies on systems whose loader may not know of it: WSL, containers of Kubernetes, NixOS.
const DRIVER_FOLDERS: [&str; 4] = [
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/run/opengl-driver/lib",
    "/usr/lib64/nvidia",
];

/// Folders of a toolkit's root. Its `stubs` are for linkers only.
const TOOLKIT_FOLDERS: [&str; 4] = [
    "lib64",
    "lib",
    if cfg!(target_arch = "aarch64") {
        "targets/sbsa-linux/lib"
    } else {
        "targets/x86_64-linux/lib"
    },
    "targets/aarch64-linux/lib",
];

/// Time that a Python has to name its folders.
const PATIENCE: Duration = Duration::from_secs(5);

/// The part of the environment that says where to look; a value, so that a test can make its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// [`FIRST_FOLDER`].
    pub(super) first: Option<PathBuf>,
    /// Whether the dynamic loader is asked by name, and folders of fixed names are looked through.
    pub(super) system: bool,
    /// Roots of toolkits that variables name.
    pub(super) toolkits: Vec<PathBuf>,
    /// Roots of Python environments that variables name.
    pub(super) environments: Vec<PathBuf>,
    /// The user's home.
    pub(super) home: Option<PathBuf>,
    /// `PATH`.
    pub(super) path: Option<OsString>,
}

impl Places {
    /// Those of this process.
    pub(super) fn of_process() -> Places {
        let folder = |name: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
            Some(PathBuf::from(value))
        };
        Places {
            first: folder(FIRST_FOLDER),
            system: true,
            toolkits: ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(folder).collect(),
            environments: ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(folder).collect(),
            home: folder("HOME"),
            path: std::env::var_os("PATH"),
        }
    }

    /// Folders of the system that hold drivers.
    pub(super) fn drivers(&self) -> Vec<PathBuf> {
        let known = DRIVER_FOLDERS.iter().map(PathBuf::from);
        if self.system { known.collect() } else { Vec::new() }
    }

    /// Library folders of toolkits: those that variables name, then the usual ones, the newest version first.
    pub(super) fn toolkits(&self) -> Vec<PathBuf> {
        let mut roots = self.toolkits.clone();
        if self.system {
            let mut usual = entries(Path::new("/usr/local"), |name| name.starts_with("cuda-"));
            usual.sort_by_key(|path| std::cmp::Reverse(numbers(path)));
            roots.push("/usr/local/cuda".into());
            roots.extend(usual);
            roots.push("/opt/cuda".into());
        }
        let inside = |root: &PathBuf| TOOLKIT_FOLDERS.map(|folder| root.join(folder));
        roots.iter().flat_map(inside).filter(|folder| folder.is_dir()).collect()
    }

    /// Library folders of NVIDIA's wheels in the Python environments that can be found without running anything.
    pub(super) fn wheels(&self) -> Vec<PathBuf> {
        let mut roots = self.environments.clone();
        roots.extend(self.home.iter().map(|home| home.join(".local")));
        let python = self.python();
        if let Some(python) = &python {
            // A virtual environment's python is a link: the folder it stands in comes before the one it leads to.
            let real = python.canonicalize().ok();
            roots.extend([Some(python.clone()), real].into_iter().flatten().filter_map(|file| {
                let bin = file.parent()?;
                Some(bin.parent()?.to_owned())
            }));
        }
        let mut found = Vec::new();
        for root in roots {
            // Conda's own packages are no wheels.
            found.push(root.join("lib"));
            for lib in ["lib", "lib64", "local/lib"] {
                for version in entries(&root.join(lib), |name| name.starts_with("python3")) {
                    for packages in ["site-packages", "dist-packages"] {
                        found.extend(nvidia_folders(&version.join(packages)));
                    }
                }
            }
        }
        found.retain(|folder| folder.is_dir());
        found
    }

    /// Library folders of NVIDIA's wheels among those that `python3` itself names; none if it does not answer in time.
    pub(super) fn wheels_of_python(&self) -> Vec<PathBuf> {
        let Some(python) = self.python() else {
            return Vec::new();
        };
        let said = said_by(Command::new(python).args(["-c", "import sys; print('\\n'.join(sys.path))"]));
        said.lines()
            .filter(|line| !line.is_empty())
            .flat_map(|line| nvidia_folders(Path::new(line)))
            .collect()
    }

    /// The `python3` that a shell would run.
    fn python(&self) -> Option<PathBuf> {
        let folders = std::env::split_paths(self.path.as_ref()?);
        folders
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("python3"))
            .find(|file| file.is_file())
    }
}

/// `nvidia/*/lib` of a `site-packages`: `nvidia/cublas/lib`, or `nvidia/cu13/lib` for all packages of CUDA 13.
fn nvidia_folders(packages: &Path) -> Vec<PathBuf> {
    let mut kinds = entries(&packages.join("nvidia"), |_| true);
    kinds.sort_by_key(|path| std::cmp::Reverse(numbers(path)));
    let folders = kinds.into_iter().map(|kind| kind.join("lib"));
    folders.filter(|folder| folder.is_dir()).collect()
}

fn entries(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// The numbers in a file's name, for ordering by version.
fn numbers(path: &Path) -> Vec<u64> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let parts = name.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// What a command prints; nothing if it cannot be run, fails or takes too long.
fn said_by(command: &mut Command) -> String {
    let started = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else {
        return String::new();
    };
    let begun = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                // Nothing is lost if it has just ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
        }
    };
    let mut said = String::new();
    // A few lines fit into the pipe, so that the process could end before they were read.
    if let (true, Some(mut out)) = (ended, child.stdout.take()) {
        let _ = out.read_to_string(&mut said);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(root: &Path, folder: &str) -> PathBuf {
        let path = root.join(folder);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn wheels_of_both_generations_are_found() {
        let place = tempfile::tempdir().unwrap();
        let packages = "venv/lib/python3.12/site-packages/nvidia";
        let old = make(place.path(), &format!("{packages}/cublas/lib"));
        let new = make(place.path(), &format!("{packages}/cu13/lib"));
        make(place.path(), &format!("{packages}/cublas/include"));
        let places = Places {
            environments: vec![place.path().join("venv")],
            ..Places::default()
        };
        let found = places.wheels();
        assert_eq!(found, [place.path().join("venv/lib"), new, old]);
    }

    #[test]
    fn a_python_on_the_path_leads_to_its_packages() {
        let place = tempfile::tempdir().unwrap();
        let bin = make(place.path(), "venv/bin");
        let lib = make(place.path(), "venv/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib");
        let beyond = make(place.path(), "usr/lib/python3.11/dist-packages/nvidia/nccl/lib");
        let real = make(place.path(), "usr/bin").join("python3.11");
        std::fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, bin.join("python3")).unwrap();
        let places = Places {
            path: Some(bin.into()),
            ..Places::default()
        };
        let found = places.wheels();
        let at = |folder: &PathBuf| {
            found
                .iter()
                .position(|known| known.ends_with(folder.strip_prefix(place.path()).unwrap()))
        };
        assert!(at(&lib).is_some() && at(&lib) < at(&beyond), "{found:?}");
    }

    #[test]
    fn a_python_that_is_a_script_is_asked() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let lib = make(place.path(), "far/nvidia/cublas/lib");
        let bin = make(place.path(), "shims");
        let script = format!("#!/bin/sh\necho\necho {}\n", place.path().join("far").display());
        std::fs::write(bin.join("python3"), script).unwrap();
        std::fs::set_permissions(bin.join("python3"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let places = Places {
            path: Some(bin.into()),
            ..Places::default()
        };
        assert!(places.wheels().is_empty());
        // A file that was just written may still be busy for a process that another test starts.
        let found = (0..20)
            .map(|_| places.wheels_of_python())
            .find(|found| !found.is_empty());
        assert_eq!(found, Some(vec![lib]));
    }

    #[test]
    fn a_python_that_fails_or_is_none_gives_nothing() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("python3"), "no program").unwrap();
        let places = Places {
            path: Some(place.path().into()),
            ..Places::default()
        };
        assert!(places.wheels_of_python().is_empty());
        assert!(Places::default().wheels_of_python().is_empty());
        assert_eq!(said_by(Command::new("sh").args(["-c", "echo x; exit 3"])), "");
    }

    #[test]
    fn newer_toolkits_come_first() {
        let mut names: Vec<PathBuf> = ["cuda-12.4", "cuda-13.0", "cuda-12.10"].map(PathBuf::from).into();
        names.sort_by_key(|path| std::cmp::Reverse(numbers(path)));
        assert_eq!(names, ["cuda-13.0", "cuda-12.10", "cuda-12.4"].map(PathBuf::from));
        let place = tempfile::tempdir().unwrap();
        let lib = make(place.path(), "cuda/lib64");
        make(place.path(), "cuda/lib64/stubs");
        let places = Places {
            toolkits: vec![place.path().join("cuda")],
            ..Places::default()
        };
        assert_eq!(places.toolkits(), [lib]);
    }
}
