//! Bytes to ids and back: byte-level BPE (training, encoding, decoding), a character-level mode,
//! `tokenizer.json` and `.tiktoken` files.
//!
//! This room knows text, bytes and ids. It must never know what a conversation or a model is: special
//! tokens are nine names with ids here, and nothing in text can ever become one of them.
//!
//! | module | one job |
//! | --- | --- |
//! | [`tokenizer`](Tokenizer) | the public face: one type for both kinds |
//! | `batch` | many texts, over all cores |
//! | `split` | text to pieces, by a pattern |
//! | `bpe` | pieces to ids, by the learned merges |
//! | `special` | special tokens spelled out in text, where that is allowed |
//! | `character` | one id for each character |
//! | `train`, `count`, `merges` | documents to bundles, bundles to counted chunks, chunks to merges |
//! | `json`, `tiktoken`, `gpt2`, `spelled`, `file` | the files |

#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod batch;
mod bpe;
mod byte_level;
mod character;
mod count;
mod error;
mod file;
mod gpt2;
mod hash;
mod json;
mod merges;
mod special;
mod spelled;
mod split;
mod tiktoken;
mod tokenizer;
mod tokens;
mod train;

pub use character::CharTrainer;
pub use error::TokenizerError;
pub use split::{CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, SPLIT_PATTERN};
pub use tokenizer::{Kind, Tokenizer};
pub use train::Trainer;

/// The special tokens, in the order of their ids; they follow the last ordinary token and count in
/// [`Tokenizer::vocab_size`].
pub const SPECIAL_TOKENS: [&str; 9] = [
    "<|bos|>",
    "<|user_start|>",
    "<|user_end|>",
    "<|assistant_start|>",
    "<|assistant_end|>",
    "<|python_start|>",
    "<|python_end|>",
    "<|output_start|>",
    "<|output_end|>",
];
