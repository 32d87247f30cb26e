//! Where figures are kept: those of an exam in the stage's record, those of `eval` as lines in a file beside the model.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use ferrochat_tasks::Estimate;
use serde_json::Value;

use super::{Evaluation, Measured, Suite};
use crate::home::RunFolder;
use crate::record::StageRecord;

/// Name of the file in a stage's folder.
pub(super) const FILE: &str = "evaluations.jsonl";

/// Adds figures of one model to its stage's file. What was measured is shown all the same where that cannot be: the
/// reason goes to stderr.
pub fn remember(run: &RunFolder, stage: &str, evaluations: &[Evaluation]) {
    if let Err(error) = append(&run.stage(stage), evaluations) {
        eprintln!("the report will not show this: {error:#}");
    }
}

/// Adds figures to the file in a stage's folder, all or none. Several processes may do so at once.
///
/// # Errors
/// The system's, with the path.
pub(super) fn append(folder: &Path, evaluations: &[Evaluation]) -> Result<()> {
    let path = folder.join(FILE);
    let failed = || format!("cannot write {}", path.display());
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(&path)
        .with_context(failed)?;
    let mut text = Vec::new();
    if !ends_a_line(&mut file).with_context(failed)? {
        // A process that died while writing spoils its own line only.
        text.push(b'\n');
    }
    for evaluation in evaluations {
        serde_json::to_writer(&mut text, evaluation).expect("figures always serialise");
        text.push(b'\n');
    }
    // One write in append mode: lines of two processes do not mix.
    file.write_all(&text).with_context(failed)?;
    file.sync_data().with_context(failed)
}

fn ends_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// All figures of a stage of a run, those of its exam first; lines that cannot be read are passed over.
///
/// # Errors
/// The file is there and cannot be read.
pub fn of_stage(run: &RunFolder, record: &StageRecord) -> Result<Vec<Evaluation>> {
    let mut evaluations = of_exam(&run.name, record);
    let path = run.stage(&record.stage).join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let lines = bytes.split(|&byte| byte == b'\n');
            evaluations.extend(lines.filter_map(|line| serde_json::from_slice::<Evaluation>(line).ok()));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    evaluations.retain(|evaluation| evaluation.score.is_finite());
    Ok(evaluations)
}

/// The figures of the exam after a stage, from its record. Fields that are absent are tolerated: records outlive
/// versions.
fn of_exam(run: &str, record: &StageRecord) -> Vec<Evaluation> {
    let details = &record.details;
    let device = details["device"].as_str().unwrap_or_default();
    let model = Measured {
        run,
        stage: &record.stage,
        step: record.number("/steps_done").unwrap_or(0.0) as u64,
        // Where a stage moved, it was examined at its end.
        device: device.rsplit(" → ").next().unwrap_or_default().to_owned(),
    };
    let score = |task: &Value| {
        let name = task["task"].as_str()?;
        let words = |list: &Value| -> Option<Vec<String>> {
            let words = list
                .as_array()?
                .iter()
                .filter_map(|word| word.as_str().map(str::to_owned));
            Some(words.collect())
        };
        let flags = words(&task["flags"]).unwrap_or_else(|| usual_flags(name, task["count"].as_u64()));
        let passes = task["pass_at_k"].as_array();
        let refusals = &task["false_refusals"];
        Some(Evaluation {
            suite: Suite::Chat,
            task: name.to_owned(),
            variant: task["variant"].as_str().unwrap_or_default().to_owned(),
            score: task["score"].as_f64()?,
            standard_error: task["standard_error"].as_f64(),
            count: task["count"].as_u64(),
            chance: task["chance"].as_f64().unwrap_or(0.0),
            pass_at_k: passes.into_iter().flatten().filter_map(estimate).collect(),
            refusals: refusals["refused"].as_u64().zip(refusals["replies"].as_u64()),
            items: serde_json::from_value(task["items"].clone()).unwrap_or_default(),
            command: model.command("tasks", &flags),
            measured: None,
            version: record.version.clone(),
            seconds: task["seconds"].as_f64().unwrap_or(0.0),
            ..model.nothing()
        })
    };
    let listed = details["tasks"].as_array();
    listed.into_iter().flatten().filter_map(score).collect()
}

/// How older versions asked.
fn usual_flags(task: &str, count: Option<u64>) -> Vec<String> {
    let tokens = if task.parse::<ferrochat_world::Kind>().is_ok() {
        "96"
    } else {
        "256"
    };
    let mut flags = vec!["--tasks".to_owned(), task.to_owned()];
    flags.extend(count.iter().flat_map(|count| ["--count".to_owned(), count.to_string()]));
    flags.extend(["--max-new-tokens", tokens].map(str::to_owned));
    flags
}

/// A number, or an object with its value and standard error.
fn estimate(value: &Value) -> Option<Estimate> {
    let standard_error = value["standard_error"].as_f64().unwrap_or(0.0);
    let number = value.as_f64().or_else(|| value["value"].as_f64())?;
    Some(Estimate {
        value: number,
        standard_error,
    })
}
