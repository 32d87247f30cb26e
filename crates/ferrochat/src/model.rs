//! A trained model, ready to use: from the name of a run to weights and tokenizer. Knows folders and
//! checkpoints, not what the model is wanted for.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use ferrochat_model::{Checkpoint, Gpt, checkpoint};
use ferrochat_tokenizer::Tokenizer;

use crate::checkpoints::{sorted, trainer_of};
use crate::cli::ModelArgs;
use crate::errors::{refuse, usage};
use crate::home::Home;
use crate::sample::Start;
use crate::settings::Settings;
use crate::stages::tokenizer;
use crate::{device, runs};

/// A model and what belongs to it.
pub struct Trained {
    /// The model.
    pub gpt: Gpt,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Settings of the run that trained it.
    pub settings: Settings,
    /// How its texts begin.
    pub start: Start,
    /// The stage whose weights these are.
    pub stage: &'static str,
    /// Optimizer steps that stage has done.
    pub step: u64,
}

/// Stages that make models to talk to, the best first.
const TO_TALK_TO: [&str; 3] = ["sft", "mid", "base"];

/// Loads the base model of a run.
///
/// # Errors
/// There is no such run or checkpoint, or it is damaged or another's.
pub fn load(home: &Home, args: &ModelArgs) -> Result<Trained> {
    load_stage(&runs::Run::load(home, &args.run)?, args, "base")
}

/// Loads the model of a run that is best to talk to: that of its latest stage.
///
/// # Errors
/// As [`load`].
pub fn load_to_talk(home: &Home, args: &ModelArgs) -> Result<Trained> {
    let run = runs::Run::load(home, &args.run)?;
    for stage in TO_TALK_TO {
        if !checkpoints(&run.folder.stage(stage))?.is_empty() {
            return load_stage(&run, args, stage);
        }
    }
    refuse!(
        "the run {:?} has no model yet; ferrochat train base --run {:?} makes one",
        args.run,
        args.run
    )
}

fn load_stage(run: &runs::Run, args: &ModelArgs, name: &'static str) -> Result<Trained> {
    let stage = run.folder.stage(name);
    let folder = match args.step {
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
        start: Start::of(trainer.packing),
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
