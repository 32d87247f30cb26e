//! `speedrun`: everything, end to end: tokenizer → base → mid → sft → rl → dpo → report, then a talk. Each
//! stage keeps its own record, so that the same line goes on wherever the last one ended.

mod outlook;

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cli::{ComputeArgs, DpoArgs, MixArgs, ModelArgs, PlanArgs, RlArgs, SpeedrunArgs, StageArgs, TuneArgs};
use crate::dpo_settings::DpoFlags;
use crate::errors::{Usage, refuse, usage};
use crate::home::{Home, RunFolder};
use crate::interrupt::Interrupt;
use crate::prepare::{self, More, Prepared, prepare};
use crate::record::{self, StageRecord, State};
use crate::rl_settings::{RlFlags, refuse_bad_iterations};
use crate::settings::{Flags, layered, object};
use crate::stages::{base, dpo, mid, rl, sft, tune};
use crate::training::Chain;
use crate::tune_settings::TuneFlags;
use crate::{chat, device, format, model, output, report, sample};

/// Texts that a model writes which is only a base model.
const SAMPLES: usize = 3;
/// Dialogues shown at the end where nobody is there to talk.
const DIALOGUES: usize = 3;
/// Stages after the base model, in their order.
const FURTHER: [&str; 4] = ["mid", "sft", "rl", "dpo"];

/// What a speedrun is asked beside the base model's settings; kept in the base stage's record.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Request {
    mix: MixArgs,
    stages: Vec<String>,
}

/// `speedrun`
///
/// # Errors
/// Anything refused, a failure, or an interrupt.
pub fn command(home: &Home, args: &SpeedrunArgs) -> Result<()> {
    let mut flags = args.flags.clone();
    let known = |name: &String| {
        home.run(name)
            .is_ok_and(|run| run.stage("base").join("stage.json").exists())
    };
    if flags.preset.is_none() && (args.run.fresh || !args.run.run.as_ref().is_some_and(known)) {
        flags.preset = Some(prepare::DEFAULT_PRESET.to_owned());
    }
    let mut prepared = prepare(home, &flags, &args.run, &args.compute, &args.plan)?;
    let request = request(args, &prepared)?;
    if args.plan.dry_run {
        return prepared.print_plan(&args.plan, |prepared| {
            let stages = outlook::stages(prepared, &request)?;
            Ok(More {
                fields: object(&json!({"stages": stages})),
                text: format!("\n{}", outlook::table(&stages)),
            })
        });
    }
    let run = prepared.run.clone();
    let interrupt = Interrupt::listen()?;
    let _lock = record::lock(&run)?;
    eprintln!(
        "speedrun {:?}: tokenizer, base, {}report; everything goes to {}",
        run.name,
        request
            .stages
            .iter()
            .fold(String::new(), |all, stage| all + stage + ", "),
        run.root.display()
    );
    // A stage's own line would go on with the stage alone.
    let go_on = format::shell_line(["ferrochat", "speedrun", "--run", &run.name]);

    let mut before = None;
    if prepare::is_finished(prepared.base.as_ref()) {
        eprintln!("tokenizer, base: finished before, skipped (--fresh begins again)");
        before.clone_from(&prepared.base);
        heed_late_flags(&mut prepared, &args.flags, &request)?;
    } else {
        announce_time(&mut prepared, &request, &args.plan)?;
        if prepared.tokenizer.is_some() && !prepared.fresh {
            eprintln!("tokenizer: trained before, skipped");
        }
        prepared.request = Some(json!(request));
        base::train(prepared, &interrupt, &go_on)?;
    }
    for stage in FURTHER.iter().filter(|stage| request.asks_for(stage)) {
        if let Some(record) = StageRecord::load(&run.stage(stage))?.filter(|record| prepare::is_finished(Some(record)))
        {
            eprintln!("{stage}: finished before, skipped");
            name_late_flags(&record, &run, args, &request.mix);
            continue;
        }
        if let Err(error) = further(home, &run, stage, &request, args, &interrupt, &go_on) {
            // What is refused is not remembered: without it the run goes on as before.
            if let Some(record) = before.as_mut().filter(|_| error.is::<Usage>()) {
                record.save(&run.stage("base"), State::Finished)?;
            }
            return Err(error);
        }
        before = None;
    }

    if request.stages.is_empty() {
        write_samples(home, &run, &args.compute)?;
    }
    let path = report::write(home, &run.name, args.plan.price_per_hour)?;
    let copied = match report::copy(home, &run.name, Path::new(".")) {
        Ok(copy) => format!(", copied to {}", copy.display()),
        Err(error) => format!("; it could not be copied here: {error:#}"),
    };
    eprintln!("report: {}{copied}", path.display());
    if request.stages.is_empty() {
        return Ok(());
    }
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return chat::talk(home, &run.name, &args.compute);
    }
    show_dialogues(&run)
}

