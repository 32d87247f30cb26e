//! Chunk counts to merges: the learning half of BPE training.
//!
//! Pair counts are kept up to date merge by merge; each pair remembers the chunks it may occur in, so a
//! merge touches only those, and what it changes is summed up by neighbour before any table hears of it.
//! The largest count comes from a heap whose stale entries are refreshed when they surface (counts of
//! existing pairs only ever fall). Ties go to the smaller pair of ids.
//!
//! Must never know text: chunks are byte strings with counts here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

type Pair = (u32, u32);

/// What is known of a pair that occurs somewhere.
#[derive(Clone, Default)]
struct Occurrences {
    /// How often, weighted by the counts of the chunks.
    count: u64,
    /// Chunks that held the pair when it first appeared; it may be gone from some.
    chunks: Vec<u32>,
}

impl Occurrences {
    #[inline(always)]
    fn add(&mut self, chunk: u32, count: u64) {
        self.count += count;
        // A chunk's occurrences come one after the other.
        if self.chunks.last() != Some(&chunk) {
            self.chunks.push(chunk);
        }
    }
}

struct Chunk {
    start: usize,
    length: u32,
    count: u64,
}

/// The distinct chunks as ids, all in one array. Merging shrinks a chunk in place.
#[derive(Default)]
pub(crate) struct Chunks {
    ids: Vec<u32>,
    chunks: Vec<Chunk>,
}

impl Chunks {
    /// Adds a chunk and how often it came.
    pub fn push(&mut self, bytes: &[u8], count: u64) {
        if bytes.len() < 2 {
            return; // nothing to merge in it
        }
        self.chunks.push(Chunk {
            start: self.ids.len(),
            length: bytes.len() as u32,
            count,
        });
        self.ids.extend(bytes.iter().map(|&byte| u32::from(byte)));
    }

    /// All pairs of bytes.
    fn byte_pairs(&self) -> FxHashMap<Pair, Occurrences> {
        let mut pairs = vec![Occurrences::default(); 1 << 16];
        for (index, chunk) in self.chunks.iter().enumerate() {
            for two in self.ids[chunk.start..][..chunk.length as usize].windows(2) {
                pairs[(two[0] << 8 | two[1]) as usize].add(index as u32, chunk.count);
            }
        }
        (0..)
            .zip(pairs)
            .filter(|(_, seen)| seen.count > 0)
            .map(|(bytes, seen)| ((bytes >> 8, bytes & 0xFF), seen))
            .collect()
    }

    /// Replaces `pair` by `id` from left to right in one chunk, and notes the neighbours of each `id` made.
    fn merge(&mut self, index: u32, pair: Pair, id: u32, left: &mut Neighbours, right: &mut Neighbours) {
        let chunk = &mut self.chunks[index as usize];
        let ids = &mut self.ids[chunk.start..][..chunk.length as usize];
        let (mut read, mut write) = (0, 0);
        while read < ids.len() {
            if read + 1 < ids.len() && ids[read] == pair.0 && ids[read + 1] == pair.1 {
                if write > 0 {
                    left.add(ids[write - 1], index, chunk.count);
                }
                if read + 2 < ids.len() {
                    right.add(ids[read + 2], index, chunk.count);
                }
                ids[write] = id;
                read += 2;
            } else {
                ids[write] = ids[read];
                read += 1;
            }
            write += 1;
        }
        chunk.length = write as u32;
    }
}

/// What stands on one side of a new id, while its merge goes on.
struct Neighbours {
    /// By id.
    seen: Vec<Occurrences>,
    /// Those that have been seen.
    touched: Vec<u32>,
}

impl Neighbours {
    fn new(ids: usize) -> Self {
        Self {
            seen: vec![Occurrences::default(); ids],
            touched: Vec::new(),
        }
    }

    #[inline(always)]
    fn add(&mut self, neighbour: u32, chunk: u32, count: u64) {
        let seen = &mut self.seen[neighbour as usize];
        if seen.count == 0 {
            self.touched.push(neighbour);
        }
        seen.add(chunk, count);
    }

    fn drain(&mut self) -> impl Iterator<Item = (u32, Occurrences)> {
        let seen = &mut self.seen;
        self.touched
            .drain(..)
            .map(|neighbour| (neighbour, std::mem::take(&mut seen[neighbour as usize])))
    }
}

