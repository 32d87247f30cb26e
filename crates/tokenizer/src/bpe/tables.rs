//! Two hash tables with open addressing: which pairs merge, and which byte strings are tokens.

use crate::hash;
use crate::tokens::Tokens;

/// No id.
pub const NONE: u32 = u32::MAX;

/// Slots of the smallest table.
const SMALLEST: usize = 1 << 10;

#[derive(Clone, Copy)]
struct PairSlot {
    pair: (u32, u32),
    /// What the pair makes; [`NONE`] in an empty slot.
    id: u32,
}

const EMPTY: PairSlot = PairSlot {
    pair: (NONE, NONE),
    id: NONE,
};

/// The id that a pair of neighbours merges into.
pub struct Pairs {
    /// A power of two of them, at most half full.
    slots: Vec<PairSlot>,
    used: usize,
    seed: u64,
}

impl Pairs {
    pub fn new() -> Self {
        Self {
            slots: vec![EMPTY; SMALLEST],
            used: 0,
            seed: hash::seed(),
        }
    }

    #[inline(always)]
    fn first_slot(&self, pair: (u32, u32)) -> usize {
        let hash = (u64::from(pair.0) << 32 | u64::from(pair.1)) ^ self.seed;
        let hash = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (hash ^ hash >> 32) as usize & (self.slots.len() - 1)
    }

    /// What `left` and `right` merge into, or [`NONE`].
    #[inline(always)]
    pub fn get(&self, left: u32, right: u32) -> u32 {
        let mask = self.slots.len() - 1;
        let mut at = self.first_slot((left, right));
        loop {
            let slot = &self.slots[at & mask];
            if slot.pair == (left, right) || slot.id == NONE {
                return slot.id;
            }
            at += 1;
        }
    }

    /// Adds a pair, or replaces what it makes.
    pub fn insert(&mut self, pair: (u32, u32), id: u32) {
        if (self.used + 1) * 2 > self.slots.len() {
            let larger = vec![EMPTY; self.slots.len() * 2];
            self.used = 0;
            for slot in std::mem::replace(&mut self.slots, larger) {
                if slot.id != NONE {
                    self.insert(slot.pair, slot.id);
                }
            }
        }
        let mask = self.slots.len() - 1;
        let mut at = self.first_slot(pair);
        while self.slots[at & mask].id != NONE && self.slots[at & mask].pair != pair {
            at += 1;
        }
        self.used += usize::from(self.slots[at & mask].id == NONE);
        self.slots[at & mask] = PairSlot { pair, id };
    }
}

/// The id of a byte string that is a token, the bytes themselves being in [`Tokens`].
pub struct Whole {
    /// Upper half of the hash, id. A power of two of them, at most half full.
    slots: Vec<(u32, u32)>,
    used: usize,
    seed: u64,
}

impl Whole {
    pub fn new() -> Self {
        Self {
            slots: vec![(0, NONE); SMALLEST],
            used: 0,
            seed: hash::seed(),
        }
    }

    /// The slot that holds `bytes`, or the empty one where they belong.
    #[inline]
    fn find(&self, tokens: &Tokens, bytes: &[u8]) -> (usize, u32) {
        let mask = self.slots.len() - 1;
        let hash = hash::of_bytes(self.seed, bytes);
        let tag = (hash >> 32) as u32;
        let mut at = hash as usize & mask;
        loop {
            let (other, id) = self.slots[at];
            if id == NONE || (other == tag && tokens.get(id) == bytes) {
                return (at, tag);
            }
            at = (at + 1) & mask;
        }
    }

    /// The token that `bytes` are, or [`NONE`].
    #[inline]
    pub fn get(&self, tokens: &Tokens, bytes: &[u8]) -> u32 {
        self.slots[self.find(tokens, bytes).0].1
    }

    /// Adds the token `id`. False, and nothing is added, if there is one of the same bytes.
    pub fn insert(&mut self, tokens: &Tokens, id: u32) -> bool {
        if (self.used + 1) * 2 > self.slots.len() {
            let larger = vec![(0, NONE); self.slots.len() * 2];
            self.used = 0;
            for (_, id) in std::mem::replace(&mut self.slots, larger) {
                if id != NONE {
                    self.insert(tokens, id);
                }
            }
        }
        let (at, tag) = self.find(tokens, tokens.get(id));
        if self.slots[at].1 != NONE {
            return false;
        }
        self.slots[at] = (tag, id);
        self.used += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn pairs_come_back() {
        let mut pairs = Pairs::new();
        let mut expected = HashMap::new();
        for k in 0..5000_u32 {
            let pair = (k * 7 % 300, k * 11 % 333);
            pairs.insert(pair, k);
            expected.insert(pair, k);
        }
        for left in 0..300 {
            for right in 0..333 {
                let known = expected.get(&(left, right)).copied().unwrap_or(NONE);
                assert_eq!(pairs.get(left, right), known);
            }
        }
    }

    #[test]
    fn tokens_come_back_once() {
        let tokens: Tokens = (0..3000_u32).map(|k| (k % 2000).to_string()).collect();
        let mut whole = Whole::new();
        for id in 0..3000 {
            assert_eq!(whole.insert(&tokens, id), id < 2000);
        }
        for k in 0..2500_u32 {
            let id = if k < 2000 { k } else { NONE };
            assert_eq!(whole.get(&tokens, k.to_string().as_bytes()), id);
        }
    }
}
