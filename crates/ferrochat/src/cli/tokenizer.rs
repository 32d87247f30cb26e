//! `tokenizer …`: train one, or use one.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `tokenizer …`
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Train a tokenizer on the training part of the data
    #[command(after_help = "Examples:
  ferrochat tokenizer train --data shards/ --vocab-size 32768 --run d12
  ferrochat tokenizer train --data shakespeare.txt --tokenizer char --output chars.json")]
    Train(TokenizerTrainArgs),
    /// Text (the argument, or stdin) to ids
    #[command(after_help = "Examples:
  ferrochat tokenizer encode --run spark \"hello world\"
  ferrochat tokenizer encode --tokenizer cl100k_base.tiktoken --pattern cl100k --json < text")]
    Encode(crate::tokenizer::EncodeArgs),
    /// Ids (the arguments, or stdin) to text
    #[command(after_help = "Example:
  ferrochat tokenizer decode --run spark 104 101")]
    Decode(crate::tokenizer::DecodeArgs),
    /// How well it compresses, by kind of text, beside GPT-2 and GPT-4
    #[command(after_help = "Example:
  ferrochat tokenizer eval --run d12 --text notes.txt --gpt4 cl100k_base.tiktoken")]
    Eval(crate::tokenizer::EvalArgs),
    /// Where the borders of tokens lie, in colour or as a page
    #[command(after_help = "Examples:
  ferrochat tokenizer inspect --run spark \"hello world\"
  ferrochat tokenizer inspect --run spark --html tokens.html < text")]
    Inspect(crate::tokenizer::InspectArgs),
}

/// `tokenizer train`
#[derive(Args, Debug)]
pub struct TokenizerTrainArgs {
    /// Text file, folder of text, JSONL or Parquet shards [default: the world, made on the spot]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// bpe or char
    #[arg(long, value_name = "KIND", default_value = "bpe")]
    pub tokenizer: String,
    /// Number of ids, the nine special tokens included (BPE only)
    #[arg(long, value_name = "N", default_value_t = 32_768)]
    pub vocab_size: usize,
    /// Use at most this many characters of the data
    #[arg(long, value_name = "N", default_value_t = 2_000_000_000)]
    pub max_chars: u64,
    /// Use only the first characters of each document of JSONL and Parquet data
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub doc_cap: usize,
    /// End where a file cannot be read, instead of naming it and going on without it
    #[arg(long)]
    pub strict: bool,
    /// Save into this run
    #[arg(long, value_name = "NAME", required_unless_present = "output")]
    pub run: Option<String>,
    /// Save to this file instead: tokenizer.json, or ranks where it ends in .tiktoken
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    pub output: Option<PathBuf>,
    /// Replace the tokenizer that is there
    #[arg(long)]
    pub fresh: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}
