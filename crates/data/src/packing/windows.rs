//! Random windows over a text kept in memory, nanoGPT's way of batching.

use crate::rng::SplitMix64;

/// The tokens of the split and the count of rows handed out.
pub(crate) struct RandomWindows {
    tokens: Vec<u32>,
    seed: u64,
    row: u64,
}

impl RandomWindows {
    /// Continues at row `row` of the run. `tokens` must hold at least one row.
    pub(crate) fn new(tokens: Vec<u32>, seed: u64, row: u64) -> Self {
        RandomWindows { tokens, seed, row }
    }

    pub(crate) fn fill_row(&mut self, row: &mut [u32]) {
        // Hashing the seed first keeps the rows of seed s+1 from being those of
        // seed s, one later.
        let seed = SplitMix64::new(self.seed).next_u64();
        let mut rng = SplitMix64::new(seed ^ self.row.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let offsets = self.tokens.len() - row.len() + 1;
        let offset = rng.below(offsets as u64) as usize;
        row.copy_from_slice(&self.tokens[offset..offset + row.len()]);
        self.row += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(seed: u64, from: u64, count: usize) -> Vec<u32> {
        let mut windows = RandomWindows::new((0..100).collect(), seed, from);
        let mut row = [0; 9];
        (0..count)
            .map(|_| {
                windows.fill_row(&mut row);
                assert!(row.windows(2).all(|pair| pair[1] == pair[0] + 1));
                row[0]
            })
            .collect()
    }

    #[test]
    fn a_row_depends_on_seed_and_index_alone_and_reaches_both_ends() {
        let all = offsets(7, 0, 2000);
        assert_eq!(all[500..510], offsets(7, 500, 10));
        assert_ne!(all[..10], offsets(8, 0, 10));
        assert_ne!(all[1..11], offsets(8, 0, 10));
        for end in [0, 91] {
            assert!(all.contains(&end), "offset {end} is never drawn");
        }
        // 2000 draws over 92 offsets: each half gets its share.
        let low = all.iter().filter(|&&offset| offset < 46).count();
        assert!((850..1150).contains(&low), "{low} of 2000 in the lower half");
    }
}
