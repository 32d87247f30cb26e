//! `tokenizer encode` and `tokenizer decode`: text to ids and back.

use std::io::{BufRead as _, BufWriter, Write as _};

use anyhow::{Context as _, Result};
use clap::Args;
use ferrochat_tokenizer::Tokenizer;

use super::{Chosen, check_characters, text_of};
use crate::errors::{refuse, usage};
use crate::home::Home;
use crate::output;

/// Bytes of JSON lines that are encoded at once, over all cores.
const AT_ONCE: usize = 8 << 20;

/// `tokenizer encode`
#[derive(Args, Debug)]
pub struct EncodeArgs {
    /// Which tokenizer.
    #[command(flatten)]
    pub chosen: Chosen,
    /// Print one JSON array
    #[arg(long, conflicts_with = "jsonl")]
    pub json: bool,
    /// Each line of stdin is a text as a JSON string; print a JSON array for each
    #[arg(long, conflicts_with = "input")]
    pub jsonl: bool,
    /// A special token that becomes its id where it is spelled out, such as '<|bos|>' (any number of times);
    /// all others stay text
    #[arg(long, value_name = "TOKEN", conflicts_with = "jsonl")]
    pub special: Vec<String>,
    /// Text; stdin if there is none
    pub input: Vec<String>,
}

/// `tokenizer encode`
///
/// # Errors
/// No such tokenizer, input that is not text, or characters that a character tokenizer lacks.
pub fn encode(home: &Home, args: &EncodeArgs) -> Result<()> {
    let tokenizer = args.chosen.load(home)?;
    if args.jsonl {
        return encode_lines(&tokenizer);
    }
    let text = text_of(&args.input)?;
    check_characters(&tokenizer, &text)?;
    let special: Vec<&str> = args.special.iter().map(String::as_str).collect();
    let ids = tokenizer.encode_with_special(&text, &special).map_err(usage)?;
    if args.json {
        return output::print(&(serde_json::to_string(&ids)? + "\n"));
    }
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    output::print(&(ids.join(" ") + "\n"))
}

/// An array of ids for each line of stdin.
fn encode_lines(tokenizer: &Tokenizer) -> Result<()> {
    let mut lines = std::io::stdin().lock().lines();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut number = 0;
    loop {
        let mut texts: Vec<String> = Vec::new();
        let mut bytes = 0;
        for line in lines.by_ref() {
            number += 1;
            let line = line.with_context(|| format!("cannot read line {number} of stdin"))?;
            let text: String = serde_json::from_str(&line)
                .map_err(|error| usage(format!("line {number} of stdin is not a JSON string: {error}")))?;
            check_characters(tokenizer, &text).with_context(|| format!("line {number} of stdin"))?;
            bytes += text.len();
            texts.push(text);
            if bytes >= AT_ONCE {
                break;
            }
        }
        if texts.is_empty() {
            break;
        }
        for ids in tokenizer.encode_batch(&texts) {
            serde_json::to_writer(&mut out, &ids)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// `tokenizer decode`
#[derive(Args, Debug)]
pub struct DecodeArgs {
    /// Which tokenizer.
    #[command(flatten)]
    pub chosen: Chosen,
    /// Print a JSON string
    #[arg(long)]
    pub json: bool,
    /// Ids; stdin if there are none
    pub input: Vec<String>,
}

/// `tokenizer decode`
///
/// # Errors
/// No such tokenizer, or something that is not an id of it.
pub fn decode(home: &Home, args: &DecodeArgs) -> Result<()> {
    let tokenizer = args.chosen.load(home)?;
    let text = text_of(&args.input)?;
    let words = text
        .split(|c: char| c.is_whitespace() || ",[]".contains(c))
        .filter(|word| !word.is_empty());
    let mut ids = Vec::new();
    for word in words {
        match word.parse::<u32>() {
            Ok(id) if (id as usize) < tokenizer.vocab_size() => ids.push(id),
            _ => refuse!(
                "{word:?} is not an id; ids are numbers below {}",
                tokenizer.vocab_size()
            ),
        }
    }
    let text = tokenizer.decode(&ids);
    if args.json {
        return output::print(&(serde_json::to_string(&text)? + "\n"));
    }
    output::print(&(text + "\n"))
}
