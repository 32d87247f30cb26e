//! Text to a trained tokenizer: documents are cut, split and counted as they come; what is kept grows
//! with the distinct chunks, not with the text.
//!
//! Must never know where documents come from.

use std::collections::HashMap;

use crate::bpe::Bpe;
use crate::merges::learn;
use crate::split::{SPLIT_PATTERN, Splitter};
use crate::{SPECIAL_TOKENS, Tokenizer, TokenizerError};

/// Every byte and the special tokens.
const LEAST_VOCAB: usize = 256 + SPECIAL_TOKENS.len();

/// Far beyond any use; keeps ids within `u32`.
const MOST_VOCAB: usize = 1 << 24;

/// Trains a byte-level BPE as rustbpe 0.1.0 does: the most frequent pair first, ties to the smaller pair.
pub struct Trainer {
    vocab_size: usize,
    doc_cap: usize,
    max_chars: u64,
    characters: u64,
    splitter: Splitter,
    // The standard hasher: documents may come from people who wish us ill.
    chunks: HashMap<Box<str>, u64>,
}

impl Trainer {
    /// A trainer for `vocab_size` ids, special tokens included.
    ///
    /// # Errors
    /// [`TokenizerError::VocabSize`] if that does not hold the 256 bytes and the special tokens.
    pub fn new(vocab_size: usize) -> Result<Self, TokenizerError> {
        if !(LEAST_VOCAB..=MOST_VOCAB).contains(&vocab_size) {
            return Err(TokenizerError::VocabSize {
                given: vocab_size,
                least: LEAST_VOCAB,
                most: MOST_VOCAB,
            });
        }
        Ok(Self {
            vocab_size,
            doc_cap: 10_000,
            max_chars: 2_000_000_000,
            characters: 0,
            splitter: Splitter::new(SPLIT_PATTERN).expect("our own pattern is known"),
            chunks: HashMap::new(),
        })
    }

    /// Only the first `chars` code points of each document count (10,000 unless told otherwise).
    #[must_use]
    pub fn doc_cap(mut self, chars: usize) -> Self {
        self.doc_cap = chars;
        self
    }

    /// Stop taking documents once more than `n` code points have come (2 billion unless told otherwise).
    #[must_use]
    pub fn max_chars(mut self, n: u64) -> Self {
        self.max_chars = n;
        self
    }

    /// Takes a document. False once [`max_chars`](Self::max_chars) is passed: the document that passes it
    /// still counts (after its cut), those after it do not.
    pub fn feed(&mut self, document: &str) -> bool {
        if self.characters > self.max_chars {
            return false;
        }
        let mut characters = 0;
        let mut end = document.len();
        for (at, _) in document.char_indices() {
            if characters == self.doc_cap {
                end = at;
                break;
            }
            characters += 1;
        }
        self.characters += characters as u64;
        let chunks = &mut self.chunks;
        self.splitter.split(&document[..end], &mut |start, end| {
            let piece: &str = &document[start..end];
            if let Some(count) = chunks.get_mut(piece) {
                *count += 1;
            } else {
                chunks.insert(piece.into(), 1);
            }
        });
        self.characters <= self.max_chars
    }

    /// Code points taken so far, after the cut of each document.
    pub fn characters(&self) -> u64 {
        self.characters
    }

    /// Learns the merges; `progress` hears how many of how many after each. With little text there may be
    /// fewer than asked for, and [`Tokenizer::vocab_size`] is smaller then.
    ///
    /// # Errors
    /// [`TokenizerError::NoText`] if nothing but empty documents came.
    pub fn finish(self, progress: &mut dyn FnMut(usize, usize)) -> Result<Tokenizer, TokenizerError> {
        if self.characters == 0 {
            return Err(TokenizerError::NoText);
        }
        let merges = learn(
            self.chunks
                .into_iter()
                .map(|(chunk, count)| (chunk.into_boxed_bytes(), count)),
            self.vocab_size - LEAST_VOCAB,
            progress,
        );
        let mut bpe = Bpe::new(self.splitter, &std::array::from_fn(|byte| byte as u8));
        for pair in merges {
            let new = bpe.push(pair);
            // Equal bytes between the same boundaries are always merged alike, so that the same token
            // cannot be learned twice.
            debug_assert!(new, "the same token learned twice");
        }
        Ok(Tokenizer::from_bpe(bpe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(trainer: Trainer) -> Tokenizer {
        trainer.finish(&mut |_, _| ()).unwrap()
    }

    #[test]
    fn refuses_vocabularies_without_room_for_the_bytes() {
        assert!(Trainer::new(264).is_err());
        assert!(Trainer::new(265).is_ok());
        assert!(Trainer::new(usize::MAX).is_err());
    }

    #[test]
    fn refuses_no_text() {
        let mut trainer = Trainer::new(300).unwrap();
        assert!(trainer.feed(""));
        assert!(matches!(trainer.finish(&mut |_, _| ()), Err(TokenizerError::NoText)));
    }

    #[test]
    fn ends_early_when_no_pair_is_left() {
        let mut trainer = Trainer::new(1000).unwrap();
        trainer.feed("abab cd");
        let mut heard = Vec::new();
        let tokenizer = trainer.finish(&mut |done, most| heard.push((done, most))).unwrap();
        // ab (twice), then by the smaller pair: " c", abab, " cd"
        assert_eq!(heard, [(1, 735), (2, 735), (3, 735), (4, 735)]);
        assert_eq!(tokenizer.vocab_size(), 256 + 4 + 9);
        assert_eq!(tokenizer.encode_ordinary("abab cd"), [258, 259]);
    }

    #[test]
    fn documents_are_cut_by_code_points() {
        let mut trainer = Trainer::new(265 + 10).unwrap().doc_cap(3);
        trainer.feed("éééab");
        assert_eq!(trainer.characters(), 3);
        let tokenizer = trained(trainer);
        assert_eq!(tokenizer.token_bytes(256), "é".as_bytes());
        assert_eq!(tokenizer.encode_ordinary("ab"), [97, 98]);
    }

    #[test]
    fn takes_the_document_that_passes_the_limit_and_no_more() {
        let mut trainer = Trainer::new(300).unwrap().max_chars(4);
        assert!(trainer.feed("xy"));
        assert!(trainer.feed("zw"), "four characters do not pass four");
        assert!(!trainer.feed("uv"));
        assert!(!trainer.feed("ab"));
        assert_eq!(trainer.characters(), 6);
        let tokenizer = trained(trainer);
        assert_eq!(tokenizer.encode_ordinary("uv").len(), 1);
        assert_eq!(tokenizer.encode_ordinary("ab").len(), 2);
    }
}
