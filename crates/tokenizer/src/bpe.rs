//! One piece of text to ids, by the learned merges.
//!
//! Invariant: ids 0–255 are the single bytes (in any order), merge `k` makes id 256 + k, and both its
//! halves have smaller ids. The rank of a merge is therefore the id that it makes.
//!
//! Must never know special tokens, files or how the merges were found.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use crate::split::Splitter;

/// "This pair does not merge": larger than every id.
const NO_MERGE: u32 = u32::MAX;

/// Pieces up to this many bytes are merged by looking through all pairs each time; that is quickest for
/// words, and quadratic. Longer ones go through a heap.
const SHORT_PIECE: usize = 64;

/// A byte-level BPE vocabulary without its special tokens.
pub(crate) struct Bpe {
    pub splitter: Splitter,
    pub merges: Vec<(u32, u32)>,
    byte_ids: [u32; 256],
    /// The id that a pair of neighbours merges into.
    pairs: FxHashMap<(u32, u32), u32>,
    /// All tokens of two bytes or more, to recognise a piece that is one token at a glance.
    whole: FxHashMap<Box<[u8]>, u32>,
}

impl Bpe {
    /// A vocabulary of the 256 bytes, `byte_order[id]` being the byte of each id, and no merges yet.
    pub fn new(splitter: Splitter, byte_order: &[u8; 256]) -> Self {
        let mut byte_ids = [0; 256];
        for (id, &byte) in byte_order.iter().enumerate() {
            byte_ids[byte as usize] = id as u32;
        }
        Self {
            splitter,
            merges: Vec::new(),
            byte_ids,
            pairs: FxHashMap::default(),
            whole: FxHashMap::default(),
        }
    }

    /// Adds the next merge. `bytes` are those of both halves together. False, and nothing is added, if a
    /// token of these bytes is there already.
    pub fn push(&mut self, pair: (u32, u32), bytes: &[u8]) -> bool {
        let id = 256 + self.merges.len() as u32;
        debug_assert!(pair.0 < id && pair.1 < id, "halves come before the whole");
        if self.whole.contains_key(bytes) {
            return false;
        }
        self.whole.insert(bytes.into(), id);
        self.pairs.insert(pair, id);
        self.merges.push(pair);
        true
    }

    /// Appends the ids of `text`.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) {
        let mut scratch = Scratch::default();
        self.splitter.split(text, |start, end| {
            let piece = &text.as_bytes()[start..end];
            match self.whole.get(piece) {
                Some(&id) => ids.push(id),
                None => self.merge_piece(piece, &mut scratch, ids),
            }
        });
    }

    /// Appends what the merges make of `piece`, lowest rank first and leftmost first among equals.
    pub fn merge_piece(&self, piece: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        if piece.len() <= SHORT_PIECE {
            self.merge_short(piece, scratch, ids);
        } else {
            self.merge_long(piece, scratch, ids);
        }
    }

    fn rank(&self, left: u32, right: u32) -> u32 {
        self.pairs.get(&(left, right)).copied().unwrap_or(NO_MERGE)
    }

    fn merge_short(&self, piece: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        // Each part carries the rank of its merge with the part after it.
        let parts = &mut scratch.parts;
        parts.clear();
        parts.extend(piece.iter().map(|&byte| (self.byte_ids[byte as usize], NO_MERGE)));
        for at in 1..parts.len() {
            parts[at - 1].1 = self.rank(parts[at - 1].0, parts[at].0);
        }
        loop {
            let mut best = (NO_MERGE, 0);
            for (at, &(_, rank)) in parts.iter().enumerate() {
                if rank < best.0 {
                    best = (rank, at);
                }
            }
            let (rank, at) = best;
            if rank == NO_MERGE {
                break;
            }
            parts.remove(at + 1);
            parts[at].0 = rank;
            parts[at].1 = parts.get(at + 1).map_or(NO_MERGE, |next| self.rank(rank, next.0));
            if at > 0 {
                parts[at - 1].1 = self.rank(parts[at - 1].0, rank);
            }
        }
        ids.extend(parts.iter().map(|part| part.0));
    }

    fn merge_long(&self, piece: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let nodes = &mut scratch.nodes;
        nodes.clear();
        nodes.extend(piece.iter().enumerate().map(|(at, &byte)| Node {
            id: self.byte_ids[byte as usize],
            rank: NO_MERGE,
            previous: at.wrapping_sub(1),
            next: at + 1,
        }));
        let end = nodes.len();
        let mut candidates = Vec::new();
        for at in 1..end {
            let rank = self.rank(nodes[at - 1].id, nodes[at].id);
            nodes[at - 1].rank = rank;
            if rank != NO_MERGE {
                candidates.push(Reverse((rank, at - 1)));
            }
        }
        let mut candidates = BinaryHeap::from(candidates);
        while let Some(Reverse((rank, at))) = candidates.pop() {
            if nodes[at].rank != rank {
                continue; // one of the two has been merged away since
            }
            let eaten = nodes[at].next;
            let after = nodes[eaten].next;
            nodes[eaten].rank = NO_MERGE;
            nodes[at].id = rank;
            nodes[at].next = after;
            nodes[at].rank = NO_MERGE;
            if after < end {
                nodes[after].previous = at;
                nodes[at].rank = self.rank(rank, nodes[after].id);
                if nodes[at].rank != NO_MERGE {
                    candidates.push(Reverse((nodes[at].rank, at)));
                }
            }
            if at > 0 {
                let before = nodes[at].previous;
                nodes[before].rank = self.rank(nodes[before].id, rank);
                if nodes[before].rank != NO_MERGE {
                    candidates.push(Reverse((nodes[before].rank, before)));
                }
            }
        }
        let mut at = 0;
        while at < end {
            ids.push(nodes[at].id);
            at = nodes[at].next;
        }
    }
}

