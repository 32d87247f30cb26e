//! `eval compare`: what was measured of several models, side by side. Speaks from records; measures nothing.

use std::fmt::Write as _;

use anyhow::Result;
use ferrochat_tasks::Outcomes;
use serde_json::{Value, json};

use crate::cli::CompareArgs;
use crate::errors::refuse;
use crate::evaluations::{CORE, Evaluation, Suite};
use crate::home::{Home, write_atomically};
use crate::output;
use crate::report::scores::{self, Estimate};
use crate::runs::{CHAIN, Run};

/// A model and what it came to.
struct Column {
    run: String,
    stage: String,
    step: u64,
    figures: Vec<Evaluation>,
}

impl Column {
    fn name(&self) -> String {
        format!("{}:{}:{}", self.run, self.stage, self.step)
    }
}

/// A task, each model's figure for it, and how far each but the first is above the first.
struct Row {
    name: String,
    chance: f64,
    cells: Vec<Option<Cell>>,
    differences: Vec<Option<Difference>>,
}

impl Row {
    fn new(name: String, chance: f64, cells: Vec<Option<Cell>>) -> Row {
        let first = cells[0].as_ref();
        let others = cells[1..].iter();
        let differences = others.map(|cell| Some(cell.as_ref()?.above(first?))).collect();
        Row {
            name,
            chance,
            cells,
            differences,
        }
    }

    /// The row of a mean over `tasks`: where each of these has errors of its items' differences, so has the mean.
    fn over(mut self, tasks: &[&Row]) -> Row {
        for (at, difference) in self.differences.iter_mut().enumerate() {
            let of_task = |row: &&Row| {
                let paired = row.differences[at].filter(|difference| difference.paired)?;
                // A difference has no chance to be taken off, only the longer scale.
                Some(ferrochat_tasks::Estimate {
                    value: paired.by.value / (1.0 - row.chance),
                    standard_error: paired.by.error? / (1.0 - row.chance),
                })
            };
            let of_tasks: Option<Vec<_>> = tasks.iter().map(of_task).collect();
            let mean = of_tasks.and_then(|all| ferrochat_tasks::Estimate::mean(&all));
            if let (Some(difference), Some(mean)) = (difference, mean)
                // Else a task was measured again on other items than the mean.
                && (mean.value - difference.by.value).abs() < 1e-6
            {
                difference.by.error = Some(mean.standard_error);
                difference.paired = true;
            }
        }
        self
    }
}

/// How far a model is above another.
#[derive(Clone, Copy)]
struct Difference {
    by: Estimate,
    /// Is its error that of the items' own differences? Else the two are taken for independent.
    paired: bool,
}

/// A figure.
#[derive(Clone)]
struct Cell {
    score: Estimate,
    centered: f64,
    count: Option<u64>,
    items: Outcomes,
    command: Option<String>,
}

impl Cell {
    fn of(figure: &Evaluation) -> Cell {
        Cell {
            score: Estimate::from(figure),
            centered: figure.centered().0,
            count: figure.count,
            items: figure.items.clone(),
            command: Some(figure.line()),
        }
    }

    fn above(&self, first: &Cell) -> Difference {
        if let Some(by) = self.items.above(&first.items) {
            return Difference {
                by: Estimate::known(by),
                paired: true,
            };
        }
        let errors = self.score.error.zip(first.score.error);
        Difference {
            by: Estimate {
                value: self.score.value - first.score.value,
                error: errors.map(|(one, other)| one.hypot(other)),
            },
            paired: false,
        }
    }
}

/// `eval compare`
///
/// # Errors
/// No such run, stage or figures; a file that cannot be written.
pub fn command(home: &Home, args: &CompareArgs) -> Result<()> {
    let mut columns = Vec::new();
    for model in &args.models {
        columns.extend(open(home, model)?);
    }
    let rows = rows(&columns);
    if let Some(path) = &args.csv {
        write_atomically(path, csv(&columns, &rows).as_bytes())?;
    }
    if args.json {
        return output::print_json(&as_json(&columns, &rows));
    }
    output::print(&table(&columns, &rows))
}

