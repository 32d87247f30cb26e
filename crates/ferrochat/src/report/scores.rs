//! What a stage's model is good at, as its record tells: scores of tasks and their one mean. Knows records,
//! never how anything was measured. Fields that are absent are tolerated: records outlive versions.

use serde_json::Value;

use crate::record::StageRecord;

/// The mean of the base model's 22 tasks, a task of its own here.
pub const CORE: &str = "CORE";

/// A number and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its standard error, if it is known.
    pub error: Option<f64>,
}

impl Estimate {
    /// A number, or an object with its value and standard error.
    pub fn of(value: &Value) -> Option<Estimate> {
        let error = value["standard_error"].as_f64();
        let number = value.as_f64().or_else(|| value["value"].as_f64());
        number.map(|value| Estimate { value, error })
    }

    /// With four decimals.
    pub fn text(&self) -> String {
        match self.error {
            Some(error) => format!("{:.4} ± {error:.4}", self.value),
            None => format!("{:.4}", self.value),
        }
    }
}

/// One task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskScore {
    /// Its name.
    pub task: String,
    /// Share of items that are right.
    pub score: Estimate,
    /// Items.
    pub count: Option<u64>,
    /// The score of guessing.
    pub chance: f64,
    /// pass@1, pass@2, …
    pub pass_at_k: Vec<Estimate>,
}

/// Scores of the tasks that a stage's model was examined on.
pub fn tasks(record: &StageRecord) -> Vec<TaskScore> {
    let score = |task: &Value| {
        let passes = task["pass_at_k"].as_array();
        Some(TaskScore {
            task: task["task"].as_str()?.to_owned(),
            score: Estimate {
                value: task["score"].as_f64()?,
                error: task["standard_error"].as_f64(),
            },
            count: task["count"].as_u64(),
            chance: task["chance"].as_f64().unwrap_or(0.0),
            pass_at_k: passes.into_iter().flatten().filter_map(Estimate::of).collect(),
        })
    };
    let listed = record.details["tasks"].as_array();
    listed.into_iter().flatten().filter_map(score).collect()
}

/// Share of refusals among the answers to what should be answered.
pub fn false_refusals(record: &StageRecord) -> Option<Estimate> {
    Estimate::of(&record.details["false_refusals"])
}

/// ChatCORE of these tasks: the mean of (score − chance) / (1 − chance). CORE is a mean already and stays out.
pub fn chat_core(tasks: &[TaskScore]) -> Option<Estimate> {
    let tasks: Vec<&TaskScore> = tasks
        .iter()
        .filter(|task| task.task != CORE && task.chance < 1.0)
        .collect();
    if tasks.is_empty() {
        return None;
    }
    let count = tasks.len() as f64;
    let centered = |task: &&TaskScore| (task.score.value - task.chance) / (1.0 - task.chance);
    let variance = |task: &&TaskScore| task.score.error.map(|error| (error / (1.0 - task.chance)).powi(2));
    let error = tasks.iter().map(variance).sum::<Option<f64>>();
    Some(Estimate {
        value: tasks.iter().map(centered).sum::<f64>() / count,
        error: error.map(|sum| sum.sqrt() / count),
    })
}

/// The main figure of a stage and its name: ChatCORE, else bits per byte, else the share of held-out pairs that it wins.
pub fn main_score(record: &StageRecord) -> Option<(&'static str, Estimate)> {
    if let Some(core) = chat_core(&tasks(record)) {
        return Some(("ChatCORE", core));
    }
    let figure = |name: &'static str, pointer: &str| {
        let value = record.number(pointer)?;
        Some((name, Estimate { value, error: None }))
    };
    figure("bits per byte", "/val/bits_per_byte")
        .or_else(|| Some(("pairs won", Estimate::of(&record.details["wins"]["after"])?)))
}
