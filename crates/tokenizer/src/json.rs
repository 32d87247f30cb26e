//! `tokenizer.json`, the format of Hugging Face `tokenizers`.
//!
//! BPE is a `BPE` model behind a `Split` by the pattern and a `ByteLevel` that only spells bytes.
//! Characters are a `WordLevel` model behind a `Split` at every character, with the replacement as its
//! unknown token. The special tokens are added tokens in both.

mod read;
mod write;

use serde_json::{Value, json};

pub(crate) use read::read;
pub(crate) use write::write;

/// The pattern that matches each character by itself.
const EVERY_CHARACTER: &str = r"[\s\S]";

fn split_at(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn byte_level() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false})
}

/// The `pre_tokenizer` of a BPE with this split pattern.
fn bpe_pre_tokenizer(pattern: &str) -> Value {
    json!({"type": "Sequence", "pretokenizers": [split_at(pattern), byte_level()]})
}

/// The `pre_tokenizer` of a character vocabulary.
fn character_pre_tokenizer() -> Value {
    split_at(EVERY_CHARACTER)
}
