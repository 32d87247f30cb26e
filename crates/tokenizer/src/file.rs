//! Reading with a limit, and writing so that no reader ever sees half a file.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::TokenizerError;
use crate::error::Fault;

/// A vocabulary of a million tokens takes about 60 MB as `tokenizer.json`.
const LARGEST: u64 = 256 << 20;

/// The text of a file of no more than 256 MiB.
pub(crate) fn read(path: &Path) -> Result<String, TokenizerError> {
    let failed = |source| TokenizerError::io("read", path, source);
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Fault::new("whole file", "larger than 256 MiB, which no tokenizer is").in_file(path));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Fault::new(format!("byte {at}"), "not UTF-8, as tokenizer files must be").in_file(path)
    })
}

/// Writes to a temporary name in the same folder, syncs, renames.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), TokenizerError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let failed = |source| TokenizerError::io("write", path, source);
    let Some(name) = path.file_name() else {
        return Err(failed(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{unique}.tmp", std::process::id()));
    let temporary: PathBuf = folder.join(temporary);

    let written = (|| {
        // Left by a process of the same number that was killed here; never follow what lies there.
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // The rename itself must reach the disk; only Unix can sync a folder.
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        Ok(())
    })();
    if written.is_err() {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = write(&path, b"x").unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
