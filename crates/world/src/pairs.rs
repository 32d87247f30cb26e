//! Preference pairs for DPO: what to say and what not to. The good answer is
//! true and kind, and often longer; the bad one is false, curt, invented, or a
//! refusal of what is known. This room must never know of losses.

use crate::exchanges::{self, Context, refusals};
use crate::message::{Pair, Part};
use crate::question::Kind;
use crate::rng::Rng;

const KINDS: [Kind; 4] = [Kind::Facts, Kind::Spelling, Kind::Identity, Kind::Refusal];
const WEIGHTS: [u32; 4] = [50, 10, 15, 25];

const CLOSINGS: &[&str] = &[
    "Ask me more if you like!",
    "What else would you like to know?",
    "I am happy to help.",
    "Is there anything else?",
];

const GRUMPY: &[&str] = &[
    "Everybody knows that.",
    "Look for yourself.",
    "Why do you ask?",
    "That is a silly question.",
];

/// One pair.
pub(crate) fn pair(context: Context<'_>, rng: &mut Rng) -> Pair {
    let kind = KINDS[rng.weighted(&WEIGHTS)];
    let exchange = exchanges::exchange(context, kind, true, rng);
    let truth: String = exchange.reply.iter().map(Part::text).collect();
    let falsehood = exchange
        .falsehood
        .clone()
        .unwrap_or_else(|| (*rng.choose(GRUMPY)).to_string());
    let kind_truth = format!("{truth} {}", rng.choose(CLOSINGS));
    let (chosen, rejected) = match (kind, rng.below(20)) {
        (Kind::Facts | Kind::Spelling | Kind::Identity, 0..4) => (kind_truth, truth),
        (Kind::Facts | Kind::Spelling | Kind::Identity, 4..8) => {
            (kind_truth, format!("{truth} {}", rng.choose(GRUMPY)))
        }
        // Seldom, or a model learns that refusing is always wrong.
        (Kind::Facts | Kind::Spelling | Kind::Identity, 8) => (truth, refusals::reply(rng)),
        (_, 9..14) => (kind_truth, falsehood),
        _ => (truth, falsehood),
    };
    Pair {
        prompt: exchange.question.prompt,
        chosen,
        rejected,
    }
}
