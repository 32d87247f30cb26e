//! Merging a piece of any length in linear time.
//!
//! A sequence of tokens is what the merges make of its bytes exactly if every two neighbours are what the
//! merges make of *their* bytes. So the piece is encoded from left to right: take the longest token that
//! fits here and goes with the token before it, else the next shorter one, else take the token before it
//! back. A place that led nowhere is never tried again. (The idea is that of the crate `bpe` by Hendrik van
//! Antwerpen and Alexander Neubeck, GitHub 2024.)
//!
//! Two neighbours go together if no merge across their border comes before the merges that made them; that
//! is seen by undoing those merges, latest first.

use super::Bpe;
use super::tables::{NONE, Pairs};

/// What linear merging must know beside the merges; made when the first long piece comes.
pub struct Long {
    trie: Trie,
    /// For each token that its own bytes lead to, the longest other such token that it begins with.
    prefixes: Vec<u32>,
}

/// Buffers kept from piece to piece.
#[derive(Default)]
pub struct Scratch {
    /// One bit for each place in the piece: it has led nowhere.
    dead: Vec<u64>,
}

impl Long {
    pub fn new(bpe: &Bpe) -> Self {
        let count = bpe.tokens.len();
        let mut trie = Trie::new();
        let mut reachable = vec![true; count];
        let mut prefixes = vec![NONE; count];
        for id in 0..count as u32 {
            if id >= 256 {
                let (left, right) = bpe.merges[id as usize - 256];
                // A file may hold tokens that no text leads to, as merges of lower rank come in between.
                if !reachable[left as usize] || !reachable[right as usize] || !go_together(bpe, left, right, id) {
                    reachable[id as usize] = false;
                    continue;
                }
            }
            trie.insert(bpe.tokens.get(id), id);
        }
        for id in (256..count as u32).filter(|&id| reachable[id as usize]) {
            let bytes = bpe.tokens.get(id);
            prefixes[id as usize] = trie.longest(&bytes[..bytes.len() - 1]);
        }
        Self { trie, prefixes }
    }

    /// Appends what the merges make of `piece`.
    pub fn merge(&self, bpe: &Bpe, piece: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let first = ids.len();
        let dead = &mut scratch.dead;
        dead.clear();
        dead.resize(piece.len() / 64 + 1, 0);
        let mut at = 0;
        let mut token = self.trie.longest(piece);
        while at < piece.len() {
            let last = if ids.len() > first { ids[ids.len() - 1] } else { NONE };
            // The longest token from here that goes with the last and does not lead nowhere.
            let mut fits = token;
            let mut end = at;
            while fits != NONE {
                end = at + bpe.tokens.get(fits).len();
                let lives = dead[end / 64] >> (end % 64) & 1 == 0;
                if lives && (last == NONE || go_together(bpe, last, fits, NONE)) {
                    break;
                }
                fits = self.prefixes[fits as usize];
            }
            if fits == NONE {
                debug_assert!(last != NONE, "every piece has an encoding");
                dead[at / 64] |= 1 << (at % 64);
                ids.truncate(ids.len() - 1);
                at -= bpe.tokens.get(last).len();
                // The same token again, to go on with shorter ones: where it ends is dead now.
                token = last;
            } else {
                ids.push(fits);
                at = end;
                token = self.trie.longest(&piece[at..]);
            }
        }
    }
}

/// Whether the merges of ids below `limit` make exactly `[left, right]` of the bytes of both together, each
/// of the two being what they make of its own bytes.
fn go_together(bpe: &Bpe, mut left: u32, mut right: u32, mut limit: u32) -> bool {
    loop {
        let across = bpe.pairs.get(left, right);
        if across < limit {
            return false;
        }
        // Undo the later one of the merges that made the two; the border pair from then on had to merge
        // before it to win. Of equal merges, the one further left comes first.
        if left > right {
            if left < 256 {
                return true;
            }
            limit = left;
            left = bpe.merges[left as usize - 256].1;
        } else {
            if right < 256 {
                return true;
            }
            limit = right + 1;
            right = bpe.merges[right as usize - 256].0;
        }
    }
}

/// Byte strings as paths from a root, the edges in one hash table: (node, byte) to (node, token that ends
/// there).
struct Trie {
    edges: Pairs,
    /// The token that ends in each node, or [`NONE`].
    tokens: Vec<u32>,
}

impl Trie {
    fn new() -> Self {
        Self {
            edges: Pairs::new(),
            tokens: vec![NONE],
        }
    }

    fn insert(&mut self, bytes: &[u8], token: u32) {
        let mut node = 0;
        for &byte in bytes {
            let mut next = self.edges.get(node, u32::from(byte));
            if next == NONE {
                next = self.tokens.len() as u32;
                self.tokens.push(NONE);
                self.edges.insert((node, u32::from(byte)), next);
            }
            node = next;
        }
        self.tokens[node as usize] = token;
    }

    /// The longest token that `bytes` begin with, or [`NONE`].
    fn longest(&self, bytes: &[u8]) -> u32 {
        let mut node = 0;
        let mut longest = NONE;
        for &byte in bytes {
            node = self.edges.get(node, u32::from(byte));
            if node == NONE {
                break;
            }
            let token = self.tokens[node as usize];
            if token != NONE {
                longest = token;
            }
        }
        longest
    }
}
