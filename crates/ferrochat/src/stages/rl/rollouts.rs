//! From questions to gradients: replies are drawn, rewarded, compared with each other and learned from.
//!
//! The algorithm is the reference's simplification of GRPO (Shao et al. 2024): on policy, no KL term, no clipping,
//! advantages not divided by their deviation. Knows no settings, files or schedules.

use anyhow::Result;
use ferrochat_chat::{Engine, ReplyOptions};
use ferrochat_model::Gpt;
use ferrochat_tasks::Task;
use ferrochat_tokenizer::Tokenizer;

use super::questions::Asked;
use crate::training::{Example, Padded, Passes};

/// One reply behind its question.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// The question's ids, then the reply's, without the token that ended it.
    pub ids: Vec<u32>,
    /// 1 for the tokens of the reply that the model chose.
    pub mask: Vec<u8>,
    /// Tokens of the reply, those put in by a tool too.
    pub reply_tokens: usize,
    /// What the task says it is worth.
    pub reward: f64,
}

/// Draws `options.samples` replies to each question and has them rewarded.
///
/// # Errors
/// The engine refuses, or a reply cannot be judged.
pub fn roll_out(
    gpt: &Gpt,
    tokenizer: &Tokenizer,
    task: &dyn Task,
    asked: &[&Asked],
    options: &ReplyOptions,
) -> Result<Vec<Vec<Rollout>>> {
    let prompts: Vec<Vec<u32>> = asked.iter().map(|asked| asked.prompt.clone()).collect();
    let replies = Engine::new(gpt, tokenizer)?.reply_all(&prompts, options)?;
    let groups = asked.iter().zip(replies).map(|(asked, replies)| {
        let rollouts = replies.into_iter().map(|reply| {
            Ok(Rollout {
                reward: task.reward(asked.index, &reply)?,
                ids: [&asked.prompt[..], &reply.ids].concat(),
                mask: [&vec![0; asked.prompt.len()][..], &reply.mask].concat(),
                reply_tokens: reply.ids.len(),
            })
        });
        rollouts.collect()
    });
    groups.collect()
}

/// How much better each reply to a question is than the mean of them.
pub fn advantages(group: &[Rollout]) -> Vec<f64> {
    let mean = group.iter().map(|rollout| rollout.reward).sum::<f64>() / group.len() as f64;
    group.iter().map(|rollout| rollout.reward - mean).collect()
}

/// Adds the gradient of `−Σ advantage · log p` over the chosen tokens, in passes of `rows` replies to one question:
/// divided by the number of such tokens in the pass, then the mean over passes and questions. Returns the loss.
///
/// `log p` is −nll, so that the weight of a target is its advantage over those numbers. A pass whose replies are all
/// worth the same has nothing to teach and is left out; where that is so of all passes, one is made all the same:
/// the gradient is 0 then, and what the optimizer remembers fades as it does in the reference.
pub fn learn(gpt: &Gpt, passes: &mut Passes, padded: &mut Padded, groups: &[Vec<Rollout>], rows: usize) -> f64 {
    let most = gpt.config().sequence_len;
    let (mut loss, mut learned) = (0.0, false);
    for (number, group) in groups.iter().enumerate() {
        let advantages = advantages(group);
        let count = group.len().div_ceil(rows) * groups.len();
        for (at, (members, advantages)) in group.chunks(rows).zip(advantages.chunks(rows)).enumerate() {
            let last = number + 1 == groups.len() && (at + 1) * rows >= group.len();
            if advantages.iter().all(|&advantage| advantage == 0.0) && (learned || !last) {
                continue;
            }
            let examples = weighted(members, advantages, count);
            padded.fill(&examples, most);
            loss += passes.learn(gpt, padded.rows(), padded.weights());
            learned = true;
        }
    }
    loss
}

