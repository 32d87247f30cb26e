//! Text to ids, by the learned merges.
//!
//! Invariant: ids 0–255 are the single bytes (in any order), merge `k` makes id 256 + k, and both its
//! halves have smaller ids. The rank of a merge is therefore the id that it makes.
//!
//! A piece goes through up to four doors: the thread's cache of late pieces (`cache`), the table of tokens
//! (a piece that is a token becomes that token, as in tiktoken), and then the merges, in one way for short
//! pieces (`short`) and in linear time for long ones (`long`).
//!
//! Must never know special tokens, files or how the merges were found.

mod cache;
mod heap;
mod long;
mod short;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::hash::{self, KEY_BYTES};
use crate::split::{Splitter, Visit};
use crate::tokens::Tokens;
use cache::{Cache, MOST_IDS};
use long::Long;
use short::SHORT;
use tables::{NONE, Pairs, Whole};

/// A byte-level BPE vocabulary without its special tokens.
pub(crate) struct Bpe {
    pub splitter: Splitter,
    pub merges: Vec<(u32, u32)>,
    /// The bytes of all tokens, the 256 single bytes included.
    pub tokens: Tokens,
    byte_ids: [u32; 256],
    /// The id that a pair of neighbours merges into.
    pairs: Pairs,
    /// The same for pairs of bytes, by the first times 256 plus the second.
    byte_pairs: Box<[u32]>,
    /// All tokens, to recognise a piece that is one token at a glance.
    whole: Whole,
    long: OnceLock<Long>,
    /// Those that no thread is using.
    encoders: Mutex<Vec<Box<Encoder>>>,
}

/// What a thread has for itself while it encodes.
pub(crate) struct Encoder {
    cache: Cache,
    scratch: long::Scratch,
    /// Ids on their way to the caller, so that a piece's few can be written without asking how many.
    out: [u32; OUT + MOST_IDS + 1],
}

/// What becomes of the pieces of a text, one after the other.
struct Pieces<'a> {
    bpe: &'a Bpe,
    text: &'a [u8],
    cache: &'a mut Cache,
    scratch: &'a mut long::Scratch,
    out: &'a mut [u32; OUT + MOST_IDS + 1],
    filled: usize,
    ids: &'a mut Vec<u32>,
}

impl Pieces<'_> {
    fn hand_on(&mut self) {
        self.ids.extend_from_slice(&self.out[..self.filled]);
        self.filled = 0;
    }
}

impl Visit for Pieces<'_> {
    #[inline(always)]
    fn piece(&mut self, start: usize, end: usize) {
        let (bpe, text) = (self.bpe, self.text);
        let length = end - start;
        if length <= KEY_BYTES {
            let known = self.cache.get(hash::key(text, start, length), |few| {
                bpe.few_ids(&text[start..end], few)
            });
            if let Some(few) = known {
                self.out[self.filled..][..few.len()].copy_from_slice(&few);
                self.filled += (few[MOST_IDS] as usize).min(MOST_IDS);
                if self.filled >= OUT {
                    self.hand_on();
                }
                return;
            }
        }
        self.hand_on();
        bpe.encode_piece(&text[start..end], self.scratch, self.ids);
    }
}

/// How many ids are handed on at once.
const OUT: usize = 1 << 10;

impl Bpe {
    /// A vocabulary of the 256 bytes, `byte_order[id]` being the byte of each id, and no merges yet.
    pub fn new(splitter: Splitter, byte_order: &[u8; 256]) -> Self {
        let mut byte_ids = [0; 256];
        let tokens: Tokens = byte_order.chunks(1).collect();
        let mut whole = Whole::new();
        for (id, &byte) in byte_order.iter().enumerate() {
            byte_ids[byte as usize] = id as u32;
            whole.insert(&tokens, id as u32);
        }
        Self {
            splitter,
            merges: Vec::new(),
            tokens,
            byte_ids,
            pairs: Pairs::new(),
            byte_pairs: vec![NONE; 1 << 16].into(),
            whole,
            long: OnceLock::new(),
            encoders: Mutex::new(Vec::new()),
        }
    }

