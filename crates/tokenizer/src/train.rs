//! Text to a trained tokenizer: documents are cut and handed in bundles to threads that split and count
//! them as they come; what is kept grows with the distinct chunks, not with the text.
//!
//! Must never know where documents come from.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::bpe::Bpe;
use crate::count::{Counter, Counts};
use crate::merges::{Chunks, learn};
use crate::split::{SPLIT_PATTERN, Splitter};
use crate::{SPECIAL_TOKENS, Tokenizer, TokenizerError};

/// Every byte and the special tokens.
const LEAST_VOCAB: usize = 256 + SPECIAL_TOKENS.len();

/// Far beyond any use; keeps ids within `u32`.
const MOST_VOCAB: usize = 1 << 24;

/// How many bytes of documents make a bundle.
const BUNDLE: usize = 1 << 19;

/// Trains a byte-level BPE as rustbpe 0.1.0 does: the most frequent pair first, ties to the smaller pair.
///
/// ```
/// use ferrochat_tokenizer::Trainer;
///
/// let mut trainer = Trainer::new(270)?;
/// for document in ["the cat and the hat", "the end"] {
///     trainer.feed(document);
/// }
/// let tokenizer = trainer.finish(&mut |_, _| ())?;
/// assert_eq!(tokenizer.token_bytes(256), b"he");
/// let ids = tokenizer.encode_ordinary("the hat");
/// assert_eq!(tokenizer.decode(&ids), "the hat");
/// # Ok::<(), ferrochat_tokenizer::TokenizerError>(())
/// ```
pub struct Trainer {
    vocab_size: usize,
    doc_cap: usize,
    max_chars: u64,
    characters: u64,
    shared: Arc<Shared>,
    bundle: Bundle,
    /// From the first full bundle on.
    threads: Option<Threads>,
}

/// What the counting threads share.
struct Shared {
    splitter: Splitter,
    counts: Counts,
}

/// Some documents, one after the other.
#[derive(Default)]
struct Bundle {
    text: String,
    ends: Vec<usize>,
}

impl Bundle {
    fn count(&self, counter: &mut Counter<'_>, splitter: &Splitter) {
        let mut start = 0;
        for &end in &self.ends {
            counter.count(splitter, &self.text[start..end]);
            start = end;
        }
    }
}

struct Threads {
    bundles: SyncSender<Bundle>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    fn begin(shared: &Arc<Shared>) -> Self {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let (bundles, waiting) = sync_channel::<Bundle>(2 * count);
        let waiting = Arc::new(Mutex::new(waiting));
        let handles = (0..count)
            .map(|_| {
                let (shared, waiting) = (Arc::clone(shared), Arc::clone(&waiting));
                thread::spawn(move || count_all(&shared, &waiting))
            })
            .collect();
        Self { bundles, handles }
    }
}

/// A counting thread's life: until nobody can send bundles any more.
fn count_all(shared: &Shared, waiting: &Mutex<Receiver<Bundle>>) {
    let mut counter = Counter::new(&shared.counts);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(bundle) = next() {
        bundle.count(&mut counter, &shared.splitter);
    }
}

impl Trainer {
    /// A trainer for `vocab_size` ids, special tokens included, that splits by [`SPLIT_PATTERN`].
    ///
    /// # Errors
    /// [`TokenizerError::VocabSize`] if that does not hold the 256 bytes and the special tokens.
    pub fn new(vocab_size: usize) -> Result<Self, TokenizerError> {
        Self::with_pattern(vocab_size, SPLIT_PATTERN)
    }

