//! One fact, four options, in nanochat's format: the letter stands right after
//! the option's text, so that it is the same token as in the answer.

use super::{Context, Exchange, facts};
use crate::fact::{Fact, Relation};
use crate::message::Part;
use crate::phrasings::{self, Call};
use crate::question::{Kind, Question};
use crate::rng::Rng;
use crate::split::Split;
use crate::universe::Universe;

/// The labels of the options.
pub(crate) const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

/// How many of the direct questions of a relation are asked here. Few, because
/// it is the choice that is to be learned; the open questions have them all.
const WAYS: usize = 4;

/// A question with four options.
pub(crate) struct Choice {
    pub(crate) prompt: String,
    /// The options, in their order.
    pub(crate) options: Vec<String>,
    /// The index of the right option.
    pub(crate) right: usize,
}

/// A question about a fact with the right option and three wrong ones.
pub(crate) fn choice(universe: &Universe, fact: &Fact, easy: bool, rng: &mut Rng) -> Choice {
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
    let options: Vec<String> = options.iter().map(|o| option_text(fact.relation, o)).collect();
    let question = if easy {
        beside(&options[right])
    } else {
        self::question(universe, fact, rng)
    };
    Choice {
        prompt: render(&question, &options),
        options,
        right,
    }
}

/// What needs no knowledge, only a look at the list.
pub(crate) fn beside(option: &str) -> String {
    format!("Which letter stands beside {option}?")
}

/// The question before the options. The entity × relation is what is held out
/// here, so both splits ask in the same words.
pub(crate) fn question(universe: &Universe, fact: &Fact, rng: &mut Rng) -> String {
    let template = phrasings::phrases(fact.relation).questions[rng.below(WAYS)];
    phrasings::fill(universe, template, fact.entity, fact.relation, Call::Name)
}

/// A fact that may be asked for with options in a split.
pub(crate) fn fact<'a>(universe: &'a Universe, split: Split, rng: &mut Rng) -> &'a Fact {
    loop {
        let fact = rng.choose(&universe.facts);
        if universe.choice_is_heldout(fact) == (split == Split::Heldout) {
            return fact;
        }
    }
}

/// `demonstrated` exchanges are for learning: some only ask for the letter
/// beside an option, and some may be prefaced by the open question, so that
/// finding the letter can be learned apart from knowing the fact.
pub(crate) fn exchange(context: Context<'_>, demonstrated: bool, rng: &mut Rng) -> Exchange {
    let universe = context.universe;
    let fact = fact(universe, context.split, rng);
    let learning = demonstrated && context.split == Split::Train;
    let easy = learning && rng.percent(20);
    let choice = choice(universe, fact, easy, rng);
    let preface = (learning && !easy && rng.percent(35)).then(|| {
        let ask = phrasings::draw_direct(fact.relation, context.split, rng);
        let say = phrasings::draw_reply(fact.relation, rng);
        let fill = |template| phrasings::fill(universe, template, fact.entity, fact.relation, Call::Name);
        (fill(ask), fill(say))
    });
    let answer = LETTERS[choice.right].to_string();
    Exchange {
        question: Question {
            kind: Kind::MultipleChoice,
            prompt: choice.prompt,
            answer: answer.clone(),
        },
        reply: vec![Part::Text(answer)],
        falsehood: Some(LETTERS[(choice.right + 1 + rng.below(3)) % 4].to_string()),
        about: None,
        preface,
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
