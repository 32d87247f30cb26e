//! NVIDIA's libraries on this machine: found, opened, checked and kept open before cudarc asks for them, because it
//! panics where a library or a symbol is missing. Everything that is wrong with them is a sentence that says how to mend it.
//!
//! Each library is looked for in this order: the folder that `FERROCHAT_CUDA_LIBRARIES` names; the system's loader by
//! name (`LD_LIBRARY_PATH` and what `ldconfig` knows); toolkits (`CUDA_HOME`, `CUDA_PATH`, `/usr/local/cuda*`,
//! `/opt/cuda`); NVIDIA's wheels in Python environments (`VIRTUAL_ENV`, `CONDA_PREFIX`, `~/.local`, that of `python3`).
//! The first that fits is kept open for ever, and the loader then gives it to whoever asks by name, cudarc included.
//!
//! This room must never know cards, kernels or what a library is wanted for.

mod folders;
mod open;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use folders::FIRST_FOLDER;
use folders::Places;
use open::Opened;

/// A library of NVIDIA's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The driver's own, `libcuda`.
    Driver,
    /// The compiler of kernels, `libnvrtc`. Not needed where all kernels are already compiled.
    Nvrtc,
    /// Matrix products, `libcublasLt`.
    CublasLt,
    /// Sums over several cards, `libnccl`. Only reported so far.
    Nccl,
}

/// A version, as the library itself says it. The driver's is the CUDA version that it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Before the first point.
    pub major: usize,
    /// After the first point.
    pub minor: usize,
    /// After the second; 0 where the library does not say it.
    pub patch: usize,
}

/// The least version of driver, NVRTC and cuBLASLt.
const LEAST: Version = Version {
    major: 12,
    minor: 0,
    patch: 0,
};

/// What became of the search for one library.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which.
    pub kind: Kind,
    /// The file that is used; else the first that was found and cannot be used.
    pub path: Option<PathBuf>,
    /// Its version, where it could be asked.
    pub version: Option<Version>,
    /// Why it cannot be used and how to get one that can, a sentence; none if it is usable.
    pub problem: Option<String>,
    /// What a user should know although it is usable, a sentence.
    pub note: Option<String>,
}

/// What was found of all libraries.
#[derive(Clone, Debug)]
pub struct Libraries {
    /// The driver.
    pub driver: Finding,
    /// The compiler of kernels.
    pub nvrtc: Finding,
    /// Matrix products.
    pub cublas_lt: Finding,
    /// Sums over several cards.
    pub nccl: Finding,
}

/// A library that is missing or cannot be used, as a sentence.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct LibraryError {
    /// Which.
    pub kind: Kind,
    /// True if there is one, but none that can be used.
    pub found: bool,
    sentence: String,
}

/// Looks for everything. Libraries that can be used stay open.
pub fn find() -> Libraries {
    Libraries {
        driver: finding(Kind::Driver).clone(),
        nvrtc: finding(Kind::Nvrtc).clone(),
        cublas_lt: finding(Kind::CublasLt).clone(),
        nccl: finding(Kind::Nccl).clone(),
    }
}

/// Makes the driver ready for cudarc. May be called by any thread any number of times; the search is done once.
///
/// # Errors
/// There is none, or none that can be used.
pub fn load_driver() -> Result<(), LibraryError> {
    finding(Kind::Driver).usable()
}

/// Makes everything ready that a card is used with but NVRTC: driver and cuBLASLt. As [`load_driver`].
///
/// # Errors
/// Either is missing or cannot be used.
pub fn load() -> Result<(), LibraryError> {
    load_driver()?;
    finding(Kind::CublasLt).usable()
}

/// Makes NVRTC ready. As [`load_driver`].
///
/// # Errors
/// It is missing or cannot be used.
pub fn nvrtc() -> Result<(), LibraryError> {
    finding(Kind::Nvrtc).usable()
}

