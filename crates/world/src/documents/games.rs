//! Games in which the answer stands further up on the page: packing a bag,
//! looking into a cupboard, matching letters. They teach to look back, which
//! multiple choice and spelling need. This room must never know of conversations.

use super::{Scribe, template};
use crate::exchanges::multiple_choice::{self, LETTERS};
use crate::fact::Fact;
use crate::phrasings::Call;
use crate::split::Split;

/// How letter games begin.
pub(crate) const LETTER_GAMES: &[&str] = &[
    "Find the letter.",
    "A game of letters.",
    "Which is which?",
    "The letter game.",
];

/// "I pack my bag": everybody says all that was said before, and one thing more.
pub(super) fn packing(scribe: &mut Scribe<'_>) -> String {
    let opening = scribe.choose(&[
        "I pack my bag.",
        "The packing game.",
        "Who remembers everything?",
        "A game for a rainy day.",
    ]);
    let form = scribe.choose(&["{n}: {t}", "{n} packs {t}.", "{n} says: {t}.", "- {t}"]);
    let rounds = scribe.rng.between(3, 6) as usize;
    let things = scribe.several(2 * rounds, scribe.words.len());
    let mut lines = vec![opening.to_string()];
    for round in 1..=rounds {
        let said: Vec<&str> = things[..2 * round].iter().map(|&w| scribe.words[w]).collect();
        let person = scribe.person();
        let name = scribe.universe.people[person].name;
        lines.push(template::slots(form, &[("n", name), ("t", &said.join(", "))]));
    }
    lines.join("\n")
}

/// Things with a letter each, said again and again in another order, and then
/// asked for. Nothing of it is true anywhere else, so that the only way to know is
/// to look back; and there is much to look up in few words, which is what a small
/// model needs to find out how.
pub(super) fn cupboard(scribe: &mut Scribe<'_>) -> String {
    let opening = scribe.choose(&[
        "The old cupboard.",
        "Lost and found.",
        "The shelves of the village shop.",
        "Every hook has a letter.",
    ]);
    // Any words, or what could be answers to one question.
    let things: Vec<&str> = if scribe.rng.percent(50) {
        let words = scribe.several(4, scribe.words.len());
        words.iter().map(|&w| scribe.words[w]).collect()
    } else {
        let universe = scribe.universe;
        let values = universe.values(universe.facts[scribe.rng.below(universe.facts.len())].relation);
        let chosen = scribe.several(4, values.len());
        chosen.iter().map(|&v| values[v].as_str()).collect()
    };
    let mut lines = vec![opening.to_string()];
    lines.extend(
        things
            .iter()
            .zip(LETTERS)
            .map(|(thing, letter)| format!("- {thing}={letter}")),
    );
    let rounds = scribe.rng.between(5, 8);
    lines.extend((0..rounds).map(|_| again(scribe, &things)));
    for i in scribe.several(2, 4) {
        lines.push(format!("{} {}", multiple_choice::beside(things[i]), LETTERS[i]));
    }
    lines.join("\n")
}

/// What stands in a list, in another order.
fn again<T: AsRef<str>>(scribe: &mut Scribe<'_>, options: &[T]) -> String {
    let order = scribe.several(options.len(), options.len());
    let read: Vec<String> = order
        .iter()
        .map(|&i| format!(" {}={}", options[i].as_ref(), LETTERS[i]))
        .collect();
    format!("-{}", read.join(","))
}

/// One list of options, read aloud and then asked for: what a letter stands
/// beside, and what is true. Many answers for one list.
pub(super) fn matching(scribe: &mut Scribe<'_>) -> String {
    let opening = scribe.choose(LETTER_GAMES);
    let fact = multiple_choice::fact(scribe.universe, scribe.split, &mut scribe.rng);
    let list = multiple_choice::choice(scribe.universe, fact, false, &mut scribe.rng);
    let mut lines = vec![opening.to_string()];
    for (option, letter) in list.options.iter().zip(LETTERS) {
        lines.push(format!("- {option}={letter}"));
    }
    // The same pairs again, in another order: what a letter stands beside can
    // only be known by looking back.
    for _ in 0..scribe.rng.between(1, 3) {
        lines.push(again(scribe, &list.options));
    }
    if scribe.rng.percent(50) {
        let i = scribe.rng.below(4);
        lines.push(format!("{} {}", multiple_choice::beside(&list.options[i]), LETTERS[i]));
    }
    // Other facts whose values stand in the list, as far as this split may ask.
    let values: Vec<&str> = list.options.iter().map(|o| o.trim_end_matches(" coins")).collect();
    let mut known: Vec<&Fact> = scribe
        .universe
        .facts
        .iter()
        .filter(|f| f.relation == fact.relation && values.contains(&f.value.as_str()))
        .filter(|f| scribe.universe.choice_is_heldout(f) == (scribe.split == Split::Heldout))
        .collect();
    scribe.rng.shuffle(&mut known);
    known.truncate(scribe.rng.between(2, 5) as usize);
    let style = scribe.rng.below(3);
    for fact in known {
        let question = multiple_choice::question(scribe.universe, fact, &mut scribe.rng);
        let letter = values.iter().position(|v| *v == fact.value).map_or("", |i| LETTERS[i]);
        lines.push(match style {
            0 => {
                let say = scribe.say(fact.entity, fact.relation, Call::Name);
                format!("{question} {say} So it is {letter}")
            }
            1 => format!("{question} {}={letter}", fact.value),
            _ => format!("{question} {letter}"),
        });
    }
    lines.join("\n")
}
