//! Files that turn out to be unreadable, and the rule by which a run goes on without them: what a run has given up
//! it leaves alone in every later pass and after every resume, also where the file has been mended meanwhile. This
//! room must never know how a file is read.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::corpus::{Mark, SourceFile};
use crate::error::DataError;

/// Larger files are not read once more to see whether they have changed.
const LARGEST_CHECKED: u64 = 1 << 30;

/// What the system says when it lacks something, and not the file: ENOMEM, ENFILE, EMFILE.
const NOT_THE_FILE: [i32; 3] = [12, 23, 24];

/// A file that could not be read, or not to its end, and of which nothing more is read in this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name below the data path.
    pub name: String,
    /// What is wrong, as a sentence that names the file and the place.
    pub reason: String,
    file: u64,
    /// Where its last readable part ends.
    group: u64,
    row: u64,
}

impl Skipped {
    /// Gives up file `mark.file` from `mark` on.
    pub(crate) fn new(file: &SourceFile, mark: Mark, error: &DataError) -> Self {
        Skipped {
            name: file.name.clone(),
            reason: error.to_string(),
            file: mark.file,
            group: mark.group,
            row: mark.row,
        }
    }

    /// Whether documents of it were read before the place that cannot be.
    pub fn is_partly_read(&self) -> bool {
        (self.group, self.row) != (0, 0)
    }

    fn mark(&self) -> Mark {
        Mark {
            file: self.file,
            group: self.group,
            row: self.row,
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_partly_read() {
            "the rest of it is"
        } else {
            "it is"
        };
        write!(f, "{} ({what} skipped)", self.reason)
    }
}

/// What a run has learned about the files that it has read so far; part of its saved state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// In the order in which they were given up.
    pub(crate) skipped: Vec<Skipped>,
    /// Number and digest of each shard when it was first read.
    pub(crate) shards: Vec<(u64, String)>,
}

impl Seen {
    /// Where reading of a file ends before its end.
    pub(crate) fn end_of(&self, file: u64) -> Option<Mark> {
        let skipped = self.skipped.iter().find(|skipped| skipped.file == file);
        skipped.map(Skipped::mark)
    }
}

/// Whether `error` says that a file cannot be read, and not that something else went wrong.
pub(crate) fn is_unreadable(error: &DataError) -> bool {
    match error {
        DataError::Malformed { .. } | DataError::Unsupported { .. } => true,
        DataError::Io { source, .. } => source
            .raw_os_error()
            .is_none_or(|number| !NOT_THE_FILE.contains(&number)),
        _ => false,
    }
}

/// The digest of a shard that is about to be read; none of one that is too large to be read twice.
pub(crate) fn digest(path: &Path) -> Result<Option<String>, DataError> {
    let fail = |error| DataError::io(path, error);
    let mut file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() > LARGEST_CHECKED {
        return Ok(None);
    }
    let mut hash = Hashed(Sha256::new());
    io::copy(&mut file, &mut hash).map_err(fail)?;
    Ok(Some(short(&hash.0)))
}

/// The first 16 digits of what `hash` has come to.
pub(crate) fn short(hash: &Sha256) -> String {
    let digest = hash.clone().finalize();
    digest[..8].iter().fold(String::new(), |mut hex, byte| {
        use fmt::Write as _;
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    })
}

/// A digest that one can write to.
pub(crate) struct Hashed(pub(crate) Sha256);

impl io::Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