/// How to get an NVRTC that fits the driver, as the end of a sentence.
pub(super) fn nvrtc_remedy() -> String {
    Kind::Nvrtc.remedy(finding(Kind::Driver).version)
}

fn finding(kind: Kind) -> &'static Finding {
    static FINDINGS: [OnceLock<Finding>; 4] = [const { OnceLock::new() }; 4];
    FINDINGS[kind as usize].get_or_init(|| {
        let driver = match kind {
            Kind::Driver => None,
            _ => finding(Kind::Driver).version,
        };
        search(kind, &Places::of_process(), driver)
    })
}

impl Finding {
    /// True if the library is open and fits.
    pub fn is_usable(&self) -> bool {
        self.problem.is_none()
    }

    fn usable(&self) -> Result<(), LibraryError> {
        match &self.problem {
            None => Ok(()),
            Some(problem) => Err(LibraryError {
                kind: self.kind,
                found: self.path.is_some(),
                sentence: problem.clone(),
            }),
        }
    }
}

/// A search as it goes: the first problem is the one that is told.
struct Search {
    kind: Kind,
    driver: Option<Version>,
    /// The first file that cannot be used, its version, and why.
    first: Option<(PathBuf, Option<Version>, String)>,
}

fn search(kind: Kind, places: &Places, driver: Option<Version>) -> Finding {
    let mut search = Search {
        kind,
        driver,
        first: None,
    };
    let found = search.in_folders(places.first.as_slice());
    let found = found.or_else(|| places.system.then(|| search.by_name()).flatten());
    let found = match kind {
        Kind::Driver => found.or_else(|| search.in_folders(&places.drivers())),
        _ => found
            .or_else(|| search.in_folders(&places.toolkits()))
            .or_else(|| search.in_folders(&places.wheels()))
            .or_else(|| search.in_folders(&places.wheels_of_python())),
    };
    match found {
        Some((path, version)) => Finding {
            kind,
            note: note(kind, version, driver).or_else(|| search.passed_over()),
            version: Some(version),
            path: Some(path),
            problem: None,
        },
        None => search.nothing(),
    }
}

impl Search {
    fn in_folders(&mut self, folders: &[PathBuf]) -> Option<(PathBuf, Version)> {
        let names = self.kind.file_names(self.driver);
        let files = folders
            .iter()
            .flat_map(|folder| names.iter().map(|name| folder.join(name)));
        for file in files.filter(|file| file.exists()) {
            let kept = open::open(self.kind, &file).and_then(|opened| {
                let version = opened.version;
                self.keep(opened).map(|()| (file.clone(), version))
            });
            match kept {
                Ok(found) => return Some(found),
                Err(why) => self.remember(&file, None, &why),
            }
        }
        None
    }

    fn by_name(&mut self) -> Option<(PathBuf, Version)> {
        let opened = open::open_by_name(self.kind)?;
        let (path, version) = match &opened {
            Ok(opened) => (opened.path.clone(), Some(opened.version)),
            Err((path, _)) => (path.clone(), None),
        };
        match opened.map_err(|(_, why)| why).and_then(|opened| self.keep(opened)) {
            Ok(()) => Some((path, version?)),
            Err(why) => {
                self.remember(
                    &path,
                    version,
                    &format!("{why} (the system's loader gives this one: LD_LIBRARY_PATH)"),
                );
                None
            }
        }
    }

    fn keep(&self, opened: Opened) -> Result<(), String> {
        match self.misfit(opened.version) {
            Some(why) => Err(why),
            None => opened.keep(self.kind),
        }
    }

    /// Why a version cannot be used with the driver that is there.
    fn misfit(&self, version: Version) -> Option<String> {
        if version < LEAST && self.kind != Kind::Nccl {
            return Some(format!("is of CUDA {version} and 12.0 or later is needed"));
        }
        let driver = self.driver.filter(|driver| version.major > driver.major)?;
        (self.kind == Kind::CublasLt).then(|| format!("is of CUDA {version} and the driver of CUDA {driver}"))
    }

