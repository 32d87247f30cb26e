//! Merging a piece of any length while the vocabulary is still growing, as reading rank files asks for:
//! the neighbours wait in a heap for their turn.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Bpe;
use super::tables::NONE;

/// A part of the piece: a linked list in an array.
struct Part {
    id: u32,
    /// Of the merge with the next part.
    rank: u32,
    previous: usize,
    next: usize,
}

/// What the merges make of `piece`.
pub fn merge(bpe: &Bpe, piece: &[u8]) -> Vec<u32> {
    let mut parts: Vec<Part> = piece
        .iter()
        .enumerate()
        .map(|(at, &byte)| Part {
            id: bpe.byte_ids[byte as usize],
            rank: NONE,
            previous: at.wrapping_sub(1),
            next: at + 1,
        })
        .collect();
    let end = parts.len();
    let mut waiting = BinaryHeap::new();
    for at in 1..end {
        parts[at - 1].rank = bpe.pairs.get(parts[at - 1].id, parts[at].id);
        waiting.push(Reverse((parts[at - 1].rank, at - 1)));
    }
    while let Some(Reverse((rank, at))) = waiting.pop() {
        if rank == NONE {
            break;
        }
        if parts[at].rank != rank {
            continue; // one of the two has been merged away since
        }
        let eaten = parts[at].next;
        let after = parts[eaten].next;
        parts[eaten].rank = NONE;
        parts[at].id = rank;
        parts[at].next = after;
        parts[at].rank = NONE;
        if after < end {
            parts[after].previous = at;
            parts[at].rank = bpe.pairs.get(rank, parts[after].id);
            waiting.push(Reverse((parts[at].rank, at)));
        }
        if at > 0 {
            let before = parts[at].previous;
            parts[before].rank = bpe.pairs.get(parts[before].id, rank);
            waiting.push(Reverse((parts[before].rank, before)));
        }
    }
    let mut ids = Vec::new();
    let mut at = 0;
    while at < end {
        ids.push(parts[at].id);
        at = parts[at].next;
    }
    ids
}
