//! The table of tasks by stage, and what the run ran on.

use super::markdown::{fenced, inline};
use super::scores::{self, Estimate};
use crate::evaluations::{CORE, Evaluation, Suite};
use crate::format::{bytes, duration, push, shell_line};
use crate::record::{StageRecord, State};
use crate::runs::{CHAIN, Run};

/// Stages of the chain that the run has.
pub fn chain(run: &Run) -> Vec<&StageRecord> {
    CHAIN.iter().filter_map(|stage| run.stage(stage)).collect()
}

/// The beginning, for whoever sees the report first.
pub fn title(text: &mut String, run: &Run) {
    push(
        text,
        format_args!("# Report of the run {}\n\n", inline(&run.folder.name)),
    );
    for record in run.stages.iter().filter(|record| record.state != State::Finished) {
        let state = record.state.name();
        push(
            text,
            format_args!(
                "{} is {state}, not finished: its figures are those so far.\n\n",
                record.stage.to_uppercase()
            ),
        );
    }
}

/// A stage and what its model came to.
type Column<'a> = (&'a StageRecord, &'a [Evaluation]);

/// The tables, and the lines that measure again what they say.
pub fn table(text: &mut String, run: &Run) {
    let figures = |stage: &&str| run.with_figures().find(|(record, _)| record.stage == **stage);
    let columns: Vec<Column> = CHAIN.iter().filter_map(figures).collect();
    let rows = rows(&columns);
    if rows.is_empty() {
        return;
    }
    text.push_str("## Scores\n\n");
    header(text, &columns);
    let (core, chat): (Vec<&Evaluation>, Vec<&Evaluation>) = rows.iter().partition(|row| row.suite == Suite::Core);
    for row in core.iter().filter(|row| row.task == CORE).chain(&chat) {
        row_of(text, row, &columns, |figure| Estimate::from(figure).text());
        pass_at_k(text, row, &columns);
    }
    let plain = |text: &mut String, first: &str, cells: Vec<Option<Estimate>>| {
        let cells = cells
            .into_iter()
            .map(|cell| cell.map_or("-".to_owned(), |estimate| estimate.text()));
        let cells: Vec<String> = cells.collect();
        push(text, format_args!("| {first} | {} |\n", cells.join(" | ")));
    };
    let refusals: Vec<Option<Estimate>> = columns
        .iter()
        .map(|(record, figures)| scores::false_refusals(record, figures))
        .collect();
    if refusals.iter().any(Option::is_some) {
        plain(text, "false refusals, less is better | - | -", refusals);
    }
    let all: Vec<&[Evaluation]> = columns.iter().map(|(_, figures)| *figures).collect();
    if let Some(means) = scores::means(&all) {
        plain(text, &format!("**{}** | - | 0.00", inline(&means.name)), means.cells);
    }
    text.push_str("\n± is one standard error. No item was trained on.\n\n");
    core_table(text, &core, &columns);
    text.push_str("Lines that measure these figures again, each beginning with what it measures:\n\n");
    text.push_str(&fenced("sh", &measure_again(&columns).join("\n")));
}

/// Every task once, in the order in which stages have it.
fn rows<'a>(columns: &[Column<'a>]) -> Vec<&'a Evaluation> {
    let mut rows: Vec<&Evaluation> = Vec::new();
    for figure in columns.iter().flat_map(|(_, figures)| *figures) {
        if !rows.iter().any(|known| known.is_like(figure)) {
            rows.push(figure);
        }
    }
    rows
}

fn header(text: &mut String, columns: &[Column]) {
    text.push_str("| task | items | chance |");
    for (record, _) in columns {
        push(text, format_args!(" {} |", record.stage.to_uppercase()));
    }
    let lines = " ---: |".repeat(columns.len());
    push(text, format_args!("\n| --- | ---: | ---: |{lines}\n"));
}

/// The figures of each stage for what `row` is a figure for.
fn across<'a>(row: &Evaluation, columns: &[Column<'a>]) -> Vec<Option<&'a Evaluation>> {
    let own = |(_, figures): &Column<'a>| figures.iter().find(|figure| figure.is_like(row));
    columns.iter().map(own).collect()
}

fn row_of(text: &mut String, row: &Evaluation, columns: &[Column], cell: impl Fn(&Evaluation) -> String) {
    let own = across(row, columns);
    let cells: Vec<String> = own.iter().map(|own| own.map_or("-".to_owned(), &cell)).collect();
    push(
        text,
        format_args!(
            "| {} | {} | {:.2} | {} |\n",
            inline(&row.name()),
            items(&own),
            row.chance,
            cells.join(" | ")
        ),
    );
}

/// How many items, or from how many to how many where stages differ.
fn items(own: &[Option<&Evaluation>]) -> String {
    let counts = || own.iter().flatten().filter_map(|figure| figure.count);
    match counts().min().zip(counts().max()) {
        None => "-".to_owned(),
        Some((least, most)) if least == most => most.to_string(),
        Some((least, most)) => format!("{least}–{most}"),
    }
}

