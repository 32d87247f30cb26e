//! Who computes which tile: a worker goes on with what is in its cache.
//!
//! Must never know what tasks do.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Most shares that the tasks of a slab are dealt out in.
const MOST_SHARES: usize = 32;

/// Deals out the tiles and packing tasks of a slab so that a worker gets the tiles that it had in the last one, whose sums are
/// in its cache, unless it falls behind and another one takes them.
pub(super) struct Turns {
    /// How many of its tasks each share has given away.
    taken: [AtomicUsize; MOST_SHARES],
    shares: usize,
    tiles: usize,
    packs: usize,
}

impl Turns {
    pub(super) fn new(threads: usize, tiles: usize, packs: usize) -> Self {
        Self {
            taken: [const { AtomicUsize::new(0) }; MOST_SHARES],
            shares: threads.min(MOST_SHARES),
            tiles,
            packs,
        }
    }

    /// The next task for a worker: a tile of its share, then packing, then what others have left. To be called as often as there
    /// are tasks.
    pub(super) fn take(&self, worker: usize) -> usize {
        let part = |len: usize, share: usize| share * len / self.shares..(share + 1) * len / self.shares;
        for share in (0..self.shares).map(|i| (worker + i) % self.shares) {
            let (tiles, packs) = (part(self.tiles, share), part(self.packs, share));
            // Which task is all that it says.
            let index = self.taken[share].fetch_add(1, Ordering::Relaxed);
            if index < tiles.len() {
                return tiles.start + index;
            }
            if index < tiles.len() + packs.len() {
                return self.tiles + packs.start + index - tiles.len();
            }
        }
        unreachable!("as many calls as tasks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_of_a_slab_is_given_to_somebody_once() {
        for threads in [1, 2, 7, MOST_SHARES, MOST_SHARES + 8] {
            for (tiles, packs) in [(0, 0), (0, 5), (1, 0), (3, 2), (40, 0), (37, 101)] {
                // Workers as they come, and one that does everything.
                for stride in [0, 1, 5] {
                    let turns = Turns::new(threads, tiles, packs);
                    let mut given: Vec<_> = (0..tiles + packs).map(|i| turns.take(i * stride % threads)).collect();
                    given.sort_unstable();
                    assert!(
                        given.into_iter().eq(0..tiles + packs),
                        "{threads} {tiles} {packs} {stride}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_worker_gets_its_tiles_again() {
        let tiles_of = |worker| {
            let turns = Turns::new(3, 12, 6);
            [(); 4].map(|()| turns.take(worker))
        };
        assert_eq!([0, 1, 2].map(tiles_of), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]);
    }
}
