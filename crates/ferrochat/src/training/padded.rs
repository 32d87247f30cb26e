//! Sequences of different lengths in one batch: the shorter ones end in targets that nobody learns.
//! Knows ids, masks and weights, not where they come from.

use super::{Rows, Weights};

/// Rows are as long as the longest sequence, rounded up to a multiple of this: few shapes of batches use
/// the same memory again.
const STEP: usize = 16;

/// A sequence to learn from, or to measure.
#[derive(Clone, Copy, Debug)]
pub struct Example<'a> {
    /// Token ids.
    pub ids: &'a [u32],
    /// 1 for tokens that count as targets, as long as `ids`. The first is never one.
    pub mask: &'a [u8],
    /// How much each of its targets counts.
    pub weight: f32,
}

impl Example<'_> {
    /// How many targets it has.
    pub fn targets(&self) -> usize {
        self.mask.iter().skip(1).filter(|&&mask| mask == 1).count()
    }
}

/// The batch; its memory is used again for the next one.
#[derive(Clone, Debug, Default)]
pub struct Padded {
    inputs: Vec<u32>,
    targets: Vec<i32>,
    weights: Vec<f32>,
    sequence_len: usize,
}

impl Padded {
    /// Makes the batch of these examples, a row each. No row gets longer than `most` tokens, which the
    /// examples without their last token must not be either.
    pub fn fill(&mut self, examples: &[Example], most: usize) {
        let inputs = |example: &Example| example.ids.len().saturating_sub(1);
        let longest = examples.iter().map(inputs).max().unwrap_or(0);
        assert!(longest <= most, "an example of {longest} inputs and {most} positions");
        self.sequence_len = longest.next_multiple_of(STEP).clamp(1, most);
        self.inputs.clear();
        self.targets.clear();
        self.weights.clear();
        for (row, example) in examples.iter().enumerate() {
            let end = (row + 1) * self.sequence_len;
            for (at, pair) in example.ids.windows(2).enumerate() {
                let counts = example.mask[at + 1] == 1;
                self.inputs.push(pair[0]);
                self.targets.push(if counts { pair[1] as i32 } else { -1 });
                self.weights.push(if counts { example.weight } else { 0.0 });
            }
            self.inputs.resize(end, 0);
            self.targets.resize(end, -1);
            self.weights.resize(end, 0.0);
        }
    }

    /// What the model reads.
    pub fn rows(&self) -> Rows<'_> {
        Rows {
            inputs: &self.inputs,
            targets: &self.targets,
            sequence_len: self.sequence_len,
        }
    }

    /// How much each target counts.
    pub fn weights(&self) -> Weights<'_> {
        Weights::Each(&self.weights)
    }

    /// Of each row the logarithm of the probability of all its targets, of what [`Passes::nll`](super::Passes::nll)
    /// found for this batch.
    pub fn log_probabilities(&self, nll: &[f32]) -> impl Iterator<Item = f64> {
        nll.chunks(self.sequence_len)
            .map(|row| -row.iter().map(|&nll| f64::from(nll)).sum::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_examples_end_in_what_nobody_learns() {
        let mut padded = Padded::default();
        let long = Example {
            ids: &[1, 2, 3, 4],
            mask: &[0, 0, 1, 1],
            weight: 0.5,
        };
        let short = Example {
            ids: &[5, 6],
            mask: &[1, 1],
            weight: -2.0,
        };
        padded.fill(&[long, short], 8);
        assert_eq!((long.targets(), short.targets()), (2, 1));
        let rows = padded.rows();
        assert_eq!(rows.sequence_len, 8);
        assert_eq!(rows.inputs, [1, 2, 3, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        let n = -1;
        assert_eq!(rows.targets, [n, 3, 4, n, n, n, n, n, 6, n, n, n, n, n, n, n]);
        assert_eq!(padded.weights[..3], [0.0, 0.5, 0.5]);
        assert_eq!(padded.weights[8..10], [-2.0, 0.0]);
        let sums: Vec<f64> = padded.log_probabilities(&[0.25; 16]).collect();
        assert_eq!(sums, [-2.0, -2.0]);
    }

    #[test]
    fn examples_of_one_token_have_nothing_to_learn() {
        let mut padded = Padded::default();
        let one = Example {
            ids: &[7],
            mask: &[1],
            weight: 1.0,
        };
        padded.fill(&[one], 100);
        assert_eq!(one.targets(), 0);
        assert!(padded.rows().targets.iter().all(|&target| target == -1));
        assert!(padded.weights.iter().all(|&weight| weight == 0.0));
        assert!(padded.rows().sequence_len >= 1);
    }
}
