//! `data fetch`: plans, refusals before anything comes, downloads, and the flags that use what came.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use ferrochat_data::hub::{Choice, FetchOptions, Fetched, Files, Hub, HubError, HubSettings, Plan};
use serde_json::json;

use super::watch::Shown;
use super::{failed, flags_of, folder};
use crate::errors::{Interrupted, refuse};
use crate::home::{Home, check_writable, free_bytes};
use crate::interrupt::Interrupt;
use crate::{format, output};

/// How long threads may take to end after Ctrl-C; what they have written is kept in any case.
const GRACE: Duration = Duration::from_secs(2);

/// `data fetch`
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct FetchArgs {
    /// Data sets, NAME or NAME:SPLIT; `data list` has their names
    #[arg(required = true, value_name = "NAME[:SPLIT]")]
    pub names: Vec<String>,
    /// Of climbmix and fineweb-edu: training shards, from the first on; the validation shard comes on top [default: 8]
    #[arg(long, value_name = "N")]
    pub shards: Option<u32>,
    /// Files at a time
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub jobs: usize,
    /// Revision of the repository: a branch, tag or commit [default: main, of tables refs/convert/parquet]
    #[arg(long, value_name = "REVISION", conflicts_with = "mirror")]
    pub revision: Option<String>,
    /// Folder with the files as they lie here, or its address on another machine, instead of the hub
    #[arg(long, value_name = "URL|DIR")]
    pub mirror: Option<String>,
    /// Ask for the lists of files again, and fetch what has changed
    #[arg(long)]
    pub update: bool,
    /// Read again what is here, and fetch what is damaged
    #[arg(long)]
    pub check: bool,
    /// Say what would come and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `data fetch`
///
/// # Errors
/// A name that does not exist, a disk that is too full, a file that cannot be had, or Ctrl-C.
pub fn command(home: &Home, args: &FetchArgs) -> Result<()> {
    let choices: Result<Vec<Choice>, HubError> = args.names.iter().map(|name| Choice::parse(name)).collect();
    let choices = choices.map_err(failed)?;
    check(args, &choices)?;
    let folder = folder(home);
    check_writable(&folder, 0)?;
    let hub = Hub::new(&HubSettings::from_environment().map_err(failed)?, &folder).map_err(failed)?;
    let options = FetchOptions {
        jobs: args.jobs,
        shards: args.shards,
        revision: args.revision.clone(),
        mirror: args.mirror.as_deref().map(mirror).transpose()?,
        update: args.update,
        check: args.check,
        ..FetchOptions::default()
    };
    let interrupt = Interrupt::listen()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = channel();
    let work = {
        let (stop, folder, dry_run) = (Arc::clone(&stop), folder.clone(), args.dry_run);
        move || {
            let _ = sender.send(run(&hub, &choices, &options, &folder, dry_run, &stop));
        }
    };
    thread::spawn(work);
    let mut asked: Option<(i32, Instant)> = None;
    let interrupted = |signal| Interrupted {
        signal,
        message: HubError::Interrupted.to_string(),
    };
    let results = loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(results) => break results,
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the download ended without a word"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        match (asked, interrupt.requested()) {
            (None, Some(signal)) => {
                stop.store(true, Ordering::Relaxed);
                asked = Some((signal, Instant::now()));
            }
            // A thread that waits for a silent server holds nothing that is not on the disk.
            (Some((signal, since)), _) if since.elapsed() > GRACE => return Err(interrupted(signal).into()),
            _ => {}
        }
    };
    match (results, asked) {
        (Err(_), Some((signal, _))) => Err(interrupted(signal).into()),
        (results, _) => tell(&results?, &folder, args),
    }
}

/// The address of a mirror; a folder of this machine has one too.
fn mirror(given: &str) -> Result<String> {
    if given.starts_with("http://") || given.starts_with("https://") {
        return Ok(given.to_owned());
    }
    let path = given.strip_prefix("file://").unwrap_or(given);
    match std::fs::canonicalize(path) {
        Ok(folder) if folder.is_dir() => Ok(format!("file://{}", folder.display())),
        _ => refuse!("--mirror {given:?} is neither a folder here nor an address that begins with http:// or https://"),
    }
}

