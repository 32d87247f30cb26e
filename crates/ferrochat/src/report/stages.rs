//! A section for each stage: the plan against what happened.

use serde_json::Value;

use super::markdown::{fenced, inline};
use super::scores::Estimate;
use crate::device::share_of_peak;
use crate::format::{bytes, duration, flop_rate, push, shell_line, short, thousands};
use crate::record::StageRecord;

/// Names of what a stage measures on data that it never learns, as people read them.
const MEASURED: [(&str, &str); 3] = [
    ("bits_per_byte", "bits per byte"),
    ("loss", "loss, nats per token"),
    ("accuracy", "share of pairs told apart"),
];
/// How much was measured on, not what came out.
const AMOUNTS: [&str; 2] = ["bytes", "tokens"];

/// The tokenizer.
pub fn tokenizer(text: &mut String, run: &str, record: &StageRecord) {
    push(
        text,
        format_args!(
            "## Tokenizer\n\n{} of {} ids, {} bytes per token on validation text, trained in {} on {}.\n\n",
            inline(string(record, "/kind").unwrap_or("-")),
            record
                .number("/vocab_size")
                .map_or("-".to_owned(), |size| thousands(size as u64)),
            record
                .number("/bytes_per_token")
                .map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            duration(record.seconds),
            inline(string(record, "/data/path").unwrap_or("-"))
        ),
    );
    let line = ["ferrochat", "tokenizer", "encode", "--run", run, "hello world"];
    text.push_str(&fenced("sh", &shell_line(line)));
}

/// Plan against reality of a stage that trains a model.
pub fn training(text: &mut String, run: &str, record: &StageRecord, lines: &[Value]) {
    let (title, state) = (record.stage.to_uppercase(), record.state.name());
    push(
        text,
        format_args!("## {title} ({state})\n\n| | plan | reality |\n| --- | ---: | ---: |\n"),
    );
    let mut row = |name: &str, plan: Option<String>, reality: Option<String>| {
        if plan.is_some() || reality.is_some() {
            let cell = |value: Option<String>| value.map_or("-".to_owned(), |value| inline(&value));
            push(text, format_args!("| {name} | {} | {} |\n", cell(plan), cell(reality)));
        }
    };
    let planned = |pointer: &str| record.number(&format!("/plan{pointer}"));
    let found = |pointer: &str| record.number(pointer);
    let words = |pointer: &str| string(record, pointer).map(str::to_owned);
    let whole = |number: f64| thousands(number as u64);
    let size = |number: f64| bytes(number as u64);

    row("begins from", words("/source"), None);
    row("architecture", words("/plan/arch"), None);
    let shape = ["n_layer", "n_embd", "sequence_len"].map(|field| planned(&format!("/model/{field}")));
    if let [Some(layers), Some(width), Some(context)] = shape {
        let shape = format!("{layers}, {width}, {context}");
        row("layers, width, context", Some(shape), None);
    }
    row("parameters", planned("/parameters/total").map(short), None);
    let data = ["/plan/data/source/path", "/plan/conversations", "/plan/origin"]
        .into_iter()
        .find_map(words);
    row("data", data, None);
    row("task", words("/plan/task"), None);
    for amount in ["questions", "replies", "pairs"] {
        row(amount, planned(&format!("/{amount}")).map(whole), None);
    }
    row("tokens per step", planned("/total_batch_size").map(whole), None);
    let (done, steps) = (found("/steps_done"), planned("/steps"));
    row("steps", steps.map(whole), done.map(whole));
    // The plan knows the whole; the steps that were done tell how much of it happened.
    let part = done.zip(steps).map(|(done, steps)| done / steps.max(1.0));
    let happened = |whole: Option<f64>| Some(whole? * part?);
    let (tokens, flops) = (planned("/tokens"), planned("/total_flops"));
    row("tokens", tokens.map(short), happened(tokens).map(short));
    let science = |number: f64| format!("{number:.2e}");
    row("training FLOPs", flops.map(science), happened(flops).map(science));
    let exam = found("/exam_seconds");
    row(
        "training time",
        planned("/time/minutes").map(|minutes| duration(minutes * 60.0)),
        Some(duration(record.seconds - exam.unwrap_or(0.0))),
    );
    row("examination time", None, exam.map(duration));
    row(
        "cost",
        planned("/time/cost").map(|cost| format!("${cost:.2}")),
        found("/price_per_hour").map(|price| format!("${:.2}", price * record.seconds / 3600.0)),
    );
    row("tokens per second", None, mean(lines, "tokens_per_second").map(whole));
    row(
        "speed",
        planned("/time/flops_per_second").map(flop_rate),
        mean(lines, "flops_per_second").map(flop_rate),
    );
    let peak = found("/peak_flops_per_second");
    let share = mean(lines, "flops_per_second").zip(peak);
    let share = share.and_then(|(speed, peak)| Some((share_of_peak(speed, peak)?, peak)));
    row(
        "share of the multiply loop's peak",
        None,
        share.map(|(share, peak)| format!("{:.0}% of {}", 100.0 * share, flop_rate(peak))),
    );
    row(
        "MFU",
        None,
        mean(lines, "mfu").map(|mfu| format!("{:.1}%", 100.0 * mfu)),
    );
    row(
        "memory",
        planned("/memory_bytes").map(size),
        found("/peak_memory_bytes").map(size),
    );
    row(
        "checkpoint",
        planned("/checkpoint_bytes").map(size),
        found("/checkpoint_bytes").map(size),
    );
    for (field, value) in record.details["val"].as_object().into_iter().flatten() {
        let Some(value) = value.as_f64().filter(|_| !AMOUNTS.contains(&field.as_str())) else {
            continue;
        };
        let known = MEASURED.into_iter().find(|(known, _)| known == field);
        let name = known.map_or_else(|| inline(&field.replace('_', " ")), |(_, words)| words.to_owned());
        row(&format!("validation {name}"), None, Some(format!("{value:.4}")));
    }
    for (name, value) in gains(record) {
        row(&name, None, Some(value));
    }
    text.push('\n');
    let mut again = vec![record.command.clone()];
    if record.stage == "base" {
        again.push(shell_line(["ferrochat", "eval", "bpb", "--run", run]));
    }
    text.push_str(&fenced("sh", &again.join("\n")));
}

