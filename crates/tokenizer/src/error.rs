//! What can go wrong, in one sentence each.

use std::path::{Path, PathBuf};

/// Everything this crate refuses.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The operating system refused a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A tokenizer file does not hold what it should.
    #[error("{}: {place}: {problem}", path.display())]
    Malformed {
        /// The file (or the name given for bytes in memory).
        path: PathBuf,
        /// Where in the file: a line, or a JSON field such as `model.merges[17]`.
        place: String,
        /// What is wrong there and what would be right.
        problem: String,
    },
    /// The vocabulary asked for cannot hold the bytes and the special tokens, or is absurdly large.
    #[error("vocabulary size {given} is out of range: it must be between {least} and {most}")]
    VocabSize {
        /// The size asked for.
        given: usize,
        /// 256 bytes and the special tokens.
        least: usize,
        /// The largest size accepted.
        most: usize,
    },
    /// Training was finished without a single character of text.
    #[error("there is no text to train a tokenizer on: every document was empty")]
    NoText,
    /// A split pattern that is no regular expression, or none that means the same everywhere.
    #[error("cannot use the split pattern {pattern:?}: {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that is not one of the [`SPECIAL_TOKENS`](crate::SPECIAL_TOKENS).
    #[error("{name:?} is not a special token: those are {}", crate::SPECIAL_TOKENS.join(", "))]
    UnknownSpecial {
        /// The name.
        name: String,
    },
}

impl TokenizerError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// A fault in a file, before the file's name is known.
#[derive(Debug)]
pub(crate) struct Fault {
    pub place: String,
    pub problem: String,
}

impl Fault {
    pub fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
        }
    }

    pub fn in_file(self, path: &Path) -> TokenizerError {
        TokenizerError::Malformed {
            path: path.to_owned(),
            place: self.place,
            problem: self.problem,
        }
    }
}
