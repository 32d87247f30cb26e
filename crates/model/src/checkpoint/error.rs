//! What can go wrong with a checkpoint, each in one sentence that names the file.

use std::io;
use std::path::{Path, PathBuf};

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk refused: full, read-only, no permission.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `write` or `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no checkpoint where one is expected.
    #[error("{} {reason}", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
        /// What it lacks.
        reason: String,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {reason}; use another checkpoint of the run", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A sound checkpoint of something else.
    #[error("the checkpoint {} does not belong to this run: {reason}", path.display())]
    Foreign {
        /// The checkpoint.
        path: PathBuf,
        /// In what it differs.
        reason: String,
    },
}

impl CheckpointError {
    pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError + '_ {
        |source| CheckpointError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError + '_ {
        |source| CheckpointError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Damaged {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn foreign(path: &Path, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Foreign {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
