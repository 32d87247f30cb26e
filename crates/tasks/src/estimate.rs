//! Scores with their standard errors. This room must never know where the outcomes come from.

use serde::{Deserialize, Serialize};

/// A mean and how far it may be off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// Standard error of the mean; 0 where a single outcome says nothing of it.
    pub standard_error: f64,
}

impl Estimate {
    /// Of outcomes of any values: the sample's standard deviation over √n, which for outcomes of 0 and 1 is
    /// √(p(1 − p)/(n − 1)). Zero of no outcomes.
    pub fn of(outcomes: &[f64]) -> Estimate {
        let n = outcomes.len() as f64;
        if outcomes.is_empty() {
            return Estimate {
                value: 0.0,
                standard_error: 0.0,
            };
        }
        let value = outcomes.iter().sum::<f64>() / n;
        let squares: f64 = outcomes.iter().map(|outcome| (outcome - value).powi(2)).sum();
        Estimate {
            value,
            standard_error: if n > 1.0 { (squares / (n - 1.0) / n).sqrt() } else { 0.0 },
        }
    }

    /// The mean of independent estimates, equally weighted; `None` of none.
    pub fn mean(estimates: &[Estimate]) -> Option<Estimate> {
        let n = estimates.len() as f64;
        let variance: f64 = estimates.iter().map(|one| one.standard_error.powi(2)).sum();
        (!estimates.is_empty()).then(|| Estimate {
            value: estimates.iter().map(|one| one.value).sum::<f64>() / n,
            standard_error: variance.sqrt() / n,
        })
    }

    /// Scaled so that guessing is 0 and all right is 1.
    #[must_use]
    pub fn centered(self, chance: f64) -> Estimate {
        Estimate {
            value: centered(self.value, chance),
            standard_error: self.standard_error / (1.0 - chance),
        }
    }
}

/// A score on the scale on which guessing is 0 and all right is 1 (Li et al. 2024, DataComp-LM): the tasks of CORE
/// and ChatCORE are averaged on it. `chance` is below 1.
pub fn centered(score: f64, chance: f64) -> f64 {
    (score - chance) / (1.0 - chance)
}

/// The probability that at least one of `k` samples is right, from `n` samples of which `c` are: the unbiased
/// estimator 1 − C(n − c, k)/C(n, k) of Chen et al. 2021.
///
/// # Panics
/// If `c` or `k` is greater than `n`.
pub fn pass_at_k(n: usize, c: usize, k: usize) -> f64 {
    assert!(
        c <= n && k <= n,
        "as many right ones and as many draws as there are samples"
    );
    if n - c < k {
        return 1.0;
    }
    let missed: f64 = (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product();
    1.0 - missed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ours: f64, expected: f64) {
        assert!((ours - expected).abs() < 1e-12, "{ours} for {expected}");
    }

    #[test]
    fn a_share_has_the_binomial_error() {
        let mut outcomes = vec![1.0; 30];
        outcomes.resize(100, 0.0);
        let estimate = Estimate::of(&outcomes);
        close(estimate.value, 0.3);
        close(estimate.standard_error, (0.3 * 0.7 / 99.0_f64).sqrt());
        // Deviations −1, 0, 1: variance 1, over 3.
        close(Estimate::of(&[1.0, 2.0, 3.0]).standard_error, (1.0 / 3.0_f64).sqrt());
        assert_eq!(Estimate::of(&[1.0]).standard_error, 0.0);
        assert_eq!(Estimate::of(&[]).value, 0.0);
    }

    #[test]
    fn guessing_is_zero_and_means_are_of_equals() {
        close(centered(0.25, 0.25), 0.0);
        close(centered(1.0, 0.25), 1.0);
        close(centered(0.3151, 0.25), 0.086_8);
        close(centered(0.1, 0.25), -0.2);
        let estimate = |value, standard_error| Estimate { value, standard_error };
        let half = estimate(0.625, 0.03).centered(0.25);
        close(half.value, 0.5);
        close(half.standard_error, 0.04);
        let mean = Estimate::mean(&[half, estimate(0.1, 0.03)]).unwrap();
        close(mean.value, 0.3);
        close(mean.standard_error, 0.025);
        assert_eq!(Estimate::mean(&[]), None);
    }

    #[test]
    fn pass_at_k_counts_the_draws_that_miss() {
        let choose = |n: usize, k: usize| (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64);
        for n in 1..=9 {
            for c in 0..=n {
                for k in 1..=n {
                    let missed = if n - c < k {
                        0.0
                    } else {
                        choose(n - c, k) / choose(n, k)
                    };
                    close(pass_at_k(n, c, k), 1.0 - missed);
                }
            }
        }
        close(pass_at_k(8, 2, 1), 0.25);
        assert_eq!(pass_at_k(8, 0, 8), 0.0);
        assert_eq!(pass_at_k(8, 1, 8), 1.0);
    }
}
