//! The public face: one type for both kinds of vocabulary.

use std::path::Path;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::bpe::Bpe;
use crate::character::Characters;
use crate::special::{self, Part};
use crate::tokens::Tokens;
use crate::{SPECIAL_TOKENS, TokenizerError, file, json, tiktoken};

/// What the ordinary tokens of a [`Tokenizer`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Byte sequences, learned by byte-pair encoding.
    Bpe,
    /// Single characters.
    Character,
}

/// The vocabulary without the special tokens.
pub(crate) enum Vocabulary {
    Bpe(Box<Bpe>),
    Characters(Characters),
}

/// Text to ids and back. Ordinary tokens come first, then the nine [`SPECIAL_TOKENS`].
///
/// It never changes after it was made; put it in an `Arc` to share it between threads.
pub struct Tokenizer {
    pub(crate) vocabulary: Vocabulary,
    fingerprint: OnceLock<String>,
}

impl Tokenizer {
    fn new(vocabulary: Vocabulary) -> Self {
        Self {
            vocabulary,
            fingerprint: OnceLock::new(),
        }
    }

    pub(crate) fn from_bpe(bpe: Bpe) -> Self {
        Self::new(Vocabulary::Bpe(Box::new(bpe)))
    }

    pub(crate) fn from_characters(characters: Characters) -> Self {
        Self::new(Vocabulary::Characters(characters))
    }

    /// The bytes of the ordinary tokens.
    fn tokens(&self) -> &Tokens {
        match &self.vocabulary {
            Vocabulary::Bpe(bpe) => &bpe.tokens,
            Vocabulary::Characters(characters) => &characters.tokens,
        }
    }

    /// Reads a `tokenizer.json` that [`save`](Self::save) wrote, as it is or after Hugging Face
    /// `tokenizers` loaded and saved it again. The file is not trusted.
    ///
    /// # Errors
    /// [`TokenizerError::Io`] or, naming the place of the fault, [`TokenizerError::Malformed`].
    pub fn load(path: &Path) -> Result<Self, TokenizerError> {
        let text = file::read(path)?;
        json::read(&text).map_err(|fault| fault.in_file(path))
    }

