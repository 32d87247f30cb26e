//! Pairs of replies as ids, how likely a model finds them, and what that makes of a step: the loss of direct
//! preference optimization (Rafailov et al. 2023) as weights of the one loss. Knows no files or schedules.
//!
//! With `m = β·((log p(chosen) − log p₀(chosen)) − (log p(rejected) − log p₀(rejected)))`, p₀ being the model that it
//! began from, a pair's loss is `−log σ(m)`. Its derivative by `log p(chosen)` is `−β·σ(−m)`, by `log p(rejected)` the
//! opposite, and `log p` is −nll summed over the reply: so every token of the chosen reply has the weight
//! `β·σ(−m)`, every token of the rejected one its opposite.

use anyhow::Result;
use ferrochat_chat::{Conversation, Message, Rendered, render, render_for_completion};
use ferrochat_data::PreferencePair;
use ferrochat_model::Gpt;
use ferrochat_tokenizer::Tokenizer;

use crate::errors::usage;
use crate::training::{Example, Padded, Passes};

/// A pair in ids: the prompt with each reply. Only the replies count.
#[derive(Clone, Debug)]
pub struct Preference {
    /// What to say.
    pub chosen: Rendered,
    /// What not to say.
    pub rejected: Rendered,
}

/// How likely each of a pair's replies is: `[chosen, rejected]`, in nats.
pub type LogProbabilities = [f64; 2];

impl Preference {
    /// Writes a pair in ids, cut where a model that reads `context` tokens can no longer learn. None where
    /// that leaves nothing of a reply, or the two the same.
    ///
    /// # Errors
    /// Messages that break the rules of conversations.
    pub fn of(pair: &PreferencePair, tokenizer: &Tokenizer, context: usize) -> Result<Option<Preference>> {
        // The last target is read by nobody.
        let most = context + 1;
        let asked = render_for_completion(&pair.prompt, tokenizer, usize::MAX)
            .map_err(usage)?
            .len();
        let side = |reply: &Message| -> Result<Rendered> {
            let messages = pair.prompt.messages.iter().chain([reply]).cloned();
            let whole = Conversation::from(messages.collect::<Vec<_>>());
            let mut rendered = render(&whole, tokenizer, most).map_err(usage)?;
            // Earlier replies of the prompt are no part of the preference.
            let before = asked.min(rendered.mask.len());
            rendered.mask[..before].fill(0);
            Ok(rendered)
        };
        let (chosen, rejected) = (side(&pair.chosen)?, side(&pair.rejected)?);
        let usable = asked < chosen.ids.len() && asked < rejected.ids.len() && chosen != rejected;
        Ok(usable.then_some(Preference { chosen, rejected }))
    }

    fn sides(&self) -> [&Rendered; 2] {
        [&self.chosen, &self.rejected]
    }
}

/// Rows of a step, two to a pair, those of similar length together: `(pair, side)`.
fn by_length(pairs: &[&Preference]) -> Vec<(usize, usize)> {
    let mut rows: Vec<(usize, usize)> = (0..pairs.len()).flat_map(|pair| [(pair, 0), (pair, 1)]).collect();
    rows.sort_by_key(|&(pair, side)| pairs[pair].sides()[side].ids.len());
    rows
}

fn example<'a>(pairs: &[&'a Preference], (pair, side): (usize, usize), weight: f32) -> Example<'a> {
    let rendered = pairs[pair].sides()[side];
    Example {
        ids: &rendered.ids,
        mask: &rendered.mask,
        weight,
    }
}

/// How likely a model finds the replies, in passes of `rows` rows without gradients.
pub fn log_probabilities(
    gpt: &Gpt,
    passes: &mut Passes,
    padded: &mut Padded,
    pairs: &[&Preference],
    rows: usize,
) -> Vec<LogProbabilities> {
    let mut found = vec![[0.0; 2]; pairs.len()];
    let mut nll = Vec::new();
    for some in by_length(pairs).chunks(rows) {
        let examples: Vec<Example> = some.iter().map(|&row| example(pairs, row, 0.0)).collect();
        padded.fill(&examples, gpt.config().sequence_len);
        passes.nll(gpt, padded.rows(), &mut nll);
        for (&(pair, side), log_probability) in some.iter().zip(padded.log_probabilities(&nll)) {
            found[pair][side] = log_probability;
        }
    }
    found
}

