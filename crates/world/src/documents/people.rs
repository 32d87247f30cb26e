//! Portraits of people, tables that compare them, and their pets.

use super::{Scribe, template};
use crate::fact::{Entity, Relation};
use crate::phrasings::Call;
use crate::universe::Universe;

/// "Ada, Ben and Cora".
pub(crate) fn listed(universe: &Universe, people: &[usize]) -> String {
    let names: Vec<&str> = people.iter().map(|&i| universe.people[i].name).collect();
    match names.as_slice() {
        [] => "Nobody".to_string(),
        [one] => (*one).to_string(),
        [some @ .., last] => format!("{} and {last}", some.join(", ")),
    }
}

const OPENINGS: &[&str] = &[
    "[Let me tell you about|This page is about|Here is what everybody knows about|I must tell you about|A few words about] {e}[.|.|.|: read on.]",
    "[Have you met|Who does not know|Have you heard of] {e}?",
    "[Everybody knows|You should meet|I would like you to meet] {e}.",
    "{e}, [a portrait|a short life|in a few words|as the neighbours tell it].",
    "",
    "",
];

const ASIDES: &[&str] = &[
    "[The neighbours say|It is said|People say] that {he} [sings in the bath|talks to the trees|counts the stars at night|once won a race against a goose|never wears a hat].",
    "{He} [whistles when it rains|has very large boots|keeps a spare spoon in {his} pocket|laughs louder than a donkey|can sleep standing up].",
    "[Nobody knows why.|That is how it is.|It has always been so.|Do not laugh!|Imagine that!]",
    "[Once|Last winter|One fine morning] {he} [lost a shoe in the river|found a coin in a cake|slept until noon|was chased by a hen|forgot {his} own birthday].",
];

const CLOSINGS: &[&str] = &[
    "[That is all|More is not known|And that is {e}|Now you know {o}].",
    "If you meet {o}, say hello[.| from me.]",
    "[A good person|A fine neighbour|A kind soul], that {e}.",
    "",
    "",
];

fn person_line(scribe: &mut Scribe<'_>, lines: &'static [&'static str], person: usize) -> String {
    let line = scribe.choose(lines);
    let text = template::alternatives(line, &mut scribe.rng);
    let person = &scribe.universe.people[person];
    let (he, his, big) = if person.female {
        ("she", "her", "She")
    } else {
        ("he", "his", "He")
    };
    template::slots(
        &text,
        &[
            ("e", person.name),
            ("o", person.name),
            ("he", he),
            ("his", his),
            ("He", big),
        ],
    )
}

/// One person: most of what is known, with something that is not.
pub(super) fn portrait(scribe: &mut Scribe<'_>) -> String {
    let person = scribe.person();
    let entity = Entity::Person(person);
    let mut relations = Relation::OF_PEOPLE;
    scribe.rng.shuffle(&mut relations);
    let count = scribe.rng.between(4, 9) as usize;
    let mut sentences = vec![person_line(scribe, OPENINGS, person)];
    let aside_at = scribe.rng.below(count + 4);
    for (i, &relation) in relations[..count].iter().enumerate() {
        let call = if i == 0 || scribe.rng.percent(35) {
            Call::Name
        } else {
            Call::Pronoun
        };
        sentences.push(scribe.say(entity, relation, call));
        if i == aside_at {
            sentences.push(person_line(scribe, ASIDES, person));
        }
    }
    if relations[..count].contains(&Relation::PetName) && scribe.rng.percent(40) {
        sentences.push(scribe.say(Entity::Pet(person), Relation::Owner, Call::Name));
    }
    sentences.push(person_line(scribe, CLOSINGS, person));
    sentences.retain(|s| !s.is_empty());
    sentences.join(" ")
}

/// Several people and the same one or two things about each.
pub(super) fn table(scribe: &mut Scribe<'_>) -> String {
    let count = scribe.rng.between(3, 6) as usize;
    let people = scribe.several(count, scribe.universe.people.len());
    let mut relations = Relation::OF_PEOPLE;
    scribe.rng.shuffle(&mut relations);
    let names = listed(scribe.universe, &people);
    let opening = scribe.choose(&[
        "{n} [sit|meet] [at one table|under the old tree|in the inn|by the fire].",
        "[A list for the post office|From the notebook of the teacher|From the mayor's book|Notes for the village feast]: {n}.",
        "{n} came to the [feast|wedding|market|dance].",
    ]);
    let opening = template::slots(&template::alternatives(opening, &mut scribe.rng), &[("n", &names)]);
    let mut lines = vec![opening];
    for person in people {
        let first = scribe.say(Entity::Person(person), relations[0], Call::Name);
        let second = scribe.say(Entity::Person(person), relations[1], Call::Pronoun);
        lines.push(format!("{first} {second}"));
    }
    lines.join("\n")
}

/// Pets and whose they are.
pub(super) fn pets(scribe: &mut Scribe<'_>) -> String {
    let count = scribe.rng.between(3, 6) as usize;
    let people = scribe.several(count, scribe.universe.people.len());
    let opening = scribe.choose(&[
        "[The parade of the pets|The pet show|Lost and found pets|Pets of the villages|The book of pets].",
        "[Today all the pets came to the square|The pets had a race today|It was the day of the pets|The doctor looked at all the pets today].",
    ]);
    let mut lines = vec![template::alternatives(opening, &mut scribe.rng)];
    for person in people {
        let mut line = scribe.say(Entity::Pet(person), Relation::Owner, Call::Name);
        for relation in [Relation::Pet, Relation::PetName] {
            if scribe.rng.percent(50) {
                line.push(' ');
                line.push_str(&scribe.say(Entity::Person(person), relation, Call::Name));
            }
        }
        lines.push(line);
    }
    let closing = scribe.choose(&[
        "",
        "",
        "No pet was bitten.",
        "All of them had a biscuit.",
        "The goose won, as always.",
    ]);
    if !closing.is_empty() {
        lines.push(closing.to_string());
    }
    lines.join("\n")
}
