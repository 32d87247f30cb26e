//! Prints what the world makes:
//! `cargo run -p ferrochat-world --example print -- --docs --split train --world 1 --seed 1 --count 10 [--size small] [--kind facts] [--jsonl]`,
//! or `--conversations`, `--pairs`, `--questions` in place of `--docs`.

use std::error::Error;
use std::io::Write;

use ferrochat_world::{Identity, Kind, Mixture, Part, Size, Split, World, WorldSpec};
use serde::Serialize;

fn main() -> Result<(), Box<dyn Error>> {
    let mut what = String::from("docs");
    let (mut split, mut seed, mut count, mut jsonl) = (Split::Train, 1u64, 10u64, false);
    let mut spec = WorldSpec::default();
    let mut kinds: Vec<Kind> = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--docs" | "--conversations" | "--pairs" | "--questions" => what = flag[2..].to_string(),
            "--jsonl" => jsonl = true,
            "--split" => split = value()?.parse()?,
            "--size" => spec.size = value()?.parse::<Size>()?,
            "--world" => spec.world = value()?.parse()?,
            "--seed" => seed = value()?.parse()?,
            "--count" => count = value()?.parse()?,
            "--kind" => kinds.push(value()?.parse()?),
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let world = World::new(spec)?;
    let identity = Identity::default();
    let mixture = kinds.first().map_or_else(Mixture::default, |&kind| Mixture::only(kind));
    let mut out = std::io::stdout().lock();
    for number in 0..count {
        let line = match what.as_str() {
            "docs" => {
                let text = world.document(split, seed, number);
                if jsonl { json(&Document { text })? } else { text }
            }
            "conversations" => {
                let conversation = world.conversation(split, seed, &identity, &mixture, number);
                if jsonl {
                    json(&conversation)?
                } else {
                    let turns: Vec<String> = conversation
                        .messages
                        .iter()
                        .map(|m| format!("{:?}: {}", m.role, m.parts.iter().map(shown).collect::<String>()))
                        .collect();
                    turns.join("\n")
                }
            }
            "pairs" => {
                let pair = world.pair(split, seed, &identity, number);
                if jsonl {
                    json(&pair)?
                } else {
                    format!("? {}\n+ {}\n- {}", pair.prompt, pair.chosen, pair.rejected)
                }
            }
            _ => {
                let question = world.question(split, seed, &kinds, &identity, number);
                if jsonl {
                    json(&question)?
                } else {
                    format!("[{}] {}\n  = {}", question.kind, question.prompt, question.answer)
                }
            }
        };
        writeln!(out, "{line}{}", if jsonl { "" } else { "\n" })?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Document {
    text: String,
}

fn json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}

fn shown(part: &Part) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Python(text) => format!("<<{text}="),
        Part::PythonOutput(text) => format!("{text}>>"),
    }
}
