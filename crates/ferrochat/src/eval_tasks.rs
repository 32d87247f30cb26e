//! `eval tasks`: a model asked in chat form. From flags to tasks, and from scores to lines; how a question is asked and
//! graded is the tasks crate's business.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use ferrochat_tasks::{
    ChatCore, Dataset, FalseRefusals, Judging, Progress as Watched, Task, TaskScore, TaskSplit, WorldTask, measure_each,
};
use ferrochat_tools::Jail;
use ferrochat_world::{Kind, Split};
use serde_json::{Value, json};

use crate::cli::TasksArgs;
use crate::core_eval::Lines;
use crate::errors::{refuse, usage};
use crate::evaluations::{self, Measured};
use crate::exam::{self, Asked};
use crate::home::Home;
use crate::model::{self, Trained};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::time_use::TimeUse;
use crate::{data_sets, format, identity, output, python, source};

/// What one may ask.
#[derive(Clone, Copy, PartialEq)]
enum Name {
    World(Kind),
    Set(Dataset),
}

/// `eval tasks`
///
/// # Errors
/// No such model or task, flags that cannot work, a machine that lacks what the jail needs, or a failure.
pub fn command(home: &Home, args: &TasksArgs) -> Result<()> {
    check(args)?;
    let named = args.tasks.as_deref().map(names).transpose()?;
    let run = home.run(&args.model.run)?;
    let mixed_in = exam::mixed_in(&run)?;
    let folders = match (&args.tasks_dir, &mixed_in) {
        (Some(named), _) => vec![data_sets::resolve("tasks-dir", named)?],
        (None, Some((_, remembered))) => vec![PathBuf::from(remembered), data_sets::folder(home)],
        (None, None) => vec![data_sets::folder(home)],
    };
    let tool = python::tool(args.python)?;
    // What cannot be opened is said before a large model is read.
    let opened = named.map(|names| open(names, &folders, args)).transpose()?;
    let trained = model::load_to_talk(home, &args.model)?;
    let (names, sets) = if let Some(opened) = opened {
        opened
    } else {
        open(usual(&trained.settings, mixed_in.as_ref())?, &folders, args)?
    };
    let mut asked = all(&names, sets, &trained, args)?;
    for Asked { options, .. } in &mut asked {
        options.temperature = args.temperature;
        options.top_k = (args.top_k > 0).then_some(args.top_k);
        options.seed = args.sample_seed;
        options.max_new_tokens = args.max_new_tokens.unwrap_or(options.max_new_tokens);
        options.batch = args.batch_size.unwrap_or(options.batch);
        options.tool.clone_from(&tool);
    }
    let mut dump = args.dump.as_deref().map(Lines::create).transpose()?;
    let model = Measured::on(trained.gpt.device(), &args.model.run, trained.stage, trained.step);
    let mut scores = Vec::new();
    let time = args.profile.then(|| TimeUse::start(trained.gpt.device()));
    for asked in &mut asked {
        if asked.task.judging() == Judging::Generative {
            asked.options.samples = args.samples;
        }
        let score = measure(&trained, asked, dump.as_mut())?;
        if !args.json {
            output::print(&format!("{}\n{}", exam::line(&score), passes(&score, &args.k)))?;
        }
        let figure = model.task(&score, &asked.flags(), &asked.variant());
        evaluations::remember(&run, trained.stage, &[figure]);
        scores.push(score);
    }
    if let Some(time) = time {
        eprint!("{}", time.finish());
    }
    if let Some(dump) = dump {
        dump.finish()?;
    }
    if args.json {
        return output::print_json(&as_json(args, &trained, &asked, &scores));
    }
    output::print(&summary(&scores))
}

fn check(args: &TasksArgs) -> Result<()> {
    if !(args.temperature.is_finite() && args.temperature >= 0.0) {
        refuse!("--temperature must be a number from 0 on");
    }
    if args.count == 0 || args.samples == 0 || args.batch_size == Some(0) || args.max_new_tokens == Some(0) {
        refuse!("--count, --samples, --batch-size and --max-new-tokens must be 1 or more");
    }
    if args.samples > 1 && args.temperature == 0.0 {
        refuse!(
            "--samples {} at temperature 0 are the same answer each time; give --temperature 0.8, for example",
            args.samples
        );
    }
    if let Some(k) = args.k.iter().find(|&&k| k == 0 || k > args.samples) {
        refuse!(
            "--k {k} needs 1 to --samples answers to each question, which are {}",
            args.samples
        );
    }
    Ok(())
}