/// How much more the model prefers the chosen reply than the one that it began from, times β.
pub fn margin(beta: f64, now: LogProbabilities, before: LogProbabilities) -> f64 {
    beta * ((now[0] - before[0]) - (now[1] - before[1]))
}

/// `−log σ(margin)`, without overflow.
pub fn loss(margin: f64) -> f64 {
    (-margin.abs()).exp().ln_1p() + (-margin).max(0.0)
}

/// `σ(−margin)`: how much there is to learn of a pair.
pub fn surprise(margin: f64) -> f64 {
    1.0 / (1.0 + margin.exp())
}

/// Adds the gradient of the mean loss over the pairs and returns the margins. `before` are the log-probabilities
/// under the model that it began from.
pub fn learn(
    gpt: &Gpt,
    passes: &mut Passes,
    padded: &mut Padded,
    pairs: &[&Preference],
    before: &[LogProbabilities],
    beta: f64,
    rows: usize,
) -> Vec<f64> {
    let now = log_probabilities(gpt, passes, padded, pairs, rows);
    let both = now.iter().zip(before);
    let margins: Vec<f64> = both.map(|(&now, &before)| margin(beta, now, before)).collect();
    let weight = |(pair, side): (usize, usize)| {
        let weight = beta * surprise(margins[pair]) / pairs.len() as f64;
        if side == 0 { weight } else { -weight }
    };
    for some in by_length(pairs).chunks(rows) {
        let examples: Vec<Example> = some
            .iter()
            .map(|&row| example(pairs, row, weight(row) as f32))
            .collect();
        padded.fill(&examples, gpt.config().sequence_len);
        passes.learn(gpt, padded.rows(), padded.weights());
    }
    margins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::tiny::{gradient, model as tiny};

    fn rendered(prompt: usize, reply: &[u32]) -> Rendered {
        let prompt: Vec<u32> = (0..prompt as u32).map(|id| id * 5 % 37).collect();
        Rendered {
            ids: [&prompt[..], reply].concat(),
            mask: [vec![0; prompt.len()], vec![1; reply.len()]].concat(),
        }
    }

    fn pairs() -> Vec<Preference> {
        [
            (3, &[4, 9, 2][..], &[8][..]),
            (5, &[7], &[1, 2, 3, 4, 5, 6]),
            (2, &[30, 31], &[30, 32]),
        ]
        .into_iter()
        .map(|(prompt, chosen, rejected)| Preference {
            chosen: rendered(prompt, chosen),
            rejected: rendered(prompt, rejected),
        })
        .collect()
    }

    /// Of a model that preferred otherwise.
    const BEFORE: [LogProbabilities; 3] = [[-9.0, -5.0], [-2.0, -30.0], [-8.0, -8.0]];

    fn mean_loss(gpt: &Gpt, pairs: &[&Preference], beta: f64) -> f64 {
        let now = log_probabilities(gpt, &mut Passes::new(gpt), &mut Padded::default(), pairs, 4);
        let losses = now
            .iter()
            .zip(BEFORE)
            .map(|(&now, before)| loss(margin(beta, now, before)));
        losses.sum::<f64>() / pairs.len() as f64
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let gpt = tiny();
        let pairs = pairs();
        let pairs: Vec<&Preference> = pairs.iter().collect();
        let beta = 0.3;
        let (mut passes, mut padded) = (Passes::new(&gpt), Padded::default());
        learn(&gpt, &mut passes, &mut padded, &pairs, &BEFORE, beta, 4);
        let gradients = gradient(&gpt);
        for (declaration, (name, gradient)) in gpt.declarations().iter().zip(&gradients) {
            // Along its own gradient a parameter changes the loss most: by the norm of the gradient.
            let norm = gradient.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!(norm > 0.0, "{name} has no gradient");
            let param = &declaration.param;
            let value = param.value().download_f64();
            let at = |step: f64| {
                let moved: Vec<f64> = value.iter().zip(gradient).map(|(x, g)| x + step * g / norm).collect();
                param.value().upload_f64(&moved);
                param.touch();
                mean_loss(&gpt, &pairs, beta)
            };
            let step = 1e-3;
            let numeric = (at(step) - at(-step)) / (2.0 * step);
            at(0.0);
            assert!(
                (numeric - norm).abs() < 2e-3 * norm + 2e-5,
                "{name}: {norm} for {numeric}"
            );
        }
    }

    #[test]
    fn at_the_start_every_margin_is_0_and_the_loss_ln_2() {
        let gpt = tiny();
        let pairs = pairs();
        let pairs: Vec<&Preference> = pairs.iter().collect();
        let (mut passes, mut padded) = (Passes::new(&gpt), Padded::default());
        let before = log_probabilities(&gpt, &mut passes, &mut padded, &pairs, 3);
        let margins = learn(&gpt, &mut passes, &mut padded, &pairs, &before, 0.1, 3);
        assert_eq!(margins, [0.0; 3]);
        assert!((loss(0.0) - std::f64::consts::LN_2).abs() < 1e-15);
    }

    #[test]
    fn the_size_of_passes_changes_nothing_but_rounding() {
        let gpt = tiny();
        let pairs = pairs();
        let pairs: Vec<&Preference> = pairs.iter().collect();
        let (mut passes, mut padded) = (Passes::new(&gpt), Padded::default());
        let all = log_probabilities(&gpt, &mut passes, &mut padded, &pairs, 100);
        let each = log_probabilities(&gpt, &mut passes, &mut padded, &pairs, 1);
        for (all, each) in all.iter().flatten().zip(each.iter().flatten()) {
            assert!((all - each).abs() < 1e-5, "{all} and {each}");
        }
    }

    #[test]
    fn extreme_margins_stay_finite() {
        for (margin, expected, share) in [(1e4, 0.0, 0.0), (-1e4, 1e4, 1.0), (2.0, 0.126_928, 0.119_203)] {
            assert!((loss(margin) - expected).abs() < 1e-6, "{}", loss(margin));
            assert!((surprise(margin) - share).abs() < 1e-6, "{}", surprise(margin));
        }
    }

    #[test]
    fn only_the_last_reply_counts_and_long_pairs_are_cut() {
        let tokenizer = crate::training::tiny::letters();
        let pair = PreferencePair {
            prompt: Conversation::from(vec![
                Message::user("abc"),
                Message::assistant("xyz"),
                Message::user("uvw"),
            ]),
            chosen: Message::assistant("lmn"),
            rejected: Message::assistant("opq rst"),
        };
        let found = Preference::of(&pair, &tokenizer, 1000).unwrap().unwrap();
        let learned = |rendered: &Rendered| -> Vec<u32> {
            let counted = rendered.ids.iter().zip(&rendered.mask).filter(|&(_, &mask)| mask == 1);
            counted.map(|(&id, _)| id).collect()
        };
        let end = tokenizer.special("<|assistant_end|>").unwrap();
        let expected = |text: &str| [tokenizer.encode_ordinary(text), vec![end]].concat();
        assert_eq!(learned(&found.chosen), expected("lmn"));
        assert_eq!(learned(&found.rejected), expected("opq rst"));

        let asked = found.chosen.mask.iter().position(|&mask| mask == 1).unwrap();
        let cut = Preference::of(&pair, &tokenizer, asked).unwrap().unwrap();
        assert_eq!((cut.chosen.ids.len(), learned(&cut.rejected).len()), (asked + 1, 1));
        assert!(Preference::of(&pair, &tokenizer, asked - 1).unwrap().is_none());
    }
}
