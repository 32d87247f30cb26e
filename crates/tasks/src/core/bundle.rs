//! The folder of CORE's tasks as its authors publish it: `core.yaml`, `eval_meta_data.csv`, `eval_data/`. This room
//! must never know models.

use std::fs;
use std::path::{Path, PathBuf};

use ferrochat_data::read_records;

use super::item::{CoreKind, Item};
use super::{csv, yaml};
use crate::error::TaskError;
use crate::python::PythonRandom;

/// Seed of the order of all items.
const ORDER_SEED: u32 = 1337;
/// Plus an item's place in that order: seed of its examples.
const EXAMPLES_SEED: u32 = 1234;

/// What `core.yaml` says of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct CoreSpec {
    /// Its name; one file may serve several tasks.
    pub label: String,
    /// How it is scored.
    pub kind: CoreKind,
    /// Solved examples before each question.
    pub examples: usize,
    /// What stands between question and answer.
    pub delimiter: String,
    /// Its file, below `eval_data`.
    pub data: String,
    /// The accuracy of guessing, between 0 and 1.
    pub chance: f64,
}

/// The folder, its tasks named and not yet read.
#[derive(Clone, Debug)]
pub struct CoreBundle {
    folder: PathBuf,
    specs: Vec<CoreSpec>,
}

impl CoreBundle {
    /// Reads which tasks there are.
    ///
    /// # Errors
    /// [`TaskError::Missing`] if the folder is no bundle, [`TaskError::Request`] with file and line of the first fault.
    pub fn open(folder: &Path) -> Result<CoreBundle, TaskError> {
        let config = folder.join("core.yaml");
        if !config.is_file() {
            return Err(TaskError::Missing(format!(
                "there is no core.yaml in {}; the CORE bundle (eval_bundle, with core.yaml, eval_meta_data.csv and \
                 eval_data) belongs there",
                folder.display()
            )));
        }
        let in_config = |problem: String| TaskError::Request(format!("{}: {problem}", config.display()));
        let entries = yaml::read(&read(&config)?, "icl_tasks").map_err(in_config)?;
        if entries.is_empty() {
            return Err(in_config("there is no task below icl_tasks".to_owned()));
        }
        let table = folder.join("eval_meta_data.csv");
        let chances = chances(&read(&table)?).map_err(|problem| {
            let table = table.display();
            TaskError::Request(format!("{table}: {problem}"))
        })?;
        let mut specs: Vec<CoreSpec> = Vec::new();
        for entry in &entries {
            let at_line = |problem: String| in_config(format!("the task on line {}: {problem}", entry.line));
            let mut spec = spec(entry).map_err(at_line)?;
            if specs.iter().any(|other| other.label == spec.label) {
                return Err(at_line(format!("{} is there twice", spec.label)));
            }
            let Some((_, chance)) = chances.iter().find(|(label, _)| *label == spec.label) else {
                let (label, table) = (&spec.label, table.display());
                return Err(TaskError::Request(format!(
                    "{table}: there is no row for {label}, so what guessing scores is unknown"
                )));
            };
            spec.chance = *chance;
            specs.push(spec);
        }
        Ok(CoreBundle {
            folder: folder.to_owned(),
            specs,
        })
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its tasks, in their order.
    pub fn specs(&self) -> &[CoreSpec] {
        &self.specs
    }

    /// Only the tasks of these names.
    ///
    /// # Errors
    /// [`TaskError::Request`] for an unknown name.
    pub fn keep(&mut self, labels: &[&str]) -> Result<(), TaskError> {
        for label in labels {
            if !self.specs.iter().any(|spec| spec.label == *label) {
                let known: Vec<&str> = self.specs.iter().map(|spec| spec.label.as_str()).collect();
                return Err(TaskError::Request(format!(
                    "the bundle has no task {label:?}; it has {}",
                    known.join(", ")
                )));
            }
        }
        self.specs.retain(|spec| labels.contains(&spec.label.as_str()));
        Ok(())
    }

    /// Reads a task: its items in the reference's order, the first `most` of them. Examples come from these alone.
    ///
    /// # Errors
    /// [`TaskError::Data`] with file and line of the first fault; [`TaskError::Request`] if there are too few items to
    /// draw the examples from.
    pub fn load(&self, spec: &CoreSpec, most: Option<usize>) -> Result<CoreTask, TaskError> {
        let path = self.folder.join("eval_data").join(&spec.data);
        let mut items = Vec::new();
        read_records(&path, &mut |line| {
            items.push(Item::read(spec.kind, line)?);
            Ok(())
        })?;
        PythonRandom::new(ORDER_SEED).shuffle(&mut items);
        items.truncate(most.unwrap_or(usize::MAX));
        if items.len() <= spec.examples {
            return Err(TaskError::Request(format!(
                "{} needs {} other items as examples for each, and there are {} items in all{}",
                spec.label,
                spec.examples,
                items.len(),
                if most.is_some() { "; keep more" } else { "" }
            )));
        }
        Ok(CoreTask {
            spec: spec.clone(),
            items,
        })
    }
}

/// A task with its items.
#[derive(Clone, Debug)]
pub struct CoreTask {
    spec: CoreSpec,
    items: Vec<Item>,
}

impl CoreTask {
    /// What `core.yaml` says of it.
    pub fn spec(&self) -> &CoreSpec {
        &self.spec
    }

