//! Spelling: how often a letter occurs in a word, and words letter by letter, made of a list of words by the
//! reference's draws (nanochat's spelling tasks, October 2025 to July 2026). This room must never know where the list
//! lies.

use std::sync::{Arc, LazyLock};

use ferrochat_chat::{Conversation, Message, Part, Reply, Role};

use crate::error::TaskError;
use crate::gsm8k::final_number;
use crate::python::PythonRandom;
use crate::task::{Task, exchange, transcript};

/// The ways to ask, one on each line. Facts of the reference, without which no draw would be the same.
static QUESTIONS: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("questions.txt").lines().collect());

/// Added to the numbers of items to measure on: each item is a seed.
const TEST_SEED: u32 = 10_000_000;

/// Seed of the order of words in [`SimpleSpelling`].
const ORDER_SEED: u32 = 42;

const ALPHABET: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

const QUOTES: [&str; 3] = ["", "'", "\""];

/// A list of words, and which items are made of it.
#[derive(Clone)]
pub(crate) struct Words {
    /// Where they come from.
    pub origin: String,
    /// At least one, none of them empty.
    pub list: Arc<[String]>,
    /// Number of items.
    pub count: usize,
    /// Items to measure on, not to learn from.
    pub test: bool,
}

impl Words {
    fn random(&self, index: usize) -> PythonRandom {
        let first = if self.test { TEST_SEED } else { 0 };
        PythonRandom::new(first + index as u32)
    }
}

/// How often does a letter occur in a word? The answer spells the word, counts aloud and then asks a tool.
pub(crate) struct SpellingBee(Words);

struct Counted {
    question: String,
    word: String,
    letter: char,
    count: usize,
}

impl SpellingBee {
    pub(crate) fn new(words: Words) -> SpellingBee {
        SpellingBee(words)
    }

    fn draw(&self, index: usize) -> Counted {
        let mut random = self.0.random(index);
        let word = random.choice(&self.0.list).clone();
        let letters: Vec<char> = word.chars().collect();
        let letter = if random.unit() < 0.9 {
            *random.choice(&letters)
        } else {
            char::from(*random.choice(ALPHABET))
        };
        let asked = *random.choice(&QUESTIONS);
        // Few people bother with capital letters, and fewer with the mark at the end.
        let asked = if random.unit() < 0.3 {
            asked.to_lowercase()
        } else {
            asked.to_owned()
        };
        let mut quoted = |text: &str| {
            let quote = random.choice(&QUOTES);
            format!("{quote}{text}{quote}")
        };
        let letter_shown = quoted(&letter.to_string());
        let word_shown = quoted(&word);
        let mut question = asked.replace("{letter}", &letter_shown).replace("{word}", &word_shown);
        if random.unit() < 0.5 {
            question.push('?');
        }
        Counted {
            question,
            count: letters.iter().filter(|&&one| one == letter).count(),
            word,
            letter,
        }
    }
}

impl Counted {
    fn answer(&self) -> Message {
        let Counted {
            word, letter, count, ..
        } = self;
        let mut met = 0;
        let counted = (1..).zip(word.chars()).map(|(place, one)| {
            // No space before the letter, which would be another token with it.
            if one == *letter {
                met += 1;
                format!("{place}:{one} hit! count={met}\n")
            } else {
                format!("{place}:{one}\n")
            }
        });
        let counted: Vec<String> = counted.collect();
        let said = format!(
            "We are asked to find the number '{letter}' in the word '{word}'. Let me try a manual approach first.\n\n\
             First spell the word out:\n{}\n\nThen count the occurrences of '{letter}':\n{}\nThis gives us {met}.",
            spelled(word),
            counted.concat()
        );
        Message {
            role: Role::Assistant,
            parts: vec![
                Part::Text(said),
                Part::Text("\n\nLet me double check this using Python:\n\n".to_owned()),
                Part::Python(format!("'{word}'.count('{letter}')")),
                Part::PythonOutput(count.to_string()),
                Part::Text(format!(
                    "\n\nPython gives us {count}.\n\nMy final answer is:\n\n#### {count}"
                )),
            ],
        }
    }
}

/// `word:w,o,r,d`
fn spelled(word: &str) -> String {
    let letters: Vec<String> = word.chars().map(String::from).collect();
    format!("{word}:{}", letters.join(","))
}

