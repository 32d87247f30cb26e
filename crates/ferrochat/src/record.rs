//! `stage.json`: what a stage of a run was asked to do and how far it came, kept beside its results;
//! and the lock that keeps two processes out of one run. Knows files, never how a stage works.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::errors::{refuse, usage};
use crate::format::shell_line;
use crate::home::{RunFolder, write_atomically};
use crate::machine::Machine;
use crate::settings::Settings;

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Begun: at work now, or ended without a chance to say so.
    Begun,
    /// Stopped by a signal after a checkpoint.
    Interrupted,
    /// Stopped by an error.
    Failed,
    /// Done.
    Finished,
}

impl State {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            State::Begun => "begun",
            State::Interrupted => "interrupted",
            State::Failed => "failed",
            State::Finished => "finished",
        }
    }
}

/// One stage of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageRecord {
    /// `tokenizer`, `base`
    pub stage: String,
    /// How far.
    pub state: State,
    /// First start, UTC.
    pub started: String,
    /// Last change, UTC.
    pub updated: String,
    /// Seconds of work over all starts.
    pub seconds: f64,
    /// The command line that began it.
    pub command: String,
    /// Version of the program.
    pub version: String,
    /// The machine it began on.
    pub machine: Machine,
    /// Settings of the run.
    pub settings: Settings,
    /// What the stage planned and found; its own business.
    pub details: Value,
}

const FILE: &str = "stage.json";

impl StageRecord {
    /// A stage that begins now.
    pub fn begin(stage: &str, settings: &Settings, details: Value) -> StageRecord {
        let now = crate::format::now();
        StageRecord {
            stage: stage.to_owned(),
            state: State::Begun,
            started: now.clone(),
            updated: now,
            seconds: 0.0,
            command: command_line(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: Machine::detect(),
            settings: settings.clone(),
            details,
        }
    }

    /// The record in a stage's folder, if there is one.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    pub fn load(folder: &Path) -> Result<Option<StageRecord>> {
        let path = folder.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            // A file in a folder's place is refused where the run's folder is checked.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let record = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is damaged or was written by another version; begin again with --fresh or another --run",
                path.display()
            )
        })?;
        Ok(Some(record))
    }

    /// Writes the record into a stage's folder.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn save(&mut self, folder: &Path, state: State) -> Result<()> {
        self.state = state;
        self.updated = crate::format::now();
        let mut text = serde_json::to_vec_pretty(self).expect("a record always serialises");
        text.push(b'\n');
        write_atomically(&folder.join(FILE), &text)
    }

    /// The stage's own settings.
    ///
    /// # Errors
    /// They are another version's, as usage.
    pub fn settings_of_stage<T: DeserializeOwned>(&self, run: &str) -> Result<T> {
        serde_json::from_value(self.details["settings"].clone()).map_err(|error| {
            let stage = &self.stage;
            let fresh = shell_line(["ferrochat", "train", stage, "--run", run, "--fresh"]);
            usage(format!(
                "{stage} of the run {run:?} was begun by another version ({error}); `{fresh}` begins it again"
            ))
        })
    }

    /// A number among the details.
    pub fn number(&self, pointer: &str) -> Option<f64> {
        self.details.pointer(pointer)?.as_f64()
    }
}

/// The line that was typed, as a shell takes it.
pub fn command_line() -> String {
    let words: Vec<String> = std::env::args_os()
        .enumerate()
        .map(|(at, word)| {
            if at == 0 {
                "ferrochat".to_owned()
            } else {
                word.to_string_lossy().into_owned()
            }
        })
        .collect();
    crate::format::shell_line(words.iter().map(String::as_str))
}

/// Held while a process works on a run; the system releases it whatever happens.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes a run's lock, a file beside its folder, which need not exist yet.
///
/// # Errors
/// Another process works on this run, or the file cannot be made.
pub fn lock(run: &RunFolder) -> Result<Lock> {
    let runs = run.root.parent().unwrap_or_else(|| Path::new("."));
    let path: PathBuf = runs.join(format!(".{}.lock", run.name));
    let failed = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(runs).with_context(failed)?;
    let file = File::create(&path).with_context(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(std::fs::TryLockError::WouldBlock) => refuse!(
            "another ferrochat is working on the run {:?}; wait for it, stop it, or give another --run",
            run.name
        ),
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(StageRecord::load(folder.path()).unwrap().is_none());
        let mut record = StageRecord::begin("base", &Settings::default(), serde_json::json!({"a": {"b": 2.5}}));
        record.save(folder.path(), State::Finished).unwrap();
        let loaded = StageRecord::load(folder.path()).unwrap().unwrap();
        assert_eq!((loaded.state, loaded.number("/a/b")), (State::Finished, Some(2.5)));
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let error = StageRecord::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("stage.json"), "{error}");
    }

    #[test]
    fn a_run_has_one_worker_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder {
            name: "x".into(),
            root: folder.path().join("x"),
        };
        let first = lock(&run).unwrap();
        assert!(lock(&run).unwrap_err().to_string().contains("another ferrochat"));
        drop(first);
        assert!(lock(&run).is_ok());
    }
}