/// The replies of a pass, of which there are `count` in the step.
fn weighted<'a>(members: &'a [Rollout], advantages: &[f64], count: usize) -> Vec<Example<'a>> {
    let example = |rollout: &'a Rollout, weight| Example {
        ids: &rollout.ids,
        mask: &rollout.mask,
        weight,
    };
    let targets: usize = members.iter().map(|member| example(member, 0.0).targets()).sum();
    let share = 1.0 / (targets.max(1) * count) as f64;
    let pairs = members.iter().zip(advantages);
    pairs
        .map(|(member, advantage)| example(member, (advantage * share) as f32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::tiny::{gradient, model as tiny};
    use crate::training::{Rows, Weights};

    fn rollout(reward: f64, prompt: usize, reply: &[(u32, u8)]) -> Rollout {
        let prompt: Vec<(u32, u8)> = (0..prompt as u32).map(|id| (id * 5 % 37, 0)).collect();
        let (ids, mask) = prompt.iter().chain(reply).copied().unzip();
        Rollout {
            ids,
            mask,
            reply_tokens: reply.len(),
            reward,
        }
    }

    fn groups() -> Vec<Vec<Rollout>> {
        vec![
            vec![
                rollout(1.0, 3, &[(4, 1), (9, 0), (2, 1)]),
                rollout(0.0, 3, &[(8, 1)]),
                rollout(0.0, 3, &[]),
                rollout(1.0, 3, &[(1, 1), (1, 1), (30, 1), (7, 1)]),
            ],
            vec![
                rollout(0.0, 5, &[(3, 0), (6, 1)]),
                rollout(0.0, 5, &[(3, 1)]),
                rollout(0.5, 5, &[(11, 1)]),
                rollout(0.0, 5, &[(12, 1), (13, 1)]),
            ],
        ]
    }

    #[test]
    fn the_gradient_is_the_sum_written_by_hand() {
        let gpt = tiny();
        let mut passes = Passes::new(&gpt);
        let loss = learn(&gpt, &mut passes, &mut Padded::default(), &groups(), 2);
        let found = gradient(&gpt);

        // Token by token: advantage / (chosen tokens of its pass · 2 passes · 2 questions).
        let mut by_hand = 0.0;
        for group in groups() {
            let mean = group.iter().map(|rollout| rollout.reward).sum::<f64>() / 4.0;
            for pass in group.chunks(2) {
                let chosen: u32 = pass
                    .iter()
                    .flat_map(|rollout| &rollout.mask)
                    .map(|&mask| u32::from(mask))
                    .sum();
                for rollout in pass {
                    let weight = (rollout.reward - mean) / f64::from(chosen.max(1)) / 4.0;
                    for at in (1..rollout.ids.len()).filter(|&at| rollout.mask[at] == 1) {
                        let mut targets = vec![-1; at];
                        targets[at - 1] = rollout.ids[at] as i32;
                        let rows = Rows {
                            inputs: &rollout.ids[..at],
                            targets: &targets,
                            sequence_len: at,
                        };
                        by_hand += passes.learn(&gpt, rows, Weights::Same(weight as f32));
                    }
                }
            }
        }
        let expected = gradient(&gpt);
        assert!((loss - by_hand).abs() < 1e-6, "{loss} and {by_hand}");
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            let norm = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
            let error = found
                .iter()
                .zip(expected)
                .map(|(a, b)| (a - b) * (a - b))
                .sum::<f64>()
                .sqrt();
            assert!(norm > 0.0 && error < 1e-5 * norm, "{name}: {error} of {norm}");
        }
    }

    #[test]
    fn replies_that_are_worth_the_same_teach_nothing() {
        let gpt = tiny();
        for reward in [0.0, 1.0] {
            let same: Vec<Vec<Rollout>> = groups()
                .into_iter()
                .map(|group| group.into_iter().map(|rollout| Rollout { reward, ..rollout }).collect())
                .collect();
            let loss = learn(&gpt, &mut Passes::new(&gpt), &mut Padded::default(), &same, 2);
            assert_eq!(loss, 0.0);
            // There is a gradient, so that the optimizer's memory goes on; it is 0 and no NaN.
            assert!(
                gradient(&gpt)
                    .iter()
                    .all(|(_, gradient)| gradient.iter().all(|&x| x == 0.0))
            );
        }
    }

    #[test]
    fn passes_without_a_chosen_token_are_harmless() {
        let gpt = tiny();
        let forced = vec![vec![rollout(1.0, 2, &[(3, 0)]), rollout(0.0, 2, &[])]];
        let loss = learn(&gpt, &mut Passes::new(&gpt), &mut Padded::default(), &forced, 1);
        assert_eq!(loss, 0.0);
        assert!(
            gradient(&gpt)
                .iter()
                .all(|(_, gradient)| gradient.iter().all(|&x| x == 0.0))
        );
    }

    #[test]
    fn advantages_are_differences_to_the_mean() {
        let group: Vec<Rollout> = [1.0, 0.0, 0.0, 1.0].map(|reward| rollout(reward, 1, &[])).into();
        assert_eq!(advantages(&group), [0.5, -0.5, -0.5, 0.5]);
    }
}
