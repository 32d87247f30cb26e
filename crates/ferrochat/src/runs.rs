//! `runs list` and `runs show`: what lies in the runs folder, read from its records.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::errors::refuse;
use crate::evaluations::{self, CORE, Evaluation, Suite};
use crate::format::{push, shell_line};
use crate::home::{Home, RunFolder};
use crate::metrics::{self, Line};
use crate::output;
use crate::record::{StageRecord, State};
use crate::report::scores::{self, main_score};

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
    /// What their models came to, stage by stage.
    figures: Vec<Vec<Evaluation>>,
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
        Run::of(folder, stages)
    }

    /// A run with these records.
    ///
    /// # Errors
    /// Figures that cannot be read.
    fn of(folder: RunFolder, stages: Vec<StageRecord>) -> Result<Run> {
        let figures = |record| Ok(scores::to_show(evaluations::of_stage(&folder, record)?, record));
        let figures = stages.iter().map(figures).collect::<Result<_>>()?;
        Ok(Run {
            folder,
            stages,
            figures,
        })
    }

    /// What the model of a stage came to after `step` steps.
    ///
    /// # Errors
    /// Figures that cannot be read.
    pub fn figures_after(&self, record: &StageRecord, step: u64) -> Result<Vec<Evaluation>> {
        let mut all = evaluations::of_stage(&self.folder, record)?;
        all.retain(|figure| figure.step == step);
        Ok(scores::best(all))
    }

    /// The stages with what their models came to.
    pub fn with_figures(&self) -> impl DoubleEndedIterator<Item = (&StageRecord, &[Evaluation])> {
        self.stages.iter().zip(self.figures.iter().map(Vec::as_slice))
    }

    /// The record of a stage.
    pub fn stage(&self, name: &str) -> Option<&StageRecord> {
        self.stages.iter().find(|record| record.stage == name)
    }

    fn summary(&self) -> Value {
        let (base, last) = (self.stage("base"), self.stages.last());
        let mut scored = self.with_figures().rev();
        let score = scored.find_map(|(record, figures)| Some((record, main_score(record, figures)?)));
        json!({
            "run": self.folder.name,
            "folder": self.folder.root,
            "stage": last.map(|record| &record.stage),
            "state": last.map(|record| record.state),
            "updated": last.map(|record| &record.updated),
            "depth": base.map(|record| record.settings.depth),
            "parameters": base.and_then(|record| record.details.pointer("/plan/parameters/total").cloned()),
            "steps_done": last.and_then(|record| record.details.get("steps_done").cloned()),
            "steps": last.and_then(|record| record.details.pointer("/plan/steps").cloned()),
            "val_bpb": base.and_then(|record| record.details.pointer("/val/bits_per_byte").cloned()),
            "score": score.as_ref().map(|(_, (_, estimate))| estimate.value),
            "score_name": score.as_ref().map(|(_, (name, _))| name),
            "score_stage": score.as_ref().map(|(record, _)| &record.stage),
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
    let (mut runs, mut damage) = (Vec::new(), None);
    for name in names(home)? {
        match Run::load(home, &name) {
            Ok(run) => runs.push(run),
            Err(error) => damage = Some(error),
        }
    }
    let updated = |run: &Run| run.stages.iter().map(|record| record.updated.clone()).max();
    match (runs.into_iter().max_by_key(updated), damage) {
        (Some(run), _) => Ok(run.folder.name),
        (None, Some(error)) => Err(error),
        (None, None) => refuse!(
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
                number("score").map_or("-".to_owned(), |score| {
                    format!("{score:.4} {}", text(&run["score_name"]))
                }),
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
        "SCORE",
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
    let mut shown = Vec::new();
    for (record, figures) in run.with_figures() {
        let folder = run.folder.stage(&record.stage);
        let mut lines = metrics::read(&folder)?;
        let last = lines.iter().rposition(|line| line.loss.is_some());
        shown.push(Shown {
            record,
            figures,
            checkpoints: crate::model::checkpoints(&folder)?,
            last: last.map(|at| lines.swap_remove(at)),
        });
    }
    if as_json {
        let by_stage = |value: &dyn Fn(&Shown) -> Value| -> Value {
            let pairs = shown.iter().map(|one| (one.record.stage.clone(), value(one)));
            Value::Object(pairs.collect())
        };
        return output::print_json(&json!({
            "summary": run.summary(),
            "stages": run.stages,
            "checkpoints": by_stage(&|one| json!(one.checkpoints)),
            "last": by_stage(&|one| json!(one.last)),
            "evaluations": by_stage(&|one| json!(one.figures)),
        }));
    }
    let mut text = format!("run {name} in {}\n", run.folder.root.display());
    for one in &shown {
        one.print(&mut text, &run);
    }
    if run.folder.report_file().exists() {
        push(
            &mut text,
            format_args!("\nreport: {}\n", run.folder.report_file().display()),
        );
    }
    output::print(&text)
}

/// A stage as `runs show` shows it.
struct Shown<'a> {
    record: &'a StageRecord,
    figures: &'a [Evaluation],
    checkpoints: Vec<u64>,
    last: Option<Line>,
}

impl Shown<'_> {
    fn print(&self, text: &mut String, run: &Run) {
        let record = self.record;
        push(
            text,
            format_args!(
                "\n{}: {} {}, {} of work\n  {}\n",
                record.stage,
                record.state.name(),
                record.updated,
                crate::format::duration(record.seconds),
                record.command
            ),
        );
        let mut line = |name: &str, value: &str| push(text, format_args!("  {name:<22}{value}\n"));
        if let Some(source) = record.details["source"].as_str() {
            line("begins from", source);
        }
        if let (Some(done), Some(steps)) = (record.number("/steps_done"), record.number("/plan/steps")) {
            line("steps", &format!("{done} of {steps}"));
        }
        if let Some(loss) = self.last.as_ref().and_then(|line| line.loss) {
            line("last training loss", &format!("{loss:.4}"));
        }
        for (field, name) in [
            ("loss", "validation loss"),
            ("bits_per_byte", "bits per byte"),
            ("accuracy", "pair accuracy"),
        ] {
            if let Some(value) = record.number(&format!("/val/{field}")) {
                line(name, &format!("{value:.4}"));
            }
        }
        // CORE alone stands for its tasks; the report has them.
        let told = |figure: &&Evaluation| figure.suite == Suite::Chat || figure.task == CORE;
        for figure in self.figures.iter().filter(told) {
            let count = figure.count.map_or_else(String::new, |count| format!(" of {count}"));
            let score = scores::Estimate::from(figure).text();
            line(&figure.name(), &format!("{score}{count}, chance {:.2}", figure.chance));
        }
        for (pointer, name) in [("/pass_at_k/after/pass/0", "pass@1"), ("/wins/after", "pairs won")] {
            if let Some(share) = record.details.pointer(pointer).and_then(scores::Estimate::of) {
                line(name, &share.text());
            }
        }
        if let Some((means, estimate)) = scores::mean_of(self.figures) {
            line(&means.name, &estimate.text());
        }
        if CHAIN.contains(&record.stage.as_str()) {
            let steps: Vec<String> = self.checkpoints.iter().map(ToString::to_string).collect();
            let steps = if steps.is_empty() {
                "none".to_owned()
            } else {
                format!("after steps {}", steps.join(", "))
            };
            line("checkpoints", &steps);
        }
        if record.state != State::Finished {
            line("go on with", &go_on(run, record));
        }
    }
}

/// What line makes a stage of a run, or goes on with what is not finished before.
pub fn made_by(run: &Run, stage: &str) -> String {
    let unfinished = run.stages.iter().find(|record| record.state != State::Finished);
    let line = match unfinished {
        Some(record) => go_on(run, record),
        None => shell_line(["ferrochat", "train", stage, "--run", &run.folder.name]),
    };
    match unfinished.map(|record| record.stage.as_str()) {
        Some(other) if other != stage && !(other == "tokenizer" && stage == "base") => {
            format!("{line} goes on with the run, whose {other} is not finished")
        }
        _ => format!("{line} makes one"),
    }
}

/// The line that goes on with a stage that is not finished.
fn go_on(run: &Run, record: &StageRecord) -> String {
    let name = run.folder.name.as_str();
    let speedrun = run.stages.iter().any(|stage| stage.details.get("speedrun").is_some());
    if speedrun {
        return shell_line(["ferrochat", "speedrun", "--run", name]);
    }
    // A tokenizer is made by the stage that needs it.
    let stage = if record.stage == "tokenizer" {
        "base"
    } else {
        &record.stage
    };
    shell_line(["ferrochat", "train", stage, "--run", name])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn run(stage: &str, details: Value) -> Run {
        let folder = RunFolder {
            name: "x".into(),
            root: "/nowhere/x".into(),
        };
        let mut record = StageRecord::begin(stage, &Settings::default(), details);
        record.state = State::Interrupted;
        Run::of(folder, vec![record]).unwrap()
    }

    #[test]
    fn an_unfinished_stage_says_how_it_goes_on() {
        let alone = run("sft", json!({"source": "mid", "steps_done": 7, "plan": {"steps": 9}}));
        assert_eq!(go_on(&alone, &alone.stages[0]), "ferrochat train sft --run x");
        let whole = run("base", json!({"speedrun": {}}));
        assert_eq!(go_on(&whole, &whole.stages[0]), "ferrochat speedrun --run x");
        let goes_on = "goes on with the run, whose base is not finished";
        assert_eq!(made_by(&whole, "sft"), format!("ferrochat speedrun --run x {goes_on}"));
        let base = run("base", json!({}));
        assert_eq!(made_by(&base, "sft"), format!("ferrochat train base --run x {goes_on}"));
        assert_eq!(made_by(&base, "base"), "ferrochat train base --run x makes one");
        let tokenizer = run("tokenizer", json!({}));
        assert_eq!(made_by(&tokenizer, "base"), "ferrochat train base --run x makes one");
        let mut done = run("base", json!({"speedrun": {}}));
        done.stages[0].state = State::Finished;
        assert_eq!(made_by(&done, "sft"), "ferrochat train sft --run x makes one");
        let mut text = String::new();
        let shown = Shown {
            record: &alone.stages[0],
            figures: &[],
            checkpoints: vec![7],
            last: None,
        };
        shown.print(&mut text, &alone);
        for words in ["7 of 9", "after steps 7", "go on with", "begins from           mid"] {
            assert!(text.contains(words), "{words} is not in {text}");
        }
    }

    #[test]
    fn a_summary_tells_the_latest_stage_and_its_main_score() {
        let task = json!({"task": "choice", "score": 0.5, "standard_error": 0.03, "count": 100, "chance": 0.25});
        let summary = run("sft", json!({"tasks": [task], "val": {"bits_per_byte": 1.5}})).summary();
        assert_eq!(
            (&summary["stage"], &summary["score_name"]),
            (&json!("sft"), &json!("choice, centered"))
        );
        assert!((summary["score"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-12);
        let summary = run("base", json!({"val": {"bits_per_byte": 1.5}})).summary();
        assert_eq!(summary["score"], 1.5);
    }
}