impl Request {
    fn asks_for(&self, stage: &str) -> bool {
        self.stages.iter().any(|asked| asked == stage)
    }
}

/// What was asked before, where nothing new is named to learn from, with what is said otherwise now; else what is asked
/// now. `--stages` says only which stages.
fn request(args: &SpeedrunArgs, prepared: &Prepared) -> Result<Request> {
    for (flag, steps) in [
        ("mid-iterations", args.mix.mid_iterations),
        ("sft-iterations", args.mix.sft_iterations),
        ("rl-iterations", args.mix.rl_iterations),
    ] {
        refuse_bad_iterations(flag, steps.unwrap_or(-1))?;
    }
    let before = prepared.base.as_ref().and_then(|record| record.details.get("speedrun"));
    let before: Option<Request> = match before.filter(|_| !args.mix.is_some()) {
        Some(before) => Some(serde_json::from_value(before.clone()).map_err(|error| {
            let run = &prepared.run.name;
            usage(format!(
                "the speedrun {run:?} was begun by another version ({error}); --fresh begins it again"
            ))
        })?),
        None => None,
    };
    let mut mix = args.mix.clone();
    if let Some(before) = &before {
        let mut said = object(&mix);
        said.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
        mix = layered(&[object(&before.mix), said]);
    }
    let stages = match (&args.stages, before) {
        (None, Some(before)) => before.stages,
        (asked, _) => stages(asked.as_deref(), &mix, prepared)?,
    };
    Ok(Request { mix, stages })
}

/// The stages that are asked for, else all that there is something to learn for.
fn stages(asked: Option<&str>, mix: &MixArgs, prepared: &Prepared) -> Result<Vec<String>> {
    let has_talks = prepared.reads_the_world() || mix.is_some();
    Ok(match asked {
        Some(list) => {
            let stages: Vec<String> = list.split(',').map(|stage| stage.trim().to_owned()).collect();
            if let Some(unknown) = stages
                .iter()
                .find(|stage| *stage != "base" && !FURTHER.contains(&stage.as_str()))
            {
                refuse!(
                    "--stages {unknown:?} is unknown; after base the stages are {}",
                    FURTHER.join(", ")
                );
            }
            stages.into_iter().filter(|stage| stage != "base").collect()
        }
        None if has_talks && !prepared.settings.is_char() => {
            let on_the_world = prepared.reads_the_world() && !mix.is_some();
            let practises_sums = mix.tasks.as_deref().is_some_and(|list| list.contains("gsm8k"));
            let suits = |stage: &&str| match *stage {
                "rl" => on_the_world || practises_sums,
                "dpo" => on_the_world,
                _ => true,
            };
            FURTHER.into_iter().filter(suits).map(str::to_owned).collect()
        }
        None => Vec::new(),
    })
}

/// How long everything takes, from the arithmetic of all stages.
fn announce_time(prepared: &mut Prepared, request: &Request, args: &PlanArgs) -> Result<()> {
    prepared.predict_time(args)?;
    let Some(time) = &prepared.plan.time else { return Ok(()) };
    let stages = outlook::stages(prepared, request)?;
    let duration = format::duration(outlook::seconds_left(&stages));
    let words = if outlook::is_begun(&stages) {
        format!("about {duration} of training are left")
    } else {
        format!("training takes about {duration} in all")
    };
    eprintln!(
        "{words} at {} {}",
        format::flop_rate(time.flops_per_second),
        time.source
    );
    Ok(())
}

