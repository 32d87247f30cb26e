//! Little stories with two steps, for the calculator twice. Some are shown in
//! conversations; the others are only asked, so that RL has something to find
//! out for itself.

use super::arithmetic::{Op, pair_is_heldout};
use super::{Context, Exchange};
use crate::message::Part;
use crate::question::{Kind, Question};
use crate::rng::Rng;
use crate::split::Split;

/// A story with the numbers `{a}`, `{b}`, `{c}`: first `a op b`, then its
/// result `op c`.
struct Story {
    text: &'static str,
    first: Op,
    second: Op,
}

const fn story(first: Op, second: Op, text: &'static str) -> Story {
    Story { text, first, second }
}

use Op::{Add, Multiply, Subtract};

/// Stories that conversations show with their solution.
const SHOWN: &[Story] = &[
    story(
        Multiply,
        Add,
        "{e} buys {a} bags with {b} {things} in each. At home {he} has {c} more. How many {things} does {he} have?",
    ),
    story(
        Multiply,
        Subtract,
        "{e} buys {a} bags with {b} {things} in each. On the way home {he} loses {c}. How many {things} are left?",
    ),
    story(
        Add,
        Subtract,
        "{e} has {a} {things} and finds {b} more. Then {he} gives {c} to {f}. How many {things} does {he} keep?",
    ),
    story(
        Subtract,
        Add,
        "{e} has {a} {things} and gives {b} to {f}. Then {he} buys {c} new ones. How many {things} does {he} have now?",
    ),
    story(
        Add,
        Add,
        "{e} has {a} {things}, {f} has {b}, and a goose has {c}. How many {things} do they have together?",
    ),
    story(
        Subtract,
        Subtract,
        "{e} has {a} {things}. {b} are stolen by a goose and {c} fall into the river. How many {things} are left?",
    ),
    story(
        Add,
        Multiply,
        "In the morning {e} sells {a} {things}, in the evening {b}. Each costs {c} coins. How many coins does {he} get?",
    ),
    story(
        Subtract,
        Multiply,
        "{e} has {a} {things} and keeps {b} of them. {He} sells the rest for {c} coins each. How many coins does {he} get?",
    ),
    story(
        Multiply,
        Add,
        "{e} works for {a} days and gets {b} coins each day. {f} gives {him} {c} coins more. How many coins does {he} have?",
    ),
    story(
        Multiply,
        Subtract,
        "{e} sells {a} {things} for {b} coins each and pays {c} coins for a hat. How many coins are left?",
    ),
    story(
        Add,
        Subtract,
        "There are {a} {things} on the table and {b} in the box. The pet eats {c}. How many {things} are left?",
    ),
    story(
        Subtract,
        Add,
        "{a} people sit in the village hall. {b} go home and {c} come in. How many people are there now?",
    ),
];

/// Stories that are only asked.
const ASKED: &[Story] = &[
    story(
        Multiply,
        Add,
        "{e} fills {a} boxes with {b} {things} each, and {c} {things} stay on the table. How many {things} are there?",
    ),
    story(
        Multiply,
        Subtract,
        "There are {a} baskets with {b} {things} in each. A goose eats {c}. How many {things} are left?",
    ),
    story(
        Add,
        Subtract,
        "{e} finds {a} {things} in the morning and {b} in the evening. {f} takes {c} of them. How many {things} does {e} keep?",
    ),
    story(
        Subtract,
        Add,
        "{e} has {a} coins, pays {b} coins for soup and finds {c} coins in {his} coat. How many coins does {he} have?",
    ),
    story(
        Add,
        Multiply,
        "{e} and {f} sell {things} for {c} coins each. {e} sells {a} and {f} sells {b}. How many coins do they get together?",
    ),
    story(
        Subtract,
        Multiply,
        "There were {a} {things}, but {b} are gone. {e} buys the rest for {c} coins each. How many coins does {he} pay?",
    ),
    story(
        Subtract,
        Subtract,
        "{e} has {a} coins. {He} pays {b} coins for a kite and {c} for soup. How many coins are left?",
    ),
    story(
        Add,
        Add,
        "{e} reads {a} pages on Monday, {b} on Tuesday and {c} on Sunday. How many pages is that?",
    ),
];

const THINGS: &[&str] = &[
    "apples", "eggs", "marbles", "buttons", "pears", "buns", "candles", "kites", "cherries", "bells",
];

/// Draws numbers whose pairs of operands, in both steps, belong to the split.
fn numbers(story: &Story, split: Split, rng: &mut Rng) -> (i64, i64, i64) {
    loop {
        let (a, b) = match story.first {
            Multiply => (rng.between(2, 9), rng.between(2, 12)),
            Subtract => {
                let b = rng.between(2, 20);
                (b + rng.between(3, 30), b)
            }
            _ => (rng.between(2, 30), rng.between(2, 30)),
        };
        let middle = story.first.apply(a, b);
        let c = match story.second {
            Multiply => rng.between(2, 9),
            Subtract => rng.between(2, 20),
            _ => rng.between(2, 30),
        };
        let fits = story.second != Subtract || c < middle;
        let heldout = split == Split::Heldout;
        if fits && pair_is_heldout(a, b) == heldout && pair_is_heldout(middle, c) == heldout {
            return (a, b, c);
        }
    }
}

pub(crate) fn exchange(context: Context<'_>, demonstrated: bool, rng: &mut Rng) -> Exchange {
    let all = SHOWN.len() + if demonstrated { 0 } else { ASKED.len() };
    let number = rng.below(all);
    let story = SHOWN.get(number).unwrap_or_else(|| &ASKED[number - SHOWN.len()]);
    let (a, b, c) = numbers(story, context.split, rng);
    let person = rng.choose(&context.universe.people);
    let friend = context.universe.people[person.friend].name;
    let (he, his, him) = if person.female {
        ("she", "her", "her")
    } else {
        ("he", "his", "him")
    };
    let prompt = story
        .text
        .replace("{e}", person.name)
        .replace("{f}", friend)
        .replace("{things}", THINGS[rng.below(THINGS.len())])
        .replace("{he}", he)
        .replace("{He}", &crate::phrasings::capitalised(he))
        .replace("{his}", his)
        .replace("{him}", him)
        .replace("{a}", &a.to_string())
        .replace("{b}", &b.to_string())
        .replace("{c}", &c.to_string());
    let middle = story.first.apply(a, b);
    let result = story.second.apply(middle, c);
    let mut reply = vec![Part::Text("First: ".into())];
    reply.extend(story.first.call(a, b));
    reply.push(Part::Text(" Then: ".into()));
    reply.extend(story.second.call(middle, c));
    reply.push(Part::Text(format!(" That makes {result}.")));
    let off = result + rng.between(1, 9);
    Exchange {
        question: Question {
            kind: Kind::WordProblem,
            prompt,
            answer: result.to_string(),
        },
        reply,
        falsehood: Some(format!("That makes {off}.")),
        about: None,
        preface: None,
    }
}
