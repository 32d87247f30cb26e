//! Public data sets in a folder: which there are, and where their files lie. This room must never know how an
//! item is asked.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use ferrochat_data::read_records;
use ferrochat_tools::Jail;
use ferrochat_world::SPELLING_WORDS;
use serde::de::DeserializeOwned;

use crate::choice::ChoiceTask;
use crate::error::TaskError;
use crate::gsm8k::Gsm8k;
use crate::humaneval::HumanEval;
use crate::numpy::permutation;
use crate::spelling::{SimpleSpelling, SpellingBee, Words};
use crate::task::Task;

/// The list of which the reference makes its spelling tasks.
const WORDS: &str = "words_alpha.txt";

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
    /// Python functions to write, with tests (Chen et al. 2021).
    HumanEval,
    /// How often a letter occurs in a word.
    SpellingBee,
    /// Words to spell.
    SimpleSpelling,
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
    pub const ALL: [Dataset; 7] = [
        Dataset::ArcEasy,
        Dataset::ArcChallenge,
        Dataset::Mmlu,
        Dataset::Gsm8k,
        Dataset::HumanEval,
        Dataset::SpellingBee,
        Dataset::SimpleSpelling,
    ];

    /// The name in the report; when it is read, case, hyphens and underscores make no difference.
    pub fn name(self) -> &'static str {
        match self {
            Dataset::ArcEasy => "ARC-Easy",
            Dataset::ArcChallenge => "ARC-Challenge",
            Dataset::Mmlu => "MMLU",
            Dataset::Gsm8k => "GSM8K",
            Dataset::HumanEval => "HumanEval",
            Dataset::SpellingBee => "SpellingBee",
            Dataset::SimpleSpelling => "SimpleSpelling",
        }
    }

    /// The name by which `data fetch` brings it.
    pub fn fetched_as(self) -> &'static str {
        match self {
            Dataset::ArcEasy | Dataset::ArcChallenge => "arc",
            Dataset::Mmlu => "mmlu",
            Dataset::Gsm8k => "gsm8k",
            Dataset::HumanEval => "humaneval",
            Dataset::SpellingBee | Dataset::SimpleSpelling => "spelling",
        }
    }

    /// Whether a folder has its files. Spelling tasks can do without.
    pub fn is_in(self, folder: &Path, split: TaskSplit) -> bool {
        self.split_name(split)
            .is_some_and(|split| self.find(folder, split).is_some())
    }

    fn split_name(self, split: TaskSplit) -> Option<&'static str> {
        match (self, split) {
            (Dataset::HumanEval, TaskSplit::Train | TaskSplit::Validation)
            | (Dataset::Gsm8k | Dataset::SpellingBee | Dataset::SimpleSpelling, TaskSplit::Validation) => None,
            (Dataset::Mmlu, TaskSplit::Train) => Some("auxiliary_train"),
            (_, TaskSplit::Train) => Some("train"),
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
            Dataset::HumanEval => vec![
                "humaneval/HumanEval.jsonl".to_owned(),
                "humaneval/HumanEval.jsonl.gz".to_owned(),
                format!("openai--openai_humaneval/openai_humaneval/{split}"),
            ],
            Dataset::SpellingBee | Dataset::SimpleSpelling => {
                vec![WORDS.to_owned(), format!("spelling/{WORDS}")]
            }
        }
    }

    /// Opens a part of the data set that lies somewhere in `folder`: as JSONL (`gsm8k/test.jsonl`), or as the Parquet
    /// shards of the hub (`openai--gsm8k/main/test/*.parquet`), in the folder itself or in `tasks` or `task_data` in it.
    /// Items come in the order of the reference. The spelling tasks are made of the words in `words_alpha.txt`, and of
    /// a few words of the world where it is not there; the task's origin says of which.
    ///
    /// # Errors
    /// [`TaskError::Missing`] if it is not there, [`TaskError::Data`] with the file and line of the first fault,
    /// [`TaskError::Jail`] for HumanEval on a machine where its programs cannot be kept from doing harm.
    pub fn open(self, folder: &Path, split: TaskSplit) -> Result<Arc<dyn Task>, TaskError> {
        self.open_with(folder, split, None)
    }

    /// As [`open`](Self::open); HumanEval runs its programs in this jail.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        self,
        folder: &Path,
        split: TaskSplit,
        jail: Option<Arc<Jail>>,
    ) -> Result<Arc<dyn Task>, TaskError> {
        let Some(split_name) = self.split_name(split) else {
            let others = [TaskSplit::Train, TaskSplit::Test];
            let others = others.into_iter().filter(|&other| self.split_name(other).is_some());
            let others: Vec<String> = others.map(|other| other.to_string()).collect();
            return Err(TaskError::Missing(format!(
                "{self} has no {split} split; use its {} split",
                others.join(" or ")
            )));
        };
        if matches!(self, Dataset::SpellingBee | Dataset::SimpleSpelling) {
            return self.of_words(folder, split_name);
        }
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
            Dataset::HumanEval => {
                let items = items(&files, HumanEval::item)?;
                let jail = match jail {
                    Some(jail) => jail,
                    None => Arc::new(Jail::new(HumanEval::limits())?),
                };
                Arc::new(HumanEval::new(origin, items, jail))
            }
            Dataset::SpellingBee | Dataset::SimpleSpelling => unreachable!("they have no files of items"),
        })
    }

    /// The jail that HumanEval's programs run in, with the reference's limits of time and memory.
    ///
    /// # Errors
    /// [`TaskError::Jail`] with the protection that this machine lacks, unless `unsafe_python` does without.
    pub fn jail(unsafe_python: bool) -> Result<Arc<Jail>, TaskError> {
        let limits = HumanEval::limits();
        let jail = if unsafe_python {
            Jail::without_protection(limits)?
        } else {
            Jail::new(limits)?
        };
        Ok(Arc::new(jail))
    }

    /// A spelling task, as many items as the reference has of it.
    fn of_words(self, folder: &Path, split: &str) -> Result<Arc<dyn Task>, TaskError> {
        let (origin, list): (String, Arc<[String]>) = match self.find(folder, split) {
            Some(path) => (path.display().to_string(), words(&path)?),
            None => (
                format!(
                    "{} words of the world, for {WORDS} is not in {}; `ferrochat data fetch spelling` brings the \
                     reference's 370,105",
                    SPELLING_WORDS.len(),
                    folder.display()
                ),
                SPELLING_WORDS.iter().map(ToString::to_string).collect(),
            ),
        };
        let test = split == "test";
        let words = |count| Words {
            origin,
            list,
            count: if test { 256 } else { count },
            test,
        };
        Ok(match self {
            Dataset::SpellingBee => Arc::new(SpellingBee::new(words(80_000))),
            _ => Arc::new(SimpleSpelling::new(words(200_000))),
        })
    }

    /// The file or folder in which it lies.
    fn find(self, folder: &Path, split: &str) -> Option<PathBuf> {
        let roots = [folder.to_path_buf(), folder.join("tasks"), folder.join("task_data")];
        let places = self.places(split).into_iter();
        let mut paths = places.flat_map(|place| roots.each_ref().map(|root| root.join(&place)));
        paths.find(|path| path.exists())
    }

    fn files(self, folder: &Path, split: &str) -> Result<Vec<PathBuf>, TaskError> {
        match self.find(folder, split) {
            Some(path) if path.is_dir() => return shards(&path),
            Some(path) => return Ok(vec![path]),
            None => {}
        }
        let places: Vec<String> = self
            .places(split)
            .iter()
            .map(|place| {
                if place.contains(".jsonl") {
                    format!("{place} (a file)")
                } else {
                    place.clone()
                }
            })
            .collect();
        Err(TaskError::Missing(format!(
            "the {split} split of {self} is not in {}; expected there, or in tasks/ or task_data/ in it: {}; `ferrochat \
             data fetch {}` brings it",
            folder.display(),
            places.join(" or "),
            self.fetched_as()
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
        let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
        let found = Dataset::ALL.into_iter().find(|one| plain(one.name()) == plain(name));
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

/// The words of a list, one on each line. Empty lines do not count.
fn words(path: &Path) -> Result<Arc<[String]>, TaskError> {
    let text = fs::read_to_string(path).map_err(|source| ferrochat_data::DataError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let words = text.lines().map(str::trim).filter(|word| !word.is_empty());
    let words: Arc<[String]> = words.map(str::to_owned).collect();
    if words.is_empty() {
        return Err(TaskError::Missing(format!(
            "{} has no words; it must have one on each line",
            path.display()
        )));
    }
    Ok(words)
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
