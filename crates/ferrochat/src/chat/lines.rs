//! Conversations as lines of JSON in, answers as lines of JSON out, in the same order, several at once.
//! Knows lines; what an answer costs is the engine's business.

use std::io::BufRead;

use anyhow::{Context, Result};
use ferrochat_chat::Conversation;
use serde_json::json;

use crate::chat::{Talker, with_system};
use crate::errors::usage;
use crate::output;

/// Lines that are answered together. Enough to fill batches of prompts of similar length.
const TOGETHER: usize = 256;

/// Answers every line. One that cannot be answered gets its error in the answer's place.
///
/// # Errors
/// Input or output fails; at the end, if some lines could not be answered.
pub fn answer(talker: &Talker, system: Option<&str>, mut input: impl BufRead) -> Result<()> {
    let (mut lines, mut refused) = (Lines::default(), 0);
    for round in 0.. {
        let asked: Vec<Result<Vec<u32>, String>> = lines
            .next_lines(&mut input)?
            .into_iter()
            .map(|(number, line)| {
                read(&line)
                    .and_then(|conversation| talker.prompt(&with_system(conversation, system)))
                    .map_err(|sentence| format!("line {number}: {sentence}"))
            })
            .collect();
        if asked.is_empty() {
            break;
        }
        let prompts: Vec<Vec<u32>> = asked.iter().flatten().cloned().collect();
        let mut options = talker.options.clone();
        // Each round has its own draws, as each line within it does.
        options.sampling.seed = options.sampling.seed.wrapping_add(round);
        let mut replies = talker
            .engine
            .reply_all(&prompts, &options)
            .map_err(usage)?
            .into_iter()
            .flatten();
        let mut text = String::new();
        for prompt in asked {
            let answer = match prompt {
                Ok(_) => json!({"content": replies.next().expect("every prompt has a reply").text}),
                Err(sentence) => {
                    refused += 1;
                    json!({"error": sentence})
                }
            };
            text.push_str(&answer.to_string());
            text.push('\n');
        }
        output::print(&text)?;
    }
    if refused > 0 {
        anyhow::bail!(
            "{refused} of {} lines could not be answered; each has its \"error\" in the answer's place",
            lines.given
        );
    }
    Ok(())
}

fn read(line: &[u8]) -> Result<Conversation, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to() + 1))?;
    Conversation::from_json(text).map_err(|error| error.to_string())
}

#[derive(Default)]
struct Lines {
    /// Lines read.
    number: u64,
    /// Lines read that are not empty.
    given: u64,
}

impl Lines {
    /// The next lines that are not empty, with their numbers, counted from 1.
    fn next_lines(&mut self, input: &mut impl BufRead) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut lines = Vec::new();
        while lines.len() < TOGETHER {
            let mut line = Vec::new();
            if input.read_until(b'\n', &mut line).context("cannot read stdin")? == 0 {
                break;
            }
            self.number += 1;
            if !line.trim_ascii().is_empty() {
                self.given += 1;
                lines.push((self.number, line));
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_count_but_are_passed_over() {
        let mut lines = Lines::default();
        let mut input: &[u8] = b"a\n\n \r\nb";
        let read = lines.next_lines(&mut input).unwrap();
        assert_eq!(read, [(1, b"a\n".to_vec()), (4, b"b".to_vec())]);
        assert!(lines.next_lines(&mut input).unwrap().is_empty());
        let many = "x\n".repeat(TOGETHER + 1);
        let mut input = many.as_bytes();
        assert_eq!(lines.next_lines(&mut input).unwrap().len(), TOGETHER);
        assert_eq!(lines.next_lines(&mut input).unwrap().len(), 1);
        assert_eq!(lines.given, 2 + TOGETHER as u64 + 1);
    }

    #[test]
    fn what_is_no_conversation_is_said() {
        assert!(
            read(b"{\"messages\": \xff}")
                .unwrap_err()
                .contains("byte 14 is not UTF-8")
        );
        assert!(read(b"hello").unwrap_err().contains("not JSON"));
    }
}
