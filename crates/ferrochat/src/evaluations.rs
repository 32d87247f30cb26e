//! What evaluations came to, each with the line that measures it again. An exam after a stage leaves its figures in the
//! stage's record; `eval` adds a line to `evaluations.jsonl` in the folder of the stage whose model it measured, so that
//! they go when the stage is begun again. Report and comparison read both. Knows figures, never how they are measured.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use ferrochat_tasks::{CoreScore, Estimate, TaskScore};
use ferrochat_tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::device;
use crate::format;
use crate::home::RunFolder;
use crate::record::StageRecord;

/// Name of the file in a stage's folder.
pub const FILE: &str = "evaluations.jsonl";
/// The name of the mean of CORE's tasks.
pub const CORE: &str = "CORE";

/// Which kind of figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// A task that is asked in chat form.
    Chat,
    /// A task of CORE, or [`CORE`] itself.
    Core,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Which kind.
    pub suite: Suite,
    /// Name of the task.
    pub task: String,
    /// What was done otherwise than usual, such as `temperature 1`; empty as a rule.
    #[serde(default)]
    pub variant: String,
    /// Share of items that are right; of CORE itself the mean of the centered shares.
    pub score: f64,
    /// Standard error of the score, where it is known.
    pub standard_error: Option<f64>,
    /// Items.
    pub count: Option<u64>,
    /// The score of guessing.
    #[serde(default)]
    pub chance: f64,
    /// pass@1, pass@2, … where there were several replies to each item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass_at_k: Vec<Estimate>,
    /// Share of refusals among replies to what should be answered: refused, replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusals: Option<(u64, u64)>,
    /// Words after `ferrochat` that measure it again.
    pub command: Vec<String>,
    /// Steps after which the model's checkpoint was made.
    pub step: u64,
    /// What it was measured on.
    #[serde(default)]
    pub device: String,
    /// When, UTC; none where the stage's record tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<String>,
    /// Version of the program.
    #[serde(default)]
    pub version: String,
    /// Time that it took.
    #[serde(default)]
    pub seconds: f64,
}

/// The model that is measured, and with what.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// Its run.
    pub run: &'a str,
    /// Its stage.
    pub stage: &'a str,
    /// Steps after which its checkpoint was made.
    pub step: u64,
    /// The device's name.
    pub device: String,
}

