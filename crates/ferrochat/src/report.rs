//! `report.md`: the plan against what happened, curves, samples, the machine, and cost / minutes /
//! score in one line; for each figure the command that reproduces it. Speaks from the records alone.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cli::ReportArgs;
use crate::format::{bytes, duration, flop_rate, push, short, thousands};
use crate::home::{Home, write_atomically};
use crate::metrics::{self, Line};
use crate::plot::{self, Curve};
use crate::record::StageRecord;
use crate::runs::Run;

/// First line of every report: a copy only replaces files that begin with it.
const MARK: &str = "<!-- ferrochat report -->";
/// Folder of the curves beside the report.
const FIGURES: &str = "report_files";

/// Writes the report of a run into its folder and returns its path.
///
/// # Errors
/// No such run, or files that cannot be written.
pub fn write(home: &Home, name: &str, price_per_hour: Option<f64>) -> Result<PathBuf> {
    let run = Run::load(home, name)?;
    let lines = metrics::read(&run.folder.stage("base"))?;
    let mut text = format!("{MARK}\n# Report of the run `{name}`\n\n");
    if let Some(base) = run.stage("base") {
        score_line(&mut text, &run, base, price_per_hour);
    }
    header(&mut text, &run);
    if let Some(tokenizer) = run.stage("tokenizer") {
        tokenizer_section(&mut text, name, tokenizer);
    }
    if let Some(base) = run.stage("base") {
        base_section(&mut text, name, base, &lines);
        for (file, title, svg) in curves(&lines) {
            write_atomically(&run.folder.root.join(FIGURES).join(file), svg.as_bytes())?;
            push(&mut text, format_args!("![{title}]({FIGURES}/{file})\n\n"));
        }
        samples_section(&mut text, name, base, &lines);
    }
    let path = run.folder.report_file();
    write_atomically(&path, text.as_bytes())?;
    Ok(path)
}

/// Cost / minutes / score.
fn score_line(text: &mut String, run: &Run, base: &StageRecord, price_per_hour: Option<f64>) {
    let seconds: f64 = run.stages.iter().map(|stage| stage.seconds).sum();
    let price = price_per_hour.or_else(|| base.number("/price_per_hour"));
    let cost = price.map_or("no price given".to_owned(), |price| {
        format!("${:.2}", price * seconds / 3600.0)
    });
    let score = base
        .number("/val/bits_per_byte")
        .map_or("-".to_owned(), |bpb| format!("{bpb:.4} bits per byte"));
    push(
        text,
        format_args!("**{cost} / {:.1} minutes / {score}**\n\n", seconds / 60.0),
    );
}

fn header(text: &mut String, run: &Run) {
    let Some(stage) = run.stages.last() else { return };
    let machine = &stage.machine;
    let memory = machine.memory_bytes.map_or("unknown".to_owned(), bytes);
    push(
        text,
        format_args!(
            "| | |\n| --- | --- |\n| command | `{}` |\n| program | ferrochat {} |\n| machine | {}, {} cores, {memory} memory, {} |\n",
            stage.command, stage.version, machine.processor, machine.cores, machine.system
        ),
    );
    if let Some(device) = stage.details.pointer("/device").and_then(Value::as_str) {
        push(text, format_args!("| device | {device} |\n"));
    }
    push(
        text,
        format_args!(
            "| started | {} |\n| updated | {} |\n\n",
            run.stages[0].started, stage.updated
        ),
    );
}

fn tokenizer_section(text: &mut String, name: &str, record: &StageRecord) {
    let string = |pointer: &str| record.details.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
    let number = |pointer: &str| record.number(pointer).unwrap_or(0.0);
    push(
        text,
        format_args!(
            "## Tokenizer\n\n{} of {} ids, {:.2} bytes per token on validation text, trained in {} on {}.\n\nTry it: `ferrochat tokenizer encode --run {name} \"hello world\"`\n\n",
            string("/kind"),
            thousands(number("/vocab_size") as u64),
            number("/bytes_per_token"),
            duration(record.seconds),
            string("/data/path")
        ),
    );
}