fn pass_at_k(text: &mut String, row: &Evaluation, columns: &[Column]) {
    let own = across(row, columns);
    let most = own.iter().flatten().map(|figure| figure.pass_at_k.len()).max();
    let Some(k) = most.filter(|&k| k > 1) else { return };
    let cell = |own: Option<&Evaluation>| {
        let pass = own.and_then(|figure| figure.pass_at_k.get(k - 1));
        pass.map_or("-".to_owned(), |pass| {
            format!("{:.4} ± {:.4}", pass.value, pass.standard_error)
        })
    };
    let cells: Vec<String> = own.iter().copied().map(cell).collect();
    let (name, items) = (inline(&row.name()), items(&own));
    push(
        text,
        format_args!("| {name}, pass@{k} | {items} | - | {} |\n", cells.join(" | ")),
    );
}

/// The tasks of CORE, one by one.
fn core_table(text: &mut String, core: &[&Evaluation], columns: &[Column]) {
    let tasks: Vec<&&Evaluation> = core.iter().filter(|row| row.task != CORE).collect();
    if tasks.is_empty() {
        return;
    }
    let columns: Vec<Column> = columns
        .iter()
        .copied()
        .filter(|(_, figures)| figures.iter().any(|figure| figure.suite == Suite::Core))
        .collect();
    text.push_str("### Tasks of CORE\n\n");
    header(text, &columns);
    for row in tasks {
        row_of(text, row, &columns, |figure| {
            format!("{} ({:.4})", Estimate::from(figure).text(), figure.centered().0)
        });
    }
    text.push_str("\nIn brackets: (share − chance) / (1 − chance), of which CORE is the mean.\n\n");
}

/// Figures that one line measures.
struct Together {
    /// The words without the list of tasks, and where that stood.
    words: Vec<String>,
    place: usize,
    /// The list; none for all.
    tasks: Option<Vec<String>>,
    names: Vec<String>,
}

/// A line for figures that are measured together, under a comment that says which.
fn measure_again(columns: &[Column]) -> Vec<String> {
    let mut lines = Vec::new();
    for (record, figures) in columns {
        let mut groups: Vec<Together> = Vec::new();
        for figure in *figures {
            let (words, place, task) = without_tasks(&figure.command);
            let Some(group) = groups.iter_mut().find(|group| group.words == words) else {
                groups.push(Together {
                    words,
                    place,
                    tasks: task.map(|task| vec![task]),
                    names: vec![figure.name()],
                });
                continue;
            };
            group.names.push(figure.name());
            match (&mut group.tasks, task) {
                (Some(list), Some(task)) => list.push(task),
                (tasks, _) => *tasks = None,
            }
        }
        for mut group in groups {
            if let Some(list) = group.tasks {
                let flag = ["--tasks".to_owned(), list.join(",")];
                group.words.splice(group.place..group.place, flag);
            }
            // CORE is measured with its tasks.
            let names = if group.names.iter().any(|name| name == CORE) {
                format!("CORE and its {} tasks", group.names.len() - 1)
            } else {
                group.names.join(", ").replace('\n', " ")
            };
            lines.push(format!("# {}: {names}", record.stage.to_uppercase()));
            let words = group.words.iter().map(String::as_str);
            lines.push(shell_line(std::iter::once("ferrochat").chain(words)));
        }
    }
    lines
}

/// The words without `--tasks` and its value, where that stood, and the value.
fn without_tasks(command: &[String]) -> (Vec<String>, usize, Option<String>) {
    let mut words = command.to_vec();
    let flag = words.iter().position(|word| word == "--tasks");
    match flag.filter(|&at| at + 1 < words.len()) {
        None => (words, 0, None),
        Some(at) => {
            let taken: Vec<String> = words.drain(at..at + 2).collect();
            (words, at, taken.into_iter().next_back())
        }
    }
}

/// Program, machine and device.
pub fn machine(text: &mut String, run: &Run) {
    let (Some(first), Some(last)) = (run.stages.first(), run.stages.last()) else {
        return;
    };
    text.push_str("## Machine\n\n| | |\n| --- | --- |\n");
    let mut row = |name: &str, value: &str| push(text, format_args!("| {name} | {} |\n", inline(value)));
    row(
        "program",
        &each(run, |record| Some(format!("ferrochat {}", record.version))),
    );
    row(
        "machine",
        &each(run, |record| {
            let machine = &record.machine;
            let memory = machine.memory_bytes.map_or("unknown".to_owned(), bytes);
            Some(format!(
                "{}, {} cores, {memory} memory, {}",
                machine.processor, machine.cores, machine.system
            ))
        }),
    );
    let device = |record: &StageRecord| record.details["device"].as_str().map(str::to_owned);
    row("device", &each(run, device));
    row("started", &first.started);
    row("last change", &last.updated);
    let work: f64 = run.stages.iter().map(|record| record.seconds).sum();
    row("work of all stages", &duration(work));
    text.push('\n');
}

/// What the stages say, each value once: they need not have had the same machine or version.
fn each(run: &Run, value: impl Fn(&StageRecord) -> Option<String>) -> String {
    let mut values: Vec<(String, Vec<&str>)> = Vec::new();
    for record in &run.stages {
        let Some(value) = value(record) else { continue };
        match values.iter_mut().find(|(known, _)| *known == value) {
            Some((_, stages)) => stages.push(&record.stage),
            None => values.push((value, vec![&record.stage])),
        }
    }
    let many = values.len() > 1;
    let one = |(value, stages): (String, Vec<&str>)| {
        if many {
            format!("{value} ({})", stages.join(", "))
        } else {
            value
        }
    };
    values.into_iter().map(one).collect::<Vec<_>>().join("\n")
}
