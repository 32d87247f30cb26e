//! What every stage of a speedrun will take, and which are done: as far as settings and records tell, before
//! conversations and questions are read. Reads no data and writes nothing.

use anyhow::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FURTHER, Request, rl_flags, tune_flags};
use crate::dpo_settings::{DpoFlags, DpoSettings};
use crate::errors::usage;
use crate::format::{bytes, duration, short, thousands};
use crate::prepare::Prepared;
use crate::record::{StageRecord, State};
use crate::rl_settings::RlSettings;
use crate::tune_settings::TuneSettings;
use crate::{output, presets};

/// One stage. What only its data can tell is none.
#[derive(Debug, Serialize)]
pub(super) struct StagePlan {
    stage: &'static str,
    /// None where it has not begun.
    state: Option<State>,
    steps_done: u64,
    steps: Option<u64>,
    /// Read in training.
    tokens: Option<u64>,
    memory_bytes: Option<u64>,
    /// Of training, at the measured or assumed rate.
    minutes: Option<f64>,
    /// What it does, or what one of its steps takes.
    work: String,
}

impl StagePlan {
    fn new(stage: &'static str, work: String) -> StagePlan {
        StagePlan {
            stage,
            state: None,
            steps_done: 0,
            steps: None,
            tokens: None,
            memory_bytes: None,
            minutes: None,
            work,
        }
    }

    /// With what the stage's own record says.
    fn recorded(mut self, prepared: &Prepared) -> Result<StagePlan> {
        if let Some(record) = record_of(self.stage, prepared)? {
            self.state = Some(record.state);
            self.steps_done = record.number("/steps_done").unwrap_or(0.0) as u64;
            let known = record.number("/plan/steps").map(|steps| steps as u64);
            self.steps = self.steps.or(known);
        }
        Ok(self)
    }

    /// Minutes of training that are left of it.
    fn minutes_left(&self) -> Option<f64> {
        let left = match (self.state, self.steps) {
            (Some(State::Finished), _) => 0.0,
            (Some(_), Some(steps)) if steps > 0 => 1.0 - self.steps_done as f64 / steps as f64,
            _ => 1.0,
        };
        self.minutes.map(|minutes| minutes * left.max(0.0))
    }

    fn state(&self) -> String {
        match self.state {
            None => "to do".to_owned(),
            Some(State::Finished) => "finished".to_owned(),
            Some(state) => format!("{} at step {}", state.name(), thousands(self.steps_done)),
        }
    }
}

/// The stages that are asked for, in their order.
///
/// # Errors
/// Settings that cannot work, or a damaged record.
pub(super) fn stages(prepared: &Prepared, request: &Request) -> Result<Vec<StagePlan>> {
    let (plan, settings) = (&prepared.plan, &prepared.settings);
    let ids = thousands(plan.model.vocab_size as u64);
    let mut tokenizer = StagePlan::new("tokenizer", format!("{} of {ids} ids", settings.tokenizer));
    // One that is not there any more will be trained again, whatever its record says.
    tokenizer.state = prepared.tokenizer.as_ref().map(|_| State::Finished);
    let base = StagePlan {
        steps: Some(plan.steps as u64),
        tokens: Some(plan.tokens),
        memory_bytes: Some(plan.memory_bytes),
        minutes: plan.time.as_ref().map(|time| time.minutes),
        ..StagePlan::new(
            "base",
            per_step(plan.total_batch_size / settings.max_seq_len, settings.max_seq_len),
        )
    };
    let mut stages = vec![tokenizer, base.recorded(prepared)?];
    for stage in FURTHER.into_iter().filter(|stage| request.asks_for(stage)) {
        let further = match stage {
            "rl" => practice(prepared, request)?,
            "dpo" => preferences(prepared)?,
            _ => tuning(stage, prepared, request)?,
        };
        stages.push(further.recorded(prepared)?);
    }
    let examines = prepared.reads_the_world() || request.mix.tasks.is_some();
    let exam = match settings.exam_questions {
        n if n > 0 && examines => format!("; after each stage an exam, {n} questions of each kind"),
        _ => String::new(),
    };
    stages.push(StagePlan::new("report", format!("figures, curves, samples{exam}")));
    Ok(stages)
}

/// The record of a stage that goes on, or is over.
fn record_of(stage: &str, prepared: &Prepared) -> Result<Option<StageRecord>> {
    if prepared.fresh {
        return Ok(None);
    }
    StageRecord::load(&prepared.run.stage(stage)).map_err(usage)
}

