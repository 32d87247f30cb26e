//! `eval core`: the 22 tasks of CORE, scored, written out and compared. Knows files and flags; what a task asks and how
//! it is scored is the tasks crate's business.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use ferrochat_tasks::{CoreBundle, CoreOptions, CoreResults, CoreScore, CoreTask, score_core};
use serde::Serialize;
use serde_json::{Map, json};

use crate::cli::{CheckpointArgs, MachineArgs, ModelArgs};
use crate::errors::{refuse, usage};
use crate::evaluations::{self, Evaluation, Measured};
use crate::home::{Home, write_atomically};
use crate::model::{self, Trained};
use crate::progress::Progress;
use crate::time_use::TimeUse;
use crate::{data_sets, format, output};

/// `eval core`
#[derive(Args, Debug)]
pub struct CoreArgs {
    /// The run that made the model
    #[arg(long, value_name = "NAME", required_unless_present = "dump_prompts")]
    pub run: Option<String>,
    /// Which of its models.
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Items of each task; -1: all
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub max_per_task: i64,
    /// Only these tasks, such as copa,lambada_openai
    #[arg(long, value_name = "LIST")]
    pub tasks: Option<String>,
    /// Folder of the tasks [default: what `data fetch core` brought]
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Positions that are computed at once; more may be faster and needs more memory
    #[arg(long, value_name = "N", default_value_t = CoreOptions::default().batch_tokens)]
    pub batch_tokens: usize,
    /// Write every text that is scored to this file, one JSON object per item; needs no model
    #[arg(long, value_name = "FILE")]
    pub dump_prompts: Option<PathBuf>,
    /// Write what each item came to, nats per token of each option, to this file, one JSON object per item
    #[arg(long, value_name = "FILE", requires = "run")]
    pub dump_scores: Option<PathBuf>,
    /// Also write the table to this file
    #[arg(long, value_name = "FILE", requires = "run")]
    pub csv: Option<PathBuf>,
    /// Tables of other models or checkpoints to show beside it; may be repeated
    #[arg(long, value_name = "FILE", requires = "run")]
    pub compare: Vec<PathBuf>,
    /// Say on stderr where the time went, operation by operation
    #[arg(long)]
    pub profile: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// `eval core`
///
/// # Errors
/// No such model, bundle or task; files that cannot be read or written.
pub fn command(home: &Home, args: &CoreArgs) -> Result<()> {
    let most = match args.max_per_task {
        -1 => None,
        n if n > 0 => Some(n as usize),
        n => refuse!("--max-per-task {n} is no number of items; use 1 or more, or -1 for all"),
    };
    if args.batch_tokens == 0 {
        refuse!("--batch-tokens must be at least 1");
    }
    let (mut bundle, folder) = open(home, args.bundle.as_deref())?;
    let whole = bundle.specs().len();
    if let Some(list) = &args.tasks {
        let labels: Vec<&str> = list.split(',').map(str::trim).collect();
        bundle
            .keep(&labels)
            .map_err(|error| usage(format!("--tasks: {error}")))?;
    }
    let others: Vec<Table> = args
        .compare
        .iter()
        .map(|path| Table::read(path))
        .collect::<Result<_>>()?;
    if let Some(path) = &args.dump_prompts {
        dump_prompts(&bundle, most, path)?;
    }
    let Some(run) = &args.run else {
        return Ok(());
    };
    let trained = model::load(
        home,
        &ModelArgs {
            run: run.clone(),
            checkpoint: args.checkpoint.clone(),
            machine: args.machine.clone(),
        },
    )?;
    let mut dump = args.dump_scores.as_deref().map(Lines::create).transpose()?;
    let mut results = CoreResults { scores: Vec::new() };
    let time = args.profile.then(|| TimeUse::start(trained.gpt.device()));
    for (number, spec) in (1..).zip(bundle.specs()) {
        let task = bundle.load(spec, most).map_err(usage)?;
        let label = format!("{number}/{} {}", bundle.specs().len(), spec.label);
        let score = score_task(&trained, &task, args.batch_tokens, &label)?;
        eprintln!("{label}: {}", line(&score));
        if let Some(dump) = &mut dump {
            for item in &score.items {
                dump.push(&json!({"task": spec.label, "item": item.item, "nll": item.nll, "chosen": item.chosen, "right": item.right}))?;
            }
        }
        results.scores.push(score);
    }
    if let Some(time) = time {
        eprint!("{}", time.finish());
    }
    if let Some(dump) = dump {
        dump.finish()?;
    }
    let model = Measured::on(trained.gpt.device(), run, trained.stage, trained.step);
    let figures = figures(&model, &results, whole, args.max_per_task, &folder);
    evaluations::remember(&home.run(run)?, trained.stage, &figures);
    if let Some(path) = &args.csv {
        write_atomically(path, results.to_csv().as_bytes())?;
    }
    if args.json {
        return output::print_json(&as_json(run, &trained, &results));
    }
    output::print(&as_table(&results, &others))
}

/// The bundle that `--bundle` names, else the one that was fetched, else one that was put into the cache folder.
fn open(home: &Home, named: Option<&Path>) -> Result<(CoreBundle, PathBuf)> {
    let by_hand = home.cache.join("eval_bundle");
    let folder = match named {
        Some(path) => {
            let folder = data_sets::resolve("bundle", path)?;
            if !folder.is_dir() {
                refuse!(
                    "--bundle {} is not a folder; name that of the CORE bundle, with core.yaml, eval_meta_data.csv and eval_data",
                    path.display()
                );
            }
            folder
        }
        None => match data_sets::core_bundle(home) {
            Some(folder) => folder,
            None if by_hand.is_dir() => by_hand,
            None => refuse!(
                "the CORE bundle is not in {}; `ferrochat data fetch core` brings it, or name its folder with --bundle",
                home.cache.display()
            ),
        },
    };
    Ok((CoreBundle::open(&folder).map_err(usage)?, folder))
}

/// What the report shows of it: every task, and CORE where none was left out.
fn figures(model: &Measured, results: &CoreResults, whole: usize, most: i64, bundle: &Path) -> Vec<Evaluation> {
    let flags = |task: Option<&str>| -> Vec<String> {
        let (most, bundle) = (most.to_string(), bundle.display().to_string());
        let mut words = vec!["--max-per-task", &most, "--bundle", &bundle];
        words.extend(task.iter().flat_map(|task| ["--tasks", task]));
        words.into_iter().map(str::to_owned).collect()
    };
    let tasks = results.scores.iter();
    let mut figures: Vec<Evaluation> = tasks
        .map(|score| model.core_task(score, &flags(Some(&score.task))))
        .collect();
    if let Some(metric) = results.metric().filter(|_| results.scores.len() == whole) {
        figures.push(model.core(&results.scores, metric, &flags(None)));
    }
    figures
}

fn score_task(trained: &Trained, task: &CoreTask, batch_tokens: usize, label: &str) -> Result<CoreScore> {
    let mut progress = Progress::new(label, task.count() as u64);
    let mut begun = None;
    let score = score_core(
        &trained.gpt,
        &trained.tokenizer,
        task,
        CoreOptions { batch_tokens },
        &mut |at| {
            let text = if at.share > 0.0 {
                // What was read before the first batch took time of its own.
                let (first, start) = *begun.get_or_insert((at.share, Instant::now()));
                match at.share - first {
                    0.0 => label.to_owned(),
                    read => {
                        let left = start.elapsed().as_secs_f64() / read * (1.0 - at.share);
                        format!("{label}  ETA {}", format::duration(left))
                    }
                }
            } else {
                format!("{label}  tokens")
            };
            progress.part(at.done as u64, &text);
            ControlFlow::Continue(())
        },
    )?;
    progress.finish();
    Ok(score)
}

fn dump_prompts(bundle: &CoreBundle, most: Option<usize>, path: &Path) -> Result<()> {
    let mut lines = Lines::create(path)?;
    for spec in bundle.specs() {
        let task = bundle.load(spec, most).map_err(usage)?;
        for item in 0..task.count() {
            lines.push(&json!({"task": spec.label, "item": item, "prompts": task.prompts(item)}))?;
        }
    }
    lines.finish()
}

/// A file of JSON lines.
pub struct Lines<'a> {
    file: BufWriter<File>,
    path: &'a Path,
}