    /// Writes `tokenizer.json`, which Hugging Face `tokenizers` loads with the same ids for the same
    /// text. (One difference: Hugging Face turns a special token spelled out in text into that token's
    /// id; here it stays text.) The file appears whole or not at all.
    ///
    /// # Errors
    /// [`TokenizerError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), TokenizerError> {
        file::write(path, json::write(self).as_bytes())
    }

    /// Reads a `.tiktoken` rank file (a base64 token and its rank on each line) and adds the special
    /// tokens. Ranks must be 0, 1, 2, … in any order of lines, and the first 256 the single bytes.
    ///
    /// # Errors
    /// [`TokenizerError::Pattern`] or, naming the line, [`TokenizerError::Malformed`].
    pub fn from_tiktoken(ranks: &[u8], pattern: &str) -> Result<Self, TokenizerError> {
        tiktoken::read(ranks, pattern)
    }

    /// [`from_tiktoken`](Self::from_tiktoken) of a file.
    ///
    /// # Errors
    /// [`TokenizerError::Io`], or as there, with the file's name.
    pub fn load_tiktoken(path: &Path, pattern: &str) -> Result<Self, TokenizerError> {
        match tiktoken::read(file::read(path)?.as_bytes(), pattern) {
            Err(TokenizerError::Malformed { place, problem, .. }) => Err(TokenizerError::Malformed {
                path: path.to_owned(),
                place,
                problem,
            }),
            other => other,
        }
    }

    /// The ordinary tokens as a `.tiktoken` rank file; `None` for a character vocabulary.
    pub fn to_tiktoken(&self) -> Option<String> {
        matches!(self.vocabulary, Vocabulary::Bpe(_)).then(|| tiktoken::write(self))
    }

    /// BPE or characters.
    pub fn kind(&self) -> Kind {
        match self.vocabulary {
            Vocabulary::Bpe(_) => Kind::Bpe,
            Vocabulary::Characters(_) => Kind::Character,
        }
    }

    /// How many ids there are, special tokens included.
    pub fn vocab_size(&self) -> usize {
        self.ordinary_size() + SPECIAL_TOKENS.len()
    }

    /// How many ids are not special tokens; the special ones begin here.
    pub(crate) fn ordinary_size(&self) -> usize {
        self.tokens().len()
    }

    /// The id of `<|bos|>`, which begins every document.
    pub fn bos(&self) -> u32 {
        self.ordinary_size() as u32
    }

    /// The id of a special token by its name, such as `<|user_start|>`.
    pub fn special(&self, name: &str) -> Option<u32> {
        let index = SPECIAL_TOKENS.iter().position(|&special| special == name)?;
        Some((self.ordinary_size() + index) as u32)
    }

    /// The ids of a text. Special tokens spelled out in it stay text, and their ids never appear.
    /// In a character vocabulary, unknown characters become U+FFFD, `?`, a space or the lowest character,
    /// whichever of these it holds first (see [`unknown_character`](Self::unknown_character)).
    pub fn encode_ordinary(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_ordinary_into(text, &mut ids);
        ids
    }

    /// [`encode_ordinary`](Self::encode_ordinary), appending to `ids`.
    pub fn encode_ordinary_into(&self, text: &str, ids: &mut Vec<u32>) {
        match &self.vocabulary {
            Vocabulary::Bpe(bpe) => bpe.encode_into(text, ids),
            Vocabulary::Characters(characters) => characters.encode_into(text, ids),
        }
    }

    /// The ids of a text in which the special tokens in `allowed`, where they are spelled out, become their
    /// ids; all others stay text. Only for text from those who may end a conversation.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownSpecial`] for a name that is no special token.
    pub fn encode_with_special(&self, text: &str, allowed: &[&str]) -> Result<Vec<u32>, TokenizerError> {
        let allowed = special::indices(allowed)?;
        let mut ids = Vec::new();
        special::split(text, &allowed, |part| match part {
            Part::Text(text) => self.encode_ordinary_into(text, &mut ids),
            Part::Special(index) => ids.push(self.bos() + index as u32),
        });
        Ok(ids)
    }

    /// The first character of the text that encoding would lose, with its byte position. Always `None`
    /// for BPE.
    pub fn unknown_character(&self, text: &str) -> Option<(usize, char)> {
        match &self.vocabulary {
            Vocabulary::Bpe(_) => None,
            Vocabulary::Characters(characters) => text
                .char_indices()
                .find(|&(_, character)| !characters.contains(character)),
        }
    }

    /// The text of some ids. Invalid UTF-8 becomes U+FFFD, special tokens their names, and ids outside the
    /// vocabulary nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        match String::from_utf8_lossy(&self.decode_bytes(ids)) {
            std::borrow::Cow::Borrowed(text) => text.to_owned(),
            std::borrow::Cow::Owned(text) => text,
        }
    }

    /// The bytes of some ids; special tokens as their names, ids outside the vocabulary as nothing.
    pub fn decode_bytes(&self, ids: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &id in ids {
            bytes.extend_from_slice(self.token_bytes(id));
        }
        bytes
    }

    /// The bytes of one id: a special token's name, and nothing for an id outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        match (id as usize).checked_sub(self.ordinary_size()) {
            None => self.tokens().get(id),
            Some(special) => SPECIAL_TOKENS.get(special).map_or(&[], |name| name.as_bytes()),
        }
    }

    /// For bits per byte: how many bytes each id stands for, 0 for special tokens. `[vocab_size]`.
    pub fn byte_lengths(&self) -> Vec<u32> {
        (0..self.vocab_size())
            .map(|id| {
                if id < self.ordinary_size() {
                    self.token_bytes(id as u32).len() as u32
                } else {
                    0
                }
            })
            .collect()
    }

    /// SHA-256, in hexadecimal, of the file that [`save`](Self::save) writes: equal for tokenizers that
    /// encode and decode alike, and the name under which checkpoints remember theirs.
    pub fn fingerprint(&self) -> String {
        let hash = || format!("{:x}", Sha256::digest(json::write(self)));
        self.fingerprint.get_or_init(hash).clone()
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("kind", &self.kind())
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}