    /// Number of items.
    pub fn count(&self) -> usize {
        self.items.len()
    }

    /// Every text of item `index` in the order of the task: one for each option; of language modelling one without the
    /// continuation and one with it.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn prompts(&self, index: usize) -> Vec<String> {
        let mut random = PythonRandom::new(EXAMPLES_SEED.wrapping_add(index as u32));
        let drawn = random.sample(self.items.len() - 1, self.spec.examples);
        // The item itself is not among those that are drawn from.
        let examples: Vec<&Item> = drawn
            .iter()
            .map(|&other| &self.items[other + usize::from(other >= index)])
            .collect();
        self.items[index].prompts(&examples, &self.spec.delimiter)
    }

    /// Which text of item `index` is right; none in language modelling.
    pub(super) fn gold(&self, index: usize) -> Option<usize> {
        self.items[index].gold()
    }
}

fn read(path: &Path) -> Result<String, TaskError> {
    fs::read_to_string(path).map_err(|error| TaskError::Missing(format!("cannot read {}: {error}", path.display())))
}

fn spec(entry: &yaml::Entry) -> Result<CoreSpec, String> {
    let field = |name: &str| entry.get(name).ok_or(format!("it has no {name}"));
    let kind = field("icl_task_type")?;
    let examples = field("num_fewshot")?;
    // A list of one number, by the authors' layout.
    let number = examples.trim_matches(['[', ']']).split(',').next().unwrap_or_default();
    let data = field("dataset_uri")?;
    let inside = Path::new(data).components();
    if !inside
        .clone()
        .all(|part| matches!(part, std::path::Component::Normal(_)))
    {
        return Err(format!("dataset_uri {data} is not a path inside eval_data"));
    }
    Ok(CoreSpec {
        label: field("label")?.to_owned(),
        kind: CoreKind::named(kind).ok_or(format!(
            "icl_task_type {kind} is unknown; it must be multiple_choice, schema or language_modeling"
        ))?,
        examples: number
            .trim()
            .parse()
            .map_err(|_| format!("num_fewshot {examples} must be a number in brackets, such as [10]"))?,
        delimiter: entry.get("continuation_delimiter").unwrap_or(" ").to_owned(),
        data: data.to_owned(),
        chance: 0.0,
    })
}

/// What guessing scores, by task; the table has percent.
fn chances(table: &str) -> Result<Vec<(String, f64)>, String> {
    let mut rows = csv::read(table).into_iter();
    let header = rows.next().unwrap_or_default();
    let column = |name: &str| {
        let place = header.iter().position(|title| title == name);
        place.ok_or(format!("there is no column {name:?}"))
    };
    let (task, baseline) = (column("Eval Task")?, column("Random baseline")?);
    rows.map(|row| {
        let cell = |column: usize| row.get(column).map_or("", String::as_str);
        let percent: f64 = cell(baseline).parse().map_err(|_| {
            format!(
                "the random baseline {:?} of {} is no number",
                cell(baseline),
                cell(task)
            )
        })?;
        if !(0.0..100.0).contains(&percent) {
            return Err(format!(
                "the random baseline {percent} of {} is not from 0 to below 100",
                cell(task)
            ));
        }
        Ok((cell(task).to_owned(), 0.01 * percent))
    })
    .collect()
}
