//! Many files: what is missing, and several threads that bring it. This room must never know how an attempt goes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::catalogue::{Choice, DataSet, Files};
use super::client::{Client, HubSettings};
use super::error::HubError;
use super::file::{Errand, Note, is_here, part_bytes};
use super::listing::{Lister, Remote};
use super::receipt::{Receipt, write_json};
use super::retry::Retry;
use super::unpack::unpack;
use super::verify::{State, receipts, verify};

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Files at a time.
    pub jobs: usize,
    /// Of shards, how many to learn from; the one for validation comes on top.
    pub shards: Option<u32>,
    /// Another revision of the repository than the usual one.
    pub revision: Option<String>,
    /// The address of a folder that has the files as they lie here, instead of the hub.
    pub mirror: Option<String>,
    /// Ask for the lists of files again.
    pub update: bool,
    /// Read again what is here, and fetch what is damaged.
    pub check: bool,
    /// Patience.
    pub retry: Retry,
}

impl Default for FetchOptions {
    fn default() -> FetchOptions {
        FetchOptions {
            jobs: 4,
            shards: None,
            revision: None,
            mirror: None,
            update: false,
            check: false,
            retry: Retry::default(),
        }
    }
}

/// Is told what happens to each file; called from several threads.
pub trait Watch: Sync {
    /// Something happened to the file of this number in the plan.
    fn note(&self, file: usize, remote: &Remote, note: Note);
}

/// Says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Watch for Silent {
    fn note(&self, _: usize, _: &Remote, _: Note) {}
}

/// What is to be done for one data set.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which data set.
    pub choice: Choice,
    /// Its folder.
    pub root: PathBuf,
    /// All files that are wanted.
    pub files: Vec<Remote>,
    /// Those that are not here yet, as places in `files`.
    pub missing: Vec<usize>,
    /// Bytes that must come, as far as the source says.
    pub bytes_missing: u64,
    /// Bytes that the disk must have free: what comes, and what is unpacked from it.
    pub bytes_needed: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Files that this process brought.
    pub brought: usize,
    /// Files that were here, or that another process brought meanwhile.
    pub here: usize,
    /// Length of all of them.
    pub bytes: u64,
}

/// The hub, and the folder where its data sets lie here.
pub struct Hub {
    client: Client,
    folder: PathBuf,
}

impl Hub {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// Certificates that cannot be read.
    pub fn new(settings: &HubSettings, folder: &Path) -> Result<Hub, HubError> {
        Ok(Hub {
            client: Client::new(settings)?,
            folder: folder.to_path_buf(),
        })
    }

    /// The folder of a data set.
    pub fn root(&self, set: &DataSet) -> PathBuf {
        self.folder.join(set.folder)
    }

    /// Finds out what the files are and which are missing. Asks the network only for what no earlier plan knew.
    ///
    /// # Errors
    /// A list that cannot be had.
    pub fn plan(&self, choice: Choice, options: &FetchOptions, stop: &AtomicBool) -> Result<Plan, HubError> {
        let set = choice.set;
        let root = self.root(set);
        let lister = Lister {
            client: &self.client,
            root: &root,
            revision: options.revision.as_deref(),
            mirror: options.mirror.as_deref().map(|mirror| mirror.trim_end_matches('/')),
            update: options.update,
            retry: options.retry,
            stop,
        };
        let shards = match set.files {
            Files::Shards { usual, .. } => options.shards.unwrap_or(usual),
            _ => 0,
        };
        let files = lister.files(choice, shards)?;
        if options.check {
            Hub::forget_damaged(&root, &files, stop)?;
        }
        let missing: Vec<usize> = (0..files.len()).filter(|&file| !is_here(&root, &files[file])).collect();
        let left = |&file: &usize| {
            let remote: &Remote = &files[file];
            remote.bytes.unwrap_or(0).saturating_sub(part_bytes(&root, remote))
        };
        let bytes_missing = missing.iter().map(left).sum();
        let unpacked = match set.files {
            // What comes is text, packed to about a quarter.
            Files::Archive(..) => 5,
            _ => 1,
        };
        Ok(Plan {
            choice,
            root,
            files,
            missing,
            bytes_missing,
            bytes_needed: bytes_missing * unpacked,
        })
    }

