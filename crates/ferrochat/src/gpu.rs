//! GPUs as the program sees them: which there are, what is missing for using them and how to get it, opening one. Knows
//! NVIDIA's cards and libraries by their reports; the arithmetic is `ferrochat-tensor`'s. Systems other than Linux have none.

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{card, if_any, open, report};
#[cfg(target_os = "linux")]
pub use linux::{card, if_any, open, report};

use serde::Serialize;

/// What `doctor` says of GPUs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The cards that the driver shows.
    pub cards: Vec<CardReport>,
    /// Why none can be used, and what to do; none if one can.
    pub problem: Option<String>,
    /// NVIDIA cards on the machine's bus, whether or not there is a driver.
    pub on_the_bus: usize,
    /// Version of the driver's part in the kernel.
    pub kernel_module: Option<String>,
    /// The libraries, the driver first.
    pub libraries: Vec<LibraryReport>,
    /// Where compiled kernels are looked for, the folder for new ones first.
    pub kernel_folders: Vec<std::path::PathBuf>,
}

/// One card.
#[derive(Clone, Debug, Serialize)]
pub struct CardReport {
    /// As `--device` takes it.
    pub device: String,
    /// The driver's name.
    pub name: String,
    /// Bytes of its memory.
    pub memory_bytes: usize,
    /// `8.0` and later can be used.
    pub compute_capability: String,
    /// Dense bf16 operations per second by its data sheet, where the program knows it.
    pub bf16_flops: Option<f64>,
    /// f32 operations per second likewise.
    pub f32_flops: Option<f64>,
    /// Bytes per second of its memory likewise.
    pub bytes_per_second: Option<f64>,
    /// True if its kernels are all compiled, so that it needs no NVRTC.
    pub kernels_compiled: bool,
    /// Why it cannot be used; none if it can.
    pub problem: Option<String>,
}

/// One library.
#[derive(Clone, Debug, Serialize)]
pub struct LibraryReport {
    /// Driver, NVRTC, cuBLASLt or NCCL.
    pub name: &'static str,
    /// The file.
    pub path: Option<std::path::PathBuf>,
    /// What it says of itself.
    pub version: Option<String>,
    /// Why it cannot be used, and how to get one that can.
    pub problem: Option<String>,
    /// What else should be known.
    pub note: Option<String>,
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::PathBuf;
    use std::sync::Once;

    use anyhow::Result;
    use ferrochat_tensor::cuda::{self, CardInfo, CudaOptions, cards, libraries};
    use ferrochat_tensor::{DType, Device};

    use super::{CardReport, LibraryReport, Report};
    use crate::errors::usage;
    use crate::home::Home;
    use crate::machine;

    /// The least compute capability: the first with bf16.
    const LEAST: (u32, u32) = (8, 0);

    /// The figures of the card whose name stands in `name`.
    pub fn card(name: &str) -> Option<cards::Card> {
        cards::lookup(name)
    }

    /// Opens the GPU of this number.
    ///
    /// # Errors
    /// One sentence, as usage: what is missing and how to get it.
    pub fn open(index: usize, dtype: Option<DType>) -> Result<Device> {
        try_open(index, dtype).map_err(|sentence| usage(format!("--device cuda:{index} cannot be used: {sentence}")))
    }

    /// The first GPU that can be used; none where there is none. Where a card is there but something else is missing,
    /// that is said once on stderr.
    pub fn if_any(dtype: Option<DType>) -> Option<Device> {
        // Whoever names a kernel of the CPU wants the CPU.
        if std::env::var_os("FERROCHAT_KERNEL").is_some_and(|name| !name.is_empty()) {
            return None;
        }
        let found = match libraries::load_driver() {
            Err(error) if !error.found => return None,
            Err(error) => Err(error.to_string()),
            Ok(()) => cuda::cards().map_err(|error| error.to_string()),
        };
        let opened = found.and_then(|cards| {
            let usable = cards.iter().find(|card| card.capability >= LEAST);
            match usable.or(cards.first()) {
                Some(card) => try_open(card.index, dtype).map(Some),
                None => Ok(None),
            }
        });
        opened.unwrap_or_else(|sentence| {
            static SAID: Once = Once::new();
            SAID.call_once(|| eprintln!("computing on the CPU, not on a GPU: {sentence}"));
            None
        })
    }

    fn try_open(index: usize, dtype: Option<DType>) -> Result<Device, String> {
        let sentence = |error: &dyn std::fmt::Display| error.to_string();
        libraries::load().map_err(|error| sentence(&error))?;
        let kernels = kernel_folders();
        let cards = cuda::cards().map_err(|error| sentence(&error))?;
        // What is missing is said now and not in the middle of the work.
        let needs_compiler = |card: &&CardInfo| card.capability >= LEAST && !are_compiled(card, &kernels);
        if cards.get(index).as_ref().is_some_and(needs_compiler) {
            libraries::nvrtc().map_err(|error| sentence(&error))?;
        }
        let options = CudaOptions { index, dtype, kernels };
        Device::cuda(&options).map_err(|error| sentence(&error))
    }