/// Refusals that need no network.
fn check(args: &FetchArgs, choices: &[Choice]) -> Result<()> {
    if !(1..=64).contains(&args.jobs) {
        refuse!("--jobs {} is out of range; it must be from 1 to 64", args.jobs);
    }
    if let Some(shards) = args.shards {
        let Some(last) = choices.iter().find_map(|choice| match choice.set.files {
            Files::Shards { last, .. } => Some(last),
            _ => None,
        }) else {
            refuse!("--shards is for climbmix and fineweb-edu; leave it out");
        };
        if !(1..=last).contains(&shards) {
            refuse!("--shards {shards} is out of range; it must be from 1 to {last}");
        }
    }
    let tables = choices
        .iter()
        .any(|choice| matches!(choice.set.files, Files::Tables(_)));
    let shards = choices
        .iter()
        .any(|choice| matches!(choice.set.files, Files::Shards { .. }));
    if args.revision.is_some() && !tables && !shards {
        refuse!("--revision is for data sets of the hub; leave it out");
    }
    Ok(())
}

type Outcome = (Plan, Option<Fetched>);

fn run(
    hub: &Hub,
    choices: &[Choice],
    options: &FetchOptions,
    folder: &Path,
    dry_run: bool,
    stop: &AtomicBool,
) -> Result<Vec<Outcome>> {
    let plans: Result<Vec<Plan>, HubError> = choices.iter().map(|&choice| hub.plan(choice, options, stop)).collect();
    let plans = plans.map_err(failed)?;
    if dry_run {
        return Ok(plans.into_iter().map(|plan| (plan, None)).collect());
    }
    let needed: u64 = plans.iter().map(|plan| plan.bytes_needed).sum();
    let free = free_bytes(folder)?;
    if needed > free {
        refuse!(
            "the disk of {} has {} free but {} are still to come; free some space, take fewer --shards, or set FERROCHAT_HOME to another disk",
            folder.display(),
            format::bytes(free),
            format::bytes(needed)
        );
    }
    let mut results = Vec::new();
    for plan in plans {
        let shown = Shown::new(&plan);
        let fetched = hub.fetch(&plan, options, &shown, stop);
        shown.finish();
        results.push((plan, Some(fetched.map_err(failed)?)));
    }
    Ok(results)
}

fn tell(results: &[Outcome], folder: &Path, args: &FetchArgs) -> Result<()> {
    if args.json {
        let values: Vec<_> = results
            .iter()
            .map(|(plan, fetched)| {
                json!({
                    "name": plan.choice.set.name,
                    "folder": plan.root,
                    "files": plan.files.len(),
                    "missing": if fetched.is_some() { 0 } else { plan.missing.len() },
                    "bytes_to_come": if fetched.is_some() { 0 } else { plan.bytes_missing },
                    "brought": fetched.as_ref().map(|fetched| fetched.brought),
                    "bytes": fetched.as_ref().map(|fetched| fetched.bytes),
                    "flags": flags_of(folder, plan.choice.set),
                })
            })
            .collect();
        return output::print_json(&values);
    }
    let mut text = String::new();
    for (plan, fetched) in results {
        let name = plan.choice.set.name;
        match fetched {
            None => format::push(
                &mut text,
                format_args!(
                    "{name}: {} files, {} to come ({}), into {}\n",
                    plan.files.len(),
                    plan.missing.len(),
                    format::bytes(plan.bytes_missing),
                    plan.root.display()
                ),
            ),
            Some(fetched) => {
                format::push(
                    &mut text,
                    format_args!(
                        "{name}: {} files, {}, in {} ({} fetched now)\n",
                        fetched.brought + fetched.here,
                        format::bytes(fetched.bytes),
                        plan.root.display(),
                        fetched.brought
                    ),
                );
                if let Some(flags) = flags_of(folder, plan.choice.set) {
                    format::push(&mut text, format_args!("  use it with {flags}\n"));
                }
            }
        }
    }
    output::print(&text)
}
