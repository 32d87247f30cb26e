//! Pages of the school book: animals, days, opposites, spelling and sums.

use super::{Scribe, template};
use crate::exchanges::arithmetic::{Op, pair_is_heldout};
use crate::exchanges::spelling::{PROMPTS, practice, spelled};
use crate::fact::{Entity, Relation};
use crate::phrasings::{Call, capitalised};
use crate::split::Split;
use crate::words::things::DAYS;

/// Some animals with their sounds, young and beds.
pub(super) fn animals(scribe: &mut Scribe<'_>) -> String {
    let opening = scribe.choose(&[
        "[On the farm|In the yard|Animals, big and small|A song of the animals|Listen to the animals].",
        "[The children walked through the yard and looked|The old farmer knows every animal|Good night, animals].",
    ]);
    let mut lines = vec![template::alternatives(opening, &mut scribe.rng)];
    let count = scribe.rng.between(2, 5) as usize;
    for animal in scribe.several(count, scribe.universe.animals.len()) {
        let mut relations = [Relation::Sound, Relation::Young, Relation::House];
        scribe.rng.shuffle(&mut relations);
        let sentences: Vec<String> = relations
            .iter()
            .map(|&relation| scribe.say(Entity::Animal(animal), relation, Call::Name))
            .collect();
        lines.push(sentences.join(" "));
    }
    lines.join("\n")
}

/// The order of the week, and what each day is good for.
pub(super) fn days(scribe: &mut Scribe<'_>) -> String {
    let opening = scribe.choose(&[
        "The week has seven days.",
        "A song of the week.",
        "What day is it?",
        "The days go round and round.",
    ]);
    let mut sentences = vec![opening.to_string()];
    if scribe.rng.percent(30) {
        let list = DAYS.join(", ");
        sentences.push(format!("Here they are: {list}."));
    }
    let start = scribe.rng.below(7);
    let count = scribe.rng.between(3, 7) as usize;
    for step in 0..count {
        let day = (start + step) % 7;
        let relation = if scribe.rng.percent(50) {
            Relation::DayAfter
        } else {
            Relation::DayBefore
        };
        sentences.push(scribe.say(Entity::Day(day), relation, Call::Name));
        let markets: Vec<usize> = (0..scribe.universe.places.len())
            .filter(|&p| scribe.universe.places[p].market_day == day)
            .collect();
        if !markets.is_empty() && scribe.rng.percent(50) {
            let place = *scribe.rng.choose(&markets);
            sentences.push(scribe.say(Entity::Place(place), Relation::MarketDay, Call::Name));
        }
    }
    sentences.join(" ")
}

/// Opposites, in lines that are nearly a poem.
pub(super) fn opposites(scribe: &mut Scribe<'_>) -> String {
    let opening = scribe.choose(&[
        "Opposites.",
        "A game of opposites.",
        "The world has two sides.",
        "Say the other word!",
    ]);
    let mut lines = vec![opening.to_string()];
    let count = scribe.rng.between(4, 8) as usize;
    for word in scribe.several(count, scribe.universe.words.len()) {
        lines.push(scribe.say(Entity::Word(word), Relation::Opposite, Call::Name));
    }
    lines.join("\n")
}

/// Words and their letters.
pub(super) fn spelling(scribe: &mut Scribe<'_>) -> String {
    let opening = scribe.choose(&[
        "Spelling.",
        "Letter by letter.",
        "Write these words ten times.",
        "From the spelling book.",
    ]);
    let mut lines = vec![opening.to_string()];
    let count = scribe.rng.between(5, 9) as usize;
    for _ in 0..count {
        let word = practice(scribe.universe, scribe.words, &mut scribe.rng);
        let form = scribe.choose(&[
            "{w}: {s}.",
            "{W} is spelled {s}.",
            "You write {w} like this: {s}.",
            "The letters of {w} are {s}.",
            "The word {w} is spelled {s}.",
        ]);
        // Asked and answered, as in a conversation, every other time: reading
        // must teach what talking needs.
        let form = if scribe.rng.percent(50) {
            format!("{} The word {{w}} is spelled {{s}}.", scribe.choose(PROMPTS))
        } else {
            form.to_string()
        };
        let line = form
            .replace("{w}", &word)
            .replace("{W}", &capitalised(&word))
            .replace("{s}", &spelled(&word));
        lines.push(line);
    }
    lines.join("\n")
}

/// Sums small enough for the head, with pairs of the split only.
pub(super) fn sums(scribe: &mut Scribe<'_>) -> String {
    let opening = scribe.choose(&[
        "Sums.",
        "Do your sums!",
        "From the sum book.",
        "Numbers before breakfast.",
        "The teacher counts.",
    ]);
    let mut lines = vec![opening.to_string()];
    let count = scribe.rng.between(4, 8);
    for _ in 0..count {
        let op = *scribe.rng.choose(&[Op::Add, Op::Subtract, Op::Multiply]);
        let largest = if op == Op::Multiply { 12 } else { scribe.largest_operand };
        let (a, b) = loop {
            let (a, b) = (scribe.rng.between(0, largest), scribe.rng.between(0, largest));
            let (a, b) = (a.max(b), a.min(b));
            if pair_is_heldout(a, b) == (scribe.split == Split::Heldout) {
                break (a, b);
            }
        };
        let result = op.apply(a, b);
        let word = match op {
            Op::Add => "plus",
            Op::Subtract => "minus",
            _ => "times",
        };
        let sign = op.sign();
        lines.push(match scribe.rng.below(3) {
            0 => format!("{a} {word} {b} is {result}."),
            1 => format!("{a} {sign} {b} = {result}"),
            _ => format!("What is {a} {sign} {b}? That is {result}."),
        });
    }
    lines.join("\n")
}
