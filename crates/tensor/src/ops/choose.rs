//! Choosing tokens from logits: greedy, temperature, top-k, top-p.
//!
//! The mass of a token is `exp((logit − peak) / temperature)` in double precision. Without a cut, masses are added up in
//! the order of ids; with one, in the order of likelihood (equals: the lower id first), where top-k keeps the first `k`
//! and top-p (Holtzman et al. 2020) the first that together hold that share of what is left. The token is the one in
//! which the sum passes `draw · total`. NaN counts as impossible.
//!
//! [`Chooser`] is the algorithm on the host, which says what is right. A device that does it elsewhere must choose
//! likewise, but where a draw falls within rounding (about 1e-15) of the boundary between two tokens.

use std::cmp::Ordering;

use crate::device::Device;
use crate::dtype::DType;
use crate::tensor::Tensor;

/// How one token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The row of the logits; several choices may be made from one.
    pub row: usize,
    /// Logits are divided by it; 0: the likeliest token, the lowest id where several are.
    pub temperature: f32,
    /// Only so many of the likeliest tokens; at least 1.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together have this probability, after top-k.
    pub top_p: Option<f32>,
    /// Uniform on [0, 1).
    pub draw: f64,
}

impl Choice {
    /// The likeliest token of a row.
    pub fn greedy(row: usize) -> Choice {
        Choice {
            row,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            draw: 0.0,
        }
    }
}

impl Device {
    /// A token for each of `choices` from `logits` `[rows…, vocab]` of master type. Waits for the device; only the ids
    /// are downloaded.
    ///
    /// On a GPU, rows that need a sorted list of more than 1024 tokens (top-k above that, or top-p without top-k) are
    /// downloaded and chosen from on the host.
    ///
    /// # Panics
    /// If a choice names a row that is not there.
    pub fn choose(&self, logits: &Tensor, choices: &[Choice]) -> Vec<i32> {
        assert_ne!(logits.dtype(), DType::I32, "logits are numbers");
        let (rows, vocab) = (logits.shape().rows(), logits.shape().last());
        assert!(choices.iter().all(|choice| choice.row < rows), "a row of the logits");
        let mut ids = vec![0; choices.len()];
        if !choices.is_empty() {
            self.launch("choose", |b| b.choose(logits.buffer(), vocab, choices, &mut ids));
        }
        ids
    }
}

/// The algorithm on the host, and the memory it works in.
#[derive(Default)]
pub(crate) struct Chooser {
    candidates: Vec<(i32, f32)>,
    masses: Vec<f64>,
}

impl Chooser {
    /// Memory for so many logits.
    pub(crate) fn reserve(&mut self, len: usize) {
        self.candidates.reserve(len.saturating_sub(self.candidates.len()));
        self.masses.reserve(len.saturating_sub(self.masses.len()));
    }

    /// A token id for these logits.
    pub(crate) fn choose(&mut self, logits: &[f32], choice: &Choice) -> i32 {
        let peak = peak(logits);
        if choice.temperature == 0.0 || peak == f32::NEG_INFINITY {
            return likeliest(logits, peak);
        }
        let k = choice.top_k.unwrap_or(logits.len()).max(1);
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
        if k < logits.len() || choice.top_p.is_some() {
            candidates.sort_unstable_by(|&a, &b| by_likelihood(a, b));
        }

        // From here on a candidate has its mass instead of its logit.
        let temperature = f64::from(choice.temperature);
        self.masses.clear();
        let mass = |&(_, logit): &(i32, f32)| (f64::from(logit - peak) / temperature).exp();
        self.masses.extend(candidates.iter().map(mass));
        let masses = &mut self.masses;
        let mut total: f64 = masses.iter().sum();
        if let Some(p) = choice.top_p {
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

        let mut left = choice.draw * total;
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
    use crate::check::Random;

    /// How often each token is chosen by evenly spaced draws.
    fn frequencies(choice: Choice, logits: &[f32]) -> Vec<f64> {
        const DRAWS: u32 = 2000;
        let mut counts = vec![0.0; logits.len()];
        for i in 0..DRAWS {
            let draw = (f64::from(i) + 0.5) / f64::from(DRAWS);
            counts[Chooser::default().choose(logits, &Choice { draw, ..choice }) as usize] += 1.0 / f64::from(DRAWS);
        }
        counts
    }

    fn assert_close(ours: &[f64], expected: &[f64]) {
        for (a, b) in ours.iter().zip(expected) {
            assert!(
                (a - b).abs() < 0.002 && (*b != 0.0 || *a == 0.0),
                "{ours:?} for {expected:?}"
            );
        }
    }

    const LOGITS: [f32; 4] = [0.0, 1.386_294_4, f32::NAN, 1.098_612_3]; // odds 1 : 4 : – : 3

    const PLAIN: Choice = Choice {
        row: 0,
        temperature: 1.0,
        top_k: None,
        top_p: None,
        draw: 0.0,
    };

    #[test]
    fn draws_follow_the_softmax() {
        assert_close(&frequencies(PLAIN, &LOGITS), &[0.125, 0.5, 0.0, 0.375]);
        let hot = Choice {
            temperature: 0.5,
            ..PLAIN
        };
        assert_close(&frequencies(hot, &LOGITS), &[1.0 / 26.0, 16.0 / 26.0, 0.0, 9.0 / 26.0]);
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let top = |top_k, top_p| Choice { top_k, top_p, ..PLAIN };
        let two = [0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0];
        assert_close(&frequencies(top(Some(2), None), &LOGITS), &two);
        assert_close(&frequencies(top(None, Some(0.6)), &LOGITS), &two);
        assert_close(&frequencies(top(Some(100), Some(0.45)), &LOGITS), &[0.0, 1.0, 0.0, 0.0]);
        assert_close(&frequencies(top(Some(1), None), &[1.0, 2.0, 2.0]), &[0.0, 1.0, 0.0]);
        assert_close(&frequencies(top(None, Some(1.0)), &LOGITS), &[0.125, 0.5, 0.0, 0.375]);
    }

    #[test]
    fn top_is_what_sorting_gives() {
        let mut random = Random::new(4);
        for (vocab, k) in [(1000, 50), (1000, 1), (700, 699), (31, 5), (4100, 20), (9001, 50)] {
            for levels in [3, 40, 1 << 20] {
                // Few levels: many are equal, and the lower ids go first.
                let mut logits: Vec<f32> = (0..vocab).map(|_| random.index(levels) as f32 - 2.0).collect();
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
                assert_eq!(Chooser::default().choose(&logits, &Choice::greedy(0)), sorted[0].0);
            }
        }
    }

    #[test]
    fn greedy_takes_the_lowest_of_the_likeliest() {
        let greedy = |logits: &[f32]| Chooser::default().choose(logits, &Choice::greedy(0));
        assert_eq!(greedy(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(greedy(&[f32::NAN, f32::NAN]), 0);
        assert_eq!(greedy(&[f32::NAN, f32::NEG_INFINITY]), 1);
        assert_eq!(Chooser::default().choose(&[f32::NAN, f32::NAN], &PLAIN), 0);
    }
}
