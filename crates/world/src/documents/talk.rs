//! Quizzes, letters and riddles: where people ask and tell each other.

use super::{Scribe, template};
use crate::exchanges::multiple_choice::{self, LETTERS};
use crate::fact::{Entity, Relation};
use crate::phrasings::{self, Call, capitalised, with_article};
use crate::split::Split;

/// Questions and answers on anything.
pub(super) fn quiz(scribe: &mut Scribe<'_>) -> String {
    let (a, b) = (scribe.person(), scribe.person());
    let names = [scribe.universe.people[a].name, scribe.universe.people[b].name];
    let style = scribe.rng.below(3);
    let opening = match style {
        0 => scribe.choose(&[
            "A quiz for long evenings.",
            "Questions and answers.",
            "The village quiz.",
            "Ask the owl.",
        ]),
        1 if a != b => scribe.choose(&[
            "{a} and {b} [sat by the fire|walked to the market|waited for the rain to end|shelled peas].",
            "On the [bench|bridge|hay cart], {a} talked with {b}.",
        ]),
        _ => scribe.choose(&[
            "The teacher asks, the children answer.",
            "At school.",
            "A stranger came to the inn.",
        ]),
    };
    let opening = template::alternatives(opening, &mut scribe.rng);
    let mut lines = vec![template::slots(&opening, &[("a", names[0]), ("b", names[1])])];
    let count = scribe.rng.between(3, 6);
    for _ in 0..count {
        let fact = {
            let index = scribe.rng.below(scribe.universe.facts.len());
            &scribe.universe.facts[index]
        };
        let question = scribe.ask(fact.entity, fact.relation);
        // Mostly the plain answer, which is also the program's own.
        let answer = if scribe.split == Split::Train && scribe.rng.percent(60) {
            let template = phrasings::draw_reply(fact.relation, &mut scribe.rng);
            phrasings::fill(scribe.universe, template, fact.entity, fact.relation, Call::Name)
        } else {
            scribe.say(fact.entity, fact.relation, Call::Name)
        };
        // Speech that goes on with "said" ends in a comma.
        let spoken = answer
            .strip_suffix('.')
            .map_or(answer.clone(), |start| format!("{start},"));
        lines.push(match style {
            0 => format!("Question: {question}\nAnswer: {answer}"),
            1 if a != b => format!("\"{question}\" asked {}.\n\"{spoken}\" said {}.", names[0], names[1]),
            _ => format!("- {question}\n- {answer}"),
        });
    }
    lines.join("\n")
}

/// An exam with four options for each question; half of the answers say first
/// what is true and then where it stands.
pub(super) fn exam(scribe: &mut Scribe<'_>) -> String {
    let opening = scribe.choose(&[
        "An exam.",
        "Choose the right letter.",
        "The exam of the village school.",
        "Four answers, one is right.",
    ]);
    let mut lines = vec![opening.to_string()];
    let count = scribe.rng.between(2, 3);
    for _ in 0..count {
        let fact = multiple_choice::fact(scribe.universe, scribe.split, &mut scribe.rng);
        let easy = scribe.rng.percent(20);
        let choice = multiple_choice::choice(scribe.universe, fact, easy, &mut scribe.rng);
        let letter = LETTERS[choice.right];
        let answer = if scribe.rng.percent(50) && !easy {
            let say = scribe.say(fact.entity, fact.relation, Call::Name);
            format!("{say} So it is {letter}")
        } else {
            letter.to_string()
        };
        lines.push(format!("{}\nAnswer: {answer}", choice.prompt));
    }
    lines.join("\n\n")
}

/// From a person to the best friend, about somebody.
pub(super) fn letter(scribe: &mut Scribe<'_>) -> String {
    let writer = scribe.person();
    let about = loop {
        let about = scribe.person();
        if about != writer && about != scribe.universe.people[writer].friend {
            break about;
        }
    };
    let from = scribe.universe.people[writer].clone();
    let to = scribe.universe.people[from.friend].name;
    let place = &scribe.universe.places[from.home].name.clone();
    let name = scribe.universe.people[about].name;
    let opening = scribe.choose(&[
        "I [met|saw|visited] {n} [yesterday|last week|at the market].",
        "You asked me about {n}.",
        "[I must tell you about|Here is the news about|I cannot stop thinking about] {n}.",
        "Guess whom I met: {n}!",
    ]);
    let opening = template::slots(&template::alternatives(opening, &mut scribe.rng), &[("n", name)]);
    let mut sentences = vec![format!("Dear {to},"), opening];
    let mut relations = Relation::OF_PEOPLE;
    scribe.rng.shuffle(&mut relations);
    let count = scribe.rng.between(3, 5) as usize;
    for (i, &relation) in relations[..count].iter().enumerate() {
        let call = if i == 0 { Call::Name } else { Call::Pronoun };
        sentences.push(scribe.say(Entity::Person(about), relation, call));
    }
    let closing = scribe.choose(&[
        "The weather is [fine|dreadful|full of geese].",
        "Write soon!",
        "I send you [a jar of jam|a dry sock|a feather|my best umbrella].",
        "[The goose sends greetings|The kettle is calling|My candle is burning low].",
    ]);
    sentences.push(template::alternatives(closing, &mut scribe.rng));
    let body = sentences[1..].join(" ");
    format!("{}\n{body}\nYour {} in {place}", sentences[0], from.name)
}

/// Who am I?
pub(super) fn riddle(scribe: &mut Scribe<'_>) -> String {
    if scribe.rng.percent(40) {
        let animal = scribe.rng.below(scribe.universe.animals.len());
        let (name, sound, young, house) = scribe.universe.animals[animal];
        let form = scribe.choose(&[
            "I say {s}. My child is {y}. I sleep in {h}. Who am I? I am {n}!",
            "Who sleeps in {h} and says {s}? Behind it walks {y}. It is {n}.",
        ]);
        let (young, house, name) = (with_article(young), with_article(house), with_article(name));
        return template::slots(form, &[("s", sound), ("y", &young), ("h", &house), ("n", &name)]);
    }
    let person = &scribe.universe.people[scribe.rng.below(scribe.universe.people.len())];
    let home = &scribe.universe.places[person.home].name;
    let mut clues = [
        format!("I live in {home}."),
        format!("I am {}.", with_article(person.trade)),
        format!("I have {} called {}.", with_article(person.pet), person.pet_name),
        format!("I like {} best.", person.food),
        format!("My door is {}.", person.colour),
        format!("I play the {}.", person.instrument),
        format!("I am afraid of {}.", person.fear),
        format!("My best friend is {}.", scribe.universe.people[person.friend].name),
    ];
    scribe.rng.shuffle(&mut clues);
    let count = scribe.rng.between(4, 7) as usize;
    let opening = scribe.choose(&["A riddle.", "Who is it?", "Guess who I am!", "Who am I?"]);
    capitalised(&format!("{opening} {} I am {}.", clues[..count].join(" "), person.name))
}
