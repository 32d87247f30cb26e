//! `metrics.jsonl`: one line per step with what was measured, appended as training goes. This room
//! knows the file and its fields, never how they were measured.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Name of the file in a stage's folder.
pub const FILE: &str = "metrics.jsonl";

/// One line. Fields that were not measured at that step are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// Optimizer steps done before: step 0 is the first.
    pub step: u64,
    /// Mean negative log-likelihood of the step's batch, in nats per token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Factor of the schedule on all learning rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_multiplier: Option<f64>,
    /// Training tokens per second during this step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// The same as floating-point operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flops_per_second: Option<f64>,
    /// The same as a part of what the hardware's maker promises, where the program knows that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfu: Option<f64>,
    /// Seconds of training since the beginning, without evaluations, over all starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed: Option<f64>,
    /// Seconds that the step waited for the next batches of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_wait: Option<f64>,
    /// Files given up so far because they could not be read, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_files: Option<usize>,
    /// Bits per byte on the validation part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_bpb: Option<f64>,
    /// Nats per token on the validation part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// RL: mean reward of the step's replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
    /// RL: mean tokens of the step's replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_tokens: Option<f64>,
    /// RL: pass@1, pass@2, … on held-out questions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_at_k: Vec<f64>,
    /// DPO: mean margin of the step's pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// DPO: share of them whose margin is positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// DPO: share of held-out pairs whose chosen reply is the likelier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_wins: Option<f64>,
    /// DPO: share of held-out pairs whose margin is positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// Text that the model wrote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
}

impl Line {
    /// Makes this the empty line of a step.
    pub fn clear(&mut self, step: u64) {
        *self = Line {
            step,
            ..Line::default()
        };
    }
}

/// The open file. Its buffers are kept: writing a line does not allocate once they have grown.
pub struct Metrics {
    file: File,
    path: PathBuf,
    line: Vec<u8>,
}

impl Metrics {
    /// Opens the file of a run that goes on at `step`: lines of that step and later ones, and a last
    /// line cut off by a crash, are removed. Step 0 begins an empty file.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn open(folder: &Path, step: u64) -> Result<Metrics> {
        let path = folder.join(FILE);
        let failed = || format!("cannot write {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(failed)?;
        let keep = lines_before(&mut file, step).with_context(failed)?;
        file.set_len(keep).with_context(failed)?;
        file.seek(SeekFrom::Start(keep)).with_context(failed)?;
        Ok(Metrics {
            file,
            path,
            line: Vec::with_capacity(1024),
        })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn append(&mut self, line: &Line) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).expect("numbers and strings always serialise");
        self.line.push(b'\n');
        self.file
            .write_all(&self.line)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Length of the whole lines that belong to steps before `step`. Lines are in order of steps.
fn lines_before(file: &mut File, step: u64) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut text = Vec::new();
    let mut keep = 0;
    loop {
        text.clear();
        let bytes = reader.read_until(b'\n', &mut text)?;
        let earlier = |line: &Line| line.step < step;
        let whole = bytes > 0 && text.ends_with(b"\n");
        if !whole || !serde_json::from_slice::<Line>(&text).is_ok_and(|line| earlier(&line)) {
            return Ok(keep);
        }
        keep += bytes as u64;
    }
}

/// All whole lines of a stage's file; none if there is no file yet.
///
/// # Errors
/// The file cannot be read.
pub fn read(folder: &Path) -> Result<Vec<Line>> {
    let path = folder.join(FILE);
    let mut text = String::new();
    match File::open(&path) {
        Ok(mut file) => file
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read {}", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64) -> Line {
        Line {
            step,
            loss: Some(step as f64),
            ..Line::default()
        }
    }

    #[test]
    fn lines_after_the_resumed_step_and_cut_lines_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(folder.path(), 0).unwrap();
        for step in 0..5 {
            metrics.append(&line(step)).unwrap();
        }
        metrics.file.write_all(b"{\"step\":5,\"lo").unwrap();
        let mut metrics = Metrics::open(folder.path(), 3).unwrap();
        metrics.append(&line(3)).unwrap();
        let steps: Vec<u64> = read(folder.path()).unwrap().iter().map(|line| line.step).collect();
        assert_eq!(steps, [0, 1, 2, 3]);
        Metrics::open(folder.path(), 9).unwrap();
        assert_eq!(read(folder.path()).unwrap().len(), 4);
        Metrics::open(folder.path(), 0).unwrap();
        assert!(read(folder.path()).unwrap().is_empty());
    }
}