impl<'a> Lines<'a> {
    /// A file that is empty.
    ///
    /// # Errors
    /// It cannot be made, as usage.
    pub fn create(path: &'a Path) -> Result<Lines<'a>> {
        let file = File::create(path).map_err(|error| usage(format!("cannot write {}: {error}", path.display())))?;
        let file = BufWriter::new(file);
        Ok(Lines { file, path })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The system's.
    pub fn push(&mut self, line: &impl Serialize) -> Result<()> {
        let failed = || format!("cannot write {}", self.path.display());
        serde_json::to_writer(&mut self.file, line).with_context(failed)?;
        self.file.write_all(b"\n").with_context(failed)
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self) -> Result<()> {
        let path = self.path.display();
        self.file.flush().with_context(|| format!("cannot write {path}"))
    }
}

fn line(score: &CoreScore) -> String {
    let cut = match score.cut_tokens {
        0 => String::new(),
        cut => format!(", {cut} prompts end inside a token"),
    };
    format!(
        "accuracy {:.4} ± {:.4}  centered {:.4}  {} items  {}{cut}",
        score.accuracy,
        score.standard_error,
        score.centered,
        format::thousands(score.count as u64),
        format::duration(score.seconds)
    )
}

/// The reference's three fields, and ours.
fn as_json(run: &str, trained: &Trained, results: &CoreResults) -> serde_json::Value {
    let by_task = |value: &dyn Fn(&CoreScore) -> f64| -> Map<String, serde_json::Value> {
        let pairs = results
            .scores
            .iter()
            .map(|score| (score.task.clone(), json!(value(score))));
        pairs.collect()
    };
    let metric = results.metric();
    json!({
        "run": run,
        "stage": trained.stage,
        "step": trained.step,
        "results": by_task(&|score| score.accuracy),
        "centered_results": by_task(&|score| score.centered),
        "core_metric": metric.map(|metric| metric.value),
        "core_standard_error": metric.map(|metric| metric.standard_error),
        "tasks": results.scores,
    })
}

fn as_table(results: &CoreResults, others: &[Table]) -> String {
    let mut header = vec!["TASK", "ACCURACY", "±", "CENTERED", "ITEMS", "TIME"];
    header.extend(others.iter().map(|other| other.name.as_str()));
    let beside = |task: &str| -> Vec<String> {
        let cell = |other: &Table| {
            other
                .centered(task)
                .map_or("-".to_owned(), |value| format!("{value:.4}"))
        };
        others.iter().map(cell).collect()
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for score in &results.scores {
        let mut row = vec![
            score.task.clone(),
            format!("{:.4}", score.accuracy),
            format!("{:.4}", score.standard_error),
            format!("{:.4}", score.centered),
            format::thousands(score.count as u64),
            format::duration(score.seconds),
        ];
        row.extend(beside(&score.task));
        rows.push(row);
    }
    if let Some(metric) = results.metric() {
        let seconds = results.scores.iter().map(|score| score.seconds).sum();
        let mut row = vec![
            "CORE".to_owned(),
            String::new(),
            format!("{:.4}", metric.standard_error),
            format!("{:.4}", metric.value),
            String::new(),
            format::duration(seconds),
        ];
        row.extend(beside("CORE"));
        rows.push(row);
    }
    output::table(&header, &rows)
}

/// The centered accuracies of another model, from a table in the reference's layout.
struct Table {
    name: String,
    rows: Vec<(String, f64)>,
}

impl Table {
    fn read(path: &Path) -> Result<Table> {
        let shown = path.display();
        let text =
            std::fs::read_to_string(path).map_err(|error| usage(format!("--compare: cannot read {shown}: {error}")))?;
        let rows = text.lines().skip(1).filter(|line| !line.trim().is_empty()).zip(2..);
        let rows = rows.map(|(line, number)| {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            match cells[..] {
                [task, _, centered] => centered.parse().ok().map(|centered| (task.to_owned(), centered)),
                _ => None,
            }
            .ok_or_else(|| {
                usage(format!(
                    "--compare: {shown} line {number} is not `task, accuracy, centered`"
                ))
            })
        });
        Ok(Table {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            rows: rows.collect::<Result<_>>()?,
        })
    }

    fn centered(&self, task: &str) -> Option<f64> {
        let row = self.rows.iter().find(|(name, _)| name == task)?;
        Some(row.1)
    }
}
