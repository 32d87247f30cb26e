//! `data inspect` and `data verify`: what is there, and whether it is whole.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use clap::Args;
use ferrochat_data::hub::{Choice, DataSet, Files, State, verify as verify_receipts};
use ferrochat_data::{FileFacts, files_below, look, read_through};
use serde_json::json;

use super::{failed, folder};
use crate::errors::{refuse, usage};
use crate::home::Home;
use crate::progress::Progress;
use crate::{format, output};

/// `data inspect`
#[derive(Args, Debug)]
pub struct InspectDataArgs {
    /// A data set that has been fetched (NAME or NAME:SPLIT), or a file or folder of text, JSONL or Parquet
    #[arg(value_name = "NAME|PATH")]
    pub what: String,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// `data verify`
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// A data set that has been fetched (NAME or NAME:SPLIT), or a file or folder of text, JSONL or Parquet [default:
    /// all data sets that are here]
    #[arg(value_name = "NAME|PATH")]
    pub what: Vec<String>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// What a name or path stands for.
enum What {
    Set(Choice),
    Path(PathBuf),
}

fn what(text: &str) -> Result<What> {
    // A path that exists goes before a name.
    if Path::new(text).exists() {
        return Ok(What::Path(text.into()));
    }
    match Choice::parse(text) {
        Ok(choice) => Ok(What::Set(choice)),
        Err(error) if text.contains(['/', '.']) => {
            let _ = error;
            refuse!("{text} does not exist; give a file, a folder, or a name from `ferrochat data list`")
        }
        Err(error) => Err(usage(error)),
    }
}

fn wanted(choice: Choice, path: &str) -> bool {
    match choice.set.files {
        Files::Tables(_) => {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            choice.tables().any(|table| choice.set.table_folder(table) == folder)
        }
        _ => true,
    }
}

/// `data inspect`
///
/// # Errors
/// Nothing there, or a file that cannot be read.
pub fn inspect(home: &Home, args: &InspectDataArgs) -> Result<()> {
    let files: Vec<PathBuf> = match what(&args.what)? {
        What::Path(path) => files_below(&path)?,
        What::Set(choice) => {
            let root = folder(home).join(choice.set.folder);
            let all = if root.exists() { files_below(&root)? } else { Vec::new() };
            let relative = |path: &PathBuf| path.strip_prefix(&root).map(|path| path.to_string_lossy().into_owned());
            all.into_iter()
                .filter(|path| relative(path).is_ok_and(|path| wanted(choice, &path)))
                .collect()
        }
    };
    let readable = |path: &PathBuf| !path.ends_with("manifest.json") && path.extension().is_none_or(|end| end != "zip");
    let files: Vec<PathBuf> = files.into_iter().filter(readable).collect();
    if files.is_empty() {
        refuse!(
            "{} has no files here; `ferrochat data fetch` brings data sets",
            args.what
        );
    }
    let facts: Result<Vec<FileFacts>, _> = files.iter().map(|path| look(path)).collect();
    let facts = facts?;
    if args.json {
        return output::print_json(&facts);
    }
    let rows: Vec<Vec<String>> = facts
        .iter()
        .map(|facts| {
            vec![
                facts.path.display().to_string(),
                facts.kind.to_owned(),
                format::bytes(facts.bytes),
                format::thousands(facts.records),
                facts
                    .row_groups
                    .map_or_else(|| "-".to_owned(), |groups| groups.to_string()),
                facts.columns.join(", "),
            ]
        })
        .collect();
    let mut text = output::table(&["FILE", "KIND", "SIZE", "RECORDS", "GROUPS", "COLUMNS"], &rows);
    let bytes = facts.iter().map(|facts| facts.bytes).sum();
    let records = facts.iter().map(|facts| facts.records).sum();
    format::push(
        &mut text,
        format_args!(
            "\n{} files, {}, {} records; the first:\n{}\n",
            facts.len(),
            format::bytes(bytes),
            format::thousands(records),
            facts[0].sample
        ),
    );
    output::print(&text)
}

/// One file that was read.
struct Read {
    path: String,
    bytes: u64,
    /// What is wrong with it.
    fault: Option<String>,
    /// What it was compared with.
    against: &'static str,
}

/// `data verify`
///
/// # Errors
/// Files that are damaged or missing, named; exit code 1.
pub fn verify(home: &Home, args: &VerifyArgs) -> Result<()> {
    let mut asked = Vec::new();
    for text in &args.what {
        asked.push(what(text)?);
    }
    if asked.is_empty() {
        let all = DataSet::ALL.iter().map(|set| What::Set(Choice { set, split: None }));
        asked.extend(all);
    }
    let mut read = Vec::new();
    for one in asked {
        match one {
            What::Set(choice) => {
                let found = of_set(home, choice)?;
                if found.is_empty() && !args.what.is_empty() {
                    refuse!(
                        "{name} is not here; `ferrochat data fetch {name}` brings it",
                        name = choice.set.name
                    );
                }
                read.extend(found);
            }
            What::Path(path) => read.extend(of_path(&path)?),
        }
    }
    let bad: Vec<&Read> = read.iter().filter(|read| read.fault.is_some()).collect();
    if args.json {
        let values: Vec<_> = read
            .iter()
            .map(|read| json!({"path": read.path, "bytes": read.bytes, "good": read.fault.is_none(), "fault": read.fault, "against": read.against}))
            .collect();
        output::print_json(&values)?;
    } else {
        let bytes = read.iter().map(|read| read.bytes).sum();
        output::print(&format!(
            "{} files, {}: {} good, {} not\n",
            read.len(),
            format::bytes(bytes),
            read.len() - bad.len(),
            bad.len()
        ))?;
    }
    let Some(first) = bad.first() else { return Ok(()) };
    let others = if bad.len() > 1 {
        format!("; and {} more (--json names all)", bad.len() - 1)
    } else {
        String::new()
    };
    bail!("{}: {}{others}", first.path, first.fault.as_deref().unwrap_or_default())
}

fn of_set(home: &Home, choice: Choice) -> Result<Vec<Read>> {
    let root = folder(home).join(choice.set.folder);
    let mut progress = Progress::new("verify", 0);
    let mut bytes = 0;
    let verdicts = verify_receipts(
        &root,
        &|path| choice.set.owns(path) && wanted(choice, path),
        &AtomicBool::new(false),
        &mut |more| {
            bytes += more;
            progress.part(0, &format!("{} read", format::bytes(bytes)));
        },
    );
    progress.finish();
    let verdicts = verdicts.map_err(failed)?;
    Ok(verdicts
        .into_iter()
        .map(|verdict| {
            let remedy = format!("`ferrochat data fetch {} --check` fetches it again", choice.set.name);
            let fault = match verdict.state {
                State::Good => None,
                State::Damaged => Some(format!("its bytes have changed since it was fetched; {remedy}")),
                State::Length => Some(format!("it is not {} bytes long any more; {remedy}", verdict.bytes)),
                State::Missing => Some(format!("it is gone; {remedy}")),
            };
            Read {
                path: root.join(&verdict.path).display().to_string(),
                bytes: verdict.bytes,
                fault,
                against: if verdict.confirmed {
                    "checksum of the source"
                } else {
                    "checksum made when it came"
                },
            }
        })
        .collect())
}

/// Files without receipts: all of them must be readable.
fn of_path(path: &Path) -> Result<Vec<Read>> {
    let files = files_below(path)?;
    if files.is_empty() {
        refuse!("{} has no files", path.display());
    }
    let read = |path: &PathBuf| Read {
        path: path.display().to_string(),
        bytes: path.metadata().map_or(0, |metadata| metadata.len()),
        fault: read_through(path, &mut |_| ()).err().map(|error| error.to_string()),
        against: "its own form",
    };
    Ok(files.iter().map(read).collect())
}
