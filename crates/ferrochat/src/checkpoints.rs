//! The checkpoints of a stage: what training puts into one beside model and optimizer, how many are
//! kept, and what a sentence about a bad one costs. The format is the model crate's.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ferrochat_data::{LoaderState, Packing};
use ferrochat_model::checkpoint::{self, Contents};
use ferrochat_model::{Checkpoint, CheckpointError, Gpt, Optimizer};
use ferrochat_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::errors::usage;
use crate::settings::Settings;

/// Exact position of the data loader.
const LOADER_FILE: &str = "loader.bin";

/// The trainer's part of `meta.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trainer {
    /// Settings of the run.
    pub settings: Settings,
    /// How rows were made of the text in base training.
    pub packing: Packing,
    /// Seconds of training so far.
    pub elapsed: f64,
    /// Smoothed training loss.
    pub smooth_loss: f64,
}

impl Trainer {
    /// At the beginning of a stage.
    pub fn begin(settings: &Settings, packing: Packing) -> Trainer {
        Trainer {
            settings: settings.clone(),
            packing,
            elapsed: 0.0,
            smooth_loss: 0.0,
        }
    }
}

/// Where a run goes on.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// Steps done.
    pub step: usize,
    /// Figures of the run so far.
    pub trainer: Trainer,
    /// What [`Checkpoints::save`] was given as position.
    position: Vec<u8>,
}

impl Resumed {
    /// State of the loader after the last batch trained on; none before the first.
    ///
    /// # Errors
    /// The file is not a loader's.
    pub fn loader(&self) -> Result<Option<LoaderState>> {
        if self.position.is_empty() {
            return Ok(None);
        }
        Ok(Some(LoaderState::from_bytes(&self.position)?))
    }
}

/// Checkpoints in a stage's folder.
pub struct Checkpoints {
    folder: PathBuf,
    save_every: i64,
    tokenizer: String,
}

impl Checkpoints {
    /// In `folder`; those of every `save_every` steps are kept, of the others only the newest.
    pub fn new(folder: &Path, save_every: i64, tokenizer: &Tokenizer) -> Checkpoints {
        Checkpoints {
            folder: folder.to_owned(),
            save_every,
            tokenizer: tokenizer.fingerprint(),
        }
    }

    /// Checkpoints of every so many steps are kept.
    pub fn save_every(&self) -> i64 {
        self.save_every
    }

    /// Brings model and optimizer to where the latest checkpoint left them; none if there is no checkpoint.
    ///
    /// # Errors
    /// One that is damaged, or of another model or tokenizer.
    pub fn restore_latest(&self, gpt: &Gpt, optimizer: &mut Optimizer) -> Result<Option<Resumed>> {
        let folder = match checkpoint::latest(&self.folder) {
            Ok(folder) => folder,
            Err(CheckpointError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(sorted(error)),
        };
        let checkpoint = Checkpoint::open(&folder).map_err(sorted)?;
        checkpoint.expect(gpt.config(), &self.tokenizer).map_err(sorted)?;
        let trainer = trainer_of(&checkpoint)?;
        let step = checkpoint.meta().step as usize;
        let position = checkpoint.file(LOADER_FILE).map_err(sorted)?;
        checkpoint.load_model(gpt).map_err(sorted)?;
        checkpoint.load_optimizer(optimizer).map_err(sorted)?;
        Ok(Some(Resumed {
            step,
            trainer,
            position,
        }))
    }

    /// Saves a checkpoint after `step` steps and removes those that need not be kept.
    ///
    /// # Errors
    /// The disk is full or cannot be written; the checkpoint before is untouched then.
    pub fn save(
        &self,
        gpt: &Gpt,
        optimizer: &Optimizer,
        step: usize,
        trainer: &Trainer,
        position: &[u8],
    ) -> Result<()> {
        let trainer = serde_json::to_value(trainer).context("a trainer always serialises")?;
        let kept = checkpoint::save(
            &self.folder,
            &Contents {
                gpt,
                optimizer: Some(optimizer),
                step: step as u64,
                tokenizer: &self.tokenizer,
                trainer: &trainer,
                files: &[(LOADER_FILE, position)],
            },
        )?;
        for (step, folder) in checkpoint::list(&self.folder)? {
            let wanted = self.save_every > 0 && step % self.save_every as u64 == 0;
            if folder != kept && !wanted {
                checkpoint::remove(&folder)?;
            }
        }
        Ok(())
    }

    /// Bytes of the checkpoint after `step` steps.
    pub fn size(&self, step: usize) -> Option<u64> {
        let (_, folder) = checkpoint::list(&self.folder)
            .ok()?
            .into_iter()
            .find(|(found, _)| *found == step as u64)?;
        let sizes = std::fs::read_dir(folder).ok()?.flatten();
        Some(sizes.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum())
    }
}

/// Bytes of the checkpoints that a stage of so many steps has at a time: those of every `save_every` steps, the newest, and
/// the one being written.
pub fn disk_bytes(one: u64, steps: usize, save_every: i64) -> u64 {
    let kept = match u64::try_from(save_every) {
        Ok(every) if every > 0 => (steps as u64).saturating_sub(1) / every,
        _ => 0,
    };
    one.saturating_mul(kept + 2)
}

/// What is left of so many bytes where checkpoints of `one` lie in `folder` already; at least one, because a save writes
/// before it removes.
pub fn bytes_to_come(all: u64, one: u64, folder: &Path) -> u64 {
    let there = checkpoint::list(folder).map_or(0, |there| there.len() as u64);
    all.saturating_sub(there.saturating_mul(one)).max(one)
}

/// The trainer's part of a checkpoint's `meta.json`.
///
/// # Errors
/// It was written by something else.
pub fn trainer_of(checkpoint: &Checkpoint) -> Result<Trainer> {
    serde_json::from_value(checkpoint.meta().trainer.clone()).map_err(|error| {
        usage(format!(
            "the checkpoint {} was not made by this program's training: {error}",
            checkpoint.folder().display()
        ))
    })
}

/// A checkpoint that is not there or of another model is the user's to choose; a damaged one is a failure.
pub fn sorted(error: CheckpointError) -> anyhow::Error {
    match error {
        CheckpointError::Missing { .. } | CheckpointError::Foreign { .. } => usage(error),
        other => anyhow::Error::new(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_is_wanted_for_every_checkpoint_that_is_kept() {
        // The newest and the one being written; of every 20 of 100 steps four more, as the last is the newest.
        for (steps, every, count) in [
            (100, -1, 2),
            (100, 0, 2),
            (100, 200, 2),
            (100, 100, 2),
            (100, 20, 6),
            (101, 20, 7),
        ] {
            assert_eq!(disk_bytes(10, steps, every), 10 * count, "{steps} {every}");
        }
        assert_eq!(disk_bytes(1 << 60, 1 << 30, 1), u64::MAX);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(bytes_to_come(60, 10, folder.path()), 60);
        std::fs::create_dir(folder.path().join("step_000020")).unwrap();
        assert_eq!(bytes_to_come(60, 10, folder.path()), 50);
        assert_eq!(bytes_to_come(5, 10, folder.path()), 10);
    }
}
