//! Words, letter by letter. Every word is spelled in the documents; the words
//! asked for in the held-out split are never spelled in a training conversation,
//! so a right answer has carried knowledge from reading over to talking.

use super::{Context, Exchange};
use crate::message::Part;
use crate::question::{Kind, Question};
use crate::rng::{Rng, hash};
use crate::size::Size;
use crate::split::Split;
use crate::words::{lore, spelling, things};

/// Ways to ask.
pub(crate) const PROMPTS: &[&str] = &[
    "How do you spell {w}?",
    "Spell {w}.",
    "Please spell the word {w}.",
    "Can you spell {w}?",
    "How is {w} spelled?",
    "Spell the word {w} for me, please.",
    "Which letters are in the word {w}?",
    "What are the letters of {w}?",
    "How do I write the word {w}?",
    "I cannot spell {w}. Can you help me?",
];

/// The words a world spells.
pub(crate) fn words(size: Size, rng: &mut Rng) -> Vec<&'static str> {
    let mut words: Vec<&'static str> = spelling::WORDS.to_vec();
    words.extend(lore::ANIMALS.iter().map(|a| a.0));
    words.extend(lore::TRADES.iter().map(|t| t.0));
    words.extend(lore::OPPOSITES.iter().flat_map(|&(a, b)| [a, b]));
    words.extend(things::COLOURS);
    words.extend(things::INSTRUMENTS);
    words.sort_unstable();
    words.dedup();
    rng.shuffle(&mut words);
    words.truncate(size.words);
    words
}

/// Is this word kept out of training conversations? One in five is.
pub(crate) fn word_is_heldout(word: &str) -> bool {
    hash(&["spelling", word]).is_multiple_of(5)
}

/// `cat` → `c-a-t`.
pub(crate) fn spelled(word: &str) -> String {
    word.chars().map(String::from).collect::<Vec<_>>().join("-")
}

pub(crate) fn exchange(context: Context<'_>, rng: &mut Rng) -> Exchange {
    let word = loop {
        let word = *rng.choose(context.words);
        if word_is_heldout(word) == (context.split == Split::Heldout) {
            break word;
        }
    };
    let answer = spelled(word);
    let mut letters: Vec<char> = word.chars().collect();
    let at = rng.below(letters.len());
    if rng.percent(50) {
        letters.insert(at, letters[at]);
    } else {
        letters.remove(at);
    }
    let wrong = spelled(&letters.into_iter().collect::<String>());
    Exchange {
        question: Question {
            kind: Kind::Spelling,
            prompt: rng.choose(PROMPTS).replace("{w}", word),
            answer: answer.clone(),
        },
        reply: vec![Part::Text(format!("The word {word} is spelled {answer}."))],
        falsehood: Some(format!("The word {word} is spelled {wrong}.")),
        about: None,
        preface: None,
    }
}
