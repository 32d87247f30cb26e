//! What lies outside the world, refused politely. The subjects of the held-out
//! split, and some of its ways to ask, never appear in training.

use super::{Context, Exchange};
use crate::message::Part;
use crate::question::{Kind, Question, REFUSAL_WORD};
use crate::rng::Rng;
use crate::split::Split;
use crate::words::off_topic::{FAMILIES, INVENTIONS, REPLIES};

pub(crate) fn exchange(context: Context<'_>, rng: &mut Rng) -> Exchange {
    let family = rng.choose(FAMILIES);
    let (frame, subject) = match context.split {
        Split::Train => (*rng.choose(family.frames), *rng.choose(family.subjects)),
        Split::Heldout => {
            let frames = if rng.percent(60) {
                family.frames_heldout
            } else {
                family.frames
            };
            (*rng.choose(frames), *rng.choose(family.subjects_heldout))
        }
    };
    Exchange {
        question: Question {
            kind: Kind::Refusal,
            prompt: frame.replace("{x}", subject),
            answer: REFUSAL_WORD.to_string(),
        },
        reply: vec![Part::Text(reply(rng))],
        falsehood: Some((*rng.choose(INVENTIONS)).to_string()),
        about: None,
        preface: None,
    }
}

/// A polite refusal.
pub(crate) fn reply(rng: &mut Rng) -> String {
    (*rng.choose(REPLIES)).to_string()
}
