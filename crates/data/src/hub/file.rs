//! One file: locked, downloaded or gone on with, checked, and given its name. This room must never know of which
//! data set the file is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::client::{Client, From, Reply, bare};
use super::error::{Fault, HubError};
use super::listing::Remote;
use super::receipt::{Places, Receipt, checksum, is_sha256, read_json, write_json};
use super::retry::{Attempts, Retry, sleep};

/// What happens to a file while it is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It begins, with so many bytes already here.
    Begins {
        /// Bytes of the part that is here.
        here: u64,
    },
    /// So many more bytes came.
    Came(u64),
    /// What came is worth nothing; it begins anew.
    Again {
        /// Bytes that are thrown away.
        lost: u64,
        /// Why.
        reason: String,
    },
    /// An attempt failed.
    Failed {
        /// Why.
        reason: String,
        /// How long until the next one.
        wait: Duration,
    },
    /// Another process is fetching it.
    Waits,
    /// It is here.
    Done {
        /// Whether this process brought it.
        fetched: bool,
    },
}

/// What a part is a part of.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    /// The hub's checksum or name of the contents.
    linked: Option<String>,
    /// The name that the server which sent them gives them, or the date of their last change.
    validator: Option<String>,
    /// Length of the whole.
    total: Option<u64>,
}

/// What a download needs beside the file.
pub(super) struct Errand<'a> {
    pub(super) client: &'a Client,
    pub(super) root: &'a Path,
    pub(super) retry: Retry,
    pub(super) stop: &'a AtomicBool,
    pub(super) note: &'a (dyn Fn(Note) + Sync),
}

/// True if the file is here, as its receipt and the source say.
pub(super) fn is_here(root: &Path, remote: &Remote) -> bool {
    let places = Places::new(root, &remote.path);
    let (Some(receipt), Ok(metadata)) = (places.receipt(), fs::metadata(&places.file)) else {
        return false;
    };
    metadata.is_file()
        && metadata.len() == receipt.bytes
        && remote.bytes.is_none_or(|bytes| bytes == receipt.bytes)
        && remote
            .sha256
            .as_ref()
            .is_none_or(|sum| sum.eq_ignore_ascii_case(&receipt.sha256))
}

/// Bytes of the part that is here.
pub(super) fn part_bytes(root: &Path, remote: &Remote) -> u64 {
    fs::metadata(Places::new(root, &remote.path).part).map_or(0, |metadata| metadata.len())
}

