//! Chunk counts to merges: the learning half of BPE training.
//!
//! Pair counts are kept up to date merge by merge; each pair remembers the chunks it may occur in, so a
//! merge touches only those. The largest count comes from a heap whose stale entries are refreshed when
//! they surface (counts of existing pairs only ever fall). Ties go to the smaller pair of ids.
//!
//! Must never know text: chunks are byte strings with counts here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

type Pair = (u32, u32);

/// What is known of a pair that occurs somewhere.
#[derive(Default)]
struct Occurrences {
    /// How often, weighted by the counts of the chunks.
    count: u64,
    /// Chunks that held the pair when it first appeared, ascending; it may be gone from some.
    chunks: Vec<u32>,
}

/// The distinct chunks as ids, all in one array. Merging shrinks a chunk in place.
struct Chunks {
    ids: Vec<u32>,
    starts: Vec<usize>,
    lengths: Vec<usize>,
    counts: Vec<u64>,
}

impl Chunks {
    fn new(counted: impl Iterator<Item = (impl AsRef<[u8]>, u64)>) -> Self {
        let mut chunks = Self {
            ids: Vec::new(),
            starts: Vec::new(),
            lengths: Vec::new(),
            counts: Vec::new(),
        };
        for (bytes, count) in counted {
            let bytes = bytes.as_ref();
            if bytes.len() < 2 {
                continue; // nothing to merge in it
            }
            chunks.starts.push(chunks.ids.len());
            chunks.lengths.push(bytes.len());
            chunks.counts.push(count);
            chunks.ids.extend(bytes.iter().map(|&byte| u32::from(byte)));
        }
        chunks
    }

    fn ids(&self, chunk: u32) -> &[u32] {
        let start = self.starts[chunk as usize];
        &self.ids[start..start + self.lengths[chunk as usize]]
    }

    /// Replaces `pair` by `id` from left to right, and reports every neighbouring pair that this takes
    /// away (`false`) or makes (`true`). Of `pair` itself nothing is reported.
    fn merge(&mut self, chunk: u32, pair: Pair, id: u32, mut report: impl FnMut(Pair, bool)) {
        let chunk = chunk as usize;
        let start = self.starts[chunk];
        let ids = &mut self.ids[start..start + self.lengths[chunk]];
        let (mut read, mut write) = (0, 0);
        while read < ids.len() {
            if read + 1 < ids.len() && (ids[read], ids[read + 1]) == pair {
                if write > 0 {
                    let left = ids[write - 1];
                    report((left, pair.0), false);
                    report((left, id), true);
                }
                if read + 2 < ids.len() {
                    let right = ids[read + 2];
                    report((pair.1, right), false);
                    report((id, right), true);
                }
                ids[write] = id;
                read += 2;
            } else {
                ids[write] = ids[read];
                read += 1;
            }
            write += 1;
        }
        self.lengths[chunk] = write;
    }
}

/// Learns at most `most` merges from chunks and their counts; fewer when no pair is left. Id 256 + k is
/// merge k. `progress` hears how many of how many are done after each.
pub(crate) fn learn(
    counted: impl Iterator<Item = (impl AsRef<[u8]>, u64)>,
    most: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Vec<Pair> {
    let mut chunks = Chunks::new(counted);
    let mut pairs: FxHashMap<Pair, Occurrences> = FxHashMap::default();
    for chunk in 0..chunks.starts.len() as u32 {
        let count = chunks.counts[chunk as usize];
        for two in chunks.ids(chunk).windows(2) {
            let seen = pairs.entry((two[0], two[1])).or_default();
            seen.count += count;
            if seen.chunks.last() != Some(&chunk) {
                seen.chunks.push(chunk);
            }
        }
    }
    let mut heap: BinaryHeap<(u64, Reverse<Pair>)> =
        pairs.iter().map(|(&pair, seen)| (seen.count, Reverse(pair))).collect();

    let mut merges = Vec::new();
    let mut made = Vec::new();
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
            let weight = chunks.counts[chunk as usize];
            chunks.merge(chunk, pair, id, |neighbour, gained| {
                if neighbour == pair {
                    return; // in "aaa", the pair overlaps itself; it is gone from the table already
                }
                if gained {
                    let seen = pairs.entry(neighbour).or_insert_with(|| {
                        made.push(neighbour);
                        Occurrences::default()
                    });
                    seen.count += weight;
                    if seen.chunks.last() != Some(&chunk) {
                        seen.chunks.push(chunk);
                    }
                } else if let Some(seen) = pairs.get_mut(&neighbour) {
                    seen.count -= weight;
                }
            });
        }
        for pair in made.drain(..) {
            let count = pairs[&pair].count;
            if count > 0 {
                heap.push((count, Reverse(pair)));
            } else {
                pairs.remove(&pair);
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

    #[test]
    fn ties_go_to_the_smaller_pair() {
        let merges = learn([("ba", 1), ("ab", 1), ("aa", 1)].into_iter(), 9, &mut |_, _| ());
        assert_eq!(merges, [(97, 97), (97, 98), (98, 97)]);
    }

    proptest! {
        #[test]
        fn equals_counting_anew(
            counted in prop::collection::vec(("[ab]{0,14}|[abc]{0,9}", 1..4_u64), 0..12),
            most in 0..60_usize,
        ) {
            let ours = learn(counted.iter().map(|(text, count)| (text, *count)), most, &mut |_, _| ());
            prop_assert_eq!(ours, naive(&counted, most));
        }
    }
}
