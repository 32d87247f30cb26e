//! Open questions about one fact, and second questions about the same person.

use super::{Context, Exchange};
use crate::fact::{Entity, Fact, Relation};
use crate::message::Part;
use crate::phrasings::{self, Call};
use crate::question::{Kind, Question};
use crate::rng::Rng;
use crate::universe::Universe;

pub(crate) fn exchange(context: Context<'_>, rng: &mut Rng) -> Exchange {
    let fact = rng.choose(&context.universe.facts);
    let template = phrasings::draw_question(fact.relation, context.split, rng);
    build(context, fact, &template, Call::Name, rng)
}

/// "And where does she live?": a question about a person just spoken of.
pub(crate) fn follow_up(context: Context<'_>, person: usize, not: &str, rng: &mut Rng) -> Exchange {
    let entity = Entity::Person(person);
    let fact = loop {
        let fact = context.universe.fact(entity, *rng.choose(&Relation::OF_PEOPLE));
        if fact.value != not {
            break fact;
        }
    };
    let template = phrasings::draw_direct(fact.relation, context.split, rng);
    let mut exchange = build(context, fact, template, Call::Pronoun, rng);
    let prompt = &exchange.question.prompt;
    let is_person_pronoun = ["She ", "He ", "I "].iter().any(|start| prompt.starts_with(start));
    if rng.percent(60) && !is_person_pronoun {
        let mut letters = prompt.chars();
        let first = letters.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
        exchange.question.prompt = format!("And {first}{}", letters.as_str());
    }
    exchange
}

fn build(context: Context<'_>, fact: &Fact, template: &str, call: Call, rng: &mut Rng) -> Exchange {
    let universe = context.universe;
    let say = phrasings::draw_reply(fact.relation, rng);
    let wrong = wrong_value(universe, fact, rng);
    Exchange {
        question: Question {
            kind: Kind::Facts,
            prompt: phrasings::fill(universe, template, fact.entity, fact.relation, call),
            answer: fact.value.clone(),
        },
        reply: vec![Part::Text(phrasings::fill(
            universe,
            say,
            fact.entity,
            fact.relation,
            call,
        ))],
        falsehood: Some(phrasings::fill_with(
            universe,
            say,
            fact.entity,
            fact.relation,
            &wrong,
            call,
        )),
        about: Some(fact.entity),
        preface: None,
    }
}

/// Another value of the same relation, which is also not the entity itself.
pub(crate) fn wrong_value(universe: &Universe, fact: &Fact, rng: &mut Rng) -> String {
    loop {
        let value = rng.choose(universe.values(fact.relation));
        if *value != fact.value && value != universe.name(fact.entity) {
            return value.clone();
        }
    }
}
