//! The data sets that have a name: where they lie, under which licence, and where their files land here. Constants
//! only; this room must never know how anything is downloaded.

use super::error::HubError;

/// What a data set consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Numbered shards of a repository, of which one takes the first so many; the last is for validation and always
    /// taken, so that it is the last by name.
    Shards {
        /// Number of the last shard.
        last: u32,
        /// How many to learn from unless one says.
        usual: u32,
    },
    /// The tables that the hub makes of a data set, as Parquet.
    Tables(&'static [Table]),
    /// One file from elsewhere: `(name here, address)`.
    File(&'static str, &'static str),
    /// An archive from elsewhere that is unpacked: `(name here, address, a file in it that shows it is whole)`.
    Archive(&'static str, &'static str, &'static str),
}

/// A part of a data set on the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The hub's name of the subset.
    pub subset: &'static str,
    /// The split.
    pub split: &'static str,
}

/// A data set that has a name.
#[derive(Debug, PartialEq, Eq)]
pub struct DataSet {
    /// What one types.
    pub name: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Its repository on the hub, if it comes from there.
    pub repository: Option<&'static str>,
    /// The revision that is taken unless another is named.
    pub revision: &'static str,
    /// The folder below that of all data sets where its files land.
    pub folder: &'static str,
    /// Licence as its authors state it.
    pub licence: &'static str,
    /// About how many bytes all of it has.
    pub bytes: u64,
    /// What it consists of.
    pub files: Files,
}

/// The branch where the hub keeps every data set as Parquet.
const AS_PARQUET: &str = "refs/convert/parquet";

/// The folder of everything that the hub gives as tables, `<owner>--<name>/<subset>/<split>/` below it.
const TABLES: &str = "task_data";

const ARC: &[Table] = &[
    table("ARC-Easy", "train"),
    table("ARC-Easy", "validation"),
    table("ARC-Easy", "test"),
    table("ARC-Challenge", "train"),
    table("ARC-Challenge", "validation"),
    table("ARC-Challenge", "test"),
];
const MMLU: &[Table] = &[
    table("all", "auxiliary_train"),
    table("all", "dev"),
    table("all", "validation"),
    table("all", "test"),
];

const fn table(subset: &'static str, split: &'static str) -> Table {
    Table { subset, split }
}

impl DataSet {
    /// Every data set, in the order in which a run needs them.
    pub const ALL: &[DataSet] = &[
        DataSet {
            name: "climbmix",
            title: "web text for pretraining, mixed by NVIDIA, shuffled (2026)",
            repository: Some("karpathy/climbmix-400b-shuffle"),
            revision: "main",
            folder: "climbmix",
            licence: "CC BY-NC 4.0",
            bytes: 6543 * 92_000_000,
            files: Files::Shards { last: 6542, usual: 8 },
        },
        DataSet {
            name: "fineweb-edu",
            title: "educational web text for pretraining, shuffled (2025)",
            repository: Some("karpathy/fineweb-edu-100b-shuffle"),
            revision: "main",
            folder: "fineweb-edu",
            licence: "ODC-By 1.0",
            bytes: 1823 * 98_000_000,
            files: Files::Shards { last: 1822, usual: 8 },
        },
        DataSet {
            name: "smoltalk",
            title: "general conversations, 460K to learn and 24K to validate",
            repository: Some("HuggingFaceTB/smol-smoltalk"),
            revision: AS_PARQUET,
            folder: TABLES,
            licence: "Apache-2.0",
            bytes: 960_000_000,
            files: Files::Tables(&[table("default", "train"), table("default", "test")]),
        },
        DataSet {
            name: "mmlu",
            title: "four-choice exams of 57 subjects, with 100K questions to learn",
            repository: Some("cais/mmlu"),
            revision: AS_PARQUET,
            folder: TABLES,
            licence: "MIT",
            bytes: 51_000_000,
            files: Files::Tables(MMLU),
        },
        DataSet {
            name: "arc",
            title: "grade school science questions, easy and challenge",
            repository: Some("allenai/ai2_arc"),
            revision: AS_PARQUET,
            folder: TABLES,
            licence: "CC BY-SA 4.0",
            bytes: 1_600_000,
            files: Files::Tables(ARC),
        },
        DataSet {
            name: "gsm8k",
            title: "grade school word problems with worked answers",
            repository: Some("openai/gsm8k"),
            revision: AS_PARQUET,
            folder: TABLES,
            licence: "MIT",
            bytes: 2_800_000,
            files: Files::Tables(&[table("main", "train"), table("main", "test")]),
        },
        DataSet {
            name: "humaneval",
            title: "164 Python functions to write, with tests",
            repository: Some("openai/openai_humaneval"),
            revision: AS_PARQUET,
            folder: TABLES,
            licence: "MIT",
            bytes: 84_000,
            files: Files::Tables(&[table("openai_humaneval", "test")]),
        },
        DataSet {
            name: "core",
            title: "the 22 tasks of CORE, as the reference packs them",
            repository: None,
            revision: "",
            folder: "core",
            licence: "mixed, see each task",
            bytes: 25_000_000,
            files: Files::Archive(
                "eval_bundle.zip",
                "https://karpathy-public.s3.us-west-2.amazonaws.com/eval_bundle.zip",
                "eval_bundle/core.yaml",
            ),
        },
        DataSet {
            name: "identity",
            title: "1,000 conversations about nanochat (`data identity` writes your model's own)",
            repository: None,
            revision: "",
            folder: "identity",
            licence: "not stated",
            bytes: 2_400_000,
            files: Files::File(
                "identity_conversations.jsonl",
                "https://karpathy-public.s3.us-west-2.amazonaws.com/identity_conversations.jsonl",
            ),
        },
        DataSet {
            name: "spelling",
            title: "370K English words, of which spelling conversations are made",
            repository: None,
            revision: "",
            folder: "spelling",
            licence: "Unlicense",
            bytes: 4_200_000,
            files: Files::File(
                "words_alpha.txt",
                "https://raw.githubusercontent.com/dwyl/english-words/refs/heads/master/words_alpha.txt",
            ),
        },
    ];

