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
    masses: Vec<f64>,
}

impl Sampler {
    /// The sampler of sequence `row`: rows have their own random streams, so that what a row draws does not
    /// depend on how many others there are.
    pub fn new(sampling: &Sampling, row: u64) -> Sampler {
        Sampler {
            sampling: *sampling,
            rng: Rng::derive(sampling.seed, "sample", row),
            candidates: Vec::new(),
            masses: Vec::new(),
        }
    }

    /// A token id for these logits. NaN counts as impossible.
    pub fn pick(&mut self, logits: &[f32]) -> i32 {
        let peak = peak(logits);
        if self.sampling.temperature == 0.0 || peak == f32::NEG_INFINITY {
            return likeliest(logits, peak);
        }
        let k = self.sampling.top_k.unwrap_or(logits.len());
        let candidates = &mut self.candidates;
        if k < logits.len() {
            top(logits, k, candidates);
        } else {
            candidates.clear();
            candidates.extend(
                logits
                    .iter()
                    .enumerate()
                    .map(|(id, &logit)| (id as i32, possible(logit))),
            );
        }
        if k < logits.len() || self.sampling.top_p.is_some() {
            candidates.sort_unstable_by(|&a, &b| by_likelihood(a, b));
        }

        // From here on a candidate has its mass instead of its logit.
        let temperature = f64::from(self.sampling.temperature);
        self.masses.clear();
        let mass = |&(_, logit): &(i32, f32)| (f64::from(logit - peak) / temperature).exp();
        self.masses.extend(candidates.iter().map(mass));
        let masses = &mut self.masses;
        let mut total: f64 = masses.iter().sum();
        if let Some(p) = self.sampling.top_p {
            let (enough, mut held) = (total * f64::from(p), 0.0);
            let within = masses.iter().take_while(|&&mass| {
                let wanted = held < enough;
                held += if wanted { mass } else { 0.0 };
                wanted
            });
            let count = within.count().max(1);
            masses.truncate(count);
            total = masses.iter().sum();
        }

        let mut left = self.rng.uniform() * total;
        let mut last = 0;
        for (&(id, _), &mass) in candidates.iter().zip(masses.iter()) {
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

fn possible(logit: f32) -> f32 {
    if logit.is_nan() { f32::NEG_INFINITY } else { logit }
}

/// Logits that are looked at together.
const STRETCH: usize = 64;

/// The largest logit; −∞ if there is none.
fn peak(logits: &[f32]) -> f32 {
    // A comparison with NaN is false.
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (whole, rest) = logits.as_chunks::<16>();
    for stretch in whole {
        for (lane, &logit) in lanes.iter_mut().zip(stretch) {
            *lane = larger(*lane, logit);
        }
    }
    for (lane, &logit) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, logit);
    }
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            lanes[lane] = larger(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

/// The `k` likeliest tokens, in any order. The `k`-th of the peaks of stretches is no better than the `k`-th of all
/// logits; little of a large vocabulary reaches it.
fn top(logits: &[f32], k: usize, candidates: &mut Vec<(i32, f32)>) {
    let shrink = |candidates: &mut Vec<(i32, f32)>| {
        if k < candidates.len() {
            candidates.select_nth_unstable_by(k - 1, |&a, &b| by_likelihood(a, b));
            candidates.truncate(k);
        }
    };
    candidates.clear();
    if logits.len() >= 2 * k * STRETCH {
        candidates.extend((0..).zip(logits.chunks(STRETCH).map(peak)));
        shrink(candidates);
        let least = candidates[k - 1].1;
        candidates.clear();
        for (stretch, ids) in logits.chunks(STRETCH).zip((0..).step_by(STRETCH)) {
            if peak(stretch) >= least {
                let reach = (ids..)
                    .zip(stretch.iter().copied())
                    .filter(|&(_, logit)| logit >= least);
                candidates.extend(reach);
            }
        }
    }
    // Where many are impossible, there may be fewer than `k`.
    if candidates.len() < k {
        candidates.clear();
        candidates.extend((0..).zip(logits.iter().map(|&logit| possible(logit))));
    }
    shrink(candidates);
}

/// Higher logits first, then lower ids.
fn by_likelihood((id, logit): (i32, f32), (other_id, other): (i32, f32)) -> Ordering {
    other.total_cmp(&logit).then(id.cmp(&other_id))
}

/// The first token with the largest logit; 0 where none is possible.
fn likeliest(logits: &[f32], peak: f32) -> i32 {
    logits.iter().position(|&logit| logit == peak).unwrap_or(0) as i32
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
    fn top_is_what_sorting_gives() {
        let mut rng = Rng::new(4);
        for (vocab, k) in [(1000, 50), (1000, 1), (700, 699), (31, 5), (4100, 20), (9001, 50)] {
            for levels in [3, 40, 1 << 20] {
                // Few levels: many are equal, and the lower ids go first.
                let mut logits: Vec<f32> = (0..vocab).map(|_| (rng.next_u64() % levels) as f32 - 2.0).collect();
                logits[7] = f32::NAN;
                logits[8] = f32::NEG_INFINITY;
                if levels == 40 {
                    // Fewer are possible than are asked for.
                    logits[30..].fill(f32::NAN);
                }
                let mut sorted: Vec<(i32, f32)> = (0..).zip(logits.iter().map(|&logit| possible(logit))).collect();
                sorted.sort_by(|&a, &b| by_likelihood(a, b));
                let mut candidates = Vec::new();
                top(&logits, k, &mut candidates);
                candidates.sort_by(|&a, &b| by_likelihood(a, b));
                assert_eq!(candidates, sorted[..k], "{vocab} {k} {levels}");
                assert_eq!(Sampler::new(&Sampling::greedy(), 0).pick(&logits), sorted[0].0);
            }
        }
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
