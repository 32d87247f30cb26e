//! What the streams say: the splits are disjoint, answers are right, letters
//! are balanced, and the same seed gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use ferrochat_world::{
    Conversation, Identity, Kind, Part, Relation, Role, Size, Split, World, WorldSpec, is_refusal, is_right,
    last_number,
};

const SIZES: [Size; 2] = [Size::SMALL, Size::FULL];

fn world(world: u64, size: Size) -> World {
    World::new(WorldSpec { world, size }).expect("a named size")
}

fn all_text(conversation: &Conversation) -> String {
    conversation
        .messages
        .iter()
        .flat_map(|m| &m.parts)
        .map(Part::text)
        .collect::<Vec<_>>()
        .join("\n")
}

fn numbers(text: &str) -> Vec<i64> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .collect()
}

#[test]
fn questions_of_the_two_splits_never_meet() {
    let identity = Identity::default();
    for size in SIZES {
        let world = world(2, size);
        let draw = |split, kind: Kind, seed| -> BTreeSet<String> {
            world
                .questions(split, seed, &[kind], &identity)
                .take(4000)
                .map(|q| q.prompt)
                .collect()
        };
        for kind in Kind::ALL {
            let (train, heldout) = (draw(Split::Train, kind, 1), draw(Split::Heldout, kind, 2));
            let both: Vec<_> = train.intersection(&heldout).collect();
            assert!(both.is_empty(), "{kind}: {:?}", &both[..both.len().min(5)]);
            assert!(heldout.len() >= 150, "{kind}: only {} held-out prompts", heldout.len());
        }
    }
}

#[test]
fn choices_ask_for_heldout_facts_in_one_split_only() {
    let identity = Identity::default();
    for size in SIZES {
        let world = world(3, size);
        let kinds = [Kind::MultipleChoice];
        // What is asked, with the right option: this names entity × relation.
        let key = |prompt: &str, letter: &str| -> Option<String> {
            let question = prompt.lines().next()?.strip_prefix("Multiple Choice question: ")?;
            let option = prompt
                .lines()
                .find(|l| l.starts_with("- ") && l.ends_with(&format!("={letter}")))?;
            // Which letter stands beside what is no fact.
            (!question.starts_with("Which letter"))
                .then(|| format!("{question} {}", option.split('=').next().expect("text")))
        };
        let asked = |split| -> BTreeSet<String> {
            let mut asked: BTreeSet<String> = world
                .questions(split, 5, &kinds, &identity)
                .take(20_000)
                .map(|q| key(&q.prompt, &q.answer).expect("a fact"))
                .collect();
            for conversation in world.conversations(split, 5, &identity).take(6000) {
                for turn in conversation.messages.windows(2) {
                    asked.extend(key(&turn[0].said(), &turn[1].said()));
                }
            }
            let mut exams = 0;
            for document in world.documents(split, 5).take(6000) {
                let blocks: Vec<&str> = document.split("\n\n").collect();
                for block in blocks.windows(2) {
                    let Some(answer) = block[1].split("Answer: ").nth(1) else {
                        continue;
                    };
                    let letter = &answer[answer.len() - 1..];
                    asked.extend(key(block[0], letter));
                    exams += 1;
                }
            }
            assert!(exams > 500, "{exams}");
            // The letter games: a list, and below it questions that end with a letter.
            let mut games = 0;
            for document in world.documents(split, 5).take(6000) {
                let options: Vec<&str> = document
                    .lines()
                    .filter(|l| l.starts_with("- ") && !l.contains(','))
                    .collect();
                for line in document.lines().filter(|l| l.contains('?') && !options.is_empty()) {
                    let (question, rest) = line.split_at(line.find('?').expect("a question") + 1);
                    let Some(letter) = rest.chars().next_back().filter(|c| ('A'..='D').contains(c)) else {
                        continue;
                    };
                    let option = options.iter().find(|o| o.ends_with(&format!("={letter}")));
                    asked.extend(option.and_then(|option| {
                        key(
                            &format!("Multiple Choice question: {question}\n{option}"),
                            &letter.to_string(),
                        )
                    }));
                    games += 1;
                }
            }
            assert!(games > 1000, "{games}");
            asked
        };
        let (train, heldout) = (asked(Split::Train), asked(Split::Heldout));
        assert_eq!(train.intersection(&heldout).next(), None);
        let share = world.facts().iter().filter(|f| world.choice_is_heldout(f)).count() * 100 / world.facts().len();
        assert!((12..28).contains(&share), "{share}%");
    }
}

