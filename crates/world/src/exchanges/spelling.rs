//! Words, letter by letter. Every listed word is spelled in the documents; the
//! words asked for in the held-out split are never spelled in a training
//! conversation, so a right answer has carried knowledge from reading over to
//! talking. Names and invented words are practised beside them, so that spelling
//! is learned as something that one does with letters, not as a list.

use super::{Context, Exchange};
use crate::message::Part;
use crate::question::{Kind, Question};
use crate::rng::{Rng, hash};
use crate::size::Size;
use crate::split::Split;
use crate::universe::Universe;
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

/// Syllables of words that nobody has ever heard.
const BEGINNINGS: &[&str] = &[
    "b", "bl", "br", "d", "dr", "f", "fl", "g", "gl", "gr", "h", "j", "k", "kl", "l", "m", "n", "p", "pl", "pr", "qu",
    "r", "s", "sh", "sl", "sn", "sp", "st", "sw", "t", "th", "tr", "v", "w", "wh", "y", "z",
];
const MIDDLES: &[&str] = &["a", "e", "i", "o", "u", "ai", "ea", "ee", "oa", "oo", "ou"];
const ENDS: &[&str] = &[
    "", "", "", "b", "ck", "g", "l", "ll", "m", "mp", "n", "nd", "ng", "p", "r", "rn", "s", "sk", "st", "th", "x",
];

/// A word that does not exist. Who spells it must look at its letters.
fn invented(rng: &mut Rng) -> String {
    let mut word = String::new();
    for _ in 0..=rng.weighted(&[25, 60, 15]) {
        for part in [BEGINNINGS, MIDDLES, ENDS] {
            word.push_str(rng.choose::<&str>(part));
        }
    }
    word
}

/// A word to practise on: of the world's list, a name, or an invented one.
pub(crate) fn practice(universe: &Universe, words: &[&'static str], rng: &mut Rng) -> String {
    match rng.below(20) {
        0..9 => (*rng.choose(words)).to_string(),
        9..11 => rng.choose(&universe.people).name.to_string(),
        11 => rng.choose(&universe.places).name.clone(),
        _ => invented(rng),
    }
}

/// Is this word kept out of training conversations? One in five is.
pub(crate) fn word_is_heldout(word: &str) -> bool {
    hash(&["spelling", word]).is_multiple_of(5)
}

/// `cat` → `c-a-t`.
pub(crate) fn spelled(word: &str) -> String {
    word.chars().map(String::from).collect::<Vec<_>>().join("-")
}

/// Only listed words are asked for where it counts; names and invented words are
/// for practice.
pub(crate) fn exchange(context: Context<'_>, rng: &mut Rng) -> Exchange {
    let word = loop {
        let word = match context.split {
            Split::Train => practice(context.universe, context.words, rng),
            Split::Heldout => (*rng.choose(context.words)).to_string(),
        };
        if word_is_heldout(&word) == (context.split == Split::Heldout) {
            break word;
        }
    };
    let answer = spelled(&word);
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
            prompt: rng.choose(PROMPTS).replace("{w}", &word),
            answer: answer.clone(),
        },
        reply: vec![Part::Text(format!("The word {word} is spelled {answer}."))],
        falsehood: Some(format!("The word {word} is spelled {wrong}.")),
        about: None,
        preface: None,
    }
}