fn base_section(text: &mut String, name: &str, record: &StageRecord, lines: &[Line]) {
    let planned = |pointer: &str| record.number(&format!("/plan{pointer}")).unwrap_or(0.0);
    let found = |pointer: &str| record.number(pointer);
    let dash = || "-".to_owned();
    push(
        text,
        format_args!(
            "## Base model ({})\n\n| | plan | reality |\n| --- | ---: | ---: |\n",
            record.state.name()
        ),
    );
    let done = found("/steps_done").unwrap_or(0.0);
    let tokens_done = done * planned("/total_batch_size");
    let rate = lines.iter().filter_map(|line| line.flops_per_second);
    let rate = mean(rate);
    let speed = mean(lines.iter().filter_map(|line| line.tokens_per_second));
    let rows = [
        ("architecture", record.settings.arch.clone(), dash()),
        (
            "layers, width, context",
            format!(
                "{}, {}, {}",
                planned("/model/n_layer"),
                planned("/model/n_embd"),
                planned("/model/sequence_len")
            ),
            dash(),
        ),
        ("parameters", short(planned("/parameters/total")), dash()),
        (
            "tokens per step",
            thousands(planned("/total_batch_size") as u64),
            dash(),
        ),
        ("steps", thousands(planned("/steps") as u64), thousands(done as u64)),
        ("tokens", short(planned("/tokens")), short(tokens_done)),
        (
            "training FLOPs",
            format!("{:.2e}", planned("/total_flops")),
            format!("{:.2e}", tokens_done * planned("/flops_per_token")),
        ),
        (
            "training time",
            found("/plan/time/minutes").map_or_else(dash, |m| duration(m * 60.0)),
            duration(record.seconds),
        ),
        (
            "speed",
            found("/plan/time/flops_per_second").map_or_else(dash, flop_rate),
            rate.map_or_else(dash, flop_rate),
        ),
        (
            "tokens per second",
            dash(),
            speed.map_or_else(dash, |s| thousands(s as u64)),
        ),
        (
            "memory",
            bytes(planned("/memory_bytes") as u64),
            found("/peak_memory_bytes").map_or_else(dash, |b| bytes(b as u64)),
        ),
        (
            "checkpoint",
            bytes(planned("/checkpoint_bytes") as u64),
            found("/checkpoint_bytes").map_or_else(dash, |b| bytes(b as u64)),
        ),
        (
            "validation bits per byte",
            dash(),
            found("/val/bits_per_byte").map_or_else(dash, |b| format!("{b:.4}")),
        ),
        (
            "validation loss, nats per token",
            dash(),
            found("/val/loss").map_or_else(dash, |l| format!("{l:.4}")),
        ),
        (
            "validation perplexity",
            dash(),
            found("/val/perplexity").map_or_else(dash, |p| format!("{p:.2}")),
        ),
    ];
    for (what, plan, reality) in rows {
        push(text, format_args!("| {what} | {plan} | {reality} |\n"));
    }
    push(
        text,
        format_args!(
            "\nAgain: `{}`\nMeasure: `ferrochat eval bpb --run {name}`\n\n",
            record.command
        ),
    );
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// File, title and picture of each curve.
fn curves(lines: &[Line]) -> Vec<(&'static str, &'static str, String)> {
    let series = |value: fn(&Line) -> Option<f64>| -> Vec<(f64, f64)> {
        lines
            .iter()
            .filter_map(|line| Some((line.step as f64, value(line)?)))
            .collect()
    };
    let (loss, val_loss) = (smooth(&series(|line| line.loss)), series(|line| line.val_loss));
    let (bpb, speed) = (series(|line| line.val_bpb), series(|line| line.tokens_per_second));
    let curve = |label, colour, points| Curve { label, colour, points };
    let pictures = [
        (
            "loss.svg",
            "Loss in nats per token",
            vec![
                curve("training", "#3366cc", loss.as_slice()),
                curve("validation", "#cc3333", &val_loss),
            ],
        ),
        (
            "val_bpb.svg",
            "Bits per byte on validation data",
            vec![curve("validation", "#cc3333", &bpb)],
        ),
        (
            "tokens_per_second.svg",
            "Training tokens per second",
            vec![curve("speed", "#339944", &speed)],
        ),
    ];
    pictures
        .into_iter()
        .filter_map(|(file, title, curves)| Some((file, title, plot::svg(title, "steps", &curves)?)))
        .collect()
}

/// A running mean over about a hundredth of the curve.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / (points.len() as f64 / 100.0).max(1.0);
    let mut level = points.first().map_or(0.0, |point| point.1);
    points
        .iter()
        .map(|&(x, y)| {
            level = keep * level + (1.0 - keep) * y;
            (x, level)
        })
        .collect()
}

fn samples_section(text: &mut String, name: &str, record: &StageRecord, lines: &[Line]) {
    let from_record = record.details.pointer("/samples").and_then(Value::as_array);
    let mut samples: Vec<String> = from_record
        .map(|samples| {
            samples
                .iter()
                .filter_map(Value::as_str)
                .map(ToOwned::to_owned)
                .collect()
        })
        .unwrap_or_default();
    if samples.is_empty() {
        samples = lines
            .iter()
            .rev()
            .find(|line| !line.samples.is_empty())
            .map(|line| line.samples.clone())
            .unwrap_or_default();
    }
    if samples.is_empty() {
        return;
    }
    push(text, format_args!("## Samples\n\n`ferrochat sample --run {name}`\n\n"));
    for sample in samples {
        // A fence longer than any in the text keeps it from breaking out.
        let longest = sample.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        push(text, format_args!("{fence}text\n{}\n{fence}\n\n", sample.trim_end()));
    }
}

/// Copies a run's report and its figures to a folder. A `report.md` there that is not ours stays; the
/// copy then has the run's name in its own.
///
/// # Errors
/// Files that cannot be read or written.
pub fn copy(home: &Home, name: &str, folder: &Path) -> Result<PathBuf> {
    let run = home.run(name)?;
    let text = std::fs::read_to_string(run.report_file())
        .with_context(|| format!("cannot read {}", run.report_file().display()))?;
    let mut target = folder.join("report.md");
    let ours = |path: &Path| std::fs::read_to_string(path).is_ok_and(|old| old.starts_with(MARK));
    if target.exists() && !ours(&target) {
        target = folder.join(format!("report-{name}.md"));
    }
    if let Ok(figures) = std::fs::read_dir(run.root.join(FIGURES)) {
        for figure in figures.flatten().map(|entry| entry.path()) {
            let bytes = std::fs::read(&figure).with_context(|| format!("cannot read {}", figure.display()))?;
            let name = figure.file_name().expect("an entry of a folder has a name");
            write_atomically(&folder.join(FIGURES).join(name), &bytes)?;
        }
    }
    write_atomically(&target, text.as_bytes())?;
    Ok(target)
}

/// `report`
///
/// # Errors
/// No such run, or files that cannot be written.
pub fn command(home: &Home, args: &ReportArgs) -> Result<()> {
    let mut path = write(home, &args.run, args.price_per_hour)?;
    if let Some(folder) = &args.output {
        path = copy(home, &args.run, folder)?;
    }
    crate::output::print(&format!("{}\n", path.display()))
}