#[test]
fn operand_pairs_of_the_two_splits_never_meet_even_in_conversations() {
    let identity = Identity::default();
    for size in SIZES {
        let world = world(1, size);
        let pairs = |split| -> BTreeSet<(i64, i64)> {
            let mut pairs = BTreeSet::new();
            let mut add = |text: &str| {
                if let [a, b] = numbers(text)[..] {
                    pairs.insert((a.min(b), a.max(b)));
                }
            };
            for question in world.questions(split, 3, &[Kind::Arithmetic], &identity).take(5000) {
                add(&question.prompt);
            }
            for conversation in world.conversations(split, 3, &identity).take(5000) {
                for part in conversation.messages.iter().flat_map(|m| &m.parts) {
                    if let Part::Python(call) = part {
                        add(call);
                    }
                }
            }
            for line in world
                .documents(split, 3)
                .take(5000)
                .collect::<Vec<_>>()
                .iter()
                .flat_map(|d| d.lines())
            {
                if line.contains(" = ") {
                    add(line.split(" = ").next().expect("the sum"));
                }
            }
            pairs
        };
        let (train, heldout) = (pairs(Split::Train), pairs(Split::Heldout));
        assert!(heldout.len() > 300, "{}", heldout.len());
        assert_eq!(train.intersection(&heldout).next(), None);
    }
}

#[test]
fn heldout_words_are_spelled_in_documents_but_in_no_training_conversation() {
    let identity = Identity::default();
    let world = world(1, Size::SMALL);
    let heldout: BTreeSet<String> = world
        .questions(Split::Heldout, 1, &[Kind::Spelling], &identity)
        .take(2000)
        .map(|q| q.answer)
        .collect();
    assert!(heldout.len() >= 25, "{}", heldout.len());
    let mut talk = String::new();
    for conversation in world.conversations(Split::Train, 1, &identity).take(8000) {
        talk.push_str(&all_text(&conversation));
        talk.push('\n');
    }
    for pair in world.pairs(Split::Train, 1, &identity).take(4000) {
        for text in [&pair.chosen, &pair.rejected] {
            talk.push_str(text);
            talk.push('\n');
        }
    }
    let read: String = world
        .documents(Split::Train, 1)
        .take(8000)
        .collect::<Vec<_>>()
        .join("\n");
    for word in &heldout {
        let spelled = format!(" {word}.");
        assert!(read.contains(&spelled), "{word} is never taught");
        assert!(!talk.contains(&spelled), "{word} is given away");
    }
}

#[test]
fn every_reference_answer_is_right_and_a_wrong_one_is_not() {
    let identity = Identity::default();
    for size in SIZES {
        for split in [Split::Train, Split::Heldout] {
            let world = world(6, size);
            let mut answers: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
            let questions: Vec<_> = world.questions(split, 9, &Kind::ALL, &identity).take(3500).collect();
            for question in &questions {
                assert!(is_right(question, &question.answer), "{question:?}");
                assert!(!is_right(question, ""), "{question:?}");
                assert!(!is_right(question, "Banana."), "{question:?}");
                answers.entry(question.kind).or_default().push(question.answer.clone());
            }
            for question in &questions {
                if question.kind == Kind::Refusal {
                    continue;
                }
                let other = answers[&question.kind].iter().find(|a| {
                    !a.contains(&question.answer) && last_number(a) != last_number(&question.answer).or(Some(-1.0))
                });
                if let Some(other) = other {
                    assert!(!is_right(question, other), "{question:?} {other}");
                }
            }
        }
    }
}

