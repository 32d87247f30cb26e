//! What evaluations came to, each with the line that measures it again. An exam after a stage leaves its figures in the
//! stage's record; `eval` adds a line to `evaluations.jsonl` in the folder of the stage whose model it measured, so that
//! they go when the stage is begun again. Report and comparison read both. Knows figures, never how they are measured.

mod kept;
mod measured;

use ferrochat_tasks::{Estimate, Outcomes};
use serde::{Deserialize, Serialize};

pub use self::kept::{of_stage, remember};
pub use self::measured::Measured;
use crate::format;

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
    /// Which items are right, where that was kept.
    #[serde(default, skip_serializing_if = "Outcomes::is_empty")]
    pub items: Outcomes,
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
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::path::Path;

    use super::kept::{FILE, append};
    use super::*;
    use crate::home::RunFolder;
    use crate::record::{StageRecord, State};
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
