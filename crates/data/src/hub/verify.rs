//! Reads files again and says which are not what their receipts say. Repairs nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::error::HubError;
use super::receipt::{HIDDEN, Receipt, checksum, read_json};

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As its receipt says.
    Good,
    /// It has other bytes.
    Damaged,
    /// It has another length.
    Length,
    /// There is a receipt and no file.
    Missing,
}

/// What was found out about one file.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Its name below the folder.
    pub path: String,
    /// Length that it should have.
    pub bytes: u64,
    /// What became of it.
    pub state: State,
    /// Whether the source had named the checksum.
    pub confirmed: bool,
    /// The checksum that it should have.
    pub sha256: String,
}

/// The files that have receipts in `root`, by name, with those.
pub fn receipts(root: &Path) -> Result<Vec<(String, Receipt)>, HubError> {
    let hidden = root.join(HIDDEN);
    let (mut open, mut found) = (vec![hidden.clone()], Vec::new());
    while let Some(folder) = open.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(HubError::io(&folder, error)),
        };
        for entry in entries {
            let path: PathBuf = entry.map_err(|error| HubError::io(&folder, error))?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path
                .strip_prefix(&hidden)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            let Some(name) = name.strip_suffix(".json") else {
                continue;
            };
            if let Some(receipt) = read_json(&path) {
                found.push((name.to_owned(), receipt));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Reads every file below `root` that has a receipt and whose name `wanted` accepts; `going` is told how many
/// bytes were read.
///
/// # Errors
/// A file that cannot be read at all, or [`HubError::Interrupted`].
pub fn verify(
    root: &Path,
    wanted: &dyn Fn(&str) -> bool,
    stop: &AtomicBool,
    going: &mut dyn FnMut(u64),
) -> Result<Vec<Verdict>, HubError> {
    let mut verdicts = Vec::new();
    for (path, receipt) in receipts(root)? {
        if !wanted(&path) {
            continue;
        }
        let file = root.join(&path);
        let state = match fs::metadata(&file) {
            Ok(metadata) if metadata.len() == receipt.bytes => {
                let (_, sum) = checksum(&file, &mut |bytes| {
                    going(bytes);
                    !stop.load(Ordering::Relaxed)
                })?;
                if sum == receipt.sha256 {
                    State::Good
                } else {
                    State::Damaged
                }
            }
            Ok(_) => State::Length,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::Missing,
            Err(error) => return Err(HubError::io(&file, error)),
        };
        verdicts.push(Verdict {
            path,
            bytes: receipt.bytes,
            state,
            confirmed: receipt.confirmed,
            sha256: receipt.sha256,
        });
    }
    Ok(verdicts)
}