    /// The data set of this name.
    ///
    /// # Errors
    /// [`HubError::Request`] with the names that there are.
    pub fn named(name: &str) -> Result<&'static DataSet, HubError> {
        let found = DataSet::ALL.iter().find(|set| set.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let names: Vec<&str> = DataSet::ALL.iter().map(|set| set.name).collect();
            HubError::Request(format!("there is no data set {name:?}; known are {}", names.join(", ")))
        })
    }

    /// Where it comes from, for people.
    pub fn source(&self) -> &'static str {
        match (self.repository, self.files) {
            (Some(repository), _) => repository,
            (None, Files::File(_, address) | Files::Archive(_, address, _)) => address,
            (None, _) => "",
        }
    }

    /// Whether the file called `path` in its folder is its own: tables of several sets share one.
    pub fn owns(&self, path: &str) -> bool {
        match self.files {
            Files::Tables(tables) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                tables.iter().any(|&table| self.table_folder(table) == folder)
            }
            _ => true,
        }
    }

    /// The folder of a table below [`folder`](Self::folder): `cais--mmlu/all/test`.
    pub fn table_folder(&self, table: Table) -> String {
        let slug = self.repository.unwrap_or(self.name).replace('/', "--");
        format!("{slug}/{}/{}", table.subset, table.split)
    }
}

/// A data set, or the part of it that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Which.
    pub set: &'static DataSet,
    /// Of tables, the one split.
    pub split: Option<&'static str>,
}

impl Choice {
    /// `NAME` or `NAME:SPLIT`.
    ///
    /// # Errors
    /// [`HubError::Request`] with what there is.
    pub fn parse(text: &str) -> Result<Choice, HubError> {
        let Some((name, wanted)) = text.split_once(':') else {
            return Ok(Choice {
                set: DataSet::named(text)?,
                split: None,
            });
        };
        let set = DataSet::named(name)?;
        let Files::Tables(tables) = set.files else {
            return Err(HubError::Request(format!("{name} has no splits; leave :{wanted} out")));
        };
        let mut splits: Vec<&'static str> = tables.iter().map(|table| table.split).collect();
        splits.sort_unstable();
        splits.dedup();
        let found = splits.iter().find(|split| split.eq_ignore_ascii_case(wanted));
        let split = found
            .copied()
            .ok_or_else(|| HubError::Request(format!("{name} has no split {wanted:?}, only {}", splits.join(", "))))?;
        Ok(Choice {
            set,
            split: Some(split),
        })
    }

    /// The tables that are wanted.
    pub fn tables(&self) -> impl Iterator<Item = Table> {
        let tables = match self.set.files {
            Files::Tables(tables) => tables,
            _ => &[],
        };
        let split = self.split;
        tables
            .iter()
            .copied()
            .filter(move |table| split.is_none_or(|split| table.split == split))
    }
}

/// The name of a shard.
pub(super) fn shard_name(number: u32) -> String {
    format!("shard_{number:05}.parquet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_splits_are_found_or_listed() {
        assert_eq!(Choice::parse("MMLU:test").unwrap().tables().count(), 1);
        assert_eq!(Choice::parse("arc:train").unwrap().tables().count(), 2);
        assert_eq!(Choice::parse("arc").unwrap().tables().count(), 6);
        let unknown = Choice::parse("mnist").unwrap_err().to_string();
        assert!(unknown.contains("smoltalk"), "{unknown}");
        let split = Choice::parse("gsm8k:dev").unwrap_err().to_string();
        assert!(split.contains("test, train"), "{split}");
        assert!(Choice::parse("core:test").is_err());
    }

    #[test]
    fn tables_land_where_tasks_look_for_them() {
        let set = DataSet::named("mmlu").unwrap();
        assert_eq!(set.table_folder(MMLU[3]), "cais--mmlu/all/test");
    }
}
