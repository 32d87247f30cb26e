//! From a data set's name to its files: addresses, lengths and checksums, asked of the hub or of a mirror, and kept
//! so that a second time needs no network. This room must never know how a file is fetched.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::catalogue::{Choice, DataSet, Files, Table, shard_name};
use super::client::{Client, host};
use super::error::HubError;
use super::folder;
use super::receipt::{HIDDEN, is_sha256, read_json, write_json};
use super::retry::Retry;

/// A file that can be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// Its name below the data set's folder.
    pub path: String,
    /// Where it lies.
    pub address: String,
    /// Its length, if the source says.
    pub bytes: Option<u64>,
    /// Its checksum, if the source says.
    pub sha256: Option<String>,
}

/// A list as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// What was asked.
    source: String,
    files: Vec<Remote>,
}

/// Who is asked, and how.
pub(super) struct Lister<'a> {
    pub(super) client: &'a Client,
    /// The data set's folder.
    pub(super) root: &'a Path,
    pub(super) revision: Option<&'a str>,
    pub(super) mirror: Option<&'a str>,
    /// Ask even if a list is kept.
    pub(super) update: bool,
    pub(super) retry: Retry,
    pub(super) stop: &'a AtomicBool,
}

/// A file of the hub's answer.
#[derive(Deserialize)]
struct Entry {
    path: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Lister<'_> {
    /// The files of what is wanted; `shards`: how many to learn from.
    pub(super) fn files(&self, choice: Choice, shards: u32) -> Result<Vec<Remote>, HubError> {
        let set = choice.set;
        match set.files {
            Files::Shards { last, .. } => {
                let names: Vec<String> = (0..shards.min(last)).chain([last]).map(shard_name).collect();
                if self.mirror.is_some() {
                    return names.into_iter().map(|name| self.of_mirror(name)).collect();
                }
                let all = self.kept(set, "shards", || self.tree(set, ""))?;
                let find = |name: String| {
                    let found = all.iter().find(|remote| remote.path == name).cloned();
                    found.ok_or_else(|| HubError::File {
                        file: name,
                        reason: format!("{} does not have it at this revision; check --revision", set.source()),
                    })
                };
                names.into_iter().map(find).collect()
            }
            Files::Tables(_) => {
                let mut files = Vec::new();
                for table in choice.tables() {
                    files.extend(self.table(set, table)?);
                }
                Ok(files)
            }
            Files::File(name, address) | Files::Archive(name, address, _) => {
                if self.mirror.is_some() {
                    return Ok(vec![self.of_mirror(name.to_owned())?]);
                }
                self.kept(set, name, || {
                    let reply = self.client.head(address, self.retry, self.stop)?;
                    let reply = reply.ok_or_else(|| missing(name, address))?;
                    Ok(vec![Remote {
                        path: name.to_owned(),
                        address: address.to_owned(),
                        bytes: reply.header("content-length").and_then(|bytes| bytes.parse().ok()),
                        sha256: None,
                    }])
                })
            }
        }
    }

    /// The shards of one split, numbered as the reference numbers them.
    fn table(&self, set: &DataSet, table: Table) -> Result<Vec<Remote>, HubError> {
        let folder = set.table_folder(table);
        if let Some(mirror) = self.mirror {
            let address = format!("{mirror}/{folder}/manifest.json");
            let text = self.client.text(&address, self.retry, self.stop)?;
            let (text, _) = text.ok_or_else(|| missing(&format!("{folder}/manifest.json"), &address))?;
            let names: Vec<String> = serde_json::from_str(&text).map_err(|_| HubError::File {
                file: address,
                reason: "it is not a list of file names, as a mirror must have in each folder".to_owned(),
            })?;
            if let Some(name) = names.iter().find(|name| !is_plain(name)) {
                return Err(HubError::File {
                    file: format!("{mirror}/{folder}"),
                    reason: format!("its list names {name:?}, which cannot be a file of that folder"),
                });
            }
            return names
                .into_iter()
                .map(|name| self.of_mirror(format!("{folder}/{name}")))
                .collect();
        }
        self.kept(set, &folder, || {
            let mut files = self.tree(set, &format!("/{}/{}", table.subset, table.split))?;
            files.retain(|file| file.path.ends_with(".parquet"));
            files.sort_by(|a, b| a.path.cmp(&b.path));
            if files.is_empty() {
                return Err(missing(&folder, set.source()));
            }
            for (number, file) in files.iter_mut().enumerate() {
                file.path = format!("{folder}/{number:05}.parquet");
            }
            Ok(files)
        })
    }