    /// Removes the files whose bytes are not those of their receipts, so that they come again.
    fn forget_damaged(root: &Path, files: &[Remote], stop: &AtomicBool) -> Result<(), HubError> {
        let wanted = |path: &str| files.iter().any(|remote| remote.path == path);
        for verdict in verify(root, &wanted, stop, &mut |_| ())? {
            if matches!(verdict.state, State::Damaged | State::Length) {
                let path = root.join(&verdict.path);
                fs::remove_file(&path).map_err(|error| HubError::io(&path, error))?;
            }
        }
        Ok(())
    }

    /// Brings what is missing. A file that cannot be had does not keep the others from coming.
    ///
    /// # Errors
    /// The first that went wrong, with the number of the others, or [`HubError::Interrupted`].
    pub fn fetch(
        &self,
        plan: &Plan,
        options: &FetchOptions,
        watch: &dyn Watch,
        stop: &AtomicBool,
    ) -> Result<Fetched, HubError> {
        let next = AtomicUsize::new(0);
        let brought = AtomicUsize::new(0);
        let halt = AtomicBool::new(false);
        let failed: Mutex<Vec<HubError>> = Mutex::new(Vec::new());
        let work = || {
            while !halt.load(Ordering::Relaxed) {
                let Some(&number) = plan.missing.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    break;
                };
                let remote = &plan.files[number];
                let note = |note: Note| {
                    if note == (Note::Done { fetched: true }) {
                        brought.fetch_add(1, Ordering::Relaxed);
                    }
                    watch.note(number, remote, note);
                };
                let errand = Errand {
                    client: &self.client,
                    root: &plan.root,
                    retry: options.retry,
                    stop,
                    note: &note,
                };
                if let Err(error) = errand.bring(remote) {
                    if !matches!(error, HubError::File { .. }) {
                        halt.store(true, Ordering::Relaxed);
                    }
                    failed.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..options.jobs.clamp(1, plan.missing.len().max(1)) {
                scope.spawn(work);
            }
        });
        let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(grave) = failed.iter().position(|error| !matches!(error, HubError::File { .. })) {
            return Err(failed.swap_remove(grave));
        }
        let others = failed.len().saturating_sub(1);
        match failed.into_iter().next() {
            Some(HubError::File { file, reason }) if others > 0 => {
                return Err(HubError::File {
                    file,
                    reason: format!("{reason}; and {others} other files failed"),
                });
            }
            Some(error) => return Err(error),
            None => {}
        }
        Hub::complete(plan)?;
        let brought = brought.into_inner();
        Ok(Fetched {
            brought,
            here: plan.files.len() - brought,
            bytes: Hub::bytes_here(plan)?,
        })
    }

    /// What makes files a data set once all of them are here.
    fn complete(plan: &Plan) -> Result<(), HubError> {
        match plan.choice.set.files {
            Files::Archive(name, _, witness) => {
                if !plan.missing.is_empty() || !plan.root.join(witness).is_file() {
                    unpack(&plan.root.join(name), &plan.root, witness)?;
                }
            }
            Files::Tables(_) => {
                let mut folders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
                for remote in &plan.files {
                    if let Some((folder, name)) = remote.path.rsplit_once('/') {
                        folders.entry(folder).or_default().push(name);
                    }
                }
                for (folder, names) in folders {
                    write_json(&plan.root.join(folder).join("manifest.json"), &names)?;
                }
            }
            Files::Shards { .. } | Files::File(..) => {}
        }
        Ok(())
    }

    fn bytes_here(plan: &Plan) -> Result<u64, HubError> {
        let all: BTreeMap<String, Receipt> = receipts(&plan.root)?.into_iter().collect();
        let bytes = |remote: &Remote| all.get(&remote.path).map_or(0, |receipt| receipt.bytes);
        Ok(plan.files.iter().map(bytes).sum())
    }

    /// Files and bytes of a data set that are here, by their receipts.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn here(folder: &Path, set: &DataSet) -> Result<(usize, u64), HubError> {
        let root = folder.join(set.folder);
        let (mut files, mut bytes) = (0, 0);
        for (path, receipt) in receipts(&root)? {
            if set.owns(&path) && root.join(&path).is_file() {
                files += 1;
                bytes += receipt.bytes;
            }
        }
        Ok((files, bytes))
    }
}