/// The settings of a stage that has begun: it keeps them, whatever is asked now. Those of another version matter no more
/// where the stage is over.
///
/// # Errors
/// They cannot be read, and the stage is to go on.
fn begun_with<T: DeserializeOwned>(stage: &str, prepared: &Prepared) -> Result<Option<T>> {
    let Some(record) = record_of(stage, prepared)? else {
        return Ok(None);
    };
    match record.settings_of_stage(&prepared.run.name) {
        Err(_) if record.state == State::Finished => Ok(None),
        settings => settings.map(Some),
    }
}

/// Mid-training or SFT.
fn tuning(stage: &'static str, prepared: &Prepared, request: &Request) -> Result<StagePlan> {
    let (plan, settings) = (&prepared.plan, &prepared.settings);
    let tune = match begun_with(stage, prepared)? {
        Some(tune) => tune,
        None => TuneSettings::new(
            stage,
            &presets::tuning(settings, stage),
            &tune_flags(stage, &request.mix),
        )?,
    };
    let step = tune.step(plan, &prepared.device)?;
    // Where an epoch ends is known only once the conversations are read.
    let steps = u64::try_from(tune.num_iterations).ok();
    let tokens = steps.map(|steps| step.tokens_of(steps));
    let flops = tokens.map(|tokens| tokens as f64 * plan.flops_per_token);
    let rate = plan.time.as_ref().map(|time| time.flops_per_second);
    Ok(StagePlan {
        steps,
        tokens,
        memory_bytes: Some(step.memory_bytes),
        minutes: flops.zip(rate).map(|(flops, rate)| flops / rate / 60.0),
        ..StagePlan::new(stage, per_step(step.rows, settings.max_seq_len))
    })
}

fn practice(prepared: &Prepared, request: &Request) -> Result<StagePlan> {
    let rl = match begun_with("rl", prepared)? {
        Some(rl) => rl,
        None => RlSettings::new(&presets::practice(&prepared.settings), &rl_flags(&request.mix))?,
    };
    let work = format!(
        "{} replies to each of {} questions per step",
        rl.num_samples, rl.examples_per_step
    );
    Ok(StagePlan {
        steps: u64::try_from(rl.num_iterations).ok(),
        ..StagePlan::new("rl", work)
    })
}

fn preferences(prepared: &Prepared) -> Result<StagePlan> {
    let dpo = match begun_with("dpo", prepared)? {
        Some(dpo) => dpo,
        None => DpoSettings::new(&presets::preferring(&prepared.settings), &DpoFlags::default())?,
    };
    Ok(StagePlan {
        steps: u64::try_from(dpo.num_iterations).ok(),
        ..StagePlan::new("dpo", format!("{} pairs per step", dpo.examples_per_step))
    })
}

fn per_step(rows: usize, columns: usize) -> String {
    format!(
        "{} rows of {} tokens per step",
        thousands(rows as u64),
        thousands(columns as u64)
    )
}

/// Seconds of training that are left, of the stages of which they are known.
pub(super) fn seconds_left(stages: &[StagePlan]) -> f64 {
    stages.iter().filter_map(StagePlan::minutes_left).sum::<f64>() * 60.0
}

/// True if some of the training is done.
pub(super) fn is_begun(stages: &[StagePlan]) -> bool {
    stages.iter().any(|stage| stage.steps_done > 0)
}

/// The stages for people.
pub(super) fn table(stages: &[StagePlan]) -> String {
    let dash = || "-".to_owned();
    let row = |stage: &StagePlan| {
        let trains = !matches!(stage.stage, "tokenizer" | "report");
        vec![
            stage.stage.to_owned(),
            stage.state(),
            match stage.steps {
                Some(steps) => thousands(steps),
                None if trains => "by the data".to_owned(),
                None => dash(),
            },
            stage.tokens.map_or_else(dash, |tokens| short(tokens as f64)),
            stage.memory_bytes.map_or_else(dash, bytes),
            stage.minutes.map_or_else(dash, |minutes| duration(minutes * 60.0)),
            stage.work.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = stages.iter().map(row).collect();
    let header = ["STAGE", "STATE", "STEPS", "TOKENS", "MEMORY", "TRAINING", "WORK"];
    let unknown: Vec<&str> = stages
        .iter()
        .filter(|stage| stage.minutes.is_none() && stage.state != Some(State::Finished))
        .map(|stage| stage.stage)
        .collect();
    format!(
        "{}{} of training are left, beside what cannot be told beforehand: {}\n",
        output::table(&header, &rows),
        duration(seconds_left(stages)),
        unknown.join(", ")
    )
}