impl<'a> Measured<'a> {
    /// A model on a device.
    pub fn on(device: &Device, run: &'a str, stage: &'a str, step: u64) -> Measured<'a> {
        Measured {
            run,
            stage,
            step,
            device: device.name(),
        }
    }

    /// The words that measure a task of it: `eval`, `what`, the model, `flags`, the device.
    fn command(&self, what: &str, flags: &[String]) -> Vec<String> {
        let step = self.step.to_string();
        let model = ["eval", what, "--run", self.run, "--stage", self.stage, "--step", &step];
        let mut words: Vec<String> = model.into_iter().map(str::to_owned).collect();
        words.extend(flags.iter().cloned());
        words.extend(device::flags_of(&self.device));
        words
    }

    /// A task in chat form. `flags` are those of `eval tasks` that ask the same.
    pub fn task(&self, score: &TaskScore, flags: &[String], variant: &str) -> Evaluation {
        Evaluation {
            suite: Suite::Chat,
            task: score.task.clone(),
            variant: variant.to_owned(),
            score: score.score,
            standard_error: Some(score.standard_error),
            count: Some(score.count as u64),
            chance: score.chance,
            pass_at_k: score.pass_at_k.clone(),
            refusals: score
                .false_refusals
                .map(|counts| (counts.refused as u64, counts.replies as u64)),
            command: self.command("tasks", flags),
            seconds: score.seconds,
            ..self.nothing()
        }
    }

    /// A task of CORE. `flags` are those of `eval core` that ask the same.
    pub fn core_task(&self, score: &CoreScore, flags: &[String]) -> Evaluation {
        Evaluation {
            task: score.task.clone(),
            score: score.accuracy,
            standard_error: Some(score.standard_error),
            count: Some(score.count as u64),
            chance: score.chance,
            command: self.command("core", flags),
            seconds: score.seconds,
            ..self.nothing()
        }
    }

    /// CORE itself.
    pub fn core(&self, scores: &[CoreScore], metric: Estimate, flags: &[String]) -> Evaluation {
        Evaluation {
            task: CORE.to_owned(),
            score: metric.value,
            standard_error: Some(metric.standard_error),
            count: Some(scores.iter().map(|score| score.count as u64).sum()),
            command: self.command("core", flags),
            seconds: scores.iter().map(|score| score.seconds).sum(),
            ..self.nothing()
        }
    }

    fn nothing(&self) -> Evaluation {
        Evaluation {
            suite: Suite::Core,
            task: String::new(),
            variant: String::new(),
            score: 0.0,
            standard_error: None,
            count: None,
            chance: 0.0,
            pass_at_k: Vec::new(),
            refusals: None,
            command: Vec::new(),
            step: self.step,
            device: self.device.clone(),
            measured: Some(format::now()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seconds: 0.0,
        }
    }
}

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
pub fn append(folder: &Path, evaluations: &[Evaluation]) -> Result<()> {
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
pub fn of_exam(run: &str, record: &StageRecord) -> Vec<Evaluation> {
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

impl Evaluation {
    /// The line that measures it again, as a shell takes it.
    pub fn line(&self) -> String {
        let words = self.command.iter().map(String::as_str);
        format::shell_line(std::iter::once("ferrochat").chain(words))
    }

    /// The score on the scale on which guessing is 0 and all right is 1, with its standard error.
    pub fn centered(&self) -> (f64, Option<f64>) {
        let room = 1.0 - self.chance;
        let error = self.standard_error.map(|error| error / room);
        ((self.score - self.chance) / room, error)
    }

    /// True of two figures for the same thing, whatever they came to and on how many items.
    pub fn is_like(&self, other: &Evaluation) -> bool {
        (self.suite, &self.task, &self.variant) == (other.suite, &other.task, &other.variant)
    }

    /// The name of a row: the task, and what was done otherwise than usual.
    pub fn name(&self) -> String {
        match self.variant.as_str() {
            "" => self.task.clone(),
            variant => format!("{} ({variant})", self.task),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::State;
    use crate::settings::Settings;
    use serde_json::json;

    fn run(folder: &Path) -> RunFolder {
        RunFolder {
            name: "x".into(),
            root: folder.to_owned(),
        }
    }

    fn figure(task: &str, score: f64) -> Evaluation {
        let model = Measured {
            run: "x",
            stage: "sft",
            step: 7,
            device: "cpu avx2, 2 threads, float32".into(),
        };
        let flags = ["--tasks".to_owned(), task.to_owned()];
        Evaluation {
            suite: Suite::Chat,
            task: task.into(),
            score,
            command: model.command("tasks", &flags),
            ..model.nothing()
        }
    }

    #[test]
    fn figures_come_back_after_those_of_the_exam_and_a_cut_line_spoils_itself_only() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(folder.path());
        let stage = run.stage("sft");
        std::fs::create_dir_all(&stage).unwrap();
        let exam = json!([{"task": "facts", "score": 0.5, "standard_error": 0.1, "count": 4, "chance": 0.0}]);
        let device = "cpu avx2, 2 threads, bfloat16 → cuda:1 NVIDIA A100, bfloat16";
        let details = json!({"tasks": exam, "steps_done": 7, "device": device});
        let mut record = StageRecord::begin("sft", &Settings::default(), details);
        record.save(&stage, State::Finished).unwrap();
        append(&stage, &[figure("a", 0.25), figure("b", 1.0)]).unwrap();
        let mut file = OpenOptions::new().append(true).open(stage.join(FILE)).unwrap();
        file.write_all(b"{\"suite\":\"chat\",\"task\":\"c\",\"sco").unwrap();
        append(&stage, &[figure("d", 0.0)]).unwrap();
        let read = of_stage(&run, &record).unwrap();
        let names: Vec<&str> = read.iter().map(|figure| figure.task.as_str()).collect();
        assert_eq!(names, ["facts", "a", "b", "d"]);
        assert_eq!(
            read[1],
            Evaluation {
                measured: read[1].measured.clone(),
                ..figure("a", 0.25)
            }
        );
        assert_eq!(
            read[0].line(),
            "ferrochat eval tasks --run x --stage sft --step 7 --tasks facts --count 4 --max-new-tokens 96 --device cuda:1 --dtype bf16"
        );
        assert_eq!(
            read[3].line(),
            "ferrochat eval tasks --run x --stage sft --step 7 --tasks d --device cpu --dtype f32"
        );
    }

    #[test]
    fn of_several_figures_for_a_task_the_one_on_most_items_is_shown() {
        use crate::report::scores::to_show;
        let record = StageRecord::begin("sft", &Settings::default(), json!({"steps_done": 7}));
        let of = |count, step, score| Evaluation {
            count: Some(count),
            step,
            ..figure("a", score)
        };
        let figures = vec![
            of(10, 7, 0.1),
            of(50, 7, 0.2),
            of(50, 7, 0.3),
            of(20, 7, 0.4),
            of(99, 6, 0.5),
        ];
        let shown = to_show(figures.clone(), &record);
        assert_eq!(shown.iter().map(|figure| figure.score).collect::<Vec<_>>(), [0.3]);
        let mut other = figures;
        other.push(Evaluation {
            variant: "temperature 1".into(),
            ..of(5, 7, 0.6)
        });
        assert_eq!(to_show(other, &record).len(), 2);
    }
}
