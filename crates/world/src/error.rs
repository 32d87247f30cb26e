//! What can go wrong when a world is asked for: names and sizes that do not
//! exist. Making text cannot fail.

use thiserror::Error;

/// A refusal, in one sentence that says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WorldError {
    /// No such named size.
    #[error("there is no size `{0}`; the sizes are small, medium and full")]
    SizeName(String),
    /// A field of a size that the word lists cannot fill.
    #[error("a world cannot have {field} = {value}; it must be from {low} to {high}")]
    Size {
        /// The field of [`crate::Size`].
        field: &'static str,
        /// What was asked for.
        value: usize,
        /// The smallest possible value.
        low: usize,
        /// The largest possible value.
        high: usize,
    },
    /// Everybody has a best friend, so people come in pairs.
    #[error("a world cannot have {0} people; everybody has a best friend, so the number must be even")]
    OddPeople(usize),
    /// No such split.
    #[error("there is no split `{0}`; the splits are train and heldout")]
    SplitName(String),
    /// No such kind of question.
    #[error(
        "there is no kind of question `{0}`; the kinds are facts, multiple_choice, arithmetic, word_problem, spelling, identity and refusal"
    )]
    KindName(String),
}
