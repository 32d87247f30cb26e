//! `tokenizer inspect`: where the borders of tokens lie, in colour or as a page.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use ferrochat_tokenizer::Tokenizer;
use serde_json::json;

use super::{Chosen, check_characters, page, text_of};
use crate::chat::colours;
use crate::home::Home;
use crate::output;

/// Backgrounds of neighbours, in turn, with black letters (256-colour codes).
const BACKGROUNDS: [u8; 5] = [152, 187, 182, 223, 151];

/// `tokenizer inspect`
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Which tokenizer.
    #[command(flatten)]
    pub chosen: Chosen,
    /// Write a page to this file instead
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub html: Option<PathBuf>,
    /// Print each token's id, bytes and text as JSON
    #[arg(long)]
    pub json: bool,
    /// Text; stdin if there is none
    pub input: Vec<String>,
}

/// A token at its place in a text.
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its bytes, with those that are no character by themselves as `<e2>`.
    pub text: String,
    /// How many bytes it has.
    pub bytes: usize,
}

/// `tokenizer inspect`
///
/// # Errors
/// No such tokenizer, input that is not text, or a page that cannot be written.
pub fn inspect(home: &Home, args: &InspectArgs) -> Result<()> {
    let tokenizer = args.chosen.load(home)?;
    let text = text_of(&args.input)?;
    check_characters(&tokenizer, &text)?;
    let tokens = tokens_of(&tokenizer, &text);
    let summary = format!(
        "{} tokens, {} bytes, {:.2} bytes per token",
        tokens.len(),
        text.len(),
        text.len() as f64 / tokens.len().max(1) as f64
    );
    if let Some(path) = &args.html {
        let page = page::page(&tokens, &summary);
        std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
        return output::print(&format!("{summary}: {}\n", path.display()));
    }
    if args.json {
        let tokens: Vec<_> = tokens
            .iter()
            .map(|token| json!({"id": token.id, "bytes": token.bytes, "text": token.text}))
            .collect();
        return output::print(&(serde_json::to_string(&tokens)? + "\n"));
    }
    let shown = if colours(std::io::stdout().is_terminal()) {
        coloured(&tokens)
    } else {
        separated(&tokens)
    };
    output::print(&format!("{shown}\n{summary}\n"))
}

fn tokens_of(tokenizer: &Tokenizer, text: &str) -> Vec<Token> {
    let ids = tokenizer.encode_ordinary(text);
    ids.into_iter()
        .map(|id| {
            let bytes = tokenizer.token_bytes(id);
            Token {
                id,
                text: readable(bytes),
                bytes: bytes.len(),
            }
        })
        .collect()
}

/// Text as it is; bytes that are no text as `<e2>`.
fn readable(bytes: &[u8]) -> String {
    let mut readable = String::new();
    for chunk in bytes.utf8_chunks() {
        readable.push_str(chunk.valid());
        for byte in chunk.invalid() {
            crate::format::push(&mut readable, format_args!("<{byte:02x}>"));
        }
    }
    readable
}

/// What cannot be seen, or would move the cursor, as something that can.
fn visible(text: &str) -> String {
    let mut visible = String::new();
    for character in text.chars() {
        match character {
            '\n' => visible.push_str("⏎\n"),
            '\t' => visible.push('⇥'),
            control if control.is_control() => {
                crate::format::push(&mut visible, format_args!("<{:02x}>", control as u32));
            }
            other => visible.push(other),
        }
    }
    visible
}

fn coloured(tokens: &[Token]) -> String {
    let mut shown = String::new();
    for (token, background) in tokens.iter().zip(BACKGROUNDS.iter().cycle()) {
        // A background must not run on past the end of the line.
        for (k, line) in visible(&token.text).split('\n').enumerate() {
            let newline = if k > 0 { "\n" } else { "" };
            if line.is_empty() {
                shown.push_str(newline);
            } else {
                crate::format::push(
                    &mut shown,
                    format_args!("{newline}\x1b[38;5;16;48;5;{background}m{line}\x1b[0m"),
                );
            }
        }
    }
    shown
}

/// For those without colours: a bar between tokens.
fn separated(tokens: &[Token]) -> String {
    let shown: Vec<String> = tokens.iter().map(|token| visible(&token.text)).collect();
    shown.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token {
            id: 7,
            text: text.to_owned(),
            bytes: text.len(),
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_spelled_out() {
        assert_eq!(readable("aé".as_bytes()), "aé");
        assert_eq!(readable(b"a\xE2\x82"), "a<e2><82>");
    }

    #[test]
    fn nothing_reaches_the_terminal_that_would_move_it() {
        let shown = separated(&[token("a\x1b[2J"), token("\r\n"), token("\tb")]);
        assert_eq!(shown, "a<1b>[2J|<0d>⏎\n|⇥b");
    }

    #[test]
    fn colours_end_with_the_line() {
        let shown = coloured(&[token("a"), token("b\n")]);
        assert_eq!(shown, "\x1b[38;5;16;48;5;152ma\x1b[0m\x1b[38;5;16;48;5;187mb⏎\x1b[0m\n");
    }
}
