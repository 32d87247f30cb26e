//! `runs list` and `runs show`: what lies in the runs folder, read from its records.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::errors::refuse;
use crate::format::push;
use crate::home::{Home, RunFolder};
use crate::metrics;
use crate::output;
use crate::record::{StageRecord, State};

/// Stages in their order.
pub const STAGES: [&str; 6] = ["tokenizer", "base", "mid", "sft", "rl", "dpo"];

/// Those that make models, each from one before it.
pub const CHAIN: [&str; 5] = ["base", "mid", "sft", "rl", "dpo"];

/// One run as its records tell.
pub struct Run {
    /// Where it lies.
    pub folder: RunFolder,
    /// Records of the stages it has.
    pub stages: Vec<StageRecord>,
}

impl Run {
    /// Reads a run.
    ///
    /// # Errors
    /// There is none of that name, or a record is damaged.
    pub fn load(home: &Home, name: &str) -> Result<Run> {
        let folder = home.run(name)?;
        let mut stages = Vec::new();
        for stage in STAGES {
            stages.extend(StageRecord::load(&folder.stage(stage))?);
        }
        if stages.is_empty() {
            let known = names(home)?;
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            refuse!(
                "there is no run {name:?} in {}; there are: {known}",
                home.runs.display()
            );
        }
        Ok(Run { folder, stages })
    }

    /// The record of a stage.
    pub fn stage(&self, name: &str) -> Option<&StageRecord> {
        self.stages.iter().find(|record| record.stage == name)
    }

    fn summary(&self) -> Value {
        let base = self.stage("base");
        let last = self.stages.last();
        json!({
            "run": self.folder.name,
            "folder": self.folder.root,
            "stage": last.map(|record| &record.stage),
            "state": last.map(|record| record.state),
            "updated": last.map(|record| &record.updated),
            "depth": base.map(|record| record.settings.depth),
            "parameters": base.and_then(|record| record.details.pointer("/plan/parameters/total").cloned()),
            "steps_done": base.and_then(|record| record.details.pointer("/steps_done").cloned()),
            "steps": base.and_then(|record| record.details.pointer("/plan/steps").cloned()),
            "val_bpb": base.and_then(|record| record.details.pointer("/val/bits_per_byte").cloned()),
            "seconds": self.stages.iter().map(|record| record.seconds).sum::<f64>(),
        })
    }
}

/// The name of the run that was worked on last.
///
/// # Errors
/// There is none.
pub fn newest(home: &Home) -> Result<String> {
    // A damaged run must not hide the others, nor be chosen unasked.
    let runs = names(home)?.into_iter().filter_map(|name| Run::load(home, &name).ok());
    let updated = |run: &Run| run.stages.iter().map(|record| record.updated.clone()).max();
    match runs.max_by_key(updated) {
        Some(run) => Ok(run.folder.name),
        None => refuse!(
            "there is no run in {}; ferrochat speedrun makes one",
            home.runs.display()
        ),
    }
}

fn names(home: &Home) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(&home.runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", home.runs.display())),
    };
    let has_records = |folder: &Path| {
        STAGES
            .iter()
            .any(|stage| folder.join(stage).join("stage.json").exists())
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder: &PathBuf| has_records(folder))
        .filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// `runs list`
///
/// # Errors
/// The runs folder cannot be read.
pub fn list_command(home: &Home, as_json: bool) -> Result<()> {
    let mut summaries = Vec::new();
    for name in names(home)? {
        match Run::load(home, &name) {
            Ok(run) => summaries.push(run.summary()),
            // One damaged run must not hide the others.
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    if as_json {
        return output::print_json(&summaries);
    }
    if summaries.is_empty() {
        return output::print(&format!("no runs in {}\n", home.runs.display()));
    }
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let rows: Vec<Vec<String>> = summaries
        .iter()
        .map(|run| {
            let number = |key: &str| run[key].as_f64();
            vec![
                text(&run["run"]),
                text(&run["stage"]),
                text(&run["state"]),
                number("parameters").map_or("-".to_owned(), crate::format::short),
                match (number("steps_done"), number("steps")) {
                    (Some(done), Some(steps)) => format!("{done}/{steps}"),
                    _ => "-".to_owned(),
                },
                number("val_bpb").map_or("-".to_owned(), |bpb| format!("{bpb:.4}")),
                crate::format::duration(number("seconds").unwrap_or(0.0)),
                text(&run["updated"]),
            ]
        })
        .collect();
    let header = [
        "RUN",
        "STAGE",
        "STATE",
        "PARAMETERS",
        "STEPS",
        "VAL BPB",
        "TIME",
        "UPDATED",
    ];
    output::print(&output::table(&header, &rows))
}

/// `runs show`
///
/// # Errors
/// There is no such run.
pub fn show_command(home: &Home, name: &str, as_json: bool) -> Result<()> {
    let run = Run::load(home, name)?;
    let base = run.folder.stage("base");
    let lines = metrics::read(&base)?;
    let checkpoints = crate::model::checkpoints(&base)?;
    if as_json {
        return output::print_json(&json!({
            "summary": run.summary(),
            "stages": run.stages,
            "checkpoints": checkpoints,
            "last": lines.iter().rev().find(|line| line.loss.is_some()),
        }));
    }
    let mut text = format!("run {name} in {}\n", run.folder.root.display());
    for record in &run.stages {
        push(
            &mut text,
            format_args!(
                "\n{}: {} {}, {} of work\n  {}\n",
                record.stage,
                record.state.name(),
                record.updated,
                crate::format::duration(record.seconds),
                record.command
            ),
        );
    }
    if let Some(record) = run.stage("base") {
        let number = |pointer: &str| record.number(pointer);
        if let (Some(done), Some(steps)) = (number("/steps_done"), number("/plan/steps")) {
            push(&mut text, format_args!("  {done} of {steps} steps\n"));
        }
        if let Some(bpb) = number("/val/bits_per_byte") {
            push(&mut text, format_args!("  {bpb:.4} bits per byte on validation data\n"));
        }
        if let Some(loss) = lines.iter().rev().find_map(|line| line.loss) {
            push(&mut text, format_args!("  last training loss {loss:.4}\n"));
        }
        let steps: Vec<String> = checkpoints.iter().map(ToString::to_string).collect();
        push(
            &mut text,
            format_args!(
                "  checkpoints after steps: {}\n",
                if steps.is_empty() {
                    "none".to_owned()
                } else {
                    steps.join(", ")
                }
            ),
        );
        if matches!(record.state, State::Interrupted | State::Begun) {
            push(
                &mut text,
                format_args!("  go on with: ferrochat train base --run {name} --resume\n"),
            );
        }
    }
    if run.folder.report_file().exists() {
        push(
            &mut text,
            format_args!("\nreport: {}\n", run.folder.report_file().display()),
        );
    }
    output::print(&text)
}
