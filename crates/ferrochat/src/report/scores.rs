//! What a stage's model is good at: which figures are shown, and their one mean. Knows records, never how anything was
//! measured. Fields that are absent are tolerated: records outlive versions.

use ferrochat_tasks::{ChatCore, TaskScore};
use serde_json::Value;

use crate::evaluations::{CORE, Evaluation, Suite};
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

    /// One that is known with its error.
    pub fn known(estimate: ferrochat_tasks::Estimate) -> Estimate {
        Estimate {
            value: estimate.value,
            error: Some(estimate.standard_error),
        }
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

/// One figure for the tasks in chat form, model by model.
pub struct Means {
    /// What it is: ChatCORE where its tasks were asked, else the mean of those that were.
    pub name: String,
    /// The tasks that it is the mean of.
    pub tasks: Vec<String>,
    /// Each model's; none of a model that was not asked the same tasks, for a mean over others would only look comparable.
    pub cells: Vec<Option<Estimate>>,
}

/// The mean of (score − chance) / (1 − chance) over tasks in chat form, asked as usual; none where there are no tasks.
pub fn means(columns: &[&[Evaluation]]) -> Option<Means> {
    let asked: Vec<Vec<TaskScore>> = columns.iter().map(|figures| chat_scores(figures)).collect();
    let named = |core: Option<ChatCore>| core.filter(|core| core.estimate.is_some());
    let cores: Vec<Option<ChatCore>> = asked
        .iter()
        .map(|scores| named(ChatCore::of(scores)).or_else(|| named(ChatCore::of_world(scores))))
        .collect();
    let longest = cores
        .iter()
        .flatten()
        .map(|core| &core.tasks)
        .max_by_key(|tasks| tasks.len());
    if let Some(tasks) = longest {
        let cell = |core: &Option<ChatCore>| {
            let core = core.as_ref().filter(|core| core.tasks == *tasks)?;
            core.estimate.map(Estimate::known)
        };
        return Some(Means {
            name: "ChatCORE".to_owned(),
            cells: cores.iter().map(cell).collect(),
            tasks: tasks.clone(),
        });
    }
    let mut tasks: Vec<String> = Vec::new();
    for score in asked.iter().flatten() {
        if !tasks.contains(&score.task) {
            tasks.push(score.task.clone());
        }
    }
    let name = match tasks.len() {
        0 => return None,
        1 => format!("{}, centered", tasks[0]),
        n => format!("mean of {n} tasks"),
    };
    let cell = |scores: &Vec<TaskScore>| {
        let centered: Vec<ferrochat_tasks::Estimate> = scores.iter().map(TaskScore::centered).collect();
        let mean = ferrochat_tasks::Estimate::mean(&centered).filter(|_| centered.len() == tasks.len());
        mean.map(Estimate::known)
    };
    Some(Means {
        name,
        cells: asked.iter().map(cell).collect(),
        tasks,
    })
}

/// The same of one model.
pub fn mean_of(figures: &[Evaluation]) -> Option<(Means, Estimate)> {
    let means = means(&[figures])?;
    let estimate = means.cells[0]?;
    Some((means, estimate))
}

/// Tasks in chat form, asked as usual.
fn chat_scores(figures: &[Evaluation]) -> Vec<TaskScore> {
    let counted = figures.iter().filter(|figure| {
        let usual = figure.suite == Suite::Chat && figure.variant.is_empty();
        usual && figure.chance < 1.0
    });
    let score = |figure: &Evaluation| TaskScore {
        task: figure.task.clone(),
        score: figure.score,
        standard_error: figure.standard_error.unwrap_or(0.0),
        count: figure.count.unwrap_or(0) as usize,
        chance: figure.chance,
        seconds: figure.seconds,
        cut: 0,
        false_refusals: None,
        samples: 1,
        pass_at_k: Vec::new(),
        items: figure.items.clone(),
    };
    counted.map(score).collect()
}

/// The main figure of a stage and its name: the mean of its tasks, else CORE, else bits per byte, else the share of
/// held-out pairs that it wins.
pub fn main_score(record: &StageRecord, figures: &[Evaluation]) -> Option<(String, Estimate)> {
    if let Some((means, estimate)) = mean_of(figures) {
        return Some((means.name, estimate));
    }
    if let Some(core) = figures.iter().find(|figure| figure.task == CORE) {
        return Some((CORE.to_owned(), Estimate::from(core)));
    }
    let figure = |name: &str, estimate: Option<Estimate>| Some((name.to_owned(), estimate?));
    figure("bits per byte", Estimate::of(&record.details["val"]["bits_per_byte"]))
        .or_else(|| figure("pairs won", Estimate::of(&record.details["wins"]["after"])))
}
