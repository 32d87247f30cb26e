//! What happens before any work: settings, data, tokenizer and device become a plan, and whatever
//! cannot work is refused. Nothing is written here.

use anyhow::Result;
use ferrochat_data::Corpus;
use ferrochat_tensor::Device;
use ferrochat_tokenizer::Tokenizer;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::checkpoints::bytes_to_come;
use crate::cli::{ComputeArgs, MachineArgs, PlanArgs, RunArgs};
use crate::device;
use crate::errors::{refuse, usage};
use crate::home::{Home, RunFolder, check_writable};
use crate::plan::{Plan, available_memory};
use crate::record::{StageRecord, State};
use crate::settings::{Flags, Settings};
use crate::stages::tokenizer::{self, Recipe};
use crate::{output, plan_text, source};

/// The preset of those who name neither a preset nor a depth.
pub const DEFAULT_PRESET: &str = "spark";

/// A run that may begin, or go on.
pub struct Prepared {
    /// Where it lies.
    pub run: RunFolder,
    /// Its settings.
    pub settings: Settings,
    /// What the base stage has already done.
    pub base: Option<StageRecord>,
    /// Its text; none only for the plan of a real run without data.
    pub corpus: Option<Corpus>,
    /// Its tokenizer, if it is already trained.
    pub tokenizer: Option<Tokenizer>,
    /// What it runs on.
    pub device: Device,
    /// What follows.
    pub plan: Plan,
    /// Delete what is there first.
    pub fresh: bool,
    /// Dollars.
    pub price_per_hour: Option<f64>,
    /// What a speedrun wants remembered.
    pub request: Option<Value>,
}

/// Makes the plan and refuses what cannot work.
///
/// # Errors
/// One sentence, as usage.
pub fn prepare(home: &Home, flags: &Flags, run: &RunArgs, compute: &ComputeArgs, plan: &PlanArgs) -> Result<Prepared> {
    refuse_wrong_prices(plan)?;
    let (folder, mut settings, base) = choose(home, flags, run)?;
    let corpus = corpus(&settings, plan.dry_run)?;
    let tokenizer = existing_tokenizer(&folder, flags, run.fresh)?;
    let machine = MachineArgs {
        compute: compute.clone(),
        dtype: settings.dtype.clone(),
    };
    let device = device::open(&machine)?;
    let vocab_size = vocab_size(&settings, tokenizer.as_ref(), corpus.as_ref())?;
    let source = corpus.as_ref().map(|corpus| corpus.describe().clone());
    let plan_of_run = Plan::new(&folder.name, &settings, vocab_size, &device, source)?;
    // What was found out is remembered, so that the run goes on with the same.
    settings.dtype = Some(device::dtype_name(&device).to_owned());
    settings.eval_tokens = Some(plan_of_run.eval_tokens);
    if !plan.dry_run {
        plan_of_run.refuse_too_much_memory(&device)?;
        let (all, one) = (plan_of_run.disk_bytes, plan_of_run.checkpoint_bytes);
        check_writable(&folder.root, bytes_to_come(all, one, &folder.stage("base")))?;
    }
    Ok(Prepared {
        run: folder,
        settings,
        base,
        corpus,
        tokenizer,
        device,
        plan: plan_of_run,
        fresh: run.fresh,
        price_per_hour: plan.price_per_hour,
        request: None,
    })
}

impl Prepared {
    /// True if the model learns the world's text. A real run is planned without its text and never reads the world's.
    pub fn reads_the_world(&self) -> bool {
        self.settings.data.is_none() && self.corpus.is_some()
    }

    /// Finds out how fast this machine is, unless the flags say it.
    ///
    /// # Errors
    /// The measurement fails.
    pub fn predict_time(&mut self, args: &PlanArgs) -> Result<()> {
        let (rate, source) = if let Some(tflops) = args.assume_tflops {
            (tflops * 1e12, "as --assume-tflops says".to_owned())
        } else {
            let rate = device::measure_rate(&self.device, &self.plan.model, self.plan.device_batch_size)?;
            (rate, format!("measured just now on {}", self.device.name()))
        };
        self.plan.set_rate(rate, source, args.price_per_hour);
        Ok(())
    }

    /// Prints the plan, as `--dry-run` asks, with `more` beside it.
    ///
    /// # Errors
    /// stdout is closed, the rate cannot be measured, or those of `more`.
    pub fn print_plan(&mut self, args: &PlanArgs, more: impl FnOnce(&Prepared) -> Result<More>) -> Result<()> {
        self.predict_time(args)?;
        let more = more(self)?;
        if args.json {
            return output::print_json(&Told {
                plan: &self.plan,
                more: more.fields,
            });
        }
        let plan = plan_text::table(&self.plan, available_memory(&self.device));
        output::print(&(plan + &more.text))
    }
}