    /// The cache, then what may have come with the program.
    fn kernel_folders() -> Vec<PathBuf> {
        let cache = Home::from_environment().ok().map(|home| home.cache.join("kernels"));
        let program = std::env::current_exe().ok();
        let beside = program.and_then(|file| Some(file.parent()?.join("kernels")));
        cache.into_iter().chain(beside).collect()
    }

    /// True if all kernels for a card lie in the folders.
    fn are_compiled(card: &CardInfo, folders: &[PathBuf]) -> bool {
        let architectures = cuda::architectures(card.capability);
        let is_there = |source: &cuda::Source, dtype| {
            let mut names = architectures
                .iter()
                .map(|architecture| source.file_name(dtype, architecture));
            names.any(|name| folders.iter().any(|folder| folder.join(&name).is_file()))
        };
        let mut sources = cuda::SOURCES.iter();
        sources.all(|source| cuda::ELEMENTS.into_iter().all(|dtype| is_there(source, dtype)))
    }

    /// Everything that there is to say.
    pub fn report() -> Report {
        let libraries = libraries::find();
        let kernel_folders = kernel_folders();
        let mut report = Report {
            on_the_bus: machine::nvidia_cards_on_the_bus(),
            kernel_module: machine::nvidia_kernel_module(),
            ..Report::default()
        };
        if libraries.driver.is_usable() {
            match cuda::cards() {
                Ok(cards) => report.cards = cards.iter().map(|card| describe(card, &kernel_folders)).collect(),
                Err(error) => report.problem = Some(error.to_string()),
            }
        }
        let needed = [&libraries.driver, &libraries.cublas_lt];
        let missing = needed.into_iter().find_map(|library| library.problem.clone());
        let compiler = || {
            let compiled = report.cards.iter().any(|card| card.kernels_compiled);
            libraries.nvrtc.problem.clone().filter(|_| !compiled)
        };
        let no_card = || {
            report
                .cards
                .is_empty()
                .then(|| "the driver shows no card; CUDA_VISIBLE_DEVICES may hide it".to_owned())
        };
        let unfit = || {
            let usable = report.cards.iter().any(|card| card.problem.is_none());
            report.cards.first()?.problem.clone().filter(|_| !usable)
        };
        report.problem = match report.problem.take() {
            Some(problem) => Some(problem),
            None if libraries.driver.is_usable() => no_card().or_else(unfit).or(missing).or_else(compiler),
            None => missing,
        };
        report.kernel_folders = kernel_folders;
        let all = [libraries.driver, libraries.nvrtc, libraries.cublas_lt, libraries.nccl];
        report.libraries = all.into_iter().map(of_library).collect();
        report
    }

    fn describe(card: &CardInfo, folders: &[PathBuf]) -> CardReport {
        let known = cards::lookup(&card.name);
        let (major, minor) = card.capability;
        let unfit = card.capability < LEAST;
        CardReport {
            device: format!("cuda:{}", card.index),
            name: card.name.clone(),
            memory_bytes: card.memory_bytes,
            compute_capability: format!("{major}.{minor}"),
            bf16_flops: known.and_then(|card| card.bf16_flops),
            f32_flops: known.map(|card| card.f32_flops),
            bytes_per_second: known.map(|card| card.bytes_per_second),
            kernels_compiled: are_compiled(card, folders),
            problem: unfit.then(|| {
                format!(
                    "{} has compute capability {major}.{minor}, and 8.0 (Ampere, 2020) or later is needed",
                    card.name
                )
            }),
        }
    }

    fn of_library(finding: libraries::Finding) -> LibraryReport {
        LibraryReport {
            name: finding.kind.name(),
            path: finding.path,
            version: finding.version.map(|version| version.to_string()),
            problem: finding.problem,
            note: finding.note,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use anyhow::Result;
    use ferrochat_tensor::{DType, Device};

    use super::Report;
    use crate::errors::usage;

    const NONE: &str = "GPUs are used on Linux only";

    /// Figures of a card.
    pub struct Card {
        /// Dense bf16 operations per second.
        pub bf16_flops: Option<f64>,
        /// f32 operations per second.
        pub f32_flops: f64,
    }

    /// No card is known.
    pub fn card(_name: &str) -> Option<Card> {
        None
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn open(index: usize, _dtype: Option<DType>) -> Result<Device> {
        Err(usage(format!("--device cuda:{index} cannot be used: {NONE}")))
    }

    /// None.
    pub fn if_any(_dtype: Option<DType>) -> Option<Device> {
        None
    }

    /// Nothing is there.
    pub fn report() -> Report {
        Report {
            problem: Some(NONE.to_owned()),
            ..Report::default()
        }
    }
}