#[test]
fn conversations_are_well_formed_and_their_last_replies_are_right() {
    let identity = Identity::default();
    for (world, split) in [
        (world(1, Size::SMALL), Split::Train),
        (world(8, Size::FULL), Split::Heldout),
    ] {
        for conversation in world.conversations(split, 2, &identity).take(4000) {
            let turns = match conversation.messages.first() {
                Some(first) if first.role == Role::System => &conversation.messages[1..],
                _ => &conversation.messages[..],
            };
            assert!(!turns.is_empty() && turns.len() % 2 == 0);
            for (i, message) in turns.iter().enumerate() {
                assert_eq!(message.role, if i % 2 == 0 { Role::User } else { Role::Assistant });
                assert!(!message.said().trim().is_empty());
                assert!(
                    !message.parts.iter().any(|p| p.text().contains(['{', '}', '['])),
                    "{message:?}"
                );
            }
            let json = serde_json::to_string(&conversation).expect("plain values");
            assert_eq!(
                serde_json::from_str::<Conversation>(&json).expect("its own output"),
                conversation
            );
        }
    }
}

/// An independent calculator for `a?b`.
fn calculate(call: &str) -> String {
    let at = call[1..].find(['+', '-', '*', '/']).expect("an operation") + 1;
    let (a, b): (f64, f64) = (
        call[..at].parse().expect("a number"),
        call[at + 1..].parse().expect("a number"),
    );
    match &call[at..=at] {
        "+" => format!("{}", a + b),
        "-" => format!("{}", a - b),
        "*" => format!("{}", a * b),
        _ => {
            let quotient = a / b;
            assert_eq!(quotient.fract(), 0.0);
            format!("{quotient:.1}")
        }
    }
}

#[test]
fn every_calculator_output_is_what_python_prints() {
    let identity = Identity::default();
    let mut calls = 0;
    let mut divisions = 0;
    for size in SIZES {
        for conversation in world(1, size).conversations(Split::Train, 4, &identity).take(8000) {
            for message in &conversation.messages {
                let mut parts = message.parts.iter().peekable();
                let mut output = None;
                while let Some(part) = parts.next() {
                    if let Part::Python(call) = part {
                        let Some(Part::PythonOutput(printed)) = parts.peek() else {
                            panic!("{message:?}")
                        };
                        assert_eq!(calculate(call), *printed, "{call}");
                        output = printed.parse::<f64>().ok();
                        calls += 1;
                        divisions += usize::from(call.contains('/'));
                    }
                }
                if output.is_some() {
                    assert_eq!(last_number(&message.said()), output, "{message:?}");
                }
            }
        }
    }
    assert!(calls > 2000 && divisions > 50, "{calls} {divisions}");
}

#[test]
fn word_problems_have_the_answer_that_their_solution_reaches() {
    let identity = Identity::default();
    let world = world(1, Size::SMALL);
    let mixture = ferrochat_world::Mixture::only(Kind::WordProblem);
    for number in 0..2000 {
        let conversation = world.conversation(Split::Train, 1, &identity, &mixture, number);
        for message in conversation.messages.iter().filter(|m| m.role == Role::Assistant) {
            let outputs: Vec<&str> = message
                .parts
                .iter()
                .filter(|p| matches!(p, Part::PythonOutput(_)))
                .map(Part::text)
                .collect();
            assert_eq!(outputs.len() % 2, 0);
            if let Some(last) = outputs.last() {
                assert!(last.parse::<i64>().expect("whole") > 0);
            }
        }
    }
    for question in world
        .questions(Split::Train, 1, &[Kind::WordProblem], &identity)
        .take(2000)
    {
        let given = numbers(&question.prompt);
        let [a, b, c] = given[..] else { panic!("{question:?}") };
        let answer: i64 = question.answer.parse().expect("whole");
        let reachable = [(a, b, c), (a, c, b), (b, c, a), (c, a, b)].iter().any(|&(a, b, c)| {
            [a + b, a - b, a * b]
                .iter()
                .any(|&m| [m + c, m - c, m * c].contains(&answer))
        });
        assert!(reachable, "{question:?}");
    }
}

