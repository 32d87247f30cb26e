//! A shuffled order that needs no memory: a Feistel network (Luby and Rackoff
//! 1988) permutes the smallest power of four that holds the numbers, and numbers
//! outside are sent through again until they fall inside (cycle walking, Black
//! and Rogaway 2002).

use crate::rng::SplitMix64;

const ROUNDS: usize = 6;

/// A permutation of `0..n`, fixed by n and a seed.
#[derive(Clone, Debug)]
pub(crate) struct Permutation {
    n: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// `n` is at least 1 and at most 2^62.
    pub(crate) fn new(n: u64, seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed);
        let bits = u64::BITS - (n - 1).leading_zeros();
        Permutation {
            n,
            half_bits: bits.div_ceil(2).max(1),
            keys: std::array::from_fn(|_| rng.next_u64()),
        }
    }

    /// What stands at `index`, which is below n.
    pub(crate) fn at(&self, index: u64) -> u64 {
        let mut value = index;
        // Ends: repeating a permutation comes back to `index`, which is inside.
        loop {
            value = self.network(value);
            if value < self.n {
                return value;
            }
        }
    }

    fn network(&self, value: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            let mixed = SplitMix64::new(key ^ right).next_u64() & mask;
            (left, right) = (right, left ^ mixed);
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_in_an_order_that_the_seed_chooses() {
        for n in (1..70).chain([255, 256, 257, 1000, 4097]) {
            let order = |seed| -> Vec<u64> {
                let permutation = Permutation::new(n, seed);
                (0..n).map(|index| permutation.at(index)).collect()
            };
            let mut sorted = order(1);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>());
            assert_eq!(order(1), order(1));
            assert!(n < 20 || order(1) != order(2), "{n}");
        }
        let large = Permutation::new(1 << 62, 3);
        assert!((0..1000).all(|index| large.at(index) < 1 << 62));
    }

    #[test]
    fn small_permutations_are_about_equally_frequent() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..24_000 {
            let permutation = Permutation::new(4, seed);
            let order: Vec<u64> = (0..4).map(|index| permutation.at(index)).collect();
            *counts.entry(order).or_insert(0_u32) += 1;
        }
        // Halves of one bit make the network far from ideal, and even so all 24
        // orders must occur.
        assert_eq!(counts.len(), 24, "{counts:?}");
    }

    #[test]
    fn neighbours_are_scattered_over_the_whole_range() {
        let n = 100_000;
        let permutation = Permutation::new(n, 9);
        // Of the first thousand, each tenth of the range gets about a hundred.
        let mut tenths = [0; 10];
        for index in 0..1000 {
            tenths[(permutation.at(index) * 10 / n) as usize] += 1;
        }
        assert!(tenths.iter().all(|&count| (60..150).contains(&count)), "{tenths:?}");
        let apart: f64 = (0..1000_u64)
            .map(|index| permutation.at(index).abs_diff(permutation.at(index + 1)) as f64)
            .sum();
        let mean = apart / 1000.0 / n as f64;
        assert!((mean - 1.0 / 3.0).abs() < 0.05, "{mean}");
    }
}