/// Base training is over: what later stages are asked is kept where they, and the line that goes on, look for it, and
/// flags that come too late are named.
fn heed_late_flags(prepared: &mut Prepared, flags: &Flags, request: &Request) -> Result<()> {
    let Some(record) = &mut prepared.base else {
        return Ok(());
    };
    let (given, had) = (object(flags), object(&record.settings));
    let late: Vec<String> = ["strict", "eval_every", "sample_every", "save_every"]
        .into_iter()
        .filter(|name| given.get(*name).is_some_and(|value| had.get(*name) != Some(value)))
        .map(flag)
        .collect();
    if !late.is_empty() {
        eprintln!(
            "note: {} is for base training, which is finished: nothing changes",
            late.join(", ")
        );
    }
    if let Some((asked, had)) = other_dtype(flags, record) {
        eprintln!(
            "note: --dtype {asked} comes too late for base, which was trained in {had}; stages that are not finished take it"
        );
    }
    let (asked, folder) = (prepared.settings.exam_questions, prepared.run.stage("base"));
    let request = json!(request);
    let (more, other) = (
        record.settings.exam_questions != asked,
        record.details.get("speedrun") != Some(&request),
    );
    if more || other {
        record.settings.exam_questions = asked;
        record.details["speedrun"] = request;
        record.save(&folder, State::Finished)?;
    }
    if more {
        let again = [
            "ferrochat",
            "eval",
            "tasks",
            "--run",
            &prepared.run.name,
            "--stage",
            "base",
        ];
        eprintln!(
            "note: stages that are not finished will be asked {asked} questions of each kind; finished ones keep their \
             figures, `{} --count {asked}` asks base again, and another --stage that one",
            format::shell_line(again)
        );
    }
    Ok(())
}

/// The element type that is asked for now and the one that a stage was trained in, where they differ.
fn other_dtype<'a>(flags: &'a Flags, record: &'a StageRecord) -> Option<(&'a str, &'a str)> {
    let (asked, had) = (flags.dtype.as_deref()?, record.settings.dtype.as_deref()?);
    (device::dtype_of(asked).ok()? != device::dtype_of(had).ok()?).then_some((asked, had))
}

/// Names what is asked now of a stage that is over and was done otherwise. The line that makes it again says `mix`, all
/// that was ever asked, in the stage's own words: it begins from nothing else.
fn name_late_flags(record: &StageRecord, run: &RunFolder, args: &SpeedrunArgs, mix: &MixArgs) {
    let stage = record.stage.as_str();
    let (Ok(mut late), Ok(whole)) = (own_flags(stage, &args.mix), own_flags(stage, mix)) else {
        return;
    };
    late.retain(|name, value| record.details["settings"][name] != *value);
    let mut late: Vec<String> = late
        .keys()
        .map(|name| match name.as_str() {
            "num_iterations" => format!("--{stage}-iterations"),
            other => flag(other),
        })
        .collect();
    let mut again = ["ferrochat", "train", stage, "--run", &run.name, "--fresh"]
        .map(str::to_owned)
        .to_vec();
    for (name, value) in &whole {
        for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
            let word = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            again.extend([flag(name), word]);
        }
    }
    if let Some((asked, _)) = other_dtype(&args.flags, record) {
        late.push("--dtype".into());
        again.extend(["--dtype".into(), asked.into()]);
    }
    if late.is_empty() {
        return;
    }
    let after = FURTHER.into_iter().skip_while(|name| *name != stage).skip(1);
    let gone: Vec<&str> = after.filter(|name| run.stage(name).exists()).collect();
    let removes = match gone.as_slice() {
        [] => String::new(),
        gone => format!(" and removes {}, which are to be made again after it", gone.join(", ")),
    };
    eprintln!(
        "note: {} comes too late for {stage}, which is finished: nothing changes there (`{}` begins it again{removes})",
        late.join(", "),
        format::shell_line(again.iter().map(String::as_str))
    );
}

/// What is asked of one stage, under its own flags' names.
fn own_flags(stage: &str, mix: &MixArgs) -> Result<Map<String, Value>> {
    Ok(match stage {
        "mid" | "sft" => object(&tune_flags(stage, mix).with_absolute_paths()?),
        "rl" => object(&rl_flags(mix).with_absolute_paths()?),
        _ => Map::new(),
    })
}

