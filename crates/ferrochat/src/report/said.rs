//! What models wrote: answers of every stage to the same questions side by side, and samples of the base model.

use serde_json::Value;

use super::card::chain;
use super::markdown::{fenced, inline};
use crate::format::{push, shell_line};
use crate::record::StageRecord;
use crate::runs::Run;

/// Answers of the stages to the same questions.
pub fn dialogues(text: &mut String, run: &Run) {
    let stages: Vec<(&StageRecord, Vec<(&str, &str)>)> = chain(run)
        .into_iter()
        .map(|record| (record, of_record(record)))
        .filter(|(_, dialogues)| !dialogues.is_empty())
        .collect();
    let mut prompts: Vec<&str> = Vec::new();
    for (prompt, _) in stages.iter().flat_map(|(_, dialogues)| dialogues) {
        if !prompts.contains(prompt) {
            prompts.push(prompt);
        }
    }
    let (Some(first), Some((last, _))) = (prompts.first(), stages.last()) else {
        return;
    };
    text.push_str("## Answers\n\n| question |");
    for (record, _) in &stages {
        push(text, format_args!(" {} |", record.stage.to_uppercase()));
    }
    push(text, format_args!("\n| --- |{}\n", " --- |".repeat(stages.len())));
    for prompt in &prompts {
        push(text, format_args!("| {} |", inline(prompt)));
        for (_, dialogues) in &stages {
            let reply = dialogues.iter().find(|(asked, _)| asked == prompt);
            let reply = reply.map_or("-".to_owned(), |(_, reply)| inline(reply));
            push(text, format_args!(" {reply} |"));
        }
        text.push('\n');
    }
    text.push_str("\nThe likeliest words, for instance:\n\n");
    let mut line = vec!["ferrochat", "chat", "--run", &run.folder.name, "--stage", &last.stage];
    line.extend(["--temperature", "0", "-p", first]);
    text.push_str(&fenced("sh", &shell_line(line)));
}

/// (question, answer)
fn of_record(record: &StageRecord) -> Vec<(&str, &str)> {
    let listed = record.details["dialogues"].as_array();
    listed
        .into_iter()
        .flatten()
        .filter_map(|dialogue| Some((dialogue["prompt"].as_str()?, dialogue["reply"].as_str()?)))
        .collect()
}

/// Texts that the base model wrote: at its end, else during training.
pub fn samples(text: &mut String, run: &Run, lines: &[Value]) {
    let strings = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut samples = run
        .stage("base")
        .map(|base| strings(&base.details["samples"]))
        .unwrap_or_default();
    if samples.is_empty() {
        let mut last = lines.iter().rev().map(|line| strings(&line["samples"]));
        samples = last.find(|samples| !samples.is_empty()).unwrap_or_default();
    }
    if samples.is_empty() {
        return;
    }
    text.push_str("## Samples\n\nTexts of the base model.\n\n");
    for sample in samples {
        text.push_str(&fenced("text", &sample));
    }
    let line = ["ferrochat", "sample", "--run", &run.folder.name, "--count", "3"];
    text.push_str(&fenced("sh", &shell_line(line)));
}