/// A list of names as it is typed.
fn names(list: &str) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    for name in list.split(',').map(str::trim) {
        let more = match name.to_lowercase().as_str() {
            "world" => world(),
            "chatcore" => chat_core(),
            lower => match (
                Kind::ALL.into_iter().find(|kind| kind.name() == lower),
                name.parse::<Dataset>(),
            ) {
                (Some(kind), _) => vec![Name::World(kind)],
                (None, Ok(dataset)) => vec![Name::Set(dataset)],
                (None, Err(_)) => {
                    let kinds = Kind::ALL.map(Kind::name).join(", ");
                    let sets = Dataset::ALL.map(|set| set.name().to_lowercase()).join(", ");
                    refuse!(
                        "--tasks {name:?} is unknown; there are {sets}, chatcore for most of these, and of the world {kinds}"
                    );
                }
            },
        };
        for name in more {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

fn world() -> Vec<Name> {
    Kind::ALL.map(Name::World).to_vec()
}

fn chat_core() -> Vec<Name> {
    let sets = Dataset::ALL.into_iter();
    let sets = sets.filter(|set| ChatCore::TASKS.contains(&set.name()));
    sets.map(Name::Set).collect()
}

/// What a run learned from; else the world's kinds where its base model read the world; else ChatCORE.
fn usual(settings: &Settings, mixed_in: Option<&(String, String)>) -> Result<Vec<Name>> {
    match mixed_in {
        Some((list, _)) => {
            let specs = ferrochat_tasks::TaskSpec::list(list).map_err(usage)?;
            Ok(specs.into_iter().map(|spec| Name::Set(spec.dataset)).collect())
        }
        None if settings.data.is_none() => Ok(world()),
        None => Ok(chat_core()),
    }
}

/// A data set and its folder.
type Opened = (Arc<dyn Task>, PathBuf);

/// The names, and the data sets among them, in their order.
fn open(names: Vec<Name>, folders: &[PathBuf], args: &TasksArgs) -> Result<(Vec<Name>, Vec<Opened>)> {
    let mut sets = Vec::new();
    for name in &names {
        let &Name::Set(set) = name else { continue };
        let folder = folder_of(set, folders)?;
        let jail: Option<Arc<Jail>> = match set {
            Dataset::HumanEval => Some(python::jail(args.python)?),
            _ => None,
        };
        let task = set.open_with(folder, TaskSplit::Test, jail).map_err(usage)?;
        if !set.is_in(folder, TaskSplit::Test) {
            eprintln!("note: {set} is made of {}", task.origin());
        }
        sets.push((task, folder.to_owned()));
    }
    Ok((names, sets))
}

/// The first of these folders that has the test part of a data set; of what needs no files, the first.
fn folder_of(set: Dataset, folders: &[PathBuf]) -> Result<&Path> {
    let found = folders.iter().find(|folder| set.is_in(folder, TaskSplit::Test));
    let no_files = matches!(set, Dataset::SpellingBee | Dataset::SimpleSpelling);
    if let Some(folder) = found.or(folders.first().filter(|_| no_files)) {
        return Ok(folder);
    }
    let shown: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    refuse!(
        "the test part of {set} is not in {}; `ferrochat data fetch {}` brings it, or name its folder with --tasks-dir",
        shown.join(" or "),
        set.fetched_as()
    );
}

/// All that is asked, in the order of the names.
fn all(names: &[Name], sets: Vec<Opened>, trained: &Trained, args: &TasksArgs) -> Result<Vec<Asked>> {
    let mut sets = sets.into_iter();
    let settings = &trained.settings;
    let mut asked = Vec::new();
    for name in names {
        asked.push(match name {
            Name::World(kind) => {
                let device = trained.gpt.device();
                let plan = Plan::new(&args.model.run, settings, trained.tokenizer.vocab_size(), device, None)?;
                let world = source::world(settings)?;
                let identity = identity::of(settings, &plan);
                let task = WorldTask::new(&world, *kind, Split::Heldout, args.seed, &identity, args.count);
                Asked::of_world(task, args.seed, args.count)
            }
            Name::Set(_) => {
                let (task, folder) = sets.next().expect("each data set was opened");
                Asked::of_data_set(task, &folder, args.count)
            }
        });
    }
    Ok(asked)
}

fn measure(trained: &Trained, asked: &Asked, mut dump: Option<&mut Lines>) -> Result<TaskScore> {
    let Asked { task, options, .. } = asked;
    let name = task.name();
    let count = task.count().min(options.max_problems.unwrap_or(usize::MAX));
    let mut progress = Progress::new(name, count as u64);
    let start = Instant::now();
    let mut watch = |at: &Watched| {
        let mut text = format!("{name}  {:.1}%", 100.0 * at.score);
        // Long questions come first, so what is left goes a little faster.
        if at.done > 0 && at.done < at.count {
            let each = start.elapsed().as_secs_f64() / at.done as f64;
            let left = each * (at.count - at.done) as f64;
            format::push(&mut text, format_args!("  ETA {}", format::duration(left)));
        }
        progress.part(at.done as u64, &text);
        ControlFlow::Continue(())
    };
    let mut failed = None;
    let (gpt, tokenizer) = (&trained.gpt, &trained.tokenizer);
    let score = measure_each(gpt, tokenizer, task.as_ref(), options, &mut watch, &mut |item| {
        if let Some(dump) = dump.as_mut() {
            let asked = task
                .prompt(item.index)
                .messages
                .last()
                .map(ferrochat_chat::Message::text);
            let line =
                json!({"task": name, "item": item.index, "asked": asked, "said": item.said, "right": item.right});
            failed = failed.take().or(dump.push(&line).err());
        }
    })?;
    progress.finish();
    match failed {
        Some(error) => Err(error),
        None => Ok(score),
    }
}

/// pass@k, on a line of its own.
fn passes(score: &TaskScore, wanted: &[usize]) -> String {
    let powers: Vec<usize> = (0..16).map(|power| 1 << power).collect();
    let wanted = if wanted.is_empty() { &powers } else { wanted };
    let shown = wanted.iter().filter_map(|&k| Some((k, score.pass_at_k.get(k - 1)?)));
    let shown = shown.map(|(k, at)| format!("pass@{k} {:.1}% ± {:.1}", 100.0 * at.value, 100.0 * at.standard_error));
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() {
        return String::new();
    }
    format!("{:<18} {}\n", "", shown.join(", "))
}

fn summary(scores: &[TaskScore]) -> String {
    let mut text = String::new();
    if let Some(share) = FalseRefusals::share(scores) {
        let (value, error) = (100.0 * share.value, 100.0 * share.standard_error);
        let name = "false refusals";
        format::push(
            &mut text,
            format_args!("{name:<18}{value:>6.1}% ± {error:.1} of what should be answered was refused\n"),
        );
    }
    if let Some(core) = ChatCore::of_world(scores) {
        text += &core_line(
            &core,
            &format!("the mean over {} of the world's tasks", core.tasks.len()),
        );
    }
    if let Some(core) = ChatCore::of(scores) {
        let without = ChatCore::TASKS
            .iter()
            .filter(|task| !core.tasks.iter().any(|one| one == *task));
        let without: Vec<&str> = without.copied().collect();
        let note = match without[..] {
            [] => format!("the mean over {} tasks", core.tasks.len()),
            _ => format!(
                "the mean over {} tasks, without {}",
                core.tasks.len(),
                without.join(", ")
            ),
        };
        text += &core_line(&core, &note);
    }
    text
}

fn core_line(core: &ChatCore, note: &str) -> String {
    match core.estimate {
        Some(core) => format!(
            "{:<18}{:>7.4} ± {:.4}, {note}\n",
            "ChatCORE", core.value, core.standard_error
        ),
        None => format!(
            "{:<18}      - until {} is asked, too\n",
            "ChatCORE",
            core.missing.join(", ")
        ),
    }
}

fn as_json(args: &TasksArgs, trained: &Trained, asked: &[Asked], scores: &[TaskScore]) -> Value {
    let tasks = scores.iter().zip(asked).map(|(score, asked)| {
        let mut told = json!(score);
        told["origin"] = json!(asked.task.origin());
        told
    });
    let core = ChatCore::of(scores).or(ChatCore::of_world(scores));
    json!({
        "run": args.model.run,
        "stage": trained.stage,
        "step": trained.step,
        "tasks": tasks.collect::<Vec<_>>(),
        "false_refusals": FalseRefusals::share(scores),
        "chat_core": core.as_ref().and_then(|core| core.estimate),
        "chat_core_missing": core.map(|core| core.missing).unwrap_or_default(),
    })
}
