//! What a stage's model is good at: which figures are shown, and their one mean. Knows records, never how anything was
//! measured. Fields that are absent are tolerated: records outlive versions.

use serde_json::Value;

use crate::evaluations::Evaluation;
use crate::record::{StageRecord, State};

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

    /// The score of a figure.
    pub fn from(figure: &Evaluation) -> Estimate {
        Estimate {
            value: figure.score,
            error: figure.standard_error,
        }
    }

    /// With four decimals.
    pub fn text(&self) -> String {
        match self.error {
            Some(error) => format!("{:.4} ± {error:.4}", self.value),
            None => format!("{:.4}", self.value),
        }
    }
}

/// Of the figures of a stage those to show: the [`best`] of its model as it is.
pub fn to_show(all: Vec<Evaluation>, record: &StageRecord) -> Vec<Evaluation> {
    let finished = (record.state == State::Finished)
        .then(|| record.number("/steps_done"))
        .flatten();
    let latest = all.iter().map(|figure| figure.step).max();
    let step = finished.map(|steps| steps as u64).or(latest);
    best(all.into_iter().filter(|figure| Some(figure.step) == step))
}

/// Of each task's figures that on most items, the latest of equals.
pub fn best(all: impl IntoIterator<Item = Evaluation>) -> Vec<Evaluation> {
    let mut shown: Vec<Evaluation> = Vec::new();
    for figure in all {
        match shown.iter_mut().find(|known| known.is_like(&figure)) {
            Some(known) if figure.count >= known.count => *known = figure,
            Some(_) => {}
            None => shown.push(figure),
        }
    }
    shown
}

/// Share of refusals among the answers to what should be answered.
pub fn false_refusals(record: &StageRecord, figures: &[Evaluation]) -> Option<Estimate> {
    let counts = figures.iter().filter(|figure| figure.variant.is_empty());
    let counts = counts.filter_map(|figure| figure.refusals);
    let (refused, replies) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    if replies == 0 {
        return Estimate::of(&record.details["false_refusals"]);
    }
    let (refused, replies) = (refused as f64, replies as f64);
    let value = refused / replies;
    let error = (replies > 1.0).then(|| (value * (1.0 - value) / (replies - 1.0)).sqrt());
    Some(Estimate { value, error })
}

/// ChatCORE of these figures: the mean of (score − chance) / (1 − chance) over tasks in chat form, asked as usual.
pub fn chat_core(figures: &[Evaluation]) -> Option<Estimate> {
    let tasks: Vec<&Evaluation> = figures.iter().filter(|figure| figure.counts_for_chat_core()).collect();
    if tasks.is_empty() {
        return None;
    }
    let count = tasks.len() as f64;
    let centered: Vec<(f64, Option<f64>)> = tasks.iter().map(|task| task.centered()).collect();
    let error = centered
        .iter()
        .map(|(_, error)| Some(error.as_ref()?.powi(2)))
        .sum::<Option<f64>>();
    Some(Estimate {
        value: centered.iter().map(|(value, _)| value).sum::<f64>() / count,
        error: error.map(|sum| sum.sqrt() / count),
    })
}

/// The main figure of a stage and its name: ChatCORE, else bits per byte, else the share of held-out pairs that it wins.
pub fn main_score(record: &StageRecord, figures: &[Evaluation]) -> Option<(&'static str, Estimate)> {
    if let Some(core) = chat_core(figures) {
        return Some(("ChatCORE", core));
    }
    let figure = |name: &'static str, pointer: &str| {
        let value = record.number(pointer)?;
        Some((name, Estimate { value, error: None }))
    };
    figure("bits per byte", "/val/bits_per_byte")
        .or_else(|| Some(("pairs won", Estimate::of(&record.details["wins"]["after"])?)))
}
