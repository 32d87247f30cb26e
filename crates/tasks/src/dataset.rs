//! Public data sets in a folder: which there are, and where their files lie. This room must never know how an
//! item is asked.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use ferrochat_data::read_records;
use serde::de::DeserializeOwned;

use crate::choice::ChoiceTask;
use crate::error::TaskError;
use crate::gsm8k::Gsm8k;
use crate::numpy::permutation;
use crate::task::Task;

/// Seed of the order in which the reference reads its data sets.
const ORDER_SEED: u32 = 42;

/// A public data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dataset {
    /// Grade school science questions that simple methods answer (Clark et al. 2018).
    ArcEasy,
    /// Those that they do not.
    ArcChallenge,
    /// Exams of 57 subjects (Hendrycks et al. 2021).
    Mmlu,
    /// Grade school word problems with worked answers (Cobbe et al. 2021).
    Gsm8k,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskSplit {
    /// To learn from; of MMLU, `auxiliary_train`.
    Train,
    /// To choose settings by.
    Validation,
    /// To report.
    Test,
}

impl Dataset {
    /// Every data set, in the order of the report.
    pub const ALL: [Dataset; 4] = [Dataset::ArcEasy, Dataset::ArcChallenge, Dataset::Mmlu, Dataset::Gsm8k];

    /// The name in the report; any case is understood when it is read.
    pub fn name(self) -> &'static str {
        match self {
            Dataset::ArcEasy => "ARC-Easy",
            Dataset::ArcChallenge => "ARC-Challenge",
            Dataset::Mmlu => "MMLU",
            Dataset::Gsm8k => "GSM8K",
        }
    }

    fn split_name(self, split: TaskSplit) -> Option<&'static str> {
        match (self, split) {
            (Dataset::Mmlu, TaskSplit::Train) => Some("auxiliary_train"),
            (_, TaskSplit::Train) => Some("train"),
            (Dataset::Gsm8k, TaskSplit::Validation) => None,
            (_, TaskSplit::Validation) => Some("validation"),
            (_, TaskSplit::Test) => Some("test"),
        }
    }

    /// A file of JSONL, and folders of Parquet shards, in the order in which they are preferred.
    fn places(self, split: &str) -> Vec<String> {
        match self {
            Dataset::ArcEasy | Dataset::ArcChallenge => {
                let name = self.name();
                vec![
                    format!("arc/{name}/{split}.jsonl"),
                    format!("allenai--ai2_arc/{name}/{split}"),
                ]
            }
            Dataset::Mmlu => vec![
                format!("mmlu/{split}.jsonl"),
                format!("cais--mmlu/all/{split}"),
                // Stands in for the 99,842 rows of auxiliary_train where they cannot be had.
                format!("substitute--mmlu_auxiliary/all/{split}"),
            ],
            Dataset::Gsm8k => vec![format!("gsm8k/{split}.jsonl"), format!("openai--gsm8k/main/{split}")],
        }
    }

    /// Opens a part of the data set that lies somewhere in `folder`: as JSONL (`gsm8k/test.jsonl`), or as the Parquet
    /// shards of the hub (`openai--gsm8k/main/test/*.parquet`), in the folder itself or in `tasks` or `task_data` in it.
    /// Items come in the order of the reference.
    ///
    /// # Errors
    /// [`TaskError::Missing`] if it is not there, [`TaskError::Data`] with the file and line of the first fault.
    pub fn open(self, folder: &Path, split: TaskSplit) -> Result<Arc<dyn Task>, TaskError> {
        let Some(split_name) = self.split_name(split) else {
            return Err(TaskError::Missing(format!(
                "{self} has no {split} split; use its train or test split"
            )));
        };
        let files = self.files(folder, split_name)?;
        let origin = files[0].display().to_string();
        Ok(match self {
            Dataset::ArcEasy | Dataset::ArcChallenge => {
                let items = items(&files, ChoiceTask::from_arc)?;
                Arc::new(ChoiceTask::new(self.name(), origin, items))
            }
            Dataset::Mmlu => {
                let items = items(&files, ChoiceTask::from_mmlu)?;
                Arc::new(ChoiceTask::new(self.name(), origin, items))
            }
            Dataset::Gsm8k => Arc::new(Gsm8k::new(origin, items(&files, Gsm8k::item)?)),
        })
    }

    fn files(self, folder: &Path, split: &str) -> Result<Vec<PathBuf>, TaskError> {
        let roots = [folder.to_path_buf(), folder.join("tasks"), folder.join("task_data")];
        let places = self.places(split);
        for place in &places {
            for path in roots.iter().map(|root| root.join(place)) {
                if path.is_file() {
                    return Ok(vec![path]);
                }
                if path.is_dir() {
                    return shards(&path);
                }
            }
        }
        let places: Vec<String> = places
            .iter()
            .map(|place| place.replace(".jsonl", ".jsonl (a file)"))
            .collect();
        Err(TaskError::Missing(format!(
            "the {split} split of {self} is not in {}; expected there, or in tasks/ or task_data/ in it: {}",
            folder.display(),
            places.join(" or ")
        )))
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dataset {
    type Err = TaskError;

    fn from_str(name: &str) -> Result<Dataset, TaskError> {
        let found = Dataset::ALL
            .into_iter()
            .find(|one| one.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let known = Dataset::ALL.map(|one| one.name().to_lowercase());
            TaskError::Request(format!("there is no task {name:?}; known are {}", known.join(", ")))
        })
    }
}

