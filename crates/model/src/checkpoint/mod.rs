//! Checkpoints: all that a run needs to go on, in a folder that is either whole or not there.
//!
//! A run's folder holds `step_000123/` folders and the file `latest`, which names one of them. Each has
//! `model.safetensors`, `optimizer.safetensors` (if saved with one), `meta.json` (the model's configuration, the step,
//! the tokenizer's fingerprint, whatever JSON the trainer wants back), files the trainer adds, and `manifest.json`
//! with size and SHA-256 of each. A save writes a temporary folder beside, syncs every file and the folder, renames
//! it, and moves `latest` last, so that a crash at any moment leaves a whole checkpoint to resume from.
//!
//! Files are read as if an enemy had written them: no panic, no allocation beyond their size, no pickle.
//! This room must never know what the trainer's JSON or files mean.

mod error;
mod folder;
mod manifest;
mod read;
mod tensors;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::CheckpointError;
pub use folder::{latest, list, remove};
pub use read::Checkpoint;

use crate::config::GptConfig;
use crate::gpt::Gpt;
use crate::optim::{Kept, Optimizer};

use folder::Staging;
use manifest::Manifest;
use tensors::Source;

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const META: &str = "meta.json";
/// Version of the layout.
const FORMAT: u32 = 1;

/// What to save.
pub struct Contents<'a> {
    /// The model's weights and configuration.
    pub gpt: &'a Gpt,
    /// The optimizer's state; a final checkpoint may do without.
    pub optimizer: Option<&'a Optimizer>,
    /// Optimizer steps done.
    pub step: u64,
    /// Fingerprint of the tokenizer whose ids the model knows.
    pub tokenizer: &'a str,
    /// Anything the trainer wants back: random state, loop state, its own settings.
    pub trainer: &'a serde_json::Value,
    /// Further files by name (letters, digits, `.`, `_`, `-`), such as the data loader's position.
    pub files: &'a [(&'a str, &'a [u8])],
}

/// What `meta.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    format: u32,
    /// Optimizer steps done.
    pub step: u64,
    /// The model.
    pub config: GptConfig,
    /// Fingerprint of the tokenizer.
    pub tokenizer: String,
    /// The trainer's own.
    pub trainer: serde_json::Value,
}

/// Saves a checkpoint into `run_folder` (made if need be) and returns its folder. On an error nothing half-written
/// stays and `latest` is what it was.
///
/// # Panics
/// If an additional file has a name that is not allowed.
pub fn save(run_folder: &Path, contents: &Contents) -> Result<PathBuf, CheckpointError> {
    let staging = Staging::new(run_folder, contents.step)?;
    let folder = staging.folder();
    let mut manifest = Manifest::default();
    let weights = contents
        .gpt
        .declarations()
        .iter()
        .map(|d| (d.param.name().to_owned(), Source::Floats(d.param.value())));
    manifest.write(folder, MODEL, |out| tensors::write(weights.collect(), out))?;
    if let Some(optimizer) = contents.optimizer {
        let state = optimizer.state().map(|(name, kept)| match kept {
            Kept::Tensor(tensor) => (name, Source::Floats(tensor)),
            Kept::Count(count) => (name, Source::Count(count.get())),
        });
        manifest.write(folder, OPTIMIZER, |out| tensors::write(state.collect(), out))?;
    }
    let meta = Meta {
        format: FORMAT,
        step: contents.step,
        config: contents.gpt.config().clone(),
        tokenizer: contents.tokenizer.to_owned(),
        trainer: contents.trainer.clone(),
    };
    manifest.write(folder, META, |out| Ok(serde_json::to_writer_pretty(out, &meta)?))?;
    for (name, bytes) in contents.files {
        let taken = [MODEL, OPTIMIZER, META, manifest::MANIFEST].contains(name);
        assert!(
            manifest::is_plain(name) && !taken,
            "a checkpoint cannot have a file {name:?}"
        );
        manifest.write(folder, name, |out: &mut dyn Write| out.write_all(bytes))?;
    }
    manifest.finish(folder)?;
    staging.publish()
}