/// Learns at most `most` merges from chunks and their counts; fewer when no pair is left. Id 256 + k is
/// merge k. `progress` hears how many of how many are done after each.
pub(crate) fn learn(mut chunks: Chunks, most: usize, progress: &mut dyn FnMut(usize, usize)) -> Vec<Pair> {
    let mut pairs = chunks.byte_pairs();
    let mut heap: BinaryHeap<(u64, Reverse<Pair>)> =
        pairs.iter().map(|(&pair, seen)| (seen.count, Reverse(pair))).collect();
    // Every merge shortens a chunk, so that there cannot be more ids than that.
    let ids = 256 + most.min(chunks.ids.len());
    let (mut left, mut right) = (Neighbours::new(ids), Neighbours::new(ids));
    let mut lost: Vec<(Pair, u64)> = Vec::new();

    let mut merges = Vec::new();
    while merges.len() < most {
        let Some((believed, Reverse(pair))) = heap.pop() else {
            break;
        };
        let count = pairs.get(&pair).map_or(0, |seen| seen.count);
        if count != believed {
            if count > 0 {
                heap.push((count, Reverse(pair)));
            } else {
                pairs.remove(&pair);
            }
            continue;
        }
        let seen = pairs.remove(&pair).expect("its count was just read");
        let id = 256 + merges.len() as u32;
        for chunk in seen.chunks {
            chunks.merge(chunk, pair, id, &mut left, &mut right);
        }
        // Where x stood before the pair, (x, first) has become (x, id); where y stood after it, (second, y)
        // has become (id, y). Pairs with the new id are new, and each comes from one side only.
        let before = left.drain().map(|(x, seen)| ((x, pair.0), (x, id), seen));
        let after = right.drain().map(|(y, seen)| ((pair.1, y), (id, y), seen));
        for (old, new, seen) in before.chain(after) {
            lost.push((old, seen.count));
            heap.push((seen.count, Reverse(new)));
            pairs.insert(new, seen);
        }
        // Losses last: in "abab" (id, a) comes and goes. Of the pair itself, which in "aaa" overlaps itself,
        // nothing is left to lose.
        for (old, count) in lost.drain(..) {
            if let Some(seen) = pairs.get_mut(&old) {
                seen.count -= count;
            }
        }
        merges.push(pair);
        progress(merges.len(), most);
    }
    merges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Counts everything anew for each merge.
    fn naive(counted: &[(String, u64)], most: usize) -> Vec<Pair> {
        let mut words: Vec<(Vec<u32>, u64)> = counted
            .iter()
            .map(|(text, count)| (text.bytes().map(u32::from).collect(), *count))
            .collect();
        let mut merges: Vec<Pair> = Vec::new();
        while merges.len() < most {
            let mut counts: BTreeMap<Pair, u64> = BTreeMap::new();
            for (ids, count) in &words {
                for two in ids.windows(2) {
                    *counts.entry((two[0], two[1])).or_default() += count;
                }
            }
            let Some((&pair, _)) = counts.iter().rev().max_by_key(|&(_, count)| count) else {
                break;
            };
            for (ids, _) in &mut words {
                let mut at = 0;
                while at + 1 < ids.len() {
                    if (ids[at], ids[at + 1]) == pair {
                        ids[at] = 256 + merges.len() as u32;
                        ids.remove(at + 1);
                    }
                    at += 1;
                }
            }
            merges.push(pair);
        }
        merges
    }

    fn learned<'t>(counted: impl IntoIterator<Item = (&'t str, u64)>, most: usize) -> Vec<Pair> {
        let mut chunks = Chunks::default();
        for (text, count) in counted {
            chunks.push(text.as_bytes(), count);
        }
        learn(chunks, most, &mut |_, _| ())
    }

    #[test]
    fn ties_go_to_the_smaller_pair() {
        let merges = learned([("ba", 1), ("ab", 1), ("aa", 1)], 9);
        assert_eq!(merges, [(97, 97), (97, 98), (98, 97)]);
    }

    proptest! {
        #[test]
        fn equals_counting_anew(
            counted in prop::collection::vec(("[ab]{0,14}|[abc]{0,9}", 1..4_u64), 0..12),
            most in 0..60_usize,
        ) {
            let ours = learned(counted.iter().map(|(text, count)| (&text[..], *count)), most);
            prop_assert_eq!(ours, naive(&counted, most));
        }
    }
}