impl fmt::Display for TaskSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskSplit::Train => "train",
            TaskSplit::Validation => "validation",
            TaskSplit::Test => "test",
        })
    }
}

/// The shards of a folder: those that its manifest lists (it is written when all are there), else all that are.
fn shards(folder: &Path) -> Result<Vec<PathBuf>, TaskError> {
    let missing = |sentence: String| Err(TaskError::Missing(sentence));
    let manifest = folder.join("manifest.json");
    if let Ok(text) = fs::read_to_string(&manifest) {
        let Ok(names) = serde_json::from_str::<Vec<String>>(&text) else {
            return missing(format!(
                "{} is not a list of file names; fetch the data set again",
                manifest.display()
            ));
        };
        let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        if let Some(gone) = paths.iter().find(|path| !path.is_file()) {
            return missing(format!(
                "{} is listed in the manifest beside it and is not there; fetch the data set again",
                gone.display()
            ));
        }
        if !paths.is_empty() {
            return Ok(paths);
        }
    }
    let entries = fs::read_dir(folder).map_err(|source| ferrochat_data::DataError::Io {
        path: folder.to_path_buf(),
        source,
    })?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    paths.sort();
    if paths.is_empty() {
        return missing(format!(
            "{} has no .parquet files; fetch the data set again",
            folder.display()
        ));
    }
    Ok(paths)
}

/// The items of all rows of some files, in the order of the reference.
fn items<Row: DeserializeOwned, Item>(
    files: &[PathBuf],
    item: impl Fn(Row) -> Result<Item, String>,
) -> Result<Vec<Item>, TaskError> {
    let mut items = Vec::new();
    for path in files {
        read_records(path, &mut |record| {
            // The JSON reader counts lines within this one line, which would mislead.
            let row = serde_json::from_str(record)
                .map_err(|error| error.to_string().replacen(" at line 1 column ", " at column ", 1))?;
            items.push(Some(item(row)?));
            Ok(())
        })?;
    }
    if items.is_empty() {
        return Err(TaskError::Missing(format!(
            "{} has no items; it must have one on each line",
            files[0].display()
        )));
    }
    let order = permutation(ORDER_SEED, items.len());
    let take = |index: usize| items[index].take().expect("a permutation names each index once");
    Ok(order.into_iter().map(take).collect())
}
