//! The table of tasks by stage, and what the run ran on.

use super::markdown::{fenced, inline};
use super::scores::{self, CORE, Estimate, TaskScore};
use crate::exam::WORLD_SEED;
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

/// The table, and the lines that measure again what it says.
pub fn table(text: &mut String, run: &Run) {
    let stages: Vec<(&StageRecord, Vec<TaskScore>)> = chain(run)
        .into_iter()
        .map(|record| (record, scores::tasks(record)))
        .collect();
    let mut all: Vec<&TaskScore> = Vec::new();
    for task in stages.iter().flat_map(|(_, tasks)| tasks) {
        if !all.iter().any(|known| known.task == task.task) {
            all.push(task);
        }
    }
    if all.is_empty() {
        return;
    }
    all.sort_by_key(|task| task.task != CORE);
    text.push_str("## Scores\n\n| task | items | chance |");
    for (record, _) in &stages {
        push(text, format_args!(" {} |", record.stage.to_uppercase()));
    }
    push(
        text,
        format_args!("\n| --- | ---: | ---: |{}\n", " ---: |".repeat(stages.len())),
    );
    let cell = |estimate: Option<Estimate>| estimate.map_or("-".to_owned(), |estimate| estimate.text());
    let mut row = |first: &str, values: Vec<Option<Estimate>>| {
        let values: Vec<String> = values.into_iter().map(cell).collect();
        push(text, format_args!("| {first} | {} |\n", values.join(" | ")));
    };
    for TaskScore {
        task, count, chance, ..
    } in &all
    {
        let own: Vec<Option<&TaskScore>> = stages
            .iter()
            .map(|(_, tasks)| tasks.iter().find(|own| own.task == *task))
            .collect();
        let (name, count) = (inline(task), count.map_or("-".to_owned(), |count| count.to_string()));
        row(
            &format!("{name} | {count} | {chance:.2}"),
            own.iter().map(|own| own.map(|own| own.score)).collect(),
        );
        let most = own.iter().flatten().map(|own| own.pass_at_k.len()).max();
        if let Some(k) = most.filter(|&k| k > 1) {
            let pass = |own: Option<&TaskScore>| own.and_then(|own| own.pass_at_k.get(k - 1).copied());
            row(
                &format!("{name}, pass@{k} | {count} | -"),
                own.iter().copied().map(pass).collect(),
            );
        }
    }
    let refusals: Vec<Option<Estimate>> = stages
        .iter()
        .map(|(record, _)| scores::false_refusals(record))
        .collect();
    if refusals.iter().any(Option::is_some) {
        row("false refusals, less is better | - | -", refusals);
    }
    // A mean over other tasks than its neighbours' would only look comparable.
    let of_all = |tasks: &[TaskScore]| {
        all.iter()
            .all(|one| one.task == CORE || tasks.iter().any(|own| own.task == one.task))
    };
    let core = |(_, tasks): &(_, Vec<TaskScore>)| of_all(tasks).then(|| scores::chat_core(tasks)).flatten();
    row("**ChatCORE** | - | 0.00", stages.iter().map(core).collect());
    text.push_str("\n± is one standard error. No item was trained on.\n\n");
    let again: Vec<String> = stages
        .iter()
        .flat_map(|(record, tasks)| measure_again(&run.folder.name, &record.stage, tasks))
        .collect();
    text.push_str(&fenced("sh", &again.join("\n")));
}

/// The lines that measure a stage's tasks again: one for each number of items.
fn measure_again(run: &str, stage: &str, tasks: &[TaskScore]) -> Vec<String> {
    let mut by_count: Vec<(Option<u64>, Vec<&str>)> = Vec::new();
    for task in tasks.iter().filter(|task| task.task != CORE) {
        match by_count.iter_mut().find(|(count, _)| *count == task.count) {
            Some((_, names)) => names.push(&task.task),
            None => by_count.push((task.count, vec![&task.task])),
        }
    }
    let seed = WORLD_SEED.to_string();
    let line = |(count, names): (Option<u64>, Vec<&str>)| {
        let (names, count) = (names.join(","), count.map(|count| count.to_string()));
        let mut words = vec!["ferrochat", "eval", "tasks", "--run", run, "--stage", stage];
        words.extend(["--tasks", &names]);
        words.extend(count.iter().flat_map(|count| ["--count", count]));
        words.extend(["--seed", &seed]);
        shell_line(words)
    };
    by_count.into_iter().map(line).collect()
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
