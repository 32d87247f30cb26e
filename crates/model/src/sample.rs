//! Choosing a token from logits, on the host: temperature, top-k, top-p, and greedy.

use std::cmp::Ordering;

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
    candidates: Vec<(i32, f32)>,
}

impl Sampler {
    /// The sampler of sequence `row`: rows have their own random streams, so that what a row draws does not
    /// depend on how many others there are.
    pub fn new(sampling: &Sampling, row: u64) -> Sampler {
        Sampler {
            sampling: *sampling,
            rng: Rng::derive(sampling.seed, "sample", row),
            candidates: Vec::new(),
        }
    }

    /// A token id for these logits. NaN counts as impossible.
    pub fn pick(&mut self, logits: &[f32]) -> i32 {
        if self.sampling.temperature == 0.0 {
            return likeliest(logits);
        }
        let candidates = &mut self.candidates;
        candidates.clear();
        let possible = |x: f32| if x.is_nan() { f32::NEG_INFINITY } else { x };
        candidates.extend(
            logits
                .iter()
                .enumerate()
                .map(|(id, &logit)| (id as i32, possible(logit))),
        );
        let k = self.sampling.top_k.unwrap_or(candidates.len());
        if k < candidates.len() {
            candidates.select_nth_unstable_by(k - 1, |&a, &b| by_likelihood(a, b));
            candidates.truncate(k);
        }
        if k < logits.len() || self.sampling.top_p.is_some() {
            candidates.sort_unstable_by(|&a, &b| by_likelihood(a, b));
        }

        let peak = candidates
            .iter()
            .map(|&(_, logit)| logit)
            .fold(f32::NEG_INFINITY, f32::max);
        if peak == f32::NEG_INFINITY {
            return likeliest(logits);
        }
        let temperature = f64::from(self.sampling.temperature);
        let mass = |logit: f32| (f64::from(logit - peak) / temperature).exp();
        let mut total: f64 = candidates.iter().map(|&(_, logit)| mass(logit)).sum();
        if let Some(p) = self.sampling.top_p {
            let (enough, mut held) = (total * f64::from(p), 0.0);
            let within = candidates.iter().take_while(|&&(_, logit)| {
                let wanted = held < enough;
                held += if wanted { mass(logit) } else { 0.0 };
                wanted
            });
            let count = within.count().max(1);
            candidates.truncate(count);
            total = candidates.iter().map(|&(_, logit)| mass(logit)).sum();
        }

        let mut left = self.rng.uniform() * total;
        let mut last = 0;
        for &(id, logit) in candidates.iter() {
            let mass = mass(logit);
            if mass > 0.0 {
                last = id;
                left -= mass;
                if left < 0.0 {
                    break;
                }
            }
        }
        last
    }
}

/// Higher logits first, then lower ids.
fn by_likelihood((id, logit): (i32, f32), (other_id, other): (i32, f32)) -> Ordering {
    other.total_cmp(&logit).then(id.cmp(&other_id))
}

fn likeliest(logits: &[f32]) -> i32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (id as i32, logit);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut sampler = Sampler::new(&sampling, 0);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.pick(logits) as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    fn assert_close(ours: &[f64], expected: &[f64]) {
        for (a, b) in ours.iter().zip(expected) {
            assert!(
                (a - b).abs() < 0.015 && (*b != 0.0 || *a == 0.0),
                "{ours:?} for {expected:?}"
            );
        }
    }

    const LOGITS: [f32; 4] = [0.0, 1.386_294_4, f32::NAN, 1.098_612_3]; // odds 1 : 4 : – : 3

    #[test]
    fn draws_follow_the_softmax() {
        assert_close(&frequencies(Sampling::default(), &LOGITS), &[0.125, 0.5, 0.0, 0.375]);
        let hot = Sampling {
            temperature: 0.5,
            ..Sampling::default()
        };
        assert_close(&frequencies(hot, &LOGITS), &[1.0 / 26.0, 16.0 / 26.0, 0.0, 9.0 / 26.0]);
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let top = |top_k, top_p| Sampling {
            top_k,
            top_p,
            ..Sampling::default()
        };
        let two = [0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0];
        assert_close(&frequencies(top(Some(2), None), &LOGITS), &two);
        assert_close(&frequencies(top(None, Some(0.6)), &LOGITS), &two);
        assert_close(&frequencies(top(Some(100), Some(0.45)), &LOGITS), &[0.0, 1.0, 0.0, 0.0]);
        assert_close(&frequencies(top(Some(1), None), &[1.0, 2.0, 2.0]), &[0.0, 1.0, 0.0]);
        assert_close(&frequencies(top(None, Some(1.0)), &LOGITS), &[0.125, 0.5, 0.0, 0.375]);
    }

    #[test]
    fn greedy_takes_the_lowest_of_the_likeliest() {
        let mut greedy = Sampler::new(&Sampling::greedy(), 0);
        assert_eq!(greedy.pick(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(greedy.pick(&[f32::NAN, f32::NAN]), 0);
        assert_eq!(Sampler::new(&Sampling::default(), 0).pick(&[f32::NAN, f32::NAN]), 0);
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
