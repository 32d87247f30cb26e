//! The folder of a run's checkpoints: their names, which is the latest, and clearing away.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::error::CheckpointError;

/// Names the latest checkpoint; replaced as the last act of a save.
const LATEST: &str = "latest";
/// Files and folders that are being made or removed; what a killed run leaves begins so.
const UNFINISHED: &str = ".unfinished-";
/// A whole checkpoint that waits for another of the same step to take its place.
const REPLACED: &str = ".replaced-";

/// The name of a checkpoint's folder.
pub(super) fn name_of(step: u64) -> String {
    format!("step_{step:06}")
}

fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step_")?.parse().ok()?;
    (name_of(step) == name).then_some(step)
}

/// The finished checkpoints in `run_folder`, oldest first, with their steps.
pub fn list(run_folder: &Path) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(run_folder).map_err(CheckpointError::reading(run_folder))? {
        let entry = entry.map_err(CheckpointError::reading(run_folder))?;
        if let Some(step) = entry.file_name().to_str().and_then(step_of) {
            found.push((step, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The checkpoint to resume from: the one that `latest` names, or the newest if that is gone.
pub fn latest(run_folder: &Path) -> Result<PathBuf, CheckpointError> {
    let missing = || CheckpointError::Missing {
        path: run_folder.to_owned(),
        reason: "holds no checkpoint".to_owned(),
    };
    if !run_folder.is_dir() {
        return Err(missing());
    }
    restore_replaced(run_folder).map_err(CheckpointError::writing(run_folder))?;
    let mut name = String::new();
    if let Ok(file) = File::open(run_folder.join(LATEST)) {
        // A name is short; whatever else the file holds is not one.
        let _ = file.take(64).read_to_string(&mut name);
    }
    let named = step_of(name.trim()).map(|_| run_folder.join(name.trim()));
    if let Some(folder) = named.filter(|folder| folder.is_dir()) {
        return Ok(folder);
    }
    list(run_folder)?.pop().map(|(_, folder)| folder).ok_or_else(missing)
}

/// Removes a checkpoint such that a crash in the middle leaves nothing that looks like one.
pub fn remove(folder: &Path) -> Result<(), CheckpointError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let away = folder.with_file_name(format!("{UNFINISHED}old-{name}"));
    fs::rename(folder, &away)
        .and_then(|()| fs::remove_dir_all(away))
        .map_err(CheckpointError::writing(folder))
}

/// Makes `latest` name `folder`.
pub(super) fn set_latest(run_folder: &Path, name: &str) -> io::Result<()> {
    let unfinished = run_folder.join(format!("{UNFINISHED}{LATEST}"));
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{name}")?;
    file.sync_all()?;
    fs::rename(&unfinished, run_folder.join(LATEST))?;
    sync_folder(run_folder)
}

/// Gives checkpoints their names back whose successor a crash has kept from taking their place.
fn restore_replaced(run_folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(run_folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix(REPLACED)) else {
            continue;
        };
        let target = run_folder.join(name);
        if step_of(name).is_some() && !target.exists() {
            fs::rename(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Removes what killed runs left behind.
pub(super) fn clear_unfinished(run_folder: &Path) -> io::Result<()> {
    restore_replaced(run_folder)?;
    for entry in fs::read_dir(run_folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(UNFINISHED) || name.starts_with(REPLACED) {
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

/// A folder under construction. Dropped before [`Staging::publish`], it is removed.
pub(super) struct Staging {
    run_folder: PathBuf,
    folder: PathBuf,
    name: String,
}

impl Staging {
    pub(super) fn new(run_folder: &Path, step: u64) -> Result<Staging, CheckpointError> {
        let name = name_of(step);
        let folder = run_folder.join(format!("{UNFINISHED}{name}"));
        let make = || {
            fs::create_dir_all(run_folder)?;
            clear_unfinished(run_folder)?;
            fs::create_dir(&folder)
        };
        make().map_err(CheckpointError::writing(run_folder))?;
        Ok(Staging {
            run_folder: run_folder.to_owned(),
            folder,
            name,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the folder its name, in place of an older one of that name, and makes `latest` name it. At every
    /// moment one whole checkpoint of the step exists: the older one is deleted last.
    pub(super) fn publish(self) -> Result<PathBuf, CheckpointError> {
        let target = self.run_folder.join(&self.name);
        let rename = || {
            sync_folder(&self.folder)?;
            let replaced = self.run_folder.join(format!("{REPLACED}{}", self.name));
            let replaces = target.exists();
            if replaces {
                fs::rename(&target, &replaced)?;
            }
            fs::rename(&self.folder, &target)?;
            sync_folder(&self.run_folder)?;
            set_latest(&self.run_folder, &self.name)?;
            if replaces {
                fs::remove_dir_all(replaced)?;
            }
            Ok(())
        };
        rename().map_err(CheckpointError::writing(&target))?;
        Ok(target)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a publish there is nothing of this name; after a failure nothing more can be done.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(run: &Path, step: u64) {
        Staging::new(run, step).unwrap().publish().unwrap();
    }

    #[test]
    fn latest_moves_and_survives_the_loss_of_its_folder() {
        let run = tempfile::tempdir().unwrap();
        assert!(
            latest(run.path())
                .unwrap_err()
                .to_string()
                .contains("holds no checkpoint")
        );
        touch(run.path(), 10);
        touch(run.path(), 20);
        touch(run.path(), 15);
        assert_eq!(latest(run.path()).unwrap(), run.path().join("step_000015"));
        fs::remove_dir_all(run.path().join("step_000015")).unwrap();
        assert_eq!(latest(run.path()).unwrap(), run.path().join("step_000020"));
        fs::write(run.path().join(LATEST), "../../etc").unwrap();
        assert_eq!(latest(run.path()).unwrap(), run.path().join("step_000020"));
    }

    #[test]
    fn checkpoints_are_listed_by_step_and_removed() {
        let run = tempfile::tempdir().unwrap();
        for step in [1, 2, 1_000_000, 4, 2] {
            touch(run.path(), step);
        }
        remove(&run.path().join("step_000002")).unwrap();
        let steps: Vec<u64> = list(run.path()).unwrap().into_iter().map(|(step, _)| step).collect();
        assert_eq!(steps, [1, 4, 1_000_000]);
    }

    #[test]
    fn a_crash_while_a_step_is_saved_again_keeps_the_older_one() {
        let run = tempfile::tempdir().unwrap();
        touch(run.path(), 7);
        let target = run.path().join("step_000007");
        fs::write(target.join("whole"), "").unwrap();
        // Killed between the two renames, once before `latest` is asked and once before the next save.
        for asked in [true, false] {
            fs::rename(&target, run.path().join(format!("{REPLACED}step_000007"))).unwrap();
            fs::create_dir(run.path().join(format!("{UNFINISHED}step_000007"))).unwrap();
            if asked {
                assert_eq!(latest(run.path()).unwrap(), target);
            } else {
                drop(Staging::new(run.path(), 8).unwrap());
            }
            assert!(target.join("whole").exists());
            let _ = fs::remove_dir_all(run.path().join(format!("{UNFINISHED}step_000007")));
        }
        // Killed after them: the newer one stands, the older one goes.
        fs::create_dir(run.path().join(format!("{REPLACED}step_000007"))).unwrap();
        touch(run.path(), 7);
        assert!(!target.join("whole").exists());
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_save_that_fails_leaves_nothing_and_the_next_clears_what_a_killed_one_left() {
        let run = tempfile::tempdir().unwrap();
        drop(Staging::new(run.path(), 1).unwrap());
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0);
        fs::create_dir(run.path().join(format!("{UNFINISHED}step_000007"))).unwrap();
        fs::write(run.path().join(format!("{UNFINISHED}latest")), "").unwrap();
        touch(run.path(), 8);
        let names: Vec<_> = fs::read_dir(run.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}
