//! What can go wrong between a path and a batch, each as one sentence that a
//! user can act on. This room must never know who shows the sentence, or how.

use std::path::{Path, PathBuf};

use crate::Split;

/// An error of this crate. `Display` gives one whole sentence that names the
/// file and the line, byte or row group where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The path given as data does not exist.
    #[error(
        "the data path {} does not exist; give a text file, a folder of text, or JSONL or Parquet files",
        .path.display()
    )]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The file is empty, or the folder holds no bytes of text.
    #[error("{} holds no text (0 bytes); give data with at least one document", .path.display())]
    Empty {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A single file of a kind that cannot be read.
    #[error("{} cannot be used as data: {reason}", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is and what would be right.
        reason: String,
    },
    /// A folder without a single file that can be read.
    #[error(
        "the folder {} holds no data: expected .parquet, .jsonl or text files such as .txt and .md, {found}",
        .path.display()
    )]
    NothingInFolder {
        /// The folder.
        path: PathBuf,
        /// What was there instead.
        found: String,
    },
    /// One part of the data has no document at all.
    #[error(
        "the {split} part of {} has no documents; give more data, or more than one shard",
        .path.display()
    )]
    NoDocuments {
        /// The data path.
        path: PathBuf,
        /// The part that is empty.
        split: Split,
    },
    /// One part of the data has fewer tokens than a single batch needs.
    #[error(
        "the {split} part of {} has {tokens} tokens but one batch needs {needed}; \
         give more data, or a smaller batch size or sequence length",
        .path.display()
    )]
    TooSmall {
        /// The data path.
        path: PathBuf,
        /// The part that is too small.
        split: Split,
        /// Tokens in that part (BOS included).
        tokens: u64,
        /// Tokens that one batch over all ranks takes.
        needed: u64,
    },
    /// A file could not be opened or read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A place inside a file does not hold what its kind promises.
    #[error("{} is damaged or not what its name says: {place}: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, byte or row group.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// Conversations that cannot be read or break the rules.
    #[error("the conversations of {name} cannot be used: {reason}")]
    Conversations {
        /// The file, or the name of the source.
        name: String,
        /// The line, row or number of the first fault, and what is wrong there.
        reason: String,
    },
    /// Preference pairs that cannot be read or make no sense.
    #[error("the pairs of {} cannot be used: {reason}", .path.display())]
    Pairs {
        /// The file.
        path: PathBuf,
        /// The line of the first fault, and what is wrong there.
        reason: String,
    },
    /// So many files cannot be read that what is left is not the data that was meant.
    #[error("{unreadable} of the {files} files that {} holds for {split} cannot be read; the first: {first}", .path.display())]
    Unreadable {
        /// The data path.
        path: PathBuf,
        /// The part of the data.
        split: Split,
        /// Files given up so far.
        unreadable: usize,
        /// Files of that part.
        files: usize,
        /// What is wrong with the first of them.
        first: String,
    },
    /// A shard is not what it was when the run first read it.
    #[error(
        "{} has changed since this run first read it; bring the old file back, or begin anew",
        .path.display()
    )]
    Changed {
        /// The shard.
        path: PathBuf,
    },
    /// A loader setting that cannot work.
    #[error("{0}")]
    Config(String),
    /// A saved loader state that is damaged or belongs to something else.
    #[error("the saved data position cannot be used: {0}")]
    State(String),
    /// The loader has already stopped (after an error, or because a thread ended).
    #[error("the data loader has stopped; look for its first error above")]
    Stopped,
}

impl DataError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        DataError::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn conversations(name: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        DataError::Conversations {
            name: name.into(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn pairs(path: &Path, reason: String) -> Self {
        DataError::Pairs {
            path: path.to_path_buf(),
            reason,
        }
    }

    pub(crate) fn malformed(path: &Path, place: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        DataError::Malformed {
            path: path.to_path_buf(),
            place: place.into(),
            reason: reason.to_string(),
        }
    }
}