    fn remember(&mut self, path: &Path, version: Option<Version>, why: &str) {
        self.first
            .get_or_insert_with(|| (path.to_owned(), version, why.to_owned()));
    }

    /// What a user may have expected to be used.
    fn passed_over(&self) -> Option<String> {
        let (path, _, why) = self.first.as_ref()?;
        Some(format!("{} was passed over: it {why}", path.display()))
    }

    fn nothing(self) -> Finding {
        let remedy = self.kind.remedy(self.driver);
        let name = self.kind.name();
        let problem = match &self.first {
            Some((path, _, why)) => format!("{name} cannot be used, {} {why}; {remedy}", path.display()),
            None => format!("{} was not found; {remedy}", self.kind.described()),
        };
        let (path, version) = self.first.map(|(path, version, _)| (path, version)).unzip();
        Finding {
            kind: self.kind,
            path,
            version: version.flatten(),
            problem: Some(problem),
            note: None,
        }
    }
}

/// Machine code of a newer compiler runs under an older driver of the same generation.
fn note(kind: Kind, version: Version, driver: Option<Version>) -> Option<String> {
    let driver = driver.filter(|driver| kind == Kind::Nvrtc && version > *driver)?;
    let what = format!("NVRTC is of CUDA {version} and the driver of CUDA {driver}");
    Some(if version.major == driver.major {
        format!("{what}, which is fine for the machine code that it makes")
    } else {
        format!("{what}; if kernels cannot be loaded, {}", kind.remedy(Some(driver)))
    })
}

impl Kind {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Driver => "the NVIDIA driver",
            Kind::Nvrtc => "NVRTC",
            Kind::CublasLt => "cuBLASLt",
            Kind::Nccl => "NCCL",
        }
    }

    fn described(self) -> &'static str {
        match self {
            Kind::Driver => "an NVIDIA driver (libcuda.so.1)",
            Kind::Nvrtc => "NVRTC (libnvrtc.so), which compiles the GPU's kernels,",
            Kind::CublasLt => "cuBLASLt (libcublasLt.so), which multiplies matrices on the GPU,",
            Kind::Nccl => "NCCL (libnccl.so.2), which only several GPUs together need,",
        }
    }

    /// Between `lib` and `.so`.
    fn stem(self) -> &'static str {
        match self {
            Kind::Driver => "cuda",
            Kind::Nvrtc => "nvrtc",
            Kind::CublasLt => "cublasLt",
            Kind::Nccl => "nccl",
        }
    }

    /// Names of its file in a folder, the best first: that of the driver's generation.
    fn file_names(self, driver: Option<Version>) -> Vec<String> {
        let stem = self.stem();
        let endings: &[&str] = match self {
            Kind::Driver => &[".so.1", ".so"],
            Kind::Nccl => &[".so.2", ".so"],
            _ if driver.is_some_and(|driver| driver.major < 13) => &[".so.12", ".so.13", ".so"],
            _ => &[".so.13", ".so.12", ".so"],
        };
        endings.iter().map(|ending| format!("lib{stem}{ending}")).collect()
    }

    /// How to get one that fits, as the end of a sentence.
    fn remedy(self, driver: Option<Version>) -> String {
        let old = driver.is_some_and(|driver| driver.major < 13);
        let package = match self {
            Kind::Driver => {
                return "install the current driver from the system's packages or from nvidia.com (a container needs --gpus all)"
                    .to_owned();
            }
            Kind::Nvrtc => "nvidia-cuda-nvrtc",
            Kind::CublasLt => "nvidia-cublas",
            Kind::Nccl if old => "nvidia-nccl",
            Kind::Nccl => "nvidia-nccl-cu13",
        };
        let package = format!("{package}{}", if old { "-cu12" } else { "" });
        format!(
            "pip install {package} into an active virtual environment brings it, so does the CUDA toolkit, and {FIRST_FOLDER} can name its folder"
        )
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch > 0 {
            write!(f, ".{}", self.patch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