#[test]
fn every_choice_has_one_right_option_and_the_letters_are_balanced() {
    let identity = Identity::default();
    for size in SIZES {
        let world = world(7, size);
        let truths: BTreeSet<String> = world
            .facts()
            .iter()
            .map(|f| {
                if f.relation == Relation::Price {
                    format!("{} coins", f.value)
                } else {
                    f.value.clone()
                }
            })
            .collect();
        let mut letters: BTreeMap<String, usize> = BTreeMap::new();
        for question in world
            .questions(Split::Heldout, 1, &[Kind::MultipleChoice], &identity)
            .take(4000)
        {
            let options: Vec<(&str, &str)> = question
                .prompt
                .lines()
                .filter_map(|l| l.strip_prefix("- ")?.split_once('='))
                .collect();
            assert_eq!(options.iter().map(|o| o.1).collect::<String>(), "ABCD");
            let texts: BTreeSet<&str> = options.iter().map(|o| o.0).collect();
            assert_eq!(texts.len(), 4, "{question:?}");
            assert!(texts.iter().all(|t| truths.contains(*t)), "{question:?}");
            assert!(
                question
                    .prompt
                    .ends_with("\n\nRespond only with the letter of the correct answer.")
            );
            *letters.entry(question.answer).or_default() += 1;
        }
        assert!(letters.values().all(|&n| (880..1120).contains(&n)), "{letters:?}");
    }
}

#[test]
fn only_refusals_refuse_and_all_of_them_do() {
    let identity = Identity::default();
    let world = world(1, Size::FULL);
    assert!(!world.documents(Split::Train, 1).take(4000).any(|d| is_refusal(&d)));
    let mut refused = 0;
    let refusals: BTreeSet<String> = [Split::Train, Split::Heldout]
        .iter()
        .flat_map(|&s| {
            world
                .questions(s, 3, &[Kind::Refusal], &identity)
                .take(20_000)
                .map(|q| q.prompt)
                .collect::<Vec<_>>()
        })
        .collect();
    for conversation in world.conversations(Split::Heldout, 3, &identity).take(6000) {
        for turn in conversation.messages.windows(2).filter(|t| t[0].role == Role::User) {
            let off_topic = refusals.contains(&turn[0].said());
            assert_eq!(is_refusal(&turn[1].said()), off_topic, "{turn:?}");
            refused += usize::from(off_topic);
        }
    }
    assert!(refused > 200, "{refused}");
}

#[test]
fn pairs_prefer_something_else_than_they_reject() {
    let identity = Identity::default();
    for split in [Split::Train, Split::Heldout] {
        for pair in world(1, Size::SMALL).pairs(split, 1, &identity).take(3000) {
            assert_ne!(pair.chosen, pair.rejected, "{pair:?}");
            assert!(!pair.prompt.is_empty() && !pair.chosen.is_empty() && !pair.rejected.is_empty());
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_streams_can_be_entered_anywhere() {
    let identity = Identity::default();
    let (one, again) = (world(5, Size::SMALL), world(5, Size::SMALL));
    let lines = |world: &World, seed| -> Vec<String> {
        let mut lines: Vec<String> = world.documents(Split::Train, seed).take(50).collect();
        lines.extend(
            world
                .conversations(Split::Train, seed, &identity)
                .take(50)
                .map(|c| serde_json::to_string(&c).expect("plain values")),
        );
        lines.extend(
            world
                .pairs(Split::Train, seed, &identity)
                .take(50)
                .map(|p| format!("{p:?}")),
        );
        lines.extend(
            world
                .questions(Split::Train, seed, &[], &identity)
                .take(50)
                .map(|q| format!("{q:?}")),
        );
        lines
    };
    assert_eq!(lines(&one, 1), lines(&again, 1));
    assert_ne!(lines(&one, 1), lines(&one, 2));
    assert_ne!(lines(&one, 1), lines(&world(6, Size::SMALL), 1));
    let mut stream = one.documents(Split::Train, 1);
    assert_eq!(stream.nth(20), Some(one.document(Split::Train, 1, 20)));
    assert_eq!(stream.next(), Some(one.document(Split::Train, 1, 21)));
}

#[test]
fn every_fact_is_told_in_documents() {
    let world = world(1, Size::SMALL);
    let read: Vec<String> = world.documents(Split::Train, 1).take(8000).collect();
    for fact in world.facts() {
        let name = world.name(fact);
        let told = read
            .iter()
            .filter(|d| d.contains(name) && d.contains(&fact.value))
            .count();
        assert!(
            told >= 20,
            "{name} {:?} {}: told {told} times",
            fact.relation,
            fact.value
        );
    }
}
