//! One question and its reply, for every kind. Conversations, questions and
//! preference pairs are all put together from these, so that what is taught,
//! asked and checked is the same. This room must never know how many turns a
//! conversation has.

pub(crate) mod arithmetic;
pub(crate) mod facts;
pub(crate) mod identity;
pub(crate) mod multiple_choice;
pub(crate) mod refusals;
pub(crate) mod smalltalk;
pub(crate) mod spelling;
pub(crate) mod word_problems;

use crate::fact::Entity;
use crate::identity::Identity;
use crate::message::Part;
use crate::question::{Kind, Question};
use crate::rng::Rng;
use crate::size::Size;
use crate::split::Split;
use crate::universe::Universe;

/// What an exchange may draw from.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) universe: &'a Universe,
    pub(crate) words: &'a [&'static str],
    pub(crate) size: Size,
    pub(crate) split: Split,
    pub(crate) identity: &'a Identity,
}

/// A question with its reply.
pub(crate) struct Exchange {
    pub(crate) question: Question,
    pub(crate) reply: Vec<Part>,
    /// A false reply of the same form, where there is one.
    pub(crate) falsehood: Option<String>,
    /// The entity asked about, for a second question.
    pub(crate) about: Option<Entity>,
    /// The same thing asked openly and its reply, to be said before.
    pub(crate) preface: Option<(String, String)>,
}

/// Makes an exchange of a kind. `demonstrated` leaves out what is only ever
/// asked, never shown (some forms of word problems, which RL must find out).
pub(crate) fn exchange(context: Context<'_>, kind: Kind, demonstrated: bool, rng: &mut Rng) -> Exchange {
    match kind {
        Kind::Facts => facts::exchange(context, rng),
        Kind::MultipleChoice => multiple_choice::exchange(context, demonstrated, rng),
        Kind::Arithmetic => arithmetic::exchange(context, rng),
        Kind::WordProblem => word_problems::exchange(context, demonstrated, rng),
        Kind::Spelling => spelling::exchange(context, rng),
        Kind::Identity => identity::exchange(context, rng),
        Kind::Refusal => refusals::exchange(context, rng),
    }
}
