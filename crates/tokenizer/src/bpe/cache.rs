//! The pieces that came lately and what became of them: a small table of two-way sets that each thread has
//! for itself. It lets a word that came before cost one look into memory.

use crate::hash::{self, Key};

/// Sets of a new cache, 64 bytes each, and of one that has seen much: 32 KiB and 4 MiB.
const FEWEST_LOG2: u32 = 9;
const MOST_LOG2: u32 = 16;

/// The most ids of a piece that is remembered.
pub const MOST_IDS: usize = 3;

/// A piece's ids, and how many there are of them in the last place.
pub type Ids = [u32; MOST_IDS + 1];

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Entry {
    key: Key,
    ids: Ids,
}

/// One line of the processor's cache.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Set([Entry; 2]);

/// See the module.
pub struct Cache {
    sets: Vec<Set>,
    /// 64 less the logarithm of their number.
    shift: u32,
    /// Pieces that were not here since the cache last grew.
    misses: usize,
}

#[inline(always)]
fn hash_of(key: Key) -> u64 {
    hash::of_two(0, key[0], key[1])
}

impl Cache {
    pub fn new() -> Self {
        Self {
            sets: vec![Set::default(); 1 << FEWEST_LOG2],
            shift: 64 - FEWEST_LOG2,
            misses: 0,
        }
    }

    /// What `key` became when it last came; `make` says so if that is forgotten, and answers false if there
    /// were more ids than can be remembered (and has put them elsewhere).
    #[inline(always)]
    pub fn get(&mut self, key: Key, make: impl FnOnce(&mut Ids) -> bool) -> Option<Ids> {
        let set = &mut self.sets[(hash_of(key) >> self.shift) as usize].0;
        if set[0].key == key {
            return Some(set[0].ids);
        }
        if set[1].key == key {
            // What comes twice moves to the first place; what comes once only ever takes the second.
            set.swap(0, 1);
            return Some(set[0].ids);
        }
        let mut ids = Ids::default();
        if !make(&mut ids) {
            return None;
        }
        set[1] = Entry { key, ids };
        self.misses += 1;
        if self.misses > self.sets.len() * 2 {
            self.grow();
        }
        Some(ids)
    }

    /// Four times the room, as long as there may be more.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        self.misses = 0;
        if self.shift <= 64 - MOST_LOG2 {
            return;
        }
        self.shift = (self.shift - 2).max(64 - MOST_LOG2);
        let larger = vec![Set::default(); 1 << (64 - self.shift)];
        for old in std::mem::replace(&mut self.sets, larger) {
            for entry in old.0.into_iter().filter(|entry| entry.key != Key::default()) {
                let set = &mut self.sets[(hash_of(entry.key) >> self.shift) as usize].0;
                let free = usize::from(set[0].key != Key::default());
                set[free] = entry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_while_it_grows() {
        let mut cache = Cache::new();
        let mut made = 0;
        for k in 0..500_000_u64 {
            // Every other time the same twenty.
            let k = if k % 2 == 0 { k % 40 } else { 1000 + k };
            let ids = cache.get([k, 1 << 56], |ids| {
                made += 1;
                *ids = [k as u32, 2, 3, 3];
                true
            });
            assert_eq!(ids, Some([k as u32, 2, 3, 3]));
        }
        assert!(cache.sets.len() == 1 << MOST_LOG2);
        assert!(made < 250_000 + 200, "the twenty are forgotten too often: {made}");
    }

    #[test]
    fn what_is_too_long_is_not_remembered() {
        let mut cache = Cache::new();
        for _ in 0..2 {
            assert_eq!(cache.get([1, 1 << 56], |_| false), None);
        }
    }
}
