//! Finds the system's Python and the files that it consists of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::JailError;

/// A Python 3 and what it needs to run, by canonical path.
#[derive(Debug)]
pub(super) struct Python {
    /// The executable.
    pub program: PathBuf,
    /// Folders and archives of the standard library.
    pub paths: Vec<PathBuf>,
    /// The dynamic loader, as the executable names it.
    pub loader: Option<PathBuf>,
    /// Shared libraries outside the standard library.
    pub libraries: BTreeSet<PathBuf>,
}

impl Python {
    /// Asks the `python3` of the PATH. It runs with the caller's rights: what is installed is trusted.
    pub(super) fn find() -> Result<Self, JailError> {
        let bad = |why: String| JailError::NoPython(why);
        let output = Command::new("python3")
            .args(["-I", "-S", "-B", "-c", include_str!("where_is_python.py")])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| bad(format!("it does not start: {error}")))?;
        if !output.status.success() {
            let last = String::from_utf8_lossy(&output.stderr);
            let last = last.lines().last().unwrap_or("no message");
            return Err(bad(format!(
                "asked where it lies, it ended with {}: {last}",
                output.status
            )));
        }
        let mut program = None;
        let mut python = Self {
            program: PathBuf::new(),
            paths: Vec::new(),
            loader: None,
            libraries: BTreeSet::new(),
        };
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            match line.split_once('\t') {
                Some(("program", path)) => program = Some(PathBuf::from(path)),
                Some(("path", path)) => python.paths.push(path.into()),
                Some(("loader", path)) => python.loader = Some(path.into()),
                Some(("library", path)) => {
                    python.libraries.insert(path.into());
                }
                _ => {}
            }
        }
        python.program = program.ok_or_else(|| bad("it does not say where its executable is".into()))?;
        if python.paths.iter().any(|path| path == Path::new("/")) || python.paths.is_empty() {
            return Err(bad("it does not say where its standard library is".into()));
        }
        Ok(python)
    }
}
