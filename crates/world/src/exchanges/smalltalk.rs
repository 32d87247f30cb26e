//! Greetings, thanks, stories and portraits: what makes a conversation one.
//! Nothing here is checked.

use super::Context;
use crate::documents::{people, stories};
use crate::fact::{Entity, Relation};
use crate::phrasings::{self, Call};
use crate::rng::Rng;

/// A question and a reply.
pub(crate) type Talk = (String, String);

pub(crate) fn greeting(context: Context<'_>, rng: &mut Rng) -> Talk {
    let name = &context.identity.name;
    let prompt = *rng.choose(&[
        "Hello!",
        "Hello",
        "Hi!",
        "Good morning!",
        "Hello, how are you?",
        "Hi there!",
        "Good evening!",
    ]);
    let reply = *rng.choose(&[
        "Hello! I am {name}. What would you like to know about my villages?",
        "Good day! I am {name}. Ask me about people, pets, prices or sums.",
        "Hello! The kettle is on. What would you like to know?",
    ]);
    (prompt.to_string(), reply.replace("{name}", name))
}

pub(crate) fn thanks(rng: &mut Rng) -> Talk {
    let prompt = *rng.choose(&[
        "Thank you!",
        "Thanks!",
        "Thank you very much.",
        "That was kind of you.",
        "Goodbye!",
        "Good night!",
    ]);
    let reply = if prompt.starts_with("Good") {
        *rng.choose(&["Goodbye! Mind the geese.", "Goodbye, and come again soon!"])
    } else {
        *rng.choose(&[
            "You are welcome!",
            "It was a pleasure. Ask me more!",
            "You are welcome. Mind the geese!",
        ])
    };
    (prompt.to_string(), reply.to_string())
}

pub(crate) fn abilities(rng: &mut Rng) -> Talk {
    let prompt = *rng.choose(&[
        "What can you do?",
        "What do you know?",
        "What can I ask you?",
        "Help!",
        "What are you good at?",
    ]);
    let reply = "I know the people of my villages, their pets, trades and favourite foods, the prices at the market, \
                 the days and the opposites. I can also spell, and do sums with my calculator.";
    (prompt.to_string(), reply.to_string())
}

/// "Tell me about Anna."
pub(crate) fn about_person(context: Context<'_>, rng: &mut Rng) -> (Talk, Entity) {
    let universe = context.universe;
    let person = rng.below(universe.people.len());
    let entity = Entity::Person(person);
    let name = universe.people[person].name;
    let prompt = rng
        .choose(&[
            "Tell me about {e}.",
            "Who is {e}?",
            "What do you know about {e}?",
            "Do you know {e}?",
        ])
        .replace("{e}", name);
    let relations = [Relation::Trade, Relation::Home, Relation::Pet, Relation::Food];
    let reply: Vec<String> = relations
        .iter()
        .enumerate()
        .map(|(i, &relation)| {
            let call = if i == 0 { Call::Name } else { Call::Pronoun };
            phrasings::fill(universe, phrasings::draw_reply(relation, rng), entity, relation, call)
        })
        .collect();
    ((prompt, reply.join(" ")), entity)
}

/// "Tell me a story."
pub(crate) fn story(context: Context<'_>, rng: &mut Rng) -> Talk {
    let person = rng.below(context.universe.people.len());
    let name = context.universe.people[person].name;
    let prompt = rng
        .choose(&[
            "Tell me a story.",
            "Tell me a story about {e}.",
            "I would like to hear a story about {e}.",
            "Do you know a story?",
        ])
        .replace("{e}", name);
    (prompt, stories::short(context.universe, person, rng))
}

/// "Who lives in Applebrook?", answered with everybody.
pub(crate) fn residents(context: Context<'_>, rng: &mut Rng) -> Talk {
    let universe = context.universe;
    let place = rng.below(universe.places.len());
    let name = &universe.places[place].name;
    let prompt = rng
        .choose(&[
            "Who lives in {e}?",
            "Who are the people of {e}?",
            "Name the people who live in {e}.",
        ])
        .replace("{e}", name);
    (
        prompt,
        format!(
            "{} live in {name}.",
            people::listed(universe, &universe.residents(place))
        ),
    )
}
