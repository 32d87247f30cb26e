//! How relations are put into words: questions, noun phrases for wrapped
//! questions, statements. Each list comes twice, for training and held out;
//! a held-out question has a core or a wrapper that no training text has.
//! This room must never know the facts themselves.

mod lore;
mod person;
mod place;

use crate::fact::{Entity, Relation};
use crate::rng::Rng;
use crate::split::Split;
use crate::universe::Universe;

/// The words of one relation. Slots: `{e}` the entity, `{e's}` its possessive,
/// `{o}` the entity as an object, `{his}` and `{him}` its pronouns, `{n}` its
/// name without an article, `{v}` the value with its article, `{w}` without.
pub(crate) struct Phrases {
    pub(crate) questions: &'static [&'static str],
    pub(crate) questions_heldout: &'static [&'static str],
    /// "the village where {e} lives": what a wrapper asks for.
    pub(crate) nouns: &'static [&'static str],
    pub(crate) nouns_heldout: &'static [&'static str],
    /// The first [`REPLIES`] of them are the program's answers.
    pub(crate) statements: &'static [&'static str],
    pub(crate) statements_heldout: &'static [&'static str],
}

/// How many of the statements serve as replies.
const REPLIES: usize = 2;

/// Ways to ask for a noun phrase.
pub(crate) const WRAPPERS: &[&str] = &[
    "What is {np}?",
    "Tell me {np}.",
    "Please tell me {np}.",
    "Do you know {np}?",
    "Can you name {np}?",
    "I forgot {np}. Can you help me?",
];

/// Ways to ask that the training split never uses.
pub(crate) const WRAPPERS_HELDOUT: &[&str] = &[
    "Can you tell me {np}?",
    "I would like to know {np}.",
    "I do not know {np}. Please tell me.",
];

/// The phrases of a relation.
pub(crate) fn phrases(relation: Relation) -> &'static Phrases {
    match relation {
        Relation::Home => &person::HOME,
        Relation::Trade => &person::TRADE,
        Relation::Pet => &person::PET,
        Relation::PetName => &person::PET_NAME,
        Relation::Food => &person::FOOD,
        Relation::Colour => &person::COLOUR,
        Relation::Instrument => &person::INSTRUMENT,
        Relation::Friend => &person::FRIEND,
        Relation::Fear => &person::FEAR,
        Relation::Owner => &place::OWNER,
        Relation::MarketDay => &place::MARKET_DAY,
        Relation::KnownFor => &place::KNOWN_FOR,
        Relation::Landmark => &place::LANDMARK,
        Relation::Mayor => &place::MAYOR,
        Relation::Price => &lore::PRICE,
        Relation::Seller => &lore::SELLER,
        Relation::Sound => &lore::SOUND,
        Relation::Young => &lore::YOUNG,
        Relation::House => &lore::HOUSE,
        Relation::Tool => &lore::TOOL,
        Relation::DayAfter => &lore::DAY_AFTER,
        Relation::DayBefore => &lore::DAY_BEFORE,
        Relation::Opposite => &lore::OPPOSITE,
    }
}

/// Every way to ask for a relation in a split, as templates; at least thirty
/// over both splits.
pub fn question_templates(relation: Relation, split: Split) -> Vec<String> {
    let p = phrases(relation);
    let wrap = |wrappers: &[&str], nouns: &[&str]| -> Vec<String> {
        wrappers
            .iter()
            .flat_map(|w| nouns.iter().map(move |n| w.replace("{np}", n)))
            .collect()
    };
    let mut templates: Vec<String> = match split {
        Split::Train => p.questions,
        Split::Heldout => p.questions_heldout,
    }
    .iter()
    .map(ToString::to_string)
    .collect();
    match split {
        Split::Train => templates.extend(wrap(WRAPPERS, p.nouns)),
        Split::Heldout => {
            templates.extend(wrap(WRAPPERS_HELDOUT, p.nouns));
            templates.extend(wrap(WRAPPERS, p.nouns_heldout));
            templates.extend(wrap(WRAPPERS_HELDOUT, p.nouns_heldout));
        }
    }
    templates
}