/// The models that an argument names.
fn open(home: &Home, model: &str) -> Result<Vec<Column>> {
    let mut parts = model.split(':');
    let (name, stage, step) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let step = match step.map(str::parse::<u64>) {
        None => None,
        Some(Ok(step)) => Some(step),
        Some(Err(_)) => {
            refuse!("{model:?} does not end in a number of steps; write RUN:STAGE:STEP, such as d12:base:2000")
        }
    };
    if parts.next().is_some() {
        refuse!("{model:?} has too many parts; write RUN, RUN:STAGE or RUN:STAGE:STEP");
    }
    if let Some(stage) = stage.filter(|stage| !CHAIN.contains(stage)) {
        refuse!(
            "{model:?}: there is no stage {stage:?}; it must be one of {}",
            CHAIN.join(", ")
        );
    }
    let run = Run::load(home, name)?;
    let mut columns = Vec::new();
    for (record, shown) in run.with_figures() {
        if !CHAIN.contains(&record.stage.as_str()) || stage.is_some_and(|stage| stage != record.stage) {
            continue;
        }
        let figures = match step {
            None => shown.to_vec(),
            Some(step) => run.figures_after(record, step)?,
        };
        if let Some(first) = figures.first() {
            columns.push(Column {
                run: name.to_owned(),
                stage: record.stage.clone(),
                step: first.step,
                figures,
            });
        }
    }
    if columns.is_empty() {
        let (mut flags, stage) = (format!("--run {name}"), stage.unwrap_or("base"));
        for (flag, value) in [
            ("stage", Some(stage.to_owned())),
            ("step", step.map(|step| step.to_string())),
        ] {
            flags.extend(value.map(|value| format!(" --{flag} {value}")));
        }
        refuse!("nothing was measured of {model} yet; `ferrochat eval tasks {flags}` or `eval core {flags}` does it");
    }
    Ok(columns)
}

/// CORE, its tasks, tasks in chat form, their mean.
fn rows(columns: &[Column]) -> Vec<Row> {
    let mut known: Vec<&Evaluation> = Vec::new();
    for figure in columns.iter().flat_map(|column| &column.figures) {
        if !known.iter().any(|one| one.is_like(figure)) {
            known.push(figure);
        }
    }
    known.sort_by_key(|figure| (figure.suite == Suite::Chat, figure.task != CORE));
    let row = |like: &&Evaluation| {
        let cell = |column: &Column| column.figures.iter().find(|figure| figure.is_like(like)).map(Cell::of);
        Row::new(like.name(), like.chance, columns.iter().map(cell).collect())
    };
    let of_core = known.iter().filter(|figure| figure.suite == Suite::Core).count();
    let mut rows: Vec<Row> = known.iter().map(row).collect();
    if known.first().is_some_and(|figure| figure.task == CORE) {
        let mean = rows.remove(0);
        let mean = mean.over(&rows[..of_core - 1].iter().collect::<Vec<_>>());
        rows.insert(0, mean);
    }
    let all: Vec<&[Evaluation]> = columns.iter().map(|column| &column.figures[..]).collect();
    let cell = |estimate: Estimate| Cell {
        score: estimate,
        centered: estimate.value,
        count: None,
        items: Outcomes::default(),
        command: None,
    };
    if let Some(means) = scores::means(&all) {
        let cells = means.cells.into_iter().map(|estimate| estimate.map(cell)).collect();
        let tasks = rows[of_core..].iter().filter(|row| means.tasks.contains(&row.name));
        let mean = Row::new(means.name, 0.0, cells).over(&tasks.collect::<Vec<_>>());
        rows.push(mean);
    }
    rows
}