/// What is printed beside a plan.
#[derive(Default)]
pub struct More {
    /// Fields of the JSON.
    pub fields: Map<String, Value>,
    /// What people read below the plan.
    pub text: String,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// The run's folder, its settings, and the record of what it already did.
fn choose(home: &Home, flags: &Flags, run: &RunArgs) -> Result<(RunFolder, Settings, Option<StageRecord>)> {
    let mut start = flags.clone();
    if flags.preset.is_none() && flags.depth.is_none() {
        start.preset = Some(DEFAULT_PRESET.to_owned());
    }
    let name = match &run.run {
        Some(name) => name.clone(),
        None => Settings::new(&start)?.default_run_name(),
    };
    let folder = home.run(&name)?;
    let record = if run.fresh {
        None
    } else {
        StageRecord::load(&folder.stage("base")).map_err(usage)?
    };
    let settings = match &record {
        Some(record) => Settings::resumed(&record.settings, flags, &name)?,
        None if run.resume => refuse!(
            "there is no interrupted run {name:?} in {} to go on with",
            home.runs.display()
        ),
        None => Settings::new(&start)?,
    };
    Ok((folder, settings, record))
}

fn corpus(settings: &Settings, dry_run: bool) -> Result<Option<Corpus>> {
    let real = settings.preset.as_deref().filter(|name| name.starts_with('d'));
    if let (Some(preset), None) = (real, &settings.data) {
        if dry_run {
            return Ok(None);
        }
        refuse!(
            "the preset {preset} needs real text: give --data with a folder of shards (--dry-run says which and how many)"
        );
    }
    source::open(settings).map(Some)
}

/// The tokenizer that the run has, if it fits the flags.
fn existing_tokenizer(run: &RunFolder, flags: &Flags, fresh: bool) -> Result<Option<Tokenizer>> {
    let file = run.tokenizer_file();
    if !file.exists() || (fresh && !made_by_hand(run)?) {
        return Ok(None);
    }
    let tokenizer = tokenizer::load(&file)?;
    let kind = tokenizer::kind_name(&tokenizer);
    if let Some(asked) = flags.tokenizer.as_deref().filter(|asked| *asked != kind) {
        refuse!(
            "the run {:?} has a tokenizer of kind {kind}, not {asked}; leave --tokenizer out or give another --run",
            run.name
        );
    }
    if let Some(asked) = flags.vocab_size
        && kind == "bpe"
        && asked < tokenizer.vocab_size()
    {
        refuse!(
            "the run {:?} has a tokenizer of {} ids, not {asked}; leave --vocab-size out or give another --run",
            run.name,
            tokenizer.vocab_size()
        );
    }
    Ok(Some(tokenizer))
}

/// True if `tokenizer train` made the run's tokenizer: beginning the model again then keeps it.
///
/// # Errors
/// Its record is damaged.
pub fn made_by_hand(run: &RunFolder) -> Result<bool> {
    let record = StageRecord::load(&run.stage("tokenizer"))?;
    Ok(record.is_none_or(|record| record.command.starts_with("ferrochat tokenizer")))
}

/// Ids of the tokenizer that the run has or will have. A character vocabulary is counted in the text.
fn vocab_size(settings: &Settings, tokenizer: Option<&Tokenizer>, corpus: Option<&Corpus>) -> Result<usize> {
    match (tokenizer, corpus) {
        (Some(tokenizer), _) => Ok(tokenizer.vocab_size()),
        (None, Some(corpus)) if settings.is_char() => Ok(tokenizer::train(corpus, &Recipe::new(settings), None)
            .map_err(usage)?
            .vocab_size()),
        _ => Ok(settings.vocab_size()),
    }
}

fn refuse_wrong_prices(plan: &PlanArgs) -> Result<()> {
    if plan.json && !plan.dry_run {
        refuse!("--json says how --dry-run prints its plan; give both or neither");
    }
    for (flag, value) in [
        ("price-per-hour", plan.price_per_hour),
        ("assume-tflops", plan.assume_tflops),
    ] {
        if value.is_some_and(|value| !(value.is_finite() && value > 0.0)) {
            refuse!("--{flag} must be a number above 0");
        }
    }
    Ok(())
}

/// True if a stage of this state has nothing left to do.
pub fn is_finished(record: Option<&StageRecord>) -> bool {
    record.is_some_and(|record| record.state == State::Finished)
}