/// A part of a long piece: a linked list in an array.
struct Node {
    id: u32,
    /// Of the merge with the next part.
    rank: u32,
    previous: usize,
    next: usize,
}

/// Buffers kept from piece to piece.
#[derive(Default)]
pub(crate) struct Scratch {
    parts: Vec<(u32, u32)>,
    nodes: Vec<Node>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Merge by merge, in the order they were learned, left to right: the definition of BPE.
    fn by_definition(bpe: &Bpe, piece: &[u8]) -> Vec<u32> {
        let mut ids: Vec<u32> = piece.iter().map(|&byte| bpe.byte_ids[byte as usize]).collect();
        for (k, &(left, right)) in bpe.merges.iter().enumerate() {
            let mut at = 0;
            while at + 1 < ids.len() {
                if (ids[at], ids[at + 1]) == (left, right) {
                    ids[at] = 256 + k as u32;
                    ids.remove(at + 1);
                }
                at += 1;
            }
        }
        ids
    }

    /// Random merges over the letters "abc": every token is reachable, many overlap.
    fn random_bpe(choices: &[(usize, usize)]) -> Bpe {
        let order = std::array::from_fn(|byte| byte as u8);
        let splitter = Splitter::new(crate::SPLIT_PATTERN).unwrap();
        let mut bpe = Bpe::new(splitter, &order);
        let mut tokens: Vec<(u32, Vec<u8>)> = "abc".bytes().map(|byte| (u32::from(byte), vec![byte])).collect();
        for &(left, right) in choices {
            let (left, right) = (left % tokens.len(), right % tokens.len());
            let pair = (tokens[left].0, tokens[right].0);
            let bytes = [&tokens[left].1[..], &tokens[right].1[..]].concat();
            // Trained vocabularies only hold tokens that their own merges lead to.
            let reached = by_definition(&bpe, &bytes);
            if reached == [pair.0, pair.1] && bpe.push(pair, &bytes) {
                tokens.push((255 + bpe.merges.len() as u32, bytes));
            }
        }
        bpe
    }

    proptest! {
        #[test]
        fn both_ways_equal_the_definition(
            choices in prop::collection::vec((0..100_usize, 0..100_usize), 0..40),
            piece in "[abc]{1,100}",
        ) {
            let bpe = random_bpe(&choices);
            let expected = by_definition(&bpe, piece.as_bytes());
            let mut scratch = Scratch::default();
            let (mut short, mut long) = (Vec::new(), Vec::new());
            bpe.merge_short(piece.as_bytes(), &mut scratch, &mut short);
            bpe.merge_long(piece.as_bytes(), &mut scratch, &mut long);
            prop_assert_eq!(&short, &expected);
            prop_assert_eq!(&long, &expected);
            let mut encoded = Vec::new();
            bpe.encode_into(&piece, &mut encoded);
            prop_assert_eq!(&encoded, &expected);
        }
    }
}