fn table(columns: &[Column], rows: &[Row]) -> String {
    let names: Vec<String> = columns.iter().map(Column::name).collect();
    let mut header = vec!["TASK".to_owned(), "ITEMS".to_owned(), "CHANCE".to_owned()];
    header.push(names[0].clone());
    for name in &names[1..] {
        header.extend([name.clone(), "DIFFERENCE".to_owned()]);
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let dash = || "-".to_owned();
    let score = |cell: &Option<Cell>| cell.as_ref().map_or_else(dash, |cell| cell.score.text());
    let line = |row: &Row| {
        let counts = || row.cells.iter().flatten().filter_map(|cell| cell.count);
        let items = match counts().min().zip(counts().max()) {
            None => dash(),
            Some((least, most)) if least == most => most.to_string(),
            Some((least, most)) => format!("{least}–{most}"),
        };
        let mut cells = vec![
            row.name.clone(),
            items,
            format!("{:.2}", row.chance),
            score(&row.cells[0]),
        ];
        for (cell, difference) in row.cells[1..].iter().zip(&row.differences) {
            let difference = difference.map_or_else(dash, |Difference { by, paired }| {
                let sign = if by.value < 0.0 { "" } else { "+" };
                let mark = if paired || by.error.is_none() { "" } else { " *" };
                format!("{sign}{}{mark}", by.text())
            });
            cells.extend([score(cell), difference]);
        }
        cells
    };
    let mut text = output::table(&header, &rows.iter().map(line).collect::<Vec<_>>());
    let differences = || rows.iter().flat_map(|row| row.differences.iter().flatten());
    if differences().any(|difference| difference.paired) {
        text += "\nErrors of differences are those of the items' own differences: what is hard for both is no part of them.\n";
    }
    if differences().any(|difference| !difference.paired && difference.by.error.is_some()) {
        text += "\n* Which items were right is not known of both, or they were not as many: the two are taken for independent, \
                 which overstates the error where they were asked the same.\n";
    }
    text
}

fn csv(columns: &[Column], rows: &[Row]) -> String {
    let mut text = "Task,Chance".to_owned();
    for (at, name) in columns.iter().map(Column::name).enumerate() {
        let _ = write!(text, ",{name} items,{name} score,{name} error,{name} centered");
        if at > 0 {
            let _ = write!(text, ",{name} difference,{name} difference error,{name} paired");
        }
    }
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.6}"));
    for row in rows {
        let _ = write!(text, "\n{},{:.6}", row.name.replace(',', ";"), row.chance);
        let differences = std::iter::once(&None).chain(&row.differences);
        for (at, (cell, difference)) in row.cells.iter().zip(differences).enumerate() {
            let of = |value: &dyn Fn(&Cell) -> Option<f64>| number(cell.as_ref().and_then(value));
            let items = cell.as_ref().and_then(|cell| cell.count);
            let _ = write!(
                text,
                ",{},{},{},{}",
                items.map_or_else(String::new, |items| items.to_string()),
                of(&|cell| Some(cell.score.value)),
                of(&|cell| cell.score.error),
                of(&|cell| Some(cell.centered))
            );
            if at > 0 {
                let by = difference.map(|difference| difference.by);
                let (value, error) = (by.map(|one| one.value), by.and_then(|one| one.error));
                let paired = difference.map_or("", |difference| if difference.paired { "yes" } else { "no" });
                let _ = write!(text, ",{},{},{paired}", number(value), number(error));
            }
        }
    }
    text.push('\n');
    text
}

fn as_json(columns: &[Column], rows: &[Row]) -> Value {
    let difference =
        |one: &Difference| json!({"value": one.by.value, "standard_error": one.by.error, "paired": one.paired});
    let cell = |cell: &Option<Cell>, by: &Option<Difference>| {
        let Some(cell) = cell else { return Value::Null };
        json!({
            "score": cell.score.value,
            "standard_error": cell.score.error,
            "centered": cell.centered,
            "count": cell.count,
            "difference": by.as_ref().map(difference),
            "command": cell.command,
        })
    };
    let row = |row: &Row| {
        let differences = std::iter::once(&None).chain(&row.differences);
        let cells: Vec<Value> = row
            .cells
            .iter()
            .zip(differences)
            .map(|(one, by)| cell(one, by))
            .collect();
        json!({"task": row.name, "chance": row.chance, "models": cells})
    };
    let model = |column: &Column| json!({"run": column.run, "stage": column.stage, "step": column.step});
    json!({
        "models": columns.iter().map(model).collect::<Vec<_>>(),
        "tasks": rows.iter().map(row).collect::<Vec<_>>(),
    })
}