    /// Adds the next merge. False, and nothing is added, if there is a token of the same bytes already.
    pub fn push(&mut self, pair: (u32, u32)) -> bool {
        let id = self.tokens.len() as u32;
        debug_assert!(pair.0 < id && pair.1 < id, "halves come before the whole");
        debug_assert!(self.long.get().is_none(), "complete before the first text comes");
        self.tokens.push_pair(pair.0, pair.1);
        if !self.whole.insert(&self.tokens, id) {
            self.tokens.pop();
            return false;
        }
        self.pairs.insert(pair, id);
        if let &[first, second] = self.tokens.get(id) {
            self.byte_pairs[usize::from(first) << 8 | usize::from(second)] = id;
        }
        self.merges.push(pair);
        true
    }

    /// Lends `work` an encoder.
    pub fn with_encoder<T>(&self, work: impl FnOnce(&mut Encoder) -> T) -> T {
        let idle = || self.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        let lent = idle().pop();
        let mut encoder = lent.unwrap_or_else(|| Box::new(Encoder::new()));
        let result = work(&mut encoder);
        idle().push(encoder);
        result
    }

    /// Appends the ids of `text`.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) {
        self.with_encoder(|encoder| self.encode_with(encoder, text, ids));
    }

    /// Appends the ids of `text`, with an encoder that [`with_encoder`](Self::with_encoder) lent.
    pub fn encode_with(&self, encoder: &mut Encoder, text: &str, ids: &mut Vec<u32>) {
        let mut pieces = Pieces {
            bpe: self,
            text: text.as_bytes(),
            cache: &mut encoder.cache,
            scratch: &mut encoder.scratch,
            out: &mut encoder.out,
            filled: 0,
            ids,
        };
        self.splitter.split(text, &mut pieces);
        pieces.hand_on();
    }

    /// The ids of a piece of up to [`KEY_BYTES`] bytes, if they are few enough to be remembered.
    #[inline(never)]
    fn few_ids(&self, piece: &[u8], few: &mut cache::Ids) -> bool {
        let whole = self.whole.get(&self.tokens, piece);
        if whole != NONE {
            few[0] = whole;
            few[MOST_IDS] = 1;
            return true;
        }
        let (ids, count) = short::merge(self, piece);
        if count > MOST_IDS {
            return false;
        }
        few[..count].copy_from_slice(&ids[..count]);
        few[MOST_IDS] = count as u32;
        true
    }

    #[inline(never)]
    fn encode_piece(&self, piece: &[u8], scratch: &mut long::Scratch, ids: &mut Vec<u32>) {
        match self.whole.get(&self.tokens, piece) {
            NONE => self.merge_piece(piece, scratch, ids),
            id => ids.push(id),
        }
    }

    /// What the merges so far make of `piece`; more may still follow.
    pub fn merge_so_far(&self, piece: &[u8]) -> Vec<u32> {
        if piece.len() <= SHORT {
            let (ids, count) = short::merge(self, piece);
            ids[..count].to_vec()
        } else {
            heap::merge(self, piece)
        }
    }

    /// Appends what the merges make of `piece`, lowest rank first and leftmost first among equals.
    fn merge_piece(&self, piece: &[u8], scratch: &mut long::Scratch, ids: &mut Vec<u32>) {
        if piece.len() <= SHORT {
            let (merged, count) = short::merge(self, piece);
            ids.extend_from_slice(&merged[..count]);
        } else {
            let long = self.long.get_or_init(|| Long::new(self));
            long.merge(self, piece, scratch, ids);
        }
    }
}

impl Encoder {
    fn new() -> Self {
        Self {
            cache: Cache::new(),
            scratch: long::Scratch::default(),
            out: [0; OUT + MOST_IDS + 1],
        }
    }
}
