//! The one thing the loader asks of a tokenizer, so that packing can be tested
//! with a toy one.

use ferrochat_tokenizer::Tokenizer;

/// Text to token ids, callable from several threads at once.
pub trait Encode: Send + Sync {
    /// Id of the token that begins every document.
    fn bos(&self) -> u32;

    /// Number of ids; every id is below it.
    fn vocab_size(&self) -> usize;

    /// Appends the ids of `text` to `ids`, as ordinary text: a special token
    /// spelled out in it stays text.
    fn encode_ordinary_into(&self, text: &str, ids: &mut Vec<u32>);

    /// Identifies the vocabulary; a resumed run must have the same.
    fn fingerprint(&self) -> String;
}

impl Encode for Tokenizer {
    fn bos(&self) -> u32 {
        Tokenizer::bos(self)
    }

    fn vocab_size(&self) -> usize {
        Tokenizer::vocab_size(self)
    }

    fn encode_ordinary_into(&self, text: &str, ids: &mut Vec<u32>) {
        Tokenizer::encode_ordinary_into(self, text, ids);
    }

    fn fingerprint(&self) -> String {
        Tokenizer::fingerprint(self)
    }
}
