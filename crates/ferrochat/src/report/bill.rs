//! Cost, minutes and score: the one line in which machines and runs are compared. Minutes go from the start of the
//! run to the end of the last stage before RL, as in the reference; the time of all stages stands beside them.

use time::PrimitiveDateTime;
use time::macros::format_description;

use super::markdown::inline;
use super::scores;
use crate::evaluations::{CORE, Evaluation};
use crate::format::push;
use crate::record::StageRecord;
use crate::runs::Run;

/// Dollars per hour of one card where nobody says better; the reference's.
const CARDS: [(&str, f64); 3] = [("H100", 3.0), ("A100", 1.79), ("V100", 0.55)];
const OTHER_CARD: f64 = 2.0;
/// Stages after which the clock of the line has stopped.
const AFTER_THE_CLOCK: [&str; 2] = ["rl", "dpo"];

/// Cost / minutes / score, and what they mean.
pub fn line(text: &mut String, run: &Run, price_flag: Option<f64>) {
    let all: Vec<&StageRecord> = run.stages.iter().collect();
    let in_time = |record: &StageRecord| !AFTER_THE_CLOCK.contains(&record.stage.as_str());
    let timed: Vec<&StageRecord> = all.iter().copied().filter(|record| in_time(record)).collect();
    let scored: Vec<(&StageRecord, &[Evaluation])> = run.with_figures().filter(|(record, _)| in_time(record)).collect();
    let (Some(clock), Some(total), Some(last)) = (Clock::of(&timed), Clock::of(&all), timed.last()) else {
        return;
    };
    let (price, whose) = price(&all, price_flag);
    let cost = |clock: &Clock| price.map(|price| format!("${:.2}", price * clock.seconds / 3600.0));
    let (value, meaning) =
        score(&scored).unwrap_or_else(|| ("no score".to_owned(), "nothing has been measured".to_owned()));
    push(
        text,
        format_args!(
            "**{} / {:.1} minutes / {value}**\n\n",
            cost(&clock).unwrap_or_else(|| "no price given".to_owned()),
            clock.seconds / 60.0
        ),
    );
    push(
        text,
        format_args!(
            "Cost: {whose}. Minutes: {}, to the end of {}",
            clock.meaning(),
            last.stage
        ),
    );
    if all.len() > timed.len() {
        let cost = cost(&total).map_or_else(String::new, |cost| format!(" and {cost}"));
        push(
            text,
            format_args!("; {:.1} minutes{cost} with every stage", total.seconds / 60.0),
        );
    }
    push(text, format_args!(". Score: {meaning}.\n\n"));
}

/// Time that stages took.
struct Clock {
    seconds: f64,
    /// False where the stages did not follow one another, so that only their work counts.
    wall: bool,
}

impl Clock {
    fn of(stages: &[&StageRecord]) -> Option<Clock> {
        let work: f64 = stages.iter().map(|record| record.seconds).sum();
        let begun = stages.iter().filter_map(|record| unix(&record.started)).min()?;
        let ended = stages.iter().filter_map(|record| unix(&record.updated)).max()?;
        let wall = (ended - begun) as f64;
        // A run that lay idle overnight did not take the night.
        let idle = wall > 1.5 * work + 120.0;
        Some(Clock {
            seconds: if idle { work } else { wall.max(work) },
            wall: !idle,
        })
    }

    fn meaning(&self) -> &'static str {
        if self.wall {
            "wall clock from the start of the run"
        } else {
            "work of the stages without the breaks between them"
        }
    }
}

/// Seconds since 1970 of a time as records have it.
fn unix(time: &str) -> Option<i64> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let time = PrimitiveDateTime::parse(time, format).ok()?;
    Some(time.assume_utc().unix_timestamp())
}

/// Dollars per hour, and whose figure that is.
fn price(stages: &[&StageRecord], flag: Option<f64>) -> (Option<f64>, String) {
    let given = |price: f64, whose: &str| (Some(price), format!("at ${price:.2} an hour{whose}"));
    let recorded = || stages.iter().rev().find_map(|record| record.number("/price_per_hour"));
    if let Some(price) = flag.or_else(recorded) {
        return given(price, "");
    }
    let device = stages
        .iter()
        .rev()
        .find_map(|record| record.details["device"].as_str())
        .filter(|device| !device.to_lowercase().starts_with("cpu"));
    let Some(device) = device else {
        return (None, "--price-per-hour gives it".to_owned());
    };
    let known = CARDS.into_iter().find(|(card, _)| device.contains(card));
    given(
        known.map_or(OTHER_CARD, |(_, price)| price),
        ", a usual price of such a card",
    )
}

/// The score of the last of these stages that has one, and what it is.
fn score(stages: &[(&StageRecord, &[Evaluation])]) -> Option<(String, String)> {
    let mut latest_first = stages.iter().rev();
    let examined = latest_first.find_map(|(record, figures)| Some((record, scores::mean_of(figures)?)));
    if let Some((record, (means, estimate))) = examined {
        let (stage, tasks) = (record.stage.to_uppercase(), inline(&means.tasks.join(", ")));
        let meaning = format!("of {stage}, the mean of (score − chance) / (1 − chance) over {tasks}");
        return Some((format!("{:.4} {}", estimate.value, inline(&means.name)), meaning));
    }
    let (base, figures) = stages.iter().find(|(record, _)| record.stage == "base")?;
    if let Some(core) = figures.iter().find(|figure| figure.task == CORE) {
        let meaning = "of the base model, the mean of (score − chance) / (1 − chance) over its tasks".to_owned();
        return Some((format!("{:.4} CORE", core.score), meaning));
    }
    let bpb = base.number("/val/bits_per_byte")?;
    let meaning = "the base model on validation text, less is better".to_owned();
    Some((format!("{bpb:.4} bits per byte"), meaning))
}
