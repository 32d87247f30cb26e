//! A stage that goes on from an earlier stage's model: from the name of a run to a [`Training`]. What the
//! stage learns is not known here.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use ferrochat_data::Packing;
use ferrochat_model::{Checkpoint, Gpt, Optimizer, Rates, Schedule, checkpoint};
use ferrochat_tensor::Device;
use ferrochat_tokenizer::Tokenizer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Training, resume};
use crate::checkpoints::{Checkpoints, Resumed, Trainer, bytes_to_come, disk_bytes, sorted, trainer_of};
use crate::cli::{MachineArgs, StageArgs};
use crate::errors::{refuse, usage};
use crate::home::{Home, RunFolder, check_writable};
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::prepare::is_finished;
use crate::record::{StageRecord, State};
use crate::runs::{self, CHAIN};
use crate::settings::Settings;
use crate::{device, format};

/// An opened run, ready for one more stage. Nothing has been written.
pub struct Chain {
    /// The stage to come.
    pub stage: &'static str,
    /// The run.
    pub run: RunFolder,
    /// Settings of its base model.
    pub settings: Settings,
    /// The base model's plan: shapes, rates, FLOPs.
    pub plan: Plan,
    /// How rows were made of the text in base training.
    pub packing: Packing,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// What it runs on.
    pub device: Device,
    /// The stage whose model is the beginning.
    pub source: &'static str,
    /// An earlier start of this stage.
    pub record: Option<StageRecord>,
    source_folder: PathBuf,
    fresh: bool,
}

/// A model on its way, and where it goes on.
pub struct Loaded {
    /// The model.
    pub gpt: Gpt,
    /// Its optimizer.
    pub optimizer: Optimizer,
    /// Where an earlier start ended.
    pub resumed: Option<Resumed>,
    checkpoints: Checkpoints,
}

impl Chain {
    /// Opens a run for `stage`. The model is that of the first of `sources` which is there, or of
    /// `--source-stage`.
    ///
    /// # Errors
    /// No such run, a stage before it that is not finished, or this one already is: as usage.
    pub fn open(home: &Home, stage: &'static str, sources: &[&'static str], args: &StageArgs) -> Result<Chain> {
        let name = args.run.clone().map_or_else(|| runs::newest(home), Ok)?;
        let run = runs::Run::load(home, &name)?;
        let record = if args.fresh {
            None
        } else {
            StageRecord::load(&run.folder.stage(stage)).map_err(usage)?
        };
        if is_finished(record.as_ref()) {
            refuse!("{stage} of the run {name:?} is finished; talk to it, or give --fresh to begin it again");
        }
        if args.resume && record.is_none() {
            refuse!("there is no interrupted {stage} in the run {name:?} to go on with");
        }
        let asked = args.source_stage.as_deref();
        let begun_from = record
            .as_ref()
            .and_then(|record| record.details["source"].as_str().map(str::to_owned));
        let source = choose(&run, stage, sources, begun_from.as_deref(), asked)?;
        let source_folder = checkpoint::latest(&run.folder.stage(source)).map_err(sorted)?;
        let opened = Checkpoint::open(&source_folder).map_err(sorted)?;
        let mut trainer = trainer_of(&opened)?;
        if let Some(base) = run.stage("base") {
            // May have been asked for after base training.
            trainer.settings.exam_questions = base.settings.exam_questions;
        }
        let tokenizer = crate::stages::tokenizer::load(&run.folder.tokenizer_file())?;
        opened
            .expect(&opened.meta().config.clone(), &tokenizer.fingerprint())
            .map_err(sorted)?;
        // As the stage had it, else as the one before: it changes every rounding.
        let before = record.as_ref().map_or(&trainer.settings, |record| &record.settings);
        let device = device::open(&MachineArgs {
            compute: args.compute.clone(),
            dtype: args.dtype.clone().or_else(|| before.dtype.clone()),
        })?;
        trainer.settings.dtype = Some(device::dtype_name(&device).to_owned());
        let mut plan = Plan::new(&name, &trainer.settings, tokenizer.vocab_size(), &device, None)?;
        plan.model = opened.meta().config.clone();
        Ok(Chain {
            stage,
            run: run.folder,
            settings: trainer.settings,
            packing: trainer.packing,
            tokenizer: Arc::new(tokenizer),
            plan,
            device,
            source,
            record,
            source_folder,
            fresh: args.fresh,
        })
    }

    /// The settings that an earlier start of the stage had.
    ///
    /// # Errors
    /// They are another version's.
    pub fn saved<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let record = self.record.as_ref();
        record
            .map(|record| record.settings_of_stage(&self.run.name))
            .transpose()
    }

    /// The model of the stage before.
    ///
    /// # Errors
    /// Its checkpoint is damaged.
    pub fn source_model(&self) -> Result<Gpt> {
        let gpt = Gpt::new(&self.device, &self.plan.model).map_err(usage)?;
        let source = Checkpoint::open(&self.source_folder).map_err(sorted)?;
        source.load_model(&gpt).map_err(sorted)?;
        Ok(gpt)
    }

    /// Model and optimizer as an earlier start left them, else as the stage before did; its optimizer's
    /// state is taken over if `carry` says so.
    ///
    /// # Errors
    /// A checkpoint that cannot be used.
    pub fn load(&self, rates: &Rates, carry: bool, save_every: i64) -> Result<Loaded> {
        let checkpoints = Checkpoints::new(&self.run.stage(self.stage), save_every, &self.tokenizer);
        let gpt = Gpt::new(&self.device, &self.plan.model).map_err(usage)?;
        let mut optimizer = Optimizer::new(&gpt, rates);
        let resumed = match &self.record {
            Some(record) => resume(&checkpoints, &gpt, &mut optimizer, record, &self.run)?,
            None => None,
        };
        if resumed.is_none() {
            let source = Checkpoint::open(&self.source_folder).map_err(sorted)?;
            source.load_model(&gpt).map_err(sorted)?;
            if carry {
                source.load_optimizer(&mut optimizer).map_err(sorted)?;
            }
        }
        Ok(Loaded {
            gpt,
            optimizer,
            resumed,
            checkpoints,
        })
    }

    /// The first files are written: the stage begins, or goes on.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn start(
        self,
        loaded: Loaded,
        schedule: Schedule,
        settings: &impl Serialize,
        plan: &impl Serialize,
        price_per_hour: Option<f64>,
    ) -> Result<Training> {
        let folder = self.run.stage(self.stage);
        let one = self.plan.checkpoint_bytes;
        let all = disk_bytes(one, schedule.steps, loaded.checkpoints.save_every());
        check_writable(&folder, bytes_to_come(all, one, &folder))?;
        if self.fresh {
            remove_from(&self.run, self.stage)?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let step = loaded.resumed.as_ref().map_or(0, |resumed| resumed.step);
        let metrics = Metrics::open(&folder, step as u64)?;
        let mut record = self.record.unwrap_or_else(|| {
            let details = json!({
                "source": self.source,
                "settings": settings,
                "plan": plan,
                "device": self.device.name(),
                "price_per_hour": price_per_hour,
                "steps_done": 0,
            });
            StageRecord::begin(self.stage, &self.settings, details)
        });
        device::note_move(&mut record, self.stage, step, &self.device);
        record.settings.dtype.clone_from(&self.settings.dtype);
        record.details["settings"] = json!(settings);
        record.save(&folder, State::Begun)?;
        let after = if step > 0 {
            format!(", going on after step {step}")
        } else {
            String::new()
        };
        eprintln!(
            "{}: {} steps from {}{after}; files in {}",
            self.stage,
            format::thousands(schedule.steps as u64),
            self.source,
            folder.display()
        );
        let mut trainer = loaded.resumed.map_or_else(
            || Trainer::begin(&self.settings, self.packing),
            |resumed| resumed.trainer,
        );
        trainer.settings.dtype = self.settings.dtype;
        Ok(Training {
            stage: self.stage,
            run: self.run,
            flops_per_token: self.plan.flops_per_token,
            gpt: loaded.gpt,
            optimizer: loaded.optimizer,
            checkpoints: loaded.checkpoints,
            schedule,
            metrics,
            record,
            trainer,
            step,
            exam_seconds: 0.0,
        })
    }
}

