//! One fact, four options, in nanochat's format: the letter stands right after
//! the option's text, so that it is the same token as in the answer.

use super::{Context, Exchange, facts};
use crate::fact::Relation;
use crate::message::Part;
use crate::phrasings::{self, Call};
use crate::question::{Kind, Question};
use crate::rng::Rng;
use crate::split::Split;

/// The labels of the options.
pub(crate) const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

pub(crate) fn exchange(context: Context<'_>, rng: &mut Rng) -> Exchange {
    let universe = context.universe;
    let fact = loop {
        let fact = rng.choose(&universe.facts);
        if universe.choice_is_heldout(fact) == (context.split == Split::Heldout) {
            break fact;
        }
    };
    // The entity × relation is what is held out here, so both splits ask in
    // the same words.
    let template = phrasings::draw_direct(fact.relation, Split::Train, rng);
    let question = phrasings::fill(universe, template, fact.entity, fact.relation, Call::Name);
    let right = rng.below(4);
    let mut options: Vec<String> = Vec::with_capacity(4);
    while options.len() < 4 {
        let option = if options.len() == right {
            fact.value.clone()
        } else {
            facts::wrong_value(universe, fact, rng)
        };
        if !options.contains(&option) {
            options.push(option);
        }
    }
    let prompt = render(
        &question,
        &options
            .iter()
            .map(|o| option_text(fact.relation, o))
            .collect::<Vec<_>>(),
    );
    let answer = LETTERS[right].to_string();
    Exchange {
        question: Question {
            kind: Kind::MultipleChoice,
            prompt,
            answer: answer.clone(),
        },
        reply: vec![Part::Text(answer)],
        falsehood: Some(LETTERS[(right + 1 + rng.below(3)) % 4].to_string()),
        about: None,
    }
}

fn option_text(relation: Relation, value: &str) -> String {
    if relation == Relation::Price {
        format!("{value} coins")
    } else {
        value.to_string()
    }
}

/// The prompt of a question with its options.
pub(crate) fn render(question: &str, options: &[String]) -> String {
    let lines: Vec<String> = options
        .iter()
        .zip(LETTERS)
        .map(|(option, letter)| format!("- {option}={letter}"))
        .collect();
    format!(
        "Multiple Choice question: {question}\n{}\n\nRespond only with the letter of the correct answer.",
        lines.join("\n")
    )
}
