//! Counting pieces: which there are in a stream of documents, and how often each.
//!
//! Each counting thread keeps the pieces that come all the time in a small table of its own; what drops out
//! of it goes to tables that all threads share. What is kept therefore grows with the distinct pieces, not
//! with the text and not with the threads.
//!
//! Must never know merges.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::hash::{self, KEY_BYTES, Key};
use crate::split::{Splitter, Visit};

/// Shared tables, each behind a lock.
const SHARDS: usize = 64;

/// Entries that wait for a shard until its lock is taken.
const WAITING: usize = 128;

/// Two-way sets of a thread's own table.
const SETS_LOG2: u32 = 14;

/// All pieces and their counts.
pub(crate) struct Counts {
    shards: Vec<Mutex<Shard>>,
}

struct Shard {
    short: HashMap<ShortPiece, u64, Seeded>,
    long: HashMap<Box<[u8]>, u64, Seeded>,
}

impl Counts {
    pub fn new() -> Self {
        let seed = Seeded(hash::seed());
        let shard = || Shard {
            short: HashMap::with_hasher(seed),
            long: HashMap::with_hasher(seed),
        };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
        }
    }

    fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `visit` with each piece and its count, and gives up the memory on the way.
    pub fn drain(self, mut visit: impl FnMut(&[u8], u64)) {
        for shard in self.shards {
            let shard = shard.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (piece, count) in shard.short {
                let (bytes, length) = piece.bytes();
                visit(&bytes[..length], count);
            }
            for (piece, count) in shard.long {
                visit(&piece, count);
            }
        }
    }
}

/// What one thread has for itself while it counts.
pub(crate) struct Counter<'c> {
    counts: &'c Counts,
    sets: Vec<Set>,
    waiting: Vec<Vec<(Key, u64)>>,
}

/// The two pieces of this place in the table; the first is the one that came back.
#[derive(Clone, Copy, Default)]
struct Set([(Key, u64); 2]);

impl<'c> Counter<'c> {
    pub fn new(counts: &'c Counts) -> Self {
        Self {
            counts,
            sets: vec![Set::default(); 1 << SETS_LOG2],
            waiting: vec![Vec::new(); SHARDS],
        }
    }

    /// Counts the pieces of a text.
    pub fn count(&mut self, splitter: &Splitter, text: &str) {
        splitter.split(
            text,
            &mut Counting {
                counter: self,
                text: text.as_bytes(),
            },
        );
    }

    #[inline(always)]
    fn add(&mut self, key: Key) {
        let hash = hash::of_two(0, key[0], key[1]);
        let set = &mut self.sets[(hash >> (64 - SETS_LOG2)) as usize].0;
        if set[0].0 == key {
            set[0].1 += 1;
        } else if set[1].0 == key {
            set[1].1 += 1;
            set.swap(0, 1);
        } else {
            let evicted = std::mem::replace(&mut set[1], (key, 1));
            if evicted.1 > 0 {
                self.evict(hash, evicted);
            }
        }
    }

    #[inline(never)]
    fn evict(&mut self, hash: u64, entry: (Key, u64)) {
        // All of a set's pieces share the upper bits of their hash, and so their shard.
        let shard = (hash >> (64 - SETS_LOG2)) as usize % SHARDS;
        self.waiting[shard].push(entry);
        if self.waiting[shard].len() >= WAITING {
            self.flush(shard);
        }
    }

    fn flush(&mut self, shard: usize) {
        let mut table = self.counts.shard(shard);
        for (key, count) in self.waiting[shard].drain(..) {
            *table.short.entry(ShortPiece(key)).or_insert(0) += count;
        }
    }

    #[inline(never)]
    fn add_long(&mut self, piece: &[u8]) {
        let shard = hash::of_bytes(0, piece) as usize % SHARDS;
        let mut table = self.counts.shard(shard);
        if let Some(count) = table.long.get_mut(piece) {
            *count += 1;
        } else {
            table.long.insert(piece.into(), 1);
        }
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        for index in 0..self.sets.len() {
            for entry in std::mem::take(&mut self.sets[index]).0 {
                if entry.1 > 0 {
                    self.waiting[index % SHARDS].push(entry);
                }
            }
        }
        for shard in 0..SHARDS {
            self.flush(shard);
        }
    }
}

struct Counting<'a, 'c> {
    counter: &'a mut Counter<'c>,
    text: &'a [u8],
}

impl Visit for Counting<'_, '_> {
    #[inline(always)]
    fn piece(&mut self, start: usize, end: usize) {
        if end - start <= KEY_BYTES {
            self.counter.add(hash::key(self.text, start, end - start));
        } else {
            self.counter.add_long(&self.text[start..end]);
        }
    }
}

/// A piece of up to [`KEY_BYTES`] bytes.
#[derive(PartialEq, Eq)]
struct ShortPiece(Key);

impl ShortPiece {
    fn bytes(&self) -> ([u8; 16], usize) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0[0].to_le_bytes());
        bytes[8..].copy_from_slice(&self.0[1].to_le_bytes());
        (bytes, bytes[15] as usize)
    }
}

impl Hash for ShortPiece {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
        state.write_u64(self.0[1]);
    }
}

/// The crate's own hash under a seed, for the maps of the standard library.
#[derive(Clone, Copy)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = Self;
    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for Seeded {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash::of_bytes(self.0, bytes);
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = hash::of_two(self.0, self.0.rotate_left(17), word);
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn counts_over_threads_are_those_of_the_text() {
        let splitter = Splitter::new(crate::SPLIT_PATTERN).unwrap();
        let letter = |k: u32| char::from(b'a' + (k % 26) as u8);
        let piece = |k: u32| {
            let word: String = [k, k / 26, k / 676, k / 17_576].map(letter).iter().collect();
            format!(" {word} {}—{}", word.repeat(k as usize % 5), k % 1000)
        };
        let pieces: Vec<String> = (0..40_000).map(piece).collect();
        let text = pieces.concat();
        let mut expected: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        splitter.split(&text, &mut |start: usize, end: usize| {
            *expected.entry(text.as_bytes()[start..end].to_vec()).or_default() += 3;
        });
        assert!(expected.len() > 2 << SETS_LOG2, "too few to drop out");

        let counts = Counts::new();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| Counter::new(&counts).count(&splitter, &text));
            }
        });
        let mut counted = BTreeMap::new();
        counts.drain(|piece, count| assert_eq!(counted.insert(piece.to_vec(), count), None));
        assert!(counted == expected);
    }
}