    /// A trainer that splits by any pattern.
    ///
    /// # Errors
    /// [`TokenizerError::Pattern`], or as [`new`](Self::new).
    pub fn with_pattern(vocab_size: usize, pattern: &str) -> Result<Self, TokenizerError> {
        if !(LEAST_VOCAB..=MOST_VOCAB).contains(&vocab_size) {
            return Err(TokenizerError::VocabSize {
                given: vocab_size,
                least: LEAST_VOCAB,
                most: MOST_VOCAB,
            });
        }
        let splitter = Splitter::new(pattern).map_err(|problem| TokenizerError::Pattern {
            pattern: pattern.to_owned(),
            problem,
        })?;
        Ok(Self {
            vocab_size,
            doc_cap: 10_000,
            max_chars: 2_000_000_000,
            characters: 0,
            shared: Arc::new(Shared {
                splitter,
                counts: Counts::new(),
            }),
            bundle: Bundle::default(),
            threads: None,
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
        let (characters, cut) = cut(document, self.doc_cap);
        self.characters += characters as u64;
        self.bundle.text.push_str(cut);
        self.bundle.ends.push(self.bundle.text.len());
        if self.bundle.text.len() >= BUNDLE {
            self.hand_over();
        }
        self.characters <= self.max_chars
    }

    fn hand_over(&mut self) {
        let threads = self.threads.get_or_insert_with(|| Threads::begin(&self.shared));
        let text = String::with_capacity(self.bundle.text.len());
        let bundle = std::mem::replace(&mut self.bundle, Bundle { text, ends: Vec::new() });
        let sent = threads.bundles.send(bundle);
        sent.expect("the threads live as long as their channel");
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
        if let Some(Threads { bundles, handles }) = self.threads {
            drop(bundles);
            for handle in handles {
                handle.join().expect("counting does not panic");
            }
        }
        self.bundle
            .count(&mut Counter::new(&self.shared.counts), &self.shared.splitter);
        let shared = Arc::into_inner(self.shared).expect("the threads have ended");
        let mut chunks = Chunks::default();
        shared.counts.drain(|piece, count| chunks.push(piece, count));
        let merges = learn(chunks, self.vocab_size - LEAST_VOCAB, progress);
        let mut bpe = Bpe::new(shared.splitter, &std::array::from_fn(|byte| byte as u8));
        for pair in merges {
            let new = bpe.push(pair);
            // Equal bytes between the same boundaries are always merged alike, so that the same token
            // cannot be learned twice.
            debug_assert!(new, "the same token learned twice");
        }
        Ok(Tokenizer::from_bpe(bpe))
    }
}

/// The first `cap` code points of a document, and how many there are.
fn cut(document: &str, cap: usize) -> (usize, &str) {
    // Every code point has at least one byte.
    let sure = document.floor_char_boundary(cap.min(document.len()));
    let mut characters = document[..sure].chars().count();
    let rest = &document[sure..];
    for (at, _) in rest.char_indices() {
        if characters == cap {
            return (cap, &document[..sure + at]);
        }
        characters += 1;
    }
    (characters, document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Vocabulary;
    use std::collections::HashMap;

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
    fn cuts_after_so_many_code_points() {
        assert_eq!(cut("éaéb", 3), (3, "éaé"));
        assert_eq!(cut("éaéb", 4), (4, "éaéb"));
        assert_eq!(cut("éaéb", 5), (4, "éaéb"));
        assert_eq!(cut("éaéb", 0), (0, ""));
        assert_eq!(cut("", 3), (0, ""));
        assert_eq!(cut(&"é".repeat(50), 30), (30, &"é".repeat(30)[..]));
        assert_eq!(cut("abc", usize::MAX), (3, "abc"));
    }

    #[test]
    fn many_bundles_count_like_few() {
        let documents: Vec<String> = (0..4000_u32)
            .map(|k| {
                format!(
                    "{} number {} of {:x}",
                    "x".repeat(k as usize % 600),
                    k,
                    k.pow(3) % 50_021
                )
            })
            .collect();
        let mut all = Trainer::new(600).unwrap();
        for document in &documents {
            all.feed(document);
        }
        assert!(all.threads.is_some(), "too little text for a bundle");
        let mut counted: HashMap<&str, u64> = HashMap::new();
        let splitter = Splitter::new(SPLIT_PATTERN).unwrap();
        for document in &documents {
            splitter.split(document, &mut |start: usize, end: usize| {
                *counted.entry(&document[start..end]).or_default() += 1;
            });
        }
        let mut chunks = Chunks::default();
        for (piece, count) in counted {
            chunks.push(piece.as_bytes(), count);
        }
        let Vocabulary::Bpe(bpe) = trained(all).vocabulary else {
            unreachable!()
        };
        assert_eq!(bpe.merges, learn(chunks, 600 - LEAST_VOCAB, &mut |_, _| ()));
    }

    #[test]
    fn other_patterns_cut_elsewhere() {
        let learned = |pattern| {
            let mut trainer = Trainer::with_pattern(1000, pattern).unwrap();
            trainer.feed("1234 1234 1234");
            trained(trainer).vocab_size() - LEAST_VOCAB
        };
        assert_eq!(learned("."), 0);
        assert_eq!(learned(SPLIT_PATTERN), 2); // 12, 34
        assert_eq!(learned(r" ?\d+"), 4); // 12, 123, 1234, " 1234"
        assert!(Trainer::with_pattern(266, "(").is_err());
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