/// What RL and DPO changed on held-out questions and pairs.
fn gains(record: &StageRecord) -> Vec<(String, String)> {
    let at = |pointer: &str| record.details.pointer(pointer).and_then(Estimate::of);
    let change = |before: Option<Estimate>, after: Estimate| match before {
        Some(before) => format!("{} before, {} after", before.text(), after.text()),
        None => after.text(),
    };
    let amount = |pointer: &str| {
        record
            .number(pointer)
            .map_or_else(String::new, |count| format!(" of {count}"))
    };
    let mut gains = Vec::new();
    for k in [1, 2, 4, 8] {
        if let Some(after) = at(&format!("/pass_at_k/after/pass/{}", k - 1)) {
            let before = at(&format!("/pass_at_k/before/{}", k - 1));
            let name = format!("pass@{k}{} held-out questions", amount("/pass_at_k/after/count"));
            gains.push((name, change(before, after)));
        }
    }
    if let Some(after) = at("/wins/after") {
        let name = format!("chosen likelier{} held-out pairs", amount("/wins/pairs"));
        gains.push((name, change(at("/wins/before"), after)));
    }
    for (pointer, name) in [
        ("/wins/gain", "gain"),
        ("/wins/accuracy", "pairs with a positive margin"),
    ] {
        gains.extend(at(pointer).map(|found| (name.to_owned(), found.text())));
    }
    gains
}

fn string<'a>(record: &'a StageRecord, pointer: &str) -> Option<&'a str> {
    record.details.pointer(pointer).and_then(Value::as_str)
}

fn mean(lines: &[Value], field: &str) -> Option<f64> {
    let values = lines.iter().filter_map(|line| line[field].as_f64());
    let (sum, count) = values.fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}