    /// What the hub says is in a folder of a repository; paths are the repository's.
    fn tree(&self, set: &DataSet, folder: &str) -> Result<Vec<Remote>, HubError> {
        let endpoint = &self.client.endpoint;
        let (repository, revision) = (set.source(), self.revision(set).replace('/', "%2F"));
        let mut next = Some(format!(
            "{endpoint}/api/datasets/{repository}/tree/{revision}{folder}?limit=1000"
        ));
        let mut files = Vec::new();
        while let Some(address) = next.take() {
            let page = self.client.text(&address, self.retry, self.stop)?;
            let (text, following) = page.ok_or_else(|| missing(repository, &address))?;
            let entries: Vec<Entry> = serde_json::from_str(&text).map_err(|_| HubError::File {
                file: format!("the list of {repository}"),
                reason: format!("{} answers with something else; check HF_ENDPOINT", host(&address)),
            })?;
            for entry in entries {
                let address = format!(
                    "{endpoint}/datasets/{repository}/resolve/{revision}/{}",
                    encoded(&entry.path)
                );
                files.push(Remote {
                    address,
                    bytes: entry.lfs.as_ref().map(|lfs| lfs.size).or(entry.size),
                    sha256: entry.lfs.map(|lfs| lfs.oid).filter(|oid| is_sha256(oid)),
                    path: entry.path,
                });
            }
            next = following;
        }
        Ok(files)
    }

    fn revision<'a>(&'a self, set: &'a DataSet) -> &'a str {
        self.revision.unwrap_or(set.revision)
    }

    /// A file of a mirror, which is asked how long it is.
    fn of_mirror(&self, path: String) -> Result<Remote, HubError> {
        let mirror = self.mirror.unwrap_or_default();
        let address = if mirror.starts_with(folder::SCHEME) {
            format!("{mirror}/{path}")
        } else {
            format!("{mirror}/{}", encoded(&path))
        };
        let reply = self.client.head(&address, self.retry, self.stop)?;
        let reply = reply.ok_or_else(|| missing(&path, &address))?;
        Ok(Remote {
            bytes: reply.header("content-length").and_then(|bytes| bytes.parse().ok()),
            sha256: reply.linked_etag.clone().filter(|sum| is_sha256(sum)),
            path,
            address,
        })
    }

    /// The list that was kept of the same question, else the answer, which is kept.
    fn kept(
        &self,
        set: &DataSet,
        name: &str,
        ask: impl FnOnce() -> Result<Vec<Remote>, HubError>,
    ) -> Result<Vec<Remote>, HubError> {
        let path = self.root.join(HIDDEN).join(format!("{name}.list.json"));
        // Another endpoint has the same files, but their addresses are kept too.
        let source = format!("{} {} {}", self.client.endpoint, set.source(), self.revision(set));
        if let Some(kept) = read_json::<Kept>(&path).filter(|kept| kept.source == source && !self.update) {
            return Ok(kept.files);
        }
        let kept = Kept { source, files: ask()? };
        write_json(&path, &kept)?;
        Ok(kept.files)
    }
}

fn missing(file: &str, address: &str) -> HubError {
    HubError::File {
        file: file.to_owned(),
        reason: format!("there is nothing at {address}; check --revision, --mirror and HF_ENDPOINT"),
    }
}

/// A name that stays in its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

/// A path as an address has it.
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        assert!(is_plain("00000.parquet"));
        for bad in ["", "../x", "a/b", ".hub", "a\\b"] {
            assert!(!is_plain(bad), "{bad}");
        }
        assert_eq!(encoded("a b/c#.parquet"), "a%20b/c%23.parquet");
    }
}