/// The stage to begin from.
fn choose(
    run: &runs::Run,
    stage: &str,
    sources: &[&'static str],
    begun_from: Option<&str>,
    asked: Option<&str>,
) -> Result<&'static str> {
    let name = &run.folder.name;
    if let (Some(begun), Some(asked)) = (begun_from, asked)
        && begun != asked
    {
        refuse!(
            "{stage} of the run {name:?} was begun from {begun}, not {asked}; leave --source-stage out, or give --fresh to begin again"
        );
    }
    let wanted = begun_from.or(asked);
    // Beginning a stage again deletes those after it, which none of them may be made from.
    let place = |name: &str| CHAIN.iter().position(|known| *known == name);
    if let Some(wanted) = wanted.filter(|wanted| place(wanted).is_none_or(|at| Some(at) >= place(stage))) {
        refuse!(
            "--source-stage {wanted:?} cannot be; {stage} can begin from {}",
            sources.join(", ")
        );
    }
    let mut candidates = CHAIN.iter().filter(|known| match wanted {
        Some(wanted) => **known == wanted,
        None => sources.contains(known) && run.stage(known).is_some(),
    });
    // The latest stage that is there.
    let Some(source) = candidates.next_back() else {
        refuse!("the run {name:?} has no model to begin from; ferrochat train base --run {name} makes one");
    };
    match run.stage(source) {
        Some(record) if record.state == State::Finished => Ok(source),
        Some(_) => {
            refuse!("{source} of the run {name:?} is not finished; go on with: ferrochat train {source} --run {name}")
        }
        None => refuse!("the run {name:?} has no {source}; ferrochat train {source} --run {name} makes it"),
    }
}

/// Deletes a stage and those that may have begun from it.
///
/// # Errors
/// The system's, with the path.
pub fn remove_from(run: &RunFolder, stage: &str) -> Result<()> {
    let at = CHAIN
        .iter()
        .position(|known| *known == stage)
        .expect("a stage of the chain");
    for folder in CHAIN[at..]
        .iter()
        .map(|stage| run.stage(stage))
        .filter(|folder| folder.exists())
    {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    Ok(())
}
