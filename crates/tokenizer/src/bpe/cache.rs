//! The pieces that came lately and what became of them: a small table of two-way sets that each thread has
//! for itself. It lets a word that came before cost one look into memory.

use crate::hash::{self, Key};

/// Sets in the cache, 64 bytes each.
const SETS_LOG2: u32 = 15;

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
    sets: Box<[Set; 1 << SETS_LOG2]>,
}

impl Cache {
    pub fn new() -> Self {
        let sets = vec![Set::default(); 1 << SETS_LOG2].into_boxed_slice();
        let Ok(sets) = sets.try_into() else {
            unreachable!("that many were made")
        };
        Self { sets }
    }

    /// What `key` became when it last came; `make` says so if that is forgotten, and answers false if there
    /// were more ids than can be remembered (and has put them elsewhere).
    #[inline(always)]
    pub fn get(&mut self, key: Key, make: impl FnOnce(&mut Ids) -> bool) -> Option<Ids> {
        let set = &mut self.sets[(hash::of_two(0, key[0], key[1]) >> (64 - SETS_LOG2)) as usize].0;
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
        Some(ids)
    }
}