impl Task for SpellingBee {
    fn name(&self) -> &'static str {
        "SpellingBee"
    }

    fn origin(&self) -> String {
        self.0.origin.clone()
    }

    fn count(&self) -> usize {
        self.0.count
    }

    fn answered(&self, index: usize) -> Conversation {
        let drawn = self.draw(index);
        Conversation::from(vec![Message::user(&drawn.question), drawn.answer()])
    }

    fn grade(&self, index: usize, reply: &Reply) -> Result<bool, TaskError> {
        Ok(final_number(&transcript(reply)) == Some(self.draw(index).count.to_string()))
    }
}

/// Words to spell, and nothing else. The reference only learns from it; a reply is right that is the answer to the
/// letter, but for space around it.
pub(crate) struct SimpleSpelling(Words);

impl SimpleSpelling {
    pub(crate) fn new(words: Words) -> SimpleSpelling {
        let mut list = words.list.to_vec();
        PythonRandom::new(ORDER_SEED).shuffle(&mut list);
        SimpleSpelling(Words {
            list: list.into(),
            ..words
        })
    }

    fn word(&self, index: usize) -> &str {
        let word: &String = self.0.random(index).choice(&self.0.list);
        word
    }
}

impl Task for SimpleSpelling {
    fn name(&self) -> &'static str {
        "SimpleSpelling"
    }

    fn origin(&self) -> String {
        self.0.origin.clone()
    }

    fn count(&self) -> usize {
        self.0.count
    }

    fn answered(&self, index: usize) -> Conversation {
        let word = self.word(index);
        exchange(&format!("Spell the word: {word}"), &spelled(word))
    }

    fn grade(&self, index: usize, reply: &Reply) -> Result<bool, TaskError> {
        Ok(reply.text.trim() == spelled(self.word(index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::reply;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        task: String,
        test: bool,
        index: usize,
        question: String,
        answer: String,
    }

    fn words(test: bool) -> Words {
        let list = include_str!("../../tests/fixtures/words.txt")
            .lines()
            .map(str::to_owned);
        Words {
            origin: "here".to_owned(),
            list: list.collect(),
            count: 300,
            test,
        }
    }

    /// `tests/fixtures/spelling.py` asks the reference.
    #[test]
    fn items_are_those_of_the_reference() {
        let cases = include_str!("../../tests/fixtures/spelling.jsonl");
        let mut count = 0;
        for line in cases.lines() {
            let case: Case = serde_json::from_str(line).unwrap();
            let task: Box<dyn Task> = match case.task.as_str() {
                "SpellingBee" => Box::new(SpellingBee::new(words(case.test))),
                _ => Box::new(SimpleSpelling::new(words(case.test))),
            };
            let answered = task.answered(case.index);
            answered.validate().unwrap();
            let parts = answered.messages[1].parts.clone();
            assert_eq!(answered.messages[0].text(), case.question);
            assert_eq!(transcript(&reply(parts.clone())), case.answer);
            assert!(task.grade(case.index, &reply(parts)).unwrap());
            count += 1;
        }
        assert!(count >= 100, "{count}");
        assert_eq!(QUESTIONS.len(), 51);
    }

    #[test]
    fn the_count_is_judged() {
        let bee = SpellingBee::new(words(true));
        let right = bee.draw(7).count;
        for (said, passes) in [
            (format!("#### {right}"), true),
            (format!("It is {right}."), false),
            (format!("#### {}", right + 1), false),
            (format!("#### {right}.0"), false),
        ] {
            assert_eq!(bee.grade(7, &reply(vec![Part::Text(said)])).unwrap(), passes);
        }
        let simple = SimpleSpelling::new(words(true));
        let word = simple.word(3).to_owned();
        for (said, passes) in [
            (format!(" {}\n", spelled(&word)), true),
            (spelled(&word).replace(',', ", "), false),
            (word, false),
        ] {
            assert_eq!(simple.grade(3, &reply(vec![Part::Text(said)])).unwrap(), passes);
        }
    }

    #[test]
    fn what_is_measured_is_not_what_was_learned() {
        let [train, test] = [false, true].map(|test| SpellingBee::new(words(test)));
        let same = (0..100).filter(|&i| train.answered(i) == test.answered(i)).count();
        assert!(same < 3, "{same}");
    }
}
