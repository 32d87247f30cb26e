//! What can go wrong between a name and a file, each as one sentence that names the file and what would help.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error of the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// What was asked for cannot work; nothing has been done.
    #[error("{0}")]
    Request(String),
    /// A file could not be had.
    #[error("{file} could not be fetched: {reason}")]
    File {
        /// The file, or the list of files.
        file: String,
        /// What happened, and what would help.
        reason: String,
    },
    /// The disk is full.
    #[error("the disk of {} is full; free some space or set FERROCHAT_HOME to another disk", .path.display())]
    NoSpace {
        /// What was being written.
        path: PathBuf,
    },
    /// A file here could not be read or written.
    #[error("cannot use {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody asked for the end.
    #[error("interrupted; the same command goes on where this one stopped")]
    Interrupted,
}

impl HubError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> HubError {
        let path = path.to_path_buf();
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => HubError::NoSpace { path },
            _ => HubError::Io { path, source },
        }
    }
}

/// What happened to one attempt.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may go better the next time, not before so long.
    Passing(String, Option<Duration>),
    /// The server cannot be reached at all, which seldom passes in seconds.
    Unreachable(String),
    /// What came was not what should have come.
    Spoilt(String),
    /// It will not go better.
    Final(String),
    /// Nothing to do with the network.
    Here(HubError),
}

impl Fault {
    pub(super) fn passing(reason: impl Into<String>) -> Fault {
        Fault::Passing(reason.into(), None)
    }

    pub(super) fn reason(&self) -> String {
        match self {
            Fault::Passing(reason, _) | Fault::Unreachable(reason) | Fault::Spoilt(reason) | Fault::Final(reason) => {
                reason.clone()
            }
            Fault::Here(error) => error.to_string(),
        }
    }
}

impl From<HubError> for Fault {
    fn from(error: HubError) -> Fault {
        Fault::Here(error)
    }
}
