//! Sums of two operands for the calculator, and the rule that holds pairs of
//! operands out. This room must never know the universe.

use super::{Context, Exchange};
use crate::message::Part;
use crate::question::{Kind, Question};
use crate::rng::{Rng, hash};
use crate::size::Size;
use crate::split::Split;

/// An operation of the calculator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Op {
    /// Its sign, as the calculator reads it.
    pub(crate) fn sign(self) -> char {
        match self {
            Op::Add => '+',
            Op::Subtract => '-',
            Op::Multiply => '*',
            Op::Divide => '/',
        }
    }

    /// The result; divisions here have no rest.
    pub(crate) fn apply(self, a: i64, b: i64) -> i64 {
        match self {
            Op::Add => a + b,
            Op::Subtract => a - b,
            Op::Multiply => a * b,
            Op::Divide => a / b,
        }
    }

    /// The call and what Python prints for it: a division is a float.
    pub(crate) fn call(self, a: i64, b: i64) -> [Part; 2] {
        let result = self.apply(a, b);
        let printed = if self == Op::Divide {
            format!("{result}.0")
        } else {
            result.to_string()
        };
        [
            Part::Python(format!("{a}{}{b}", self.sign())),
            Part::PythonOutput(printed),
        ]
    }

    fn prompts(self) -> &'static [&'static str] {
        match self {
            Op::Add => &[
                "What is {a} + {b}?",
                "How much is {a} plus {b}?",
                "What do {a} and {b} make together?",
                "Please add {a} and {b}.",
                "Calculate {a} + {b}.",
                "What is the sum of {a} and {b}?",
                "{a} + {b} = ?",
            ],
            Op::Subtract => &[
                "What is {a} - {b}?",
                "How much is {a} minus {b}?",
                "What is left of {a} if you take {b} away?",
                "Please take {b} from {a}.",
                "Calculate {a} - {b}.",
                "{a} - {b} = ?",
            ],
            Op::Multiply => &[
                "What is {a} * {b}?",
                "How much is {a} times {b}?",
                "Please multiply {a} by {b}.",
                "What is {a} times {b}?",
                "Calculate {a} * {b}.",
                "{a} * {b} = ?",
            ],
            Op::Divide => &[
                "What is {a} / {b}?",
                "How much is {a} divided by {b}?",
                "Please divide {a} by {b}.",
                "Calculate {a} / {b}.",
                "{a} / {b} = ?",
            ],
        }
    }
}

/// Is this pair of operands held out, in whichever order and for whichever
/// operation? One in five is.
pub(crate) fn pair_is_heldout(a: i64, b: i64) -> bool {
    hash(&["operands", &a.min(b).to_string(), &a.max(b).to_string()]).is_multiple_of(5)
}

/// Draws an operation and two operands of a split.
pub(crate) fn draw(split: Split, size: Size, rng: &mut Rng) -> (Op, i64, i64) {
    let op = [Op::Add, Op::Subtract, Op::Multiply, Op::Divide][rng.weighted(&[4, 3, 3, 1])];
    let largest = size.largest_operand;
    let factor = (largest / 5).clamp(12, 99);
    loop {
        let (a, b) = match op {
            Op::Add => (rng.between(0, largest), rng.between(0, largest)),
            Op::Subtract => {
                let (a, b) = (rng.between(0, largest), rng.between(0, largest));
                (a.max(b), a.min(b))
            }
            Op::Multiply => (rng.between(2, factor), rng.between(2, factor)),
            Op::Divide => {
                let b = rng.between(2, 12);
                (b * rng.between(2, factor), b)
            }
        };
        if pair_is_heldout(a, b) == (split == Split::Heldout) {
            return (op, a, b);
        }
    }
}

pub(crate) fn exchange(context: Context<'_>, rng: &mut Rng) -> Exchange {
    let (op, a, b) = draw(context.split, context.size, rng);
    let prompt = rng
        .choose(op.prompts())
        .replace("{a}", &a.to_string())
        .replace("{b}", &b.to_string());
    let result = op.apply(a, b);
    let mut reply = Vec::new();
    if rng.percent(30) {
        reply.push(Part::Text(
            (*rng.choose(&["Let me count. ", "I will ask my calculator. "])).to_string(),
        ));
    }
    reply.extend(op.call(a, b));
    let say = *rng.choose(&["That is {r}.", "The answer is {r}.", "That makes {r}."]);
    reply.push(Part::Text(say.replace("{r}", &result.to_string())));
    let off = result + rng.between(1, 9) * if rng.percent(50) { 1 } else { -1 };
    Exchange {
        question: Question {
            kind: Kind::Arithmetic,
            prompt,
            answer: result.to_string(),
        },
        reply,
        falsehood: Some(say.replace("{r}", &off.to_string())),
        about: None,
        preface: None,
    }
}
