//! Tokens to learn: a seeded source whose next token depends on the one before and on what the row has said already.

/// An endless source of batches.
pub struct Source {
    vocab: usize,
    seed: u64,
}

/// Successors of a token.
const CHOICES: u64 = 4;

impl Source {
    /// A source of tokens below `vocab`.
    pub fn new(vocab: usize, seed: u64) -> Source {
        Source { vocab, seed }
    }

    /// A batch of rows of `time + 1` tokens, by its number: inputs `[batch, time]` and the targets after them.
    ///
    /// A row walks from token to token, each with four successors of falling likelihood; from a third of the row on, it
    /// copies what it said a third of a row before half of the time, so that attention has something to find.
    pub fn batch(&self, number: usize, batch: usize, time: usize) -> (Vec<i32>, Vec<i32>) {
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for row in 0..batch {
            let row = self.row((number * batch + row) as u64, time + 1);
            inputs.extend(&row[..time]);
            targets.extend(&row[1..]);
        }
        (inputs, targets)
    }

    /// One row.
    pub fn row(&self, number: u64, len: usize) -> Vec<i32> {
        let mut state = mix(self.seed ^ mix(number));
        let mut draw = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        };
        let mut row: Vec<i32> = Vec::with_capacity(len);
        let mut token = draw() % self.vocab as u64;
        let period = (len / 3).max(1);
        let mut copying = false;
        for i in 0..len {
            row.push(token as i32);
            if i % 16 == 0 {
                copying = i >= period && draw() % 2 == 0;
            }
            token = if copying {
                row[i + 1 - period] as u64
            } else {
                // Half of the time the first successor, a quarter the second …
                let choice = u64::from(draw().trailing_zeros()).min(CHOICES - 1);
                mix(token * CHOICES + choice + 1) % self.vocab as u64
            };
        }
        row
    }
}

/// A mixing of bits (Steele et al. 2014).
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
