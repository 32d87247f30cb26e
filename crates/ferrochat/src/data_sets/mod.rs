//! `data list`, `fetch`, `inspect` and `verify`: public data sets by name, and files by path. This room speaks to
//! people; what a download is, `ferrochat_data::hub` knows.

mod fetch;
mod look;
mod watch;

use std::path::{Path, PathBuf};

use anyhow::Result;
use ferrochat_data::hub::{DataSet, Files, Hub, HubError};
use serde_json::json;

use crate::errors::{Interrupted, usage};
use crate::home::Home;
use crate::{format, output};

pub use fetch::{FetchArgs, command as fetch};
pub use look::{InspectDataArgs, VerifyArgs, inspect, verify};

/// The folder of all data sets.
pub fn folder(home: &Home) -> PathBuf {
    home.cache.join("datasets")
}

/// That of the home folder that everything uses: where `--tasks-dir` is absent.
///
/// # Errors
/// There is no home folder.
pub fn usual_folder() -> Result<PathBuf> {
    Ok(folder(&Home::from_environment()?))
}

/// `data list`
///
/// # Errors
/// A cache that cannot be read, or stdout is closed.
pub fn list(home: &Home, as_json: bool) -> Result<()> {
    let folder = folder(home);
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for set in DataSet::ALL {
        let (files, bytes) = Hub::here(&folder, set).map_err(failed)?;
        values.push(json!({
            "name": set.name,
            "title": set.title,
            "source": set.source(),
            "revision": set.revision,
            "licence": set.licence,
            "bytes_whole": set.bytes,
            "files_here": files,
            "bytes_here": bytes,
            "folder": folder.join(set.folder),
            "flags": flags_of(&folder, set),
        }));
        let here = if files == 0 {
            "-".to_owned()
        } else {
            format!("{files} files, {}", format::bytes(bytes))
        };
        rows.push(vec![
            set.name.to_owned(),
            here,
            format!("about {}", format::bytes(set.bytes)),
            set.licence.to_owned(),
            set.source().trim_start_matches("https://").to_owned(),
            set.title.to_owned(),
        ]);
    }
    if as_json {
        return output::print_json(&values);
    }
    let table = output::table(&["NAME", "HERE", "WHOLE", "LICENCE", "SOURCE", "WHAT"], &rows);
    output::print(&format!("{table}\nThey land in {}.\n", folder.display()))
}

/// The flags of other commands that use a data set.
fn flags_of(folder: &Path, set: &DataSet) -> Option<String> {
    let root = folder.join(set.folder);
    let words = |words: &[String]| Some(format::shell_line(words.iter().map(String::as_str)));
    let path = |path: PathBuf| path.display().to_string();
    match (set.name, set.files) {
        (_, Files::Shards { .. }) => words(&["--data".into(), path(root)]),
        ("smoltalk", Files::Tables(tables)) => words(&[
            "--conversations".into(),
            path(root.join(set.table_folder(tables[0]))),
            "--val-conversations".into(),
            path(root.join(set.table_folder(tables[1]))),
        ]),
        ("humaneval", Files::Tables(_)) => words(&["--tasks-dir".into(), path(folder.to_path_buf())]),
        (name, Files::Tables(_)) => {
            let tasks = if name == "arc" { "arc-easy,arc-challenge" } else { name };
            words(&[
                "--tasks".into(),
                tasks.into(),
                "--tasks-dir".into(),
                path(folder.to_path_buf()),
            ])
        }
        ("identity", Files::File(name, _)) => words(&["--conversations".into(), path(root.join(name))]),
        // Where `eval core` looks by itself.
        (_, Files::Archive(..)) => words(&["--bundle".into(), path(inside(set, &root))]),
        _ => None,
    }
}

/// The folder of the CORE bundle that `data fetch core` brought, if it is here.
pub fn core_bundle(home: &Home) -> Option<PathBuf> {
    let set = DataSet::named("core").ok()?;
    let place = inside(set, &folder(home).join(set.folder));
    place.is_dir().then_some(place)
}

/// Where the files of a data set that is one archive lie in its folder.
fn inside(set: &DataSet, root: &Path) -> PathBuf {
    match set.files {
        Files::Archive(_, _, witness) => root.join(Path::new(witness).parent().unwrap_or(Path::new(""))),
        _ => root.to_owned(),
    }
}

/// What `--data`, `--conversations`, `--tasks-dir` and `--bundle` mean: a path, or, where there is nothing of that name, a data
/// set that has been fetched.
///
/// # Errors
/// A data set that is known and not here, as usage with the line that fetches it.
pub fn resolve(flag: &str, path: &Path) -> Result<PathBuf> {
    let named = path.to_str().and_then(|name| DataSet::named(name).ok());
    let Some(set) = named.filter(|_| !path.exists()) else {
        return std::path::absolute(path).map_err(|error| usage(format!("--{flag}: {error}")));
    };
    let folder = usual_folder()?;
    let root = folder.join(set.folder);
    let place = match (flag, set.files) {
        ("tasks-dir", Files::Tables(_)) => folder.clone(),
        ("val-conversations", Files::Tables(tables)) => root.join(set.table_folder(tables[tables.len() - 1])),
        (_, Files::Tables(tables)) => root.join(set.table_folder(tables[0])),
        (_, Files::File(name, _)) => root.join(name),
        _ => inside(set, &root),
    };
    let (files, _) = Hub::here(&folder, set).map_err(failed)?;
    if files == 0 || !place.exists() {
        return Err(usage(format!(
            "--{flag} {name}: this data set is not here yet; `ferrochat data fetch {name}` brings it",
            name = set.name
        )));
    }
    Ok(place)
}

/// The hub's errors with the exit codes of the program.
fn failed(error: HubError) -> anyhow::Error {
    match error {
        HubError::Request(sentence) => usage(sentence),
        HubError::Interrupted => Interrupted {
            signal: signal_hook::consts::SIGINT,
            message: error.to_string(),
        }
        .into(),
        error => error.into(),
    }
}
