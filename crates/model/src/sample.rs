//! How tokens are drawn: settings, and a random stream for each sequence. The choice itself is the device's.

use ferrochat_tensor::Choice;

use crate::decoder::GenerateError;
use crate::rng::Rng;

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0: always the likeliest token, the lowest id where several are.
    pub temperature: f32,
    /// Only so many of the likeliest tokens.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together have this probability (Holtzman et al. 2020), after top-k.
    pub top_p: Option<f32>,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            temperature: 1.0,
            top_k: None,
            top_p: None,
            seed: 42,
        }
    }
}

impl Sampling {
    /// Always the likeliest token.
    pub fn greedy() -> Sampling {
        Sampling {
            temperature: 0.0,
            ..Sampling::default()
        }
    }

    /// Checks that the numbers make sense.
    pub fn validate(&self) -> Result<(), GenerateError> {
        let refuse = |sentence: String| Err(GenerateError::Request(sentence));
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return refuse(format!(
                "a temperature of {} is not possible; use 0 or more",
                self.temperature
            ));
        }
        if self.top_k == Some(0) {
            return refuse("top-k of 0 leaves no token to choose; use 1 or more".to_owned());
        }
        if self.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
            return refuse("top-p must be a probability above 0 and at most 1".to_owned());
        }
        Ok(())
    }
}

/// Draws tokens for one sequence.
pub struct Sampler {
    sampling: Sampling,
    rng: Rng,
}

impl Sampler {
    /// The sampler of sequence `row`: rows have their own random streams, so that what a row draws does not
    /// depend on how many others there are.
    pub fn new(sampling: &Sampling, row: u64) -> Sampler {
        Sampler {
            sampling: *sampling,
            rng: Rng::derive(sampling.seed, "sample", row),
        }
    }

    /// The next token's choice, from this row of the logits. Whoever takes one must use it: it has a draw of its own.
    pub fn choice(&mut self, row: usize) -> Choice {
        let Sampling {
            temperature,
            top_k,
            top_p,
            ..
        } = self.sampling;
        let draw = if temperature == 0.0 { 0.0 } else { self.rng.uniform() };
        Choice {
            row,
            temperature,
            top_k,
            top_p,
            draw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_have_draws_of_their_own() {
        let draws = |row| {
            let mut sampler = Sampler::new(&Sampling::default(), row);
            [(); 3].map(|()| sampler.choice(5).draw)
        };
        let (first, second) = (draws(0), draws(1));
        assert_eq!(first, draws(0));
        assert!(
            first
                .iter()
                .all(|draw| (0.0..1.0).contains(draw) && !second.contains(draw))
        );
        assert_eq!(Sampler::new(&Sampling::greedy(), 3).choice(5), Choice::greedy(5));
    }

    #[test]
    fn impossible_settings_are_refused() {
        let wrong = [
            Sampling {
                temperature: -1.0,
                ..Sampling::default()
            },
            Sampling {
                temperature: f32::NAN,
                ..Sampling::default()
            },
            Sampling {
                top_k: Some(0),
                ..Sampling::default()
            },
            Sampling {
                top_p: Some(0.0),
                ..Sampling::default()
            },
        ];
        assert!(wrong.iter().all(|sampling| sampling.validate().is_err()));
        Sampling::greedy().validate().unwrap();
    }
}
