//! A trained model, ready to use: from the name of a run to weights and tokenizer. Knows folders and
//! checkpoints, not what the model is wanted for.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use ferrochat_chat::TextStart;
use ferrochat_model::{Checkpoint, Gpt, checkpoint};
use ferrochat_tokenizer::Tokenizer;

use crate::checkpoints::{sorted, trainer_of};
use crate::cli::{ModelArgs, TalkArgs};
use crate::errors::{refuse, usage};
use crate::home::Home;
use crate::settings::Settings;
use crate::stages::tokenizer;
use crate::{device, runs, sample};

/// A model and what belongs to it.
pub struct Trained {
    /// The model.
    pub gpt: Gpt,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Settings of the run that trained it.
    pub settings: Settings,
    /// How its texts begin.
    pub start: TextStart,
    /// The stage whose weights these are.
    pub stage: &'static str,
    /// Optimizer steps that stage has done.
    pub step: u64,
}

impl TalkArgs {
    /// The model that is meant, of the run that was worked on last where none is named.
    ///
    /// # Errors
    /// There is no run.
    pub fn resolve(self, home: &Home) -> Result<ModelArgs> {
        Ok(ModelArgs {
            run: self.run.map_or_else(|| runs::newest(home), Ok)?,
            checkpoint: self.checkpoint,
            machine: self.machine,
        })
    }
}

/// Stages whose models one talks to unless another is named, the best first: as in the reference, what RL
/// and DPO made of it is asked for by name.
const TO_TALK_TO: [&str; 3] = ["sft", "mid", "base"];

/// Loads the model of a run: that of the stage which is named, else its base model.
///
/// # Errors
/// There is no such run or checkpoint, or it is damaged or another's.
pub fn load(home: &Home, args: &ModelArgs) -> Result<Trained> {
    let run = runs::Run::load(home, &args.run)?;
    load_stage(&run, args, named(args)?.unwrap_or("base"))
}

/// Loads the model of a run that is best to talk to, or that of the stage which is named.
///
/// # Errors
/// As [`load`].
pub fn load_to_talk(home: &Home, args: &ModelArgs) -> Result<Trained> {
    let run = runs::Run::load(home, &args.run)?;
    let stages = named(args)?.map_or(TO_TALK_TO.to_vec(), |stage| vec![stage]);
    for stage in stages {
        if !checkpoints(&run.folder.stage(stage))?.is_empty() {
            return load_stage(&run, args, stage);
        }
    }
    let stage = args.checkpoint.stage.as_deref().unwrap_or("base");
    refuse!(
        "the run {:?} has no {stage} model yet; {}",
        args.run,
        runs::made_by(&run, stage)
    )
}

/// The stage of `--stage`.
fn named(args: &ModelArgs) -> Result<Option<&'static str>> {
    let Some(name) = args.checkpoint.stage.as_deref() else {
        return Ok(None);
    };
    match runs::CHAIN.iter().find(|stage| **stage == name) {
        Some(stage) => Ok(Some(stage)),
        None => refuse!(
            "--stage {name:?} is unknown; it must be one of {}",
            runs::CHAIN.join(", ")
        ),
    }
}

fn load_stage(run: &runs::Run, args: &ModelArgs, name: &'static str) -> Result<Trained> {
    let stage = run.folder.stage(name);
    let folder = match args.checkpoint.step {
        None => checkpoint::latest(&stage).map_err(sorted)?,
        Some(step) => {
            let known = checkpoints(&stage)?;
            if !known.contains(&step) {
                let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                refuse!(
                    "the run {:?} has no checkpoint after step {step} of {name}; it has: {}",
                    args.run,
                    known.join(", ")
                );
            }
            stage.join(format!("step_{step:06}"))
        }
    };
    let checkpoint = Checkpoint::open(&folder).map_err(sorted)?;
    let trainer = trainer_of(&checkpoint)?;
    let tokenizer = tokenizer::load(&run.folder.tokenizer_file())?;
    let config = checkpoint.meta().config.clone();
    checkpoint.expect(&config, &tokenizer.fingerprint()).map_err(sorted)?;
    let device = device::open(&args.machine)?;
    let gpt = Gpt::new(&device, &config).map_err(usage)?;
    checkpoint.load_model(&gpt).map_err(sorted)?;
    Ok(Trained {
        gpt,
        tokenizer: Arc::new(tokenizer),
        settings: trainer.settings,
        start: sample::start_of(trainer.packing),
        stage: name,
        step: checkpoint.meta().step,
    })
}

/// Steps after which the stage in `folder` has checkpoints.
///
/// # Errors
/// The folder cannot be read.
pub fn checkpoints(folder: &Path) -> Result<Vec<u64>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    Ok(checkpoint::list(folder)?.into_iter().map(|(step, _)| step).collect())
}
