//! The manifest: size and SHA-256 of every file of a checkpoint, and files that are hashed as they are written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::CheckpointError;

/// The manifest's own file.
pub(super) const MANIFEST: &str = "manifest.json";
/// A manifest is a few lines; more is not one.
const LARGEST: u64 = 1 << 20;

/// What a file must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    bytes: u64,
    sha256: String,
}

/// All files of a checkpoint but the manifest.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    files: BTreeMap<String, Entry>,
}

struct Hashing<W> {
    inner: W,
    digest: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.digest.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// True for a name that stays inside its folder.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

impl Manifest {
    /// Writes a file of the checkpoint, makes it durable and notes what it is.
    pub(super) fn write(
        &mut self,
        folder: &Path,
        name: &str,
        contents: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CheckpointError> {
        debug_assert!(is_plain(name));
        let path = folder.join(name);
        let write = || {
            let mut file = Hashing {
                inner: File::create(&path)?,
                digest: Sha256::new(),
                bytes: 0,
            };
            let mut buffered = BufWriter::with_capacity(1 << 20, &mut file);
            contents(&mut buffered)?;
            buffered.flush()?;
            drop(buffered);
            file.inner.sync_all()?;
            Ok(Entry {
                bytes: file.bytes,
                sha256: format!("{:x}", file.digest.finalize()),
            })
        };
        let entry = write().map_err(CheckpointError::writing(&path))?;
        self.files.insert(name.to_owned(), entry);
        Ok(())
    }

    /// Writes the manifest itself.
    pub(super) fn finish(&self, folder: &Path) -> Result<(), CheckpointError> {
        let path = folder.join(MANIFEST);
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()
        };
        write().map_err(CheckpointError::writing(&path))
    }

    /// Reads a manifest and checks that every file it names is there with its size.
    pub(super) fn read(folder: &Path) -> Result<Manifest, CheckpointError> {
        let path = folder.join(MANIFEST);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => CheckpointError::Missing {
                path: folder.to_owned(),
                reason: format!("is not a checkpoint: it has no {MANIFEST}"),
            },
            _ => CheckpointError::reading(&path)(error),
        })?;
        let mut bytes = Vec::new();
        file.take(LARGEST)
            .read_to_end(&mut bytes)
            .map_err(CheckpointError::reading(&path))?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| CheckpointError::damaged(&path, format!("it is not a manifest ({error})")))?;
        for (name, entry) in &manifest.files {
            if !is_plain(name) {
                return Err(CheckpointError::damaged(&path, format!("it names a file {name:?}")));
            }
            let path = folder.join(name);
            let found = std::fs::metadata(&path).map_err(CheckpointError::reading(&path))?.len();
            if found != entry.bytes {
                let reason = format!("it has {found} bytes where {} were written", entry.bytes);
                return Err(CheckpointError::damaged(&path, reason));
            }
        }
        Ok(manifest)
    }

    /// Whether the checkpoint has a file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The names of all files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Reads a file through and compares its checksum.
    pub(super) fn verify(&self, folder: &Path, name: &str) -> Result<(), CheckpointError> {
        let path = folder.join(name);
        let Some(entry) = self.files.get(name) else {
            return Err(CheckpointError::Missing {
                path: folder.to_owned(),
                reason: format!("has no {name}"),
            });
        };
        let hash = || {
            let mut file = File::open(&path)?;
            let mut digest = Sha256::new();
            let mut buffer = vec![0; 1 << 20];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(format!("{:x}", digest.finalize())),
                    read => digest.update(&buffer[..read]),
                }
            }
        };
        let found = hash().map_err(CheckpointError::reading(&path))?;
        if found == entry.sha256 {
            Ok(())
        } else {
            Err(CheckpointError::damaged(
                &path,
                "its checksum is not that of what was written",
            ))
        }
    }

    /// A file's bytes, verified.
    pub(super) fn read_file(&self, folder: &Path, name: &str) -> Result<Vec<u8>, CheckpointError> {
        self.verify(folder, name)?;
        let path = folder.join(name);
        std::fs::read(&path).map_err(CheckpointError::reading(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_says_which_file_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let full = |_: &mut dyn Write| Err(io::Error::from_raw_os_error(28));
        let error = Manifest::default()
            .write(folder.path(), "x.bin", full)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot write ") && error.contains("x.bin: No space left"),
            "{error}"
        );
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", ".hidden", "a\0"] {
            assert!(!is_plain(name), "{name}");
        }
        assert!(is_plain("model.safetensors") && is_plain("loader-0.bin"));
    }
}
