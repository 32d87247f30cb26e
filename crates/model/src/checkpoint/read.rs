//! Opening a checkpoint: the manifest first, then each file when it is asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ferrochat_tensor::Device;

use super::error::CheckpointError;
use super::manifest::Manifest;
use super::tensors::TensorFile;
use super::{FORMAT, META, MODEL, Meta, OPTIMIZER};
use crate::config::GptConfig;
use crate::gpt::Gpt;
use crate::optim::{Kept, Optimizer};

/// A checkpoint on disk. Opening it checks sizes, `meta.json` and that the weights are those of the configuration;
/// each file's checksum is checked when it is read.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    manifest: Manifest,
    meta: Meta,
}

impl Checkpoint {
    /// Opens the checkpoint in `folder` (`…/step_000123`).
    pub fn open(folder: &Path) -> Result<Checkpoint, CheckpointError> {
        let manifest = Manifest::read(folder)?;
        let path = folder.join(META);
        let damaged = |reason: String| CheckpointError::damaged(&path, reason);
        let bytes = manifest.read_file(folder, META)?;
        let meta: Meta =
            serde_json::from_slice(&bytes).map_err(|error| damaged(format!("it makes no sense ({error})")))?;
        if meta.format != FORMAT {
            return Err(damaged(format!(
                "its format is {}, this program knows {FORMAT}",
                meta.format
            )));
        }
        meta.config.validate().map_err(|error| damaged(error.to_string()))?;
        let checkpoint = Checkpoint {
            folder: folder.to_owned(),
            manifest,
            meta,
        };
        checkpoint.check_shapes()?;
        Ok(checkpoint)
    }

    /// Checks before any memory is taken for the model that its file holds what the configuration says.
    fn check_shapes(&self) -> Result<(), CheckpointError> {
        if !self.manifest.has(MODEL) {
            return Err(self.lacks(MODEL));
        }
        let file = TensorFile::open(&self.folder.join(MODEL))?;
        let model = Gpt::new(&Device::oracle().dry_run(), &self.meta.config)
            .map_err(|error| CheckpointError::damaged(&self.folder.join(META), error.to_string()))?;
        self.check_model(&file, &model)
    }

    /// The folder it lies in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Step, configuration, tokenizer and the trainer's JSON.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Refuses a checkpoint of another model or another tokenizer, naming the first difference.
    pub fn expect(&self, config: &GptConfig, tokenizer: &str) -> Result<(), CheckpointError> {
        if let Some(difference) = difference(&self.meta.config, config) {
            return Err(CheckpointError::foreign(&self.folder, difference));
        }
        if self.meta.tokenizer != tokenizer {
            let reason = "it was trained with another tokenizer";
            return Err(CheckpointError::foreign(&self.folder, reason));
        }
        Ok(())
    }

    /// Reads the weights into `gpt`.
    pub fn load_model(&self, gpt: &Gpt) -> Result<(), CheckpointError> {
        if let Some(difference) = difference(&self.meta.config, gpt.config()) {
            return Err(CheckpointError::foreign(&self.folder, difference));
        }
        self.manifest.verify(&self.folder, MODEL)?;
        let mut file = TensorFile::open(&self.folder.join(MODEL))?;
        self.check_model(&file, gpt)?;
        for declaration in gpt.declarations() {
            let param = &declaration.param;
            param.upload(&file.floats(param.name(), param.shape().dims())?);
        }
        Ok(())
    }

    /// Reads the optimizer's state into `optimizer`.
    pub fn load_optimizer(&self, optimizer: &mut Optimizer) -> Result<(), CheckpointError> {
        if !self.manifest.has(OPTIMIZER) {
            return Err(self.lacks(OPTIMIZER));
        }
        self.manifest.verify(&self.folder, OPTIMIZER)?;
        let mut file = TensorFile::open(&self.folder.join(OPTIMIZER))?;
        self.check_names(&file, OPTIMIZER, optimizer.state().map(|(name, _)| name))?;
        for (name, kept) in optimizer.state() {
            match kept {
                Kept::Tensor(tensor) => tensor.upload(&file.floats(&name, tensor.shape().dims())?),
                Kept::Count(count) => count.set(file.count(&name)?),
            }
        }
        Ok(())
    }

    /// A file that the trainer has added.
    pub fn file(&self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        if self.manifest.has(name) {
            self.manifest.read_file(&self.folder, name)
        } else {
            Err(self.lacks(name))
        }
    }

    /// Reads every file through and compares the checksums.
    pub fn verify(&self) -> Result<(), CheckpointError> {
        self.manifest
            .names()
            .try_for_each(|name| self.manifest.verify(&self.folder, name))
    }

    fn lacks(&self, name: &str) -> CheckpointError {
        CheckpointError::Missing {
            path: self.folder.clone(),
            reason: format!("has no {name}"),
        }
    }

    fn check_model(&self, file: &TensorFile, gpt: &Gpt) -> Result<(), CheckpointError> {
        let params = || gpt.declarations().iter().map(|d| &d.param);
        for param in params() {
            file.expect(param.name(), param.shape().dims())?;
        }
        self.check_names(file, MODEL, params().map(|param| param.name().to_owned()))
    }

    /// Refuses a file with more than what is wanted: it is another model's.
    fn check_names(
        &self,
        file: &TensorFile,
        name: &str,
        wanted: impl Iterator<Item = String>,
    ) -> Result<(), CheckpointError> {
        let wanted: BTreeSet<String> = wanted.collect();
        match file.names().into_iter().find(|name| !wanted.contains(name)) {
            None => Ok(()),
            Some(extra) => {
                let reason = format!("it has a tensor {extra}, which this model has not");
                Err(CheckpointError::foreign(&self.folder.join(name), reason))
            }
        }
    }
}

/// The first field in which two configurations differ, in words.
fn difference(theirs: &GptConfig, ours: &GptConfig) -> Option<String> {
    let fields = |config| serde_json::to_value(config).unwrap_or_default();
    let (theirs, ours) = (fields(theirs), fields(ours));
    let differs = |(key, value): &(&String, &serde_json::Value)| ours.get(key) != Some(value);
    let (key, value) = theirs.as_object()?.iter().find(differs)?;
    Some(format!("{key} is {value} there and {} here", ours.get(key)?))
}
