//! One id for each character, for those who come from nanoGPT: the vocabulary is the sorted distinct
//! characters of the training text.
//!
//! A character that the training text lacked is encoded as the *replacement*: U+FFFD, `?` or a space,
//! the first of these that the vocabulary holds, else its lowest character. Who would rather refuse such
//! text asks [`Tokenizer::unknown_character`] first.

use rustc_hash::FxHashMap;

use crate::tokens::Tokens;
use crate::{Tokenizer, TokenizerError};

/// A character vocabulary without its special tokens.
pub(crate) struct Characters {
    /// Ascending; the id is the position. Never empty.
    pub sorted: Vec<char>,
    /// The same as UTF-8.
    pub tokens: Tokens,
    ids: FxHashMap<char, u32>,
    replacement: u32,
}

impl Characters {
    /// `None` unless the characters are strictly ascending and there is at least one.
    pub fn new(sorted: Vec<char>) -> Option<Self> {
        if sorted.is_empty() || sorted.windows(2).any(|two| two[0] >= two[1]) {
            return None;
        }
        let ids: FxHashMap<char, u32> = sorted.iter().copied().zip(0..).collect();
        let replacement = ['\u{FFFD}', '?', ' ']
            .iter()
            .find_map(|wanted| ids.get(wanted).copied())
            .unwrap_or(0);
        Some(Self {
            tokens: sorted.iter().map(char::to_string).collect(),
            sorted,
            ids,
            replacement,
        })
    }

    /// What unknown characters become.
    pub fn replacement(&self) -> char {
        self.sorted[self.replacement as usize]
    }

    pub fn contains(&self, character: char) -> bool {
        self.ids.contains_key(&character)
    }

    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) {
        ids.extend(text.chars().map(|character| {
            let id = self.ids.get(&character);
            id.copied().unwrap_or(self.replacement)
        }));
    }
}

/// Collects the distinct characters of a text.
pub struct CharTrainer {
    /// By code point.
    seen: Vec<bool>,
}

impl Default for CharTrainer {
    fn default() -> Self {
        Self::new()
    }
}

impl CharTrainer {
    /// A trainer that has seen nothing yet.
    pub fn new() -> Self {
        Self {
            seen: vec![false; char::MAX as usize + 1],
        }
    }

    /// Takes a document, all of it.
    pub fn feed(&mut self, document: &str) {
        for character in document.chars() {
            self.seen[character as usize] = true;
        }
    }

    /// The tokenizer of the characters seen.
    ///
    /// # Errors
    /// [`TokenizerError::NoText`] if there were none.
    pub fn finish(self) -> Result<Tokenizer, TokenizerError> {
        let sorted = ('\0'..=char::MAX)
            .filter(|&character| self.seen[character as usize])
            .collect();
        Characters::new(sorted)
            .map(Tokenizer::from_characters)
            .ok_or(TokenizerError::NoText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(text: &str) -> Tokenizer {
        let mut trainer = CharTrainer::new();
        trainer.feed(text);
        trainer.finish().unwrap()
    }

    #[test]
    fn ids_follow_the_order_of_code_points() {
        let tokenizer = trained("héllo\n");
        assert_eq!(tokenizer.vocab_size(), 5 + 9);
        assert_eq!(tokenizer.encode_ordinary("\nhloé"), [0, 1, 2, 3, 4]);
        assert_eq!(tokenizer.decode(&[1, 4, 2, 2, 3]), "héllo");
        assert_eq!(tokenizer.byte_lengths()[..6], [1, 1, 1, 1, 2, 0]);
        assert_eq!(tokenizer.bos(), 5);
    }

    #[test]
    fn unknown_characters_become_the_replacement() {
        assert_eq!(trained("ab ?").decode(&trained("ab ?").encode_ordinary("axb")), "a?b");
        assert_eq!(trained("ab ").decode(&trained("ab ").encode_ordinary("axb")), "a b");
        assert_eq!(trained("ba").decode(&trained("ba").encode_ordinary("axb")), "aab");
        assert_eq!(trained("ab").unknown_character("abéx"), Some((2, 'é')));
        assert_eq!(trained("ab").unknown_character("abba"), None);
    }

    #[test]
    fn refuses_no_text() {
        assert!(matches!(CharTrainer::new().finish(), Err(TokenizerError::NoText)));
    }
}