/// The statements of a relation in a split, as templates.
pub fn statement_templates(relation: Relation, split: Split) -> &'static [&'static str] {
    let p = phrases(relation);
    match split {
        Split::Train => p.statements,
        Split::Heldout => p.statements_heldout,
    }
}

/// Draws a way to ask: half direct questions, half wrapped noun phrases.
pub(crate) fn draw_question(relation: Relation, split: Split, rng: &mut Rng) -> String {
    let p = phrases(relation);
    if rng.percent(50) {
        return draw_direct(relation, split, rng).to_string();
    }
    let (wrappers, nouns) = match split {
        Split::Train => (WRAPPERS, p.nouns),
        Split::Heldout => match rng.below(3) {
            0 => (WRAPPERS_HELDOUT, p.nouns_heldout),
            1 => (WRAPPERS, p.nouns_heldout),
            _ => (WRAPPERS_HELDOUT, p.nouns),
        },
    };
    let noun = *rng.choose(nouns);
    rng.choose(wrappers).replace("{np}", noun)
}

/// Draws a direct question.
pub(crate) fn draw_direct(relation: Relation, split: Split, rng: &mut Rng) -> &'static str {
    let p = phrases(relation);
    let questions = match split {
        Split::Train => p.questions,
        Split::Heldout => p.questions_heldout,
    };
    questions[rng.below(questions.len())]
}

/// Draws one of the sentences in which the program answers.
pub(crate) fn draw_reply(relation: Relation, rng: &mut Rng) -> &'static str {
    phrases(relation).statements[rng.below(REPLIES)]
}

/// Whether an entity is called by its name or by a pronoun.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Name,
    Pronoun,
}

/// Fills the slots of a template for an entity and its value, and begins the
/// sentence with a capital.
pub(crate) fn fill(universe: &Universe, template: &str, entity: Entity, relation: Relation, call: Call) -> String {
    let value = &universe.fact(entity, relation).value;
    fill_with(universe, template, entity, relation, value, call)
}

/// [`fill`] with a value that need not be the true one.
pub(crate) fn fill_with(
    universe: &Universe,
    template: &str,
    entity: Entity,
    relation: Relation,
    value: &str,
    call: Call,
) -> String {
    let name = universe.name(entity);
    let female = matches!(entity, Entity::Person(i) if universe.people[i].female);
    let (he, his, him) = if female {
        ("she", "her", "her")
    } else {
        ("he", "his", "him")
    };
    let noun = entity_noun(entity, name);
    let pronoun = call == Call::Pronoun && matches!(entity, Entity::Person(_));
    let (subject, possessive, object) = if pronoun {
        (he.to_string(), his.to_string(), him.to_string())
    } else {
        (noun.clone(), format!("{noun}'s"), noun)
    };
    let text = template
        .replace("{e's}", &possessive)
        .replace("{e}", &subject)
        .replace("{o}", &object)
        .replace("{he}", he)
        .replace("{his}", his)
        .replace("{him}", him)
        .replace("{n}", name)
        .replace("{v}", &value_noun(relation, value))
        .replace("{w}", value);
    capitalised(&text)
}

/// A text whose first letter is a capital.
pub(crate) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// "a" or "an" and the noun.
pub(crate) fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

fn entity_noun(entity: Entity, name: &str) -> String {
    match entity {
        Entity::Animal(_) | Entity::Trade(_) => with_article(name),
        _ => name.to_string(),
    }
}

/// A value as it stands in a sentence.
pub(crate) fn value_noun(relation: Relation, value: &str) -> String {
    match relation {
        Relation::Trade | Relation::Pet | Relation::Landmark | Relation::Young | Relation::House | Relation::Tool => {
            with_article(value)
        }
        Relation::Instrument | Relation::Seller => format!("the {value}"),
        Relation::Price => format!("{value} coins"),
        _ => value.to_string(),
    }
}
