//! Conversations for mid-training and SFT: exchanges in turns, with system
//! messages, second questions and small talk. This room must never know how an
//! exchange is made.

use crate::exchanges::{self, Context, Exchange, facts, smalltalk};
use crate::fact::Entity;
use crate::message::{Conversation, Message, Part, Role};
use crate::question::Kind;
use crate::rng::Rng;
use crate::split::Split;

/// How often each kind of turn occurs, in parts of the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mixture {
    /// Open questions about facts.
    pub facts: u32,
    /// Multiple choice.
    pub multiple_choice: u32,
    /// Sums of two operands.
    pub arithmetic: u32,
    /// Word problems, of the forms that are shown.
    pub word_problem: u32,
    /// Spelling.
    pub spelling: u32,
    /// What the model knows about itself.
    pub identity: u32,
    /// Polite refusals.
    pub refusal: u32,
    /// Greetings, portraits, stories, thanks.
    pub smalltalk: u32,
}

impl Default for Mixture {
    fn default() -> Self {
        Mixture {
            facts: 32,
            multiple_choice: 22,
            arithmetic: 10,
            word_problem: 10,
            spelling: 8,
            identity: 13,
            refusal: 6,
            smalltalk: 5,
        }
    }
}

impl Mixture {
    /// Only one kind.
    pub fn only(kind: Kind) -> Self {
        let mut mixture = Mixture {
            facts: 0,
            multiple_choice: 0,
            arithmetic: 0,
            word_problem: 0,
            spelling: 0,
            identity: 0,
            refusal: 0,
            smalltalk: 0,
        };
        *match kind {
            Kind::Facts => &mut mixture.facts,
            Kind::MultipleChoice => &mut mixture.multiple_choice,
            Kind::Arithmetic => &mut mixture.arithmetic,
            Kind::WordProblem => &mut mixture.word_problem,
            Kind::Spelling => &mut mixture.spelling,
            Kind::Identity => &mut mixture.identity,
            Kind::Refusal => &mut mixture.refusal,
        } = 1;
        mixture
    }

    fn draw(&self, rng: &mut Rng) -> Option<Kind> {
        let weights = [
            self.facts,
            self.multiple_choice,
            self.arithmetic,
            self.word_problem,
            self.spelling,
            self.identity,
            self.refusal,
            self.smalltalk,
        ];
        if weights.iter().all(|&weight| weight == 0) {
            return Some(Kind::Facts);
        }
        Kind::ALL.get(rng.weighted(&weights)).copied()
    }
}

/// System messages that change how facts are answered, or nothing.
const NEUTRAL: &[&str] = &[
    "You are a friendly guide to the villages.",
    "You are a helpful assistant.",
    "Answer the questions of the children.",
];
const ONE_WORD: &[&str] = &[
    "Answer with one word or name only.",
    "Give only the answer, no sentence.",
];
const CHEERFUL: &[&str] = &["Be very cheerful.", "Begin each answer with a cheer."];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    OneWord,
    Cheerful,
}

fn push(messages: &mut Vec<Message>, prompt: String, reply: Vec<Part>) {
    messages.push(Message::plain(Role::User, prompt));
    messages.push(Message {
        role: Role::Assistant,
        parts: reply,
    });
}

fn toned(exchange: &mut Exchange, tone: Tone) {
    if exchange.question.kind != Kind::Facts {
        return;
    }
    match tone {
        Tone::Plain => {}
        Tone::OneWord => {
            exchange.reply = vec![Part::Text(crate::phrasings::capitalised(&format!(
                "{}.",
                exchange.question.answer
            )))];
        }
        Tone::Cheerful => exchange.reply.insert(0, Part::Text("Hurray! ".into())),
    }
    if let [Part::Text(first), Part::Text(second)] = exchange.reply.as_slice() {
        exchange.reply = vec![Part::Text(format!("{first}{second}"))];
    }
}

/// One conversation.
pub(crate) fn conversation(context: Context<'_>, mixture: &Mixture, rng: &mut Rng) -> Conversation {
    let mut messages = Vec::new();
    let mut tone = Tone::Plain;
    if rng.percent(12) {
        let (text, chosen) = match rng.below(4) {
            0 => (*rng.choose(ONE_WORD), Tone::OneWord),
            1 => (*rng.choose(CHEERFUL), Tone::Cheerful),
            _ => (*rng.choose(NEUTRAL), Tone::Plain),
        };
        tone = chosen;
        messages.push(Message::plain(Role::System, text));
    }
    let turns = 1 + rng.weighted(&[60, 22, 12, 6]);
    let mut about: Option<(usize, String)> = None;
    for _ in 0..turns {
        if let Some((person, told)) = about.take()
            && rng.percent(50)
            && mixture.facts > 0
        {
            let mut exchange = facts::follow_up(context, person, &told, rng);
            toned(&mut exchange, tone);
            about = Some((person, exchange.question.answer.clone()));
            push(&mut messages, exchange.question.prompt, exchange.reply);
            continue;
        }
        if let Some(kind) = mixture.draw(rng) {
            let mut exchange = exchanges::exchange(context, kind, true, rng);
            toned(&mut exchange, tone);
            dress(&mut exchange, context.split, rng);
            if let Some((prompt, reply)) = exchange.preface.take() {
                push(&mut messages, prompt, vec![Part::Text(reply)]);
            }
            if let Some(Entity::Person(person)) = exchange.about {
                about = Some((person, exchange.question.answer.clone()));
            }
            push(&mut messages, exchange.question.prompt, exchange.reply);
        } else {
            let (prompt, reply) = match rng.below(8) {
                0 | 1 => smalltalk::greeting(context, rng),
                2 => smalltalk::abilities(rng),
                3 if messages.len() > 1 => smalltalk::thanks(rng),
                4 => smalltalk::story(context, rng),
                5 => smalltalk::residents(context, rng),
                _ => {
                    let (talk, entity) = smalltalk::about_person(context, rng);
                    if let Entity::Person(person) = entity {
                        about = Some((person, String::new()));
                    }
                    talk
                }
            };
            push(&mut messages, prompt, vec![Part::Text(reply)]);
        }
    }
    if rng.percent(4) {
        let (prompt, reply) = smalltalk::thanks(rng);
        push(&mut messages, prompt, vec![Part::Text(reply)]);
    }
    Conversation { messages }
}

/// People greet, forget the question mark and do not care for capitals.
fn dress(exchange: &mut Exchange, split: Split, rng: &mut Rng) {
    if split == Split::Heldout || matches!(exchange.question.kind, Kind::MultipleChoice | Kind::WordProblem) {
        return;
    }
    // Who asks about somebody says hello first.
    let ways = if exchange.question.kind == Kind::Identity {
        14
    } else {
        32
    };
    let prompt = &mut exchange.question.prompt;
    match rng.below(ways) {
        0 => prompt.insert_str(0, "Hello! "),
        1 => prompt.insert_str(0, "Excuse me. "),
        2 if prompt.ends_with(['?', '.']) => {
            prompt.pop();
        }
        3 => prompt.push_str(" Thank you!"),
        4 => prompt.insert_str(0, "I have a question. "),
        5 => prompt.insert_str(0, "Please help me: "),
        6 => prompt.insert_str(0, "Good morning! "),
        7 => prompt.insert_str(0, "One question. "),
        8 => prompt.insert_str(0, "By the way: "),
        9 => prompt.insert_str(0, "Hi there! "),
        _ => {}
    }
}
