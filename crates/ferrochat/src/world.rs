//! `data world`: what the world makes, to look at or for other programs. Knows how to write it down, not
//! what it says.

use std::io::Write as _;

use anyhow::Result;
use ferrochat_world::{Conversation, Identity, Mixture, Part, Role, Split, World, WorldSpec};
use serde::Serialize;
use serde_json::json;

use crate::cli::WorldArgs;
use crate::errors::usage;

/// `data world`
///
/// # Errors
/// A split or size that does not exist, or stdout is closed.
pub fn command(args: &WorldArgs) -> Result<()> {
    let split: Split = args.split.parse().map_err(|error| usage(format!("--split: {error}")))?;
    let size = args.size.parse().map_err(|error| usage(format!("--size: {error}")))?;
    let world = World::new(WorldSpec {
        world: args.world,
        size,
    })
    .map_err(usage)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for number in 0..args.count {
        writeln!(out, "{}", item(&world, split, args, number))?;
    }
    out.flush()?;
    Ok(())
}

/// One of what the flags ask for: a line of JSON, or a paragraph for people.
fn item(world: &World, split: Split, args: &WorldArgs, number: u64) -> String {
    let identity = Identity::default();
    if args.what.docs {
        let text = world.document(split, args.seed, number);
        let line = json!({"text": text});
        written(args.jsonl, &line, || text)
    } else if args.what.conversations {
        let conversation = world.conversation(split, args.seed, &identity, &Mixture::default(), number);
        written(args.jsonl, &conversation, || talk(&conversation))
    } else if args.what.pairs {
        let pair = world.pair(split, args.seed, &identity, number);
        written(args.jsonl, &pair, || {
            format!(
                "user: {}\nchosen: {}\nrejected: {}",
                pair.prompt, pair.chosen, pair.rejected
            )
        })
    } else {
        let question = world.question(split, args.seed, &[], &identity, number);
        written(args.jsonl, &question, || {
            format!("{}: {}\nanswer: {}", question.kind, question.prompt, question.answer)
        })
    }
}

fn written(as_json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> String {
    if as_json {
        serde_json::to_string(value).expect("texts are always JSON")
    } else {
        text() + "\n"
    }
}

/// A conversation as it would stand in a play.
fn talk(conversation: &Conversation) -> String {
    let said = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Python(text) => format!("[{text}"),
        Part::PythonOutput(text) => format!(" → {text}] "),
    };
    let lines = conversation.messages.iter().map(|message| {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        format!("{role}: {}", message.parts.iter().map(said).collect::<String>())
    });
    lines.collect::<Vec<_>>().join("\n")
}
