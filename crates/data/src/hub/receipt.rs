//! What is remembered of a file beside it, in `.hub/`: how long it is, its checksum, and where it came from.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::HubError;

/// The folder of receipts, parts and locks.
pub(super) const HIDDEN: &str = ".hub";

/// The receipt of a file that came whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Where it came from.
    pub address: String,
    /// Its length.
    pub bytes: u64,
    /// Its checksum, in hexadecimal.
    pub sha256: String,
    /// Whether the source named the same checksum; else it was made from what came.
    pub confirmed: bool,
    /// The commit that the revision stood for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Where the things of one file lie.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The file itself.
    pub(super) file: PathBuf,
    /// What came so far.
    pub(super) part: PathBuf,
    /// What that is a part of.
    pub(super) origin: PathBuf,
    /// Held by the process that downloads.
    pub(super) lock: PathBuf,
    receipt: PathBuf,
}

impl Places {
    /// Of the file called `path` below `root`.
    pub(super) fn new(root: &Path, path: &str) -> Places {
        let hidden = |ending: &str| root.join(HIDDEN).join(format!("{path}{ending}"));
        Places {
            file: root.join(path),
            part: hidden(".part"),
            origin: hidden(".part.json"),
            lock: hidden(".lock"),
            receipt: hidden(".json"),
        }
    }

    /// The receipt, if there is one that can be read.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        read_json(&self.receipt)
    }

    pub(super) fn write_receipt(&self, receipt: &Receipt) -> Result<(), HubError> {
        write_json(&self.receipt, receipt)
    }
}

/// A small file of JSON; `None` if it is not there or makes no sense.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a small file whole or not at all.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), HubError> {
    let fail = |error| HubError::io(path, error);
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).map_err(fail)?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)
        .map_err(fail)?;
    serde_json::to_writer(&mut file, value).map_err(|error| fail(error.into()))?;
    file.flush().map_err(fail)?;
    readable(file.as_file()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Lets others read a file: a temporary one is private, and a cache may be shared.
fn readable(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    let _ = file;
    Ok(())
}

/// Length and sha256 of a file; `going` is asked now and then and told how many bytes were read.
pub(super) fn checksum(path: &Path, going: &mut dyn FnMut(u64) -> bool) -> Result<(u64, String), HubError> {
    let fail = |error| HubError::io(path, error);
    let mut file = File::open(path).map_err(fail)?;
    let (mut hash, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let read = match file.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(fail(error)),
        };
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
        if !going(read as u64) {
            return Err(HubError::Interrupted);
        }
    }
    Ok((bytes, format!("{:x}", hash.finalize())))
}

/// True for what can be a sha256.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
