//! Questions with checkable answers, and the check. This room must never know
//! the world.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::WorldError;

/// The kinds of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One fact, in an open question.
    Facts,
    /// One fact, four options; the answer is a letter.
    MultipleChoice,
    /// Two operands, for the calculator.
    Arithmetic,
    /// A little story with two steps, for the calculator twice.
    WordProblem,
    /// A word, letter by letter.
    Spelling,
    /// What the model knows about itself.
    Identity,
    /// Something outside the world, to be refused politely.
    Refusal,
}

impl Kind {
    /// Every kind, in the order of the report.
    pub const ALL: [Kind; 7] = [
        Kind::Facts,
        Kind::MultipleChoice,
        Kind::Arithmetic,
        Kind::WordProblem,
        Kind::Spelling,
        Kind::Identity,
        Kind::Refusal,
    ];

    /// The name in JSON and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Facts => "facts",
            Kind::MultipleChoice => "multiple_choice",
            Kind::Arithmetic => "arithmetic",
            Kind::WordProblem => "word_problem",
            Kind::Spelling => "spelling",
            Kind::Identity => "identity",
            Kind::Refusal => "refusal",
        }
    }

    /// The score of guessing, between 0 and 1.
    pub fn chance(self) -> f64 {
        if self == Kind::MultipleChoice { 0.25 } else { 0.0 }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = WorldError;

    fn from_str(name: &str) -> Result<Self, WorldError> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| WorldError::KindName(name.to_string()))
    }
}

/// A question: `{"kind", "prompt", "answer"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What it tests.
    pub kind: Kind,
    /// What the user says.
    pub prompt: String,
    /// What must stand in the reply.
    pub answer: String,
}

/// The word that marks a refusal. Nothing else that the world says contains it.
pub const REFUSAL_WORD: &str = "sorry";

/// Is the reply right? A number must be the last number of the reply; a letter
/// of multiple choice must be the only capital letter from A to D that stands
/// alone; anything else must stand in it as a whole word, in either case.
pub fn is_right(question: &Question, reply: &str) -> bool {
    let answer = question.answer.trim();
    if question.kind == Kind::MultipleChoice {
        let mut letters = reply
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| matches!(*word, "A" | "B" | "C" | "D"));
        let first = letters.next();
        return first == Some(answer) && letters.all(|letter| letter == answer);
    }
    match answer.replace(',', "").parse::<f64>() {
        Ok(number) => last_number(reply) == Some(number),
        Err(_) => contains_word(reply, answer),
    }
}

/// Does the reply refuse? True of every refusal in the training data and of
/// nothing else there.
pub fn is_refusal(reply: &str) -> bool {
    contains_word(reply, REFUSAL_WORD)
}

/// The last number of a text. Commas between digits are left out, a full stop
/// that ends a sentence is not a decimal point, a minus counts unless it joins
/// two words or numbers.
pub fn last_number(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let end = bytes.iter().rposition(u8::is_ascii_digit)? + 1;
    let mut start = end - 1;
    while start > 0 {
        let before = bytes[start - 1];
        let joins = matches!(before, b'.' | b',') && start >= 2 && bytes[start - 2].is_ascii_digit();
        if !before.is_ascii_digit() && !joins {
            break;
        }
        start -= 1;
    }
    let number: f64 = text[start..end].replace(',', "").parse().ok()?;
    let minus = start > 0
        && bytes[start - 1] == b'-'
        && (start < 2 || !(bytes[start - 2].is_ascii_alphanumeric() || bytes[start - 2] == b')'));
    Some(if minus { -number } else { number })
}

/// Does `word` stand in `text` as a whole word, in either case? `cat` does not
/// stand in `cats` nor in `c-a-t`; `c-a-t` does not stand in `c-a-t-s`.
fn contains_word(text: &str, word: &str) -> bool {
    let text = text.to_lowercase();
    let word = word.to_lowercase();
    if word.is_empty() {
        return false;
    }
    text.match_indices(&word).any(|(at, _)| {
        let before: Vec<char> = text[..at].chars().rev().take(2).collect();
        let after: Vec<char> = text[at + word.len()..].chars().take(2).collect();
        !continues(&before) && !continues(&after)
    })
}

/// Does the word go on, given the two characters beyond its end, nearest first?
fn continues(beyond: &[char]) -> bool {
    match beyond {
        [near, ..] if near.is_alphanumeric() => true,
        ['-', far] => far.is_alphanumeric(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(kind: Kind, answer: &str, reply: &str) -> bool {
        let question = Question {
            kind,
            prompt: String::new(),
            answer: answer.into(),
        };
        is_right(&question, reply)
    }

    #[test]
    fn words_count_only_when_whole() {
        for (answer, reply, expected) in [
            ("Anna", "The mayor is Anna.", true),
            ("Anna", "The mayor is anna", true),
            ("Ann", "The mayor is Anna.", false),
            ("Anna", "That is Anna's house.", true),
            ("c-a-t", "cat is spelled c-a-t.", true),
            ("c-a-t", "cat is spelled c-a-t-s.", false),
            ("c-a-t", "cat is spelled s-c-a-t.", false),
            ("plum cake", "Ada likes plum cake best.", true),
            ("plum cake", "Ada likes plum best.", false),
            ("cold", "", false),
        ] {
            assert_eq!(right(Kind::Facts, answer, reply), expected, "{answer:?} in {reply:?}");
        }
    }

    #[test]
    fn a_number_must_be_the_last() {
        for (answer, reply, expected) in [
            ("46", "12 + 34 is 46.", true),
            ("34", "12 + 34 is 46.", false),
            ("46", "It is 46.0!", true),
            ("4", "It is 46.", false),
            ("1200", "That makes 1,200 coins.", true),
            ("-5", "That is -5.", true),
            ("5", "That is -5.", false),
            ("5", "That is 10-5", true),
            ("46", "no idea", false),
            ("46", "...", false),
        ] {
            assert_eq!(
                right(Kind::Arithmetic, answer, reply),
                expected,
                "{answer:?} in {reply:?}"
            );
        }
    }

    #[test]
    fn a_choice_must_be_one_letter() {
        for (reply, expected) in [
            ("B", true),
            ("B.", true),
            ("The answer is B", true),
            ("A or B", false),
            ("b", false),
            ("Bread", false),
            ("A", false),
            ("", false),
        ] {
            assert_eq!(right(Kind::MultipleChoice, "B", reply), expected, "{reply:?}");
        }
    }

    #[test]
    fn refusals_are_known_by_their_word() {
        assert!(is_refusal("Sorry, that is beyond my hills."));
        assert!(!is_refusal("Ada lives in Foxwell."));
    }
}