/// The flag of a setting.
fn flag(setting: &str) -> String {
    format!("--{}", setting.replace('_', "-"))
}

/// One stage after the base model.
fn further(
    home: &Home,
    run: &RunFolder,
    name: &str,
    request: &Request,
    args: &SpeedrunArgs,
    interrupt: &Interrupt,
    go_on: &str,
) -> Result<()> {
    let stage = StageArgs {
        run: Some(run.name.clone()),
        compute: args.compute.clone(),
        // As the stage before had it, unless another is asked for.
        dtype: args.flags.dtype.clone(),
        ..StageArgs::default()
    };
    let plan = PlanArgs {
        dry_run: false,
        json: false,
        ..args.plan.clone()
    };
    let tune = |stage: StageArgs| TuneArgs {
        flags: tune_flags(name, &request.mix),
        stage,
        plan: plan.clone(),
    };
    match name {
        "mid" => {
            let chain = Chain::open(home, "mid", &mid::SOURCES, &stage)?;
            tune::train(chain, &tune(stage), interrupt, go_on)
        }
        "sft" => {
            let chain = Chain::open(home, "sft", &sft::SOURCES, &stage)?;
            tune::train(chain, &tune(stage), interrupt, go_on)
        }
        "rl" => {
            let chain = Chain::open(home, "rl", &rl::SOURCES, &stage)?;
            let flags = rl_flags(&request.mix);
            rl::train(chain, &RlArgs { flags, stage, plan }, interrupt, go_on)
        }
        _ => {
            let chain = Chain::open(home, "dpo", &dpo::SOURCES, &stage)?;
            let flags = DpoFlags::default();
            dpo::train(chain, &DpoArgs { flags, stage, plan }, interrupt, go_on)
        }
    }
}

fn tune_flags(stage: &str, mix: &MixArgs) -> TuneFlags {
    TuneFlags {
        num_iterations: if stage == "mid" {
            mix.mid_iterations
        } else {
            mix.sft_iterations
        },
        recipe: mix.recipe.clone(),
        conversations: mix.conversations.clone(),
        val_conversations: mix.val_conversations.clone(),
        tasks: mix.tasks.clone(),
        tasks_dir: mix.tasks_dir.clone(),
        ..TuneFlags::default()
    }
}

fn rl_flags(mix: &MixArgs) -> RlFlags {
    RlFlags {
        tasks_dir: mix.tasks_dir.clone().map(Into::into),
        num_iterations: mix.rl_iterations,
        ..RlFlags::default()
    }
}

/// A few of the answers in the last stage's record.
fn show_dialogues(run: &RunFolder) -> Result<()> {
    let mut text = String::new();
    if let Some(record) = StageRecord::load(&run.stage("sft"))? {
        let dialogues = record.details["dialogues"].as_array().cloned().unwrap_or_default();
        for dialogue in dialogues.iter().take(DIALOGUES) {
            let said = |key: &str| dialogue[key].as_str().unwrap_or_default().to_owned();
            format::push(&mut text, format_args!("> {}\n{}\n\n", said("prompt"), said("reply")));
        }
    }
    output::print(&text)?;
    eprintln!(
        "talk to it: {}",
        format::shell_line(["ferrochat", "chat", "--run", &run.name])
    );
    Ok(())
}

/// Lets a base model write and keeps what it wrote in the record, for the report.
fn write_samples(home: &Home, run: &RunFolder, compute: &ComputeArgs) -> Result<()> {
    let trained = model::load(home, &ModelArgs::latest(&run.name, compute))?;
    let options = sample::usual(SAMPLES, 120);
    let texts = sample::texts(&trained.gpt, &trained.tokenizer, trained.start, "", &options)?;
    for text in &texts {
        output::print(&format!("{}\n---\n", text.trim()))?;
    }
    let folder = run.stage("base");
    if let Some(mut record) = StageRecord::load(&folder)? {
        if let Some(details) = record.details.as_object_mut() {
            details.insert("samples".into(), json!(texts));
        }
        record.save(&folder, State::Finished)?;
    }
    Ok(())
}
