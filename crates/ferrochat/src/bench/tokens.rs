//! What a benchmark trains on: random ids, or those of a file, so that two programs can learn from the same.

use std::path::Path;

use anyhow::{Context as _, Result};
use ferrochat_model::Rng;

use crate::errors::refuse;

/// An endless supply of rows of ids.
pub enum Tokens {
    /// Drawn evenly from so many.
    Random(Rng, usize),
    /// Taken in order, from the start again after the end.
    File(Vec<u16>, usize),
}

impl Tokens {
    /// Random ids, the same for the same seed.
    pub fn random(vocab: usize, seed: u64) -> Tokens {
        Tokens::Random(Rng::new(seed), vocab)
    }

    /// The ids of a file: 16 bits each, the lower byte first.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn file(path: &Path, vocab: usize, row: usize) -> Result<Tokens> {
        let shown = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read --ids {shown}"))?;
        let (pairs, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() || pairs.len() < row {
            refuse!(
                "--ids {shown} has {} bytes; it must hold ids of 2 bytes each, {row} or more",
                bytes.len()
            );
        }
        let ids: Vec<u16> = pairs.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
        if let Some(at) = ids.iter().position(|&id| usize::from(id) >= vocab) {
            refuse!(
                "--ids {shown} has the id {} at place {at}; with --vocab-size {vocab} ids are below {vocab}",
                ids[at]
            );
        }
        Ok(Tokens::File(ids, 0))
    }

    /// Inputs and targets of `rows` rows: of each `time + 1` ids in a row all but the last, and all but the first.
    pub fn batch(&mut self, rows: usize, time: usize) -> (Vec<i32>, Vec<i32>) {
        let (mut inputs, mut targets) = (Vec::with_capacity(rows * time), Vec::with_capacity(rows * time));
        for _ in 0..rows {
            let row: Vec<i32> = (0..=time).map(|_| self.next()).collect();
            inputs.extend_from_slice(&row[..time]);
            targets.extend_from_slice(&row[1..]);
        }
        (inputs, targets)
    }

    fn next(&mut self) -> i32 {
        match self {
            Tokens::Random(rng, vocab) => (rng.uniform() * *vocab as f64) as i32,
            Tokens::File(ids, at) => {
                let id = ids[*at];
                *at = (*at + 1) % ids.len();
                i32::from(id)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_inputs_one_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        let bytes: Vec<u8> = (0..10_u16).flat_map(u16::to_le_bytes).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mut tokens = Tokens::file(&path, 10, 5).unwrap();
        let (inputs, targets) = tokens.batch(3, 3);
        assert_eq!(inputs, [0, 1, 2, 4, 5, 6, 8, 9, 0]);
        assert_eq!(targets, [1, 2, 3, 5, 6, 7, 9, 0, 1]);
        for (vocab, row, about) in [(9, 5, "id 9 at place 9"), (10, 11, "11 or more")] {
            let error = Tokens::file(&path, vocab, row).err().unwrap().to_string();
            assert!(error.contains(about), "{error}");
        }
        std::fs::write(&path, &bytes[1..]).unwrap();
        assert!(Tokens::file(&path, 10, 5).is_err());
    }

    #[test]
    fn random_ids_are_in_range_and_repeatable() {
        let (inputs, _) = Tokens::random(7, 1).batch(4, 50);
        assert!(inputs.iter().all(|id| (0..7).contains(id)));
        assert_eq!(inputs, Tokens::random(7, 1).batch(4, 50).0);
        assert_ne!(inputs, Tokens::random(7, 2).batch(4, 50).0);
    }
}