impl Errand<'_> {
    /// Sees to it that the file is here.
    pub(super) fn bring(&self, remote: &Remote) -> Result<Receipt, HubError> {
        let places = Places::new(self.root, &remote.path);
        for folder in [places.file.parent(), places.part.parent()].into_iter().flatten() {
            fs::create_dir_all(folder).map_err(|error| HubError::io(folder, error))?;
        }
        let _held = self.lock(&places)?;
        let receipt = if is_here(self.root, remote) {
            places.receipt()
        } else {
            self.adopt(&places, remote)?
        };
        if let Some(receipt) = receipt {
            (self.note)(Note::Done { fetched: false });
            return Ok(receipt);
        }
        let mut attempts = Attempts::new(self.retry);
        let mut furthest = part_bytes(self.root, remote);
        (self.note)(Note::Begins { here: furthest });
        loop {
            let fault = match self.attempt(&places, remote) {
                Ok(receipt) => {
                    (self.note)(Note::Done { fetched: true });
                    return Ok(receipt);
                }
                Err(fault) => fault,
            };
            if let Fault::Spoilt(reason) = &fault {
                self.discard(&places, reason)?;
            }
            let here = part_bytes(self.root, remote);
            if here > furthest {
                furthest = here;
                attempts.advanced();
            }
            let reason = fault.reason();
            let wait = attempts.after(fault).map_err(|end| {
                end.map_or_else(
                    |error| error,
                    |reason| HubError::File {
                        file: remote.path.clone(),
                        reason,
                    },
                )
            })?;
            (self.note)(Note::Failed { reason, wait });
            sleep(wait, self.stop)?;
        }
    }

    /// Waits until nobody else fetches this file. The lock ends with the process, however that ends.
    fn lock(&self, places: &Places) -> Result<File, HubError> {
        let fail = |error| HubError::io(&places.lock, error);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&places.lock)
            .map_err(fail)?;
        let mut told = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(fail(error)),
            }
            if !std::mem::replace(&mut told, true) {
                (self.note)(Note::Waits);
            }
            sleep(Duration::from_millis(100), self.stop)?;
        }
    }

    /// Takes a file that somebody put here, if it is what the source has.
    fn adopt(&self, places: &Places, remote: &Remote) -> Result<Option<Receipt>, HubError> {
        let (Some(sum), Ok(metadata)) = (&remote.sha256, fs::metadata(&places.file)) else {
            return Ok(None);
        };
        if !metadata.is_file() || remote.bytes.is_some_and(|bytes| bytes != metadata.len()) {
            return Ok(None);
        }
        let (bytes, found) = checksum(&places.file, &mut |_| !self.stop.load(Ordering::Relaxed))?;
        if !found.eq_ignore_ascii_case(sum) {
            return Ok(None);
        }
        let receipt = Receipt {
            address: remote.address.clone(),
            bytes,
            sha256: found,
            confirmed: true,
            commit: None,
        };
        places.write_receipt(&receipt)?;
        Ok(Some(receipt))
    }

    fn discard(&self, places: &Places, reason: &str) -> Result<(), HubError> {
        let lost = fs::metadata(&places.part).map_or(0, |metadata| metadata.len());
        for path in [&places.part, &places.origin] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(HubError::io(path, error)),
                _ => {}
            }
        }
        if lost > 0 {
            (self.note)(Note::Again {
                lost,
                reason: reason.to_owned(),
            });
        }
        Ok(())
    }

    fn attempt(&self, places: &Places, remote: &Remote) -> Result<Receipt, Fault> {
        let origin: Origin = read_json(&places.origin).unwrap_or_default();
        let mut here = part_bytes(self.root, remote);
        let total = remote.bytes.or(origin.total);
        // Without a name of its contents or a checksum, a part might be of something else.
        let known = remote.sha256.is_some() || origin.linked.is_some() || origin.validator.is_some();
        if here > 0 && (!known || total.is_some_and(|total| here > total)) {
            self.discard(places, "nothing says what it is a part of")?;
            here = 0;
        }
        let mut commit = None;
        let mut linked = origin.linked.clone();
        if here == 0 || total != Some(here) {
            let from = (here > 0).then_some(From {
                byte: here,
                validator: origin.validator.as_deref(),
            });
            let reply = self.client.get(&remote.address, from.as_ref())?;
            let now = self.judge(remote, &reply, here, &origin)?;
            if reply.status == 200 && here > 0 {
                self.discard(
                    places,
                    "the server does not go on in the middle, or has something else now",
                )?;
                here = 0;
            }
            if now != origin {
                write_json(&places.origin, &now)?;
            }
            commit.clone_from(&reply.commit);
            linked.clone_from(&now.linked);
            self.receive(places, reply, here, now.total)?;
        }
        self.finish(places, remote, linked.filter(|sum| is_sha256(sum)), commit)
    }

    /// Decides whether an answer is the rest of the file, all of it, or something else.
    fn judge(&self, remote: &Remote, reply: &Reply, here: u64, origin: &Origin) -> Result<Origin, Fault> {
        let rest = match reply.status {
            200 => None,
            206 if here > 0 => {
                let range = reply.header("content-range").and_then(content_range);
                let Some((first, total)) = range.filter(|&(first, _)| first == here) else {
                    return Err(Fault::Spoilt(
                        "the server goes on at another byte than it was asked for".into(),
                    ));
                };
                Some((first, total))
            }
            416 if here > 0 => return Err(Fault::Spoilt("the server has no more bytes than are here".into())),
            206 | 416 => return Err(Fault::passing("the server sends a part of it that nobody asked for")),
            _ => return Err(self.client.refusal(&remote.address, reply)),
        };
        let etag = reply.header("etag");
        let now = Origin {
            linked: reply.linked_etag.clone(),
            // A weak name does not promise the same bytes.
            validator: etag
                .filter(|etag| !etag.starts_with("W/"))
                .or_else(|| reply.header("last-modified"))
                .map(ToOwned::to_owned),
            total: match rest {
                Some((_, total)) => total,
                None => reply.header("content-length").and_then(|bytes| bytes.parse().ok()),
            },
        };
        if let (Some(sum), Some(linked)) = (&remote.sha256, now.linked.as_ref().filter(|sum| is_sha256(sum)))
            && !sum.eq_ignore_ascii_case(linked)
        {
            return Err(Fault::Final(
                "the repository has changed since its list was made; add --update".to_owned(),
            ));
        }
        for expected in [remote.bytes, reply.linked_bytes].into_iter().flatten() {
            if let Some(total) = now.total.filter(|&total| total != expected) {
                return Err(Fault::Passing(
                    format!("the server announces {total} bytes where the list says {expected}"),
                    None,
                ));
            }
        }
        if rest.is_some() {
            let name = |validator: &Option<String>| validator.as_deref().map(|name| bare(name).to_owned());
            let same = |a: Option<String>, b: Option<String>| a.is_none() || b.is_none() || a == b;
            if !same(name(&origin.validator), name(&now.validator))
                || !same(origin.linked.clone(), now.linked.clone())
                || (origin.total.is_some() && now.total.is_some() && origin.total != now.total)
            {
                return Err(Fault::Spoilt(
                    "it has changed on the server since the first part came".into(),
                ));
            }
        }
        Ok(Origin {
            total: now.total.or(reply.linked_bytes).or(remote.bytes),
            ..now
        })
    }

    /// Writes what comes behind what is here.
    fn receive(&self, places: &Places, reply: Reply, here: u64, total: Option<u64>) -> Result<(), Fault> {
        let fail = |error| Fault::Here(HubError::io(&places.part, error));
        let mut part = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&places.part)
            .map_err(fail)?;
        part.set_len(here).map_err(fail)?;
        part.seek(SeekFrom::Start(here)).map_err(fail)?;
        let mut reader = reply.into_reader();
        let mut buffer = vec![0; 256 << 10];
        let (mut bytes, mut unsaid, mut said) = (here, 0, Instant::now());
        let end = loop {
            if self.stop.load(Ordering::Relaxed) {
                break Err(Fault::Here(HubError::Interrupted));
            }
            let read = match reader.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    break Err(Fault::passing(format!(
                        "the connection broke off after {bytes} bytes: {error}"
                    )));
                }
            };
            part.write_all(&buffer[..read]).map_err(fail)?;
            bytes += read as u64;
            unsaid += read as u64;
            if said.elapsed() > Duration::from_millis(50) {
                (self.note)(Note::Came(std::mem::take(&mut unsaid)));
                said = Instant::now();
            }
            if total.is_some_and(|total| bytes > total) {
                break Err(Fault::Spoilt("more bytes came than were announced".into()));
            }
        };
        (self.note)(Note::Came(unsaid));
        end?;
        part.sync_all().map_err(fail)?;
        match total {
            Some(total) if bytes < total => Err(Fault::passing(format!(
                "the connection ended after {bytes} of {total} bytes"
            ))),
            _ => Ok(()),
        }
    }

    /// Checks the whole and gives it its name. The receipt comes first: a file without one would be fetched again,
    /// a receipt without a file is harmless.
    fn finish(
        &self,
        places: &Places,
        remote: &Remote,
        linked: Option<String>,
        commit: Option<String>,
    ) -> Result<Receipt, Fault> {
        let (bytes, sha256) = checksum(&places.part, &mut |_| !self.stop.load(Ordering::Relaxed))?;
        let expected = remote.sha256.clone().or(linked);
        if let Some(expected) = &expected
            && !expected.eq_ignore_ascii_case(&sha256)
        {
            return Err(Fault::Spoilt(format!(
                "what came is damaged: its sha256 begins with {} and should with {}",
                &sha256[..8],
                &expected[..8.min(expected.len())]
            )));
        }
        if expected.is_none() && remote.path.ends_with(".parquet") && !is_parquet(&places.part) {
            return Err(Fault::Spoilt("what came is no Parquet file".into()));
        }
        let receipt = Receipt {
            address: remote.address.clone(),
            bytes,
            sha256,
            confirmed: expected.is_some(),
            commit,
        };
        let fail = |error| Fault::Here(HubError::io(&places.file, error));
        File::open(&places.part)
            .and_then(|part| part.sync_all())
            .map_err(fail)?;
        places.write_receipt(&receipt)?;
        fs::rename(&places.part, &places.file).map_err(fail)?;
        #[cfg(unix)]
        if let Some(folder) = places.file.parent() {
            // Without this the name may be lost with the power.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)?;
        }
        let _ = fs::remove_file(&places.origin);
        Ok(receipt)
    }
}

/// `bytes 100-199/200`: the first byte and the length of the whole.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let first = range.split_once('-')?.0.trim().parse().ok()?;
    Some((first, total.trim().parse().ok()))
}

/// Such files say at both ends what they are, so a page of apologies is not taken for one.
fn is_parquet(path: &Path) -> bool {
    let read = || {
        let mut file = File::open(path)?;
        let mut ends = [0; 8];
        file.read_exact(&mut ends[..4])?;
        file.seek(SeekFrom::End(-4))?;
        file.read_exact(&mut ends[4..])?;
        Ok::<_, std::io::Error>(ends)
    };
    read().is_ok_and(|ends| &ends == b"PAR1PAR1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_understood() {
        assert_eq!(content_range("bytes 100-199/200"), Some((100, Some(200))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */200"), None);
        assert_eq!(content_range("100-199/200"), None);
    }
}
