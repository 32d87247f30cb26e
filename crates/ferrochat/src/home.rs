//! Where things live: runs in the XDG data folder, what can be made again in the XDG cache folder,
//! both under `FERROCHAT_HOME` when that is set. This room knows paths, never their contents.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::errors::{refuse, usage};

/// The program's folders.
#[derive(Clone, Debug)]
pub struct Home {
    /// `…/ferrochat/runs`
    pub runs: PathBuf,
    /// `…/ferrochat`, for downloads and measurements.
    pub cache: PathBuf,
}

impl Home {
    /// From the environment.
    ///
    /// # Errors
    /// Neither `FERROCHAT_HOME` nor `HOME` is set.
    pub fn from_environment() -> Result<Home> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(home) = variable("FERROCHAT_HOME") {
            let home = std::path::absolute(&home).map_err(usage)?;
            return Ok(Home {
                runs: home.join("runs"),
                cache: home.join("cache"),
            });
        }
        let base = |xdg: &str, below: &str| -> Result<PathBuf> {
            // The XDG specification says to ignore relative paths.
            if let Some(folder) = variable(xdg).filter(|path| path.is_absolute()) {
                return Ok(folder.join("ferrochat"));
            }
            let home = variable("HOME").ok_or_else(|| usage("neither HOME nor FERROCHAT_HOME is set; set one"))?;
            Ok(home.join(below).join("ferrochat"))
        };
        Ok(Home {
            runs: base("XDG_DATA_HOME", ".local/share")?.join("runs"),
            cache: base("XDG_CACHE_HOME", ".cache")?,
        })
    }

    /// The folders of the run called `name`.
    ///
    /// # Errors
    /// A name that is not one plain folder name.
    pub fn run(&self, name: &str) -> Result<RunFolder> {
        let plain = !name.is_empty()
            && !name.starts_with('.')
            && name.len() <= 100
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+'));
        if !plain {
            refuse!("--run {name:?} cannot be a folder name; use letters, digits, '-', '_' and '.'");
        }
        Ok(RunFolder {
            name: name.to_owned(),
            root: self.runs.join(name),
        })
    }
}

/// The folders of one run: `<runs>/<name>/{tokenizer,base}`.
#[derive(Clone, Debug)]
pub struct RunFolder {
    /// Its name.
    pub name: String,
    /// `<runs>/<name>`
    pub root: PathBuf,
}

impl RunFolder {
    /// `tokenizer/tokenizer.json`
    pub fn tokenizer_file(&self) -> PathBuf {
        self.root.join("tokenizer").join("tokenizer.json")
    }

    /// The folder of a stage, such as `base`.
    pub fn stage(&self, stage: &str) -> PathBuf {
        self.root.join(stage)
    }

    /// `report.md`
    pub fn report_file(&self) -> PathBuf {
        self.root.join("report.md")
    }
}

/// Checks that files can be written under `folder`, which need not exist, and that its disk has
/// `bytes` free. Leaves nothing behind.
///
/// # Errors
/// One sentence for a folder that cannot be written or a disk that is too full.
pub fn check_writable(folder: &Path, bytes: u64) -> Result<()> {
    let existing = nearest_existing(folder);
    if !existing.is_dir() {
        refuse!(
            "{} is not a folder, so {} cannot be made in it",
            existing.display(),
            folder.display()
        );
    }
    if let Err(error) = tempfile::tempfile_in(existing) {
        refuse!(
            "cannot write in {}: {error}; give a writable folder by FERROCHAT_HOME",
            existing.display()
        );
    }
    let free = free_bytes(existing)?;
    if free < bytes {
        refuse!(
            "the disk of {} has {} free but this run's checkpoints need {}; free some space or set FERROCHAT_HOME to another disk",
            existing.display(),
            crate::format::bytes(free),
            crate::format::bytes(bytes)
        );
    }
    Ok(())
}

/// Free bytes for this user on the disk that holds `folder` (which need not exist yet).
///
/// # Errors
/// The system does not say.
pub fn free_bytes(folder: &Path) -> Result<u64> {
    let existing = nearest_existing(folder);
    let stat = rustix::fs::statvfs(existing)
        .with_context(|| format!("cannot ask how full the disk of {} is", existing.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn nearest_existing(folder: &Path) -> &Path {
    folder
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or_else(|| Path::new("/"))
}

/// Writes a file whole or not at all.
///
/// # Errors
/// The system's, with the path.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let failed = || format!("cannot write {}", path.display());
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder).with_context(failed)?;
    let mut file = tempfile::Builder::new()
        .prefix(".ferrochat-")
        .tempfile_in(folder)
        .with_context(failed)?;
    file.write_all(contents).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    // A temporary file is private to its owner; a result is as readable as any other file.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))
            .with_context(failed)?;
    }
    file.persist(path).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_names_are_plain_folder_names() {
        let home = Home {
            runs: "/x".into(),
            cache: "/y".into(),
        };
        for bad in ["", "..", ".hidden", "a/b", "a b", "a\0"] {
            assert!(home.run(bad).is_err(), "{bad:?}");
        }
        assert_eq!(home.run("d20-my_run.2").unwrap().root, Path::new("/x/d20-my_run.2"));
    }

    #[test]
    fn a_full_disk_is_refused_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        assert!(check_writable(&deep, 1).is_ok());
        let error = check_writable(&deep, u64::MAX).unwrap_err().to_string();
        assert!(error.contains("free"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = check_writable(&file.join("sub"), 1).unwrap_err().to_string();
        assert!(error.contains("not a folder"), "{error}");
    }
}
