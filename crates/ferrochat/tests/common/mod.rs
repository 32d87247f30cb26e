//! What the tests of the program share: a home of their own and the program as a user runs it.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A machine of its own: an empty `FERROCHAT_HOME` and a folder to stand in.
pub struct Place {
    pub folder: TempDir,
}

/// Flags of a model so small that a debug build trains it.
pub const TINY: &[&str] = &[
    "--depth",
    "2",
    "--n-embd",
    "32",
    "--head-dim",
    "16",
    "--max-seq-len",
    "32",
    "--window-pattern",
    "L",
    "--device-batch-size",
    "2",
    "--total-batch-size",
    "128",
    "--vocab-size",
    "300",
    "--eval-tokens",
    "640",
    "--exam-questions",
    "2",
];

impl Place {
    pub fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub fn base(&self, run: &str) -> PathBuf {
        self.home().join("runs").join(run).join("base")
    }

    pub fn stage(&self, run: &str, stage: &str) -> PathBuf {
        self.home().join("runs").join(run).join(stage)
    }

    /// The record of a stage.
    pub fn record(&self, run: &str, stage: &str) -> Value {
        let text = std::fs::read_to_string(self.stage(run, stage).join("stage.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Writes a file to stand in for a user's data.
    pub fn file(&self, name: &str, contents: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrochat"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("FERROCHAT_HOME", self.home())
            .env("FERROCHAT_DEVICE", "cpu")
            .env_remove("FERROCHAT_DTYPE")
            .env_remove("FERROCHAT_KERNEL")
            .env_remove("RUST_BACKTRACE");
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs and expects success; stdout.
    pub fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs and expects one sentence on stderr, this exit code, and nothing written.
    pub fn refused(&self, args: &[&str], code: i32, about: &[&str]) {
        let before = listing(&self.home());
        let output = self.run(args);
        let sentence = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {sentence}");
        assert_eq!(sentence.trim_end().lines().count(), 1, "{args:?}: {sentence}");
        for word in about {
            assert!(sentence.contains(word), "{args:?}: {sentence:?} does not say {word:?}");
        }
        assert!(output.stdout.is_empty(), "{args:?} wrote to stdout");
        assert_eq!(listing(&self.home()), before, "{args:?} changed files");
    }
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All files below a folder with their sizes, but for locks.
pub fn listing(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_none_or(|extension| extension != "lock") {
                found.push((path, entry.metadata().unwrap().len()));
            }
        }
    }
    found.sort();
    found
}

/// `a` followed by `b`.
pub fn with<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<&'a str> {
    [a, b].concat()
}
