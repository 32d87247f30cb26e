//! How likely the model found a token, and what it found likelier: for readers who ask. Knows logits, not how tokens are
//! chosen from them; temperature and cuts change nothing here.

/// A token that was chosen, with natural logarithms of probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct Likelihood {
    /// Of the token.
    pub logprob: f32,
    /// The likeliest tokens with theirs, the likeliest first; of equals the lower id.
    pub likeliest: Vec<(u32, f32)>,
}

impl Likelihood {
    /// Of the token `id` by the model's `logits`, with the `count` likeliest.
    pub(crate) fn of(logits: &[f32], id: u32, count: usize) -> Likelihood {
        // As for those who choose, NaN is impossible.
        let possible = |logit: f32| if logit.is_nan() { f32::NEG_INFINITY } else { logit };
        let peak = logits.iter().copied().map(possible).fold(f32::NEG_INFINITY, f32::max);
        let masses = logits.iter().map(|&logit| f64::from(possible(logit) - peak).exp());
        let total = f64::from(peak) + masses.sum::<f64>().ln();
        let logprob = |id: u32| (f64::from(possible(logits[id as usize])) - total) as f32;
        let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
        let likelier = |&a: &u32, &b: &u32| {
            let [a_logit, b_logit] = [a, b].map(|id| possible(logits[id as usize]));
            b_logit.total_cmp(&a_logit).then(a.cmp(&b))
        };
        if (1..ids.len()).contains(&count) {
            ids.select_nth_unstable_by(count - 1, likelier);
        }
        ids.truncate(count);
        ids.sort_unstable_by(likelier);
        Likelihood {
            logprob: logprob(id),
            likeliest: ids.into_iter().map(|id| (id, logprob(id))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_the_softmax() {
        // Odds 1 : 4 : – : 3.
        let logits = [100.0, 101.386_29, f32::NAN, 101.098_61];
        let close = |logprob: f32, share: f64| assert!((f64::from(logprob).exp() - share).abs() < 1e-5, "{logprob}");
        for (id, share) in [(0, 0.125), (1, 0.5), (2, 0.0), (3, 0.375)] {
            close(Likelihood::of(&logits, id, 0).logprob, share);
        }
        let three = Likelihood::of(&logits, 0, 3).likeliest;
        assert_eq!(three.iter().map(|&(id, _)| id).collect::<Vec<_>>(), [1, 3, 0]);
        close(three[1].1, 0.375);
        assert_eq!(Likelihood::of(&logits, 0, 9).likeliest.len(), 4);
        let equals = Likelihood::of(&[1.0; 5], 4, 2).likeliest;
        assert_eq!(equals.iter().map(|&(id, _)| id).collect::<Vec<_>>(), [0, 1]);
    }
}
