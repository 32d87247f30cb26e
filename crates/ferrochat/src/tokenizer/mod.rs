//! The commands that use a tokenizer: `tokenizer encode|decode|eval|inspect`. Training one is a stage.
//! Knows text and tokenizers, never models.

mod convert;
mod eval;
mod inspect;
mod page;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use ferrochat_tokenizer::{CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, SPLIT_PATTERN, Tokenizer};

use crate::errors::{refuse, usage};
use crate::home::Home;

pub use convert::{DecodeArgs, EncodeArgs, decode, encode};
pub use eval::{EvalArgs, eval};
pub use inspect::{InspectArgs, inspect};

/// Which tokenizer.
#[derive(Args, Clone, Debug)]
pub struct Chosen {
    /// Tokenizer of this run
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    pub run: Option<String>,
    /// A tokenizer.json, a .tiktoken rank file, or GPT-2's vocab.bpe with encoder.json beside it
    #[arg(
        long = "tokenizer",
        visible_alias = "file",
        value_name = "FILE",
        conflicts_with = "run"
    )]
    pub file: Option<PathBuf>,
    /// What splits text before a .tiktoken file's tokens: nanochat, gpt2, cl100k, o200k or a pattern of your own
    #[arg(long, value_name = "PATTERN", default_value = "nanochat")]
    pub pattern: String,
}

impl Chosen {
    /// Reads it.
    ///
    /// # Errors
    /// No such run, or a file that is not what it should be, as usage.
    pub fn load(&self, home: &Home) -> Result<Tokenizer> {
        match (&self.run, &self.file) {
            (Some(name), _) => crate::stages::tokenizer::load(&home.run(name)?.tokenizer_file()),
            (None, Some(file)) => load(file, &self.pattern),
            (None, None) => unreachable!("clap asks for one of the two"),
        }
    }
}

/// Reads a tokenizer file of any kind, by its name.
fn load(file: &Path, pattern: &str) -> Result<Tokenizer> {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let loaded = match extension {
        Some("tiktoken") => Tokenizer::load_tiktoken(file, named(pattern)),
        Some("bpe") => {
            // Some copies carry a prefix: gpt2_vocab.bpe lies beside gpt2_encoder.json.
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let beside = name.replace("vocab.bpe", "encoder.json");
            if beside == name {
                refuse!(
                    "{}: merges alone are no tokenizer; the file must be called vocab.bpe and lie beside encoder.json",
                    file.display()
                );
            }
            Tokenizer::load_gpt2(file, &file.with_file_name(beside))
        }
        _ => Tokenizer::load(file),
    };
    loaded.map_err(usage)
}

fn named(pattern: &str) -> &str {
    match pattern {
        "nanochat" => SPLIT_PATTERN,
        "gpt2" => GPT2_PATTERN,
        "cl100k" => CL100K_PATTERN,
        "o200k" => O200K_PATTERN,
        own => own,
    }
}

/// The words of the command line, or all of stdin.
fn text_of(words: &[String]) -> Result<String> {
    if !words.is_empty() {
        return Ok(words.join(" "));
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("cannot read stdin")?;
    String::from_utf8(bytes).map_err(|error| {
        usage(format!(
            "stdin is not UTF-8 text: the byte at position {} is wrong",
            error.utf8_error().valid_up_to()
        ))
    })
}

/// Refuses text that a character vocabulary would not give back.
fn check_characters(tokenizer: &Tokenizer, text: &str) -> Result<()> {
    if let Some((at, character)) = tokenizer.unknown_character(text) {
        refuse!("the character {character:?} at byte {at} is not in this character vocabulary");
    }
    Ok(())
}
