//! One question of CORE, and how it is written out with its examples. This room must never know tokens.
//!
//! An example is a question, the task's delimiter and the right answer; a blank line ends it. The question itself follows
//! in the same form, once for each text that is scored.

use serde::{Deserialize, Serialize};

/// How a task is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoreKind {
    /// One question and several continuations: the likeliest per token.
    MultipleChoice,
    /// Several questions and one continuation: the one after which it is likeliest.
    Schema,
    /// One continuation, every token of which must be the likeliest.
    LanguageModeling,
}

impl CoreKind {
    /// From its name in `core.yaml`.
    pub(super) fn named(name: &str) -> Option<CoreKind> {
        serde_json::from_value(name.into()).ok()
    }
}

/// A question with its answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Choices {
        query: String,
        choices: Vec<String>,
        gold: usize,
    },
    Contexts {
        contexts: Vec<String>,
        continuation: String,
        gold: usize,
    },
    Continuation {
        context: String,
        continuation: String,
    },
}

#[derive(Deserialize)]
struct ChoicesLine {
    query: String,
    choices: Vec<String>,
    gold: usize,
}

#[derive(Deserialize)]
struct ContextsLine {
    context_options: Vec<String>,
    continuation: String,
    gold: usize,
}

#[derive(Deserialize)]
struct ContinuationLine {
    context: String,
    continuation: String,
}

impl Item {
    /// From a line of its file.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub(super) fn read(kind: CoreKind, json: &str) -> Result<Item, String> {
        let item = match kind {
            CoreKind::MultipleChoice => {
                let line: ChoicesLine = parse(json)?;
                Item::Choices {
                    query: line.query,
                    choices: line.choices,
                    gold: line.gold,
                }
            }
            CoreKind::Schema => {
                let line: ContextsLine = parse(json)?;
                Item::Contexts {
                    contexts: line.context_options,
                    continuation: line.continuation,
                    gold: line.gold,
                }
            }
            CoreKind::LanguageModeling => {
                let line: ContinuationLine = parse(json)?;
                Item::Continuation {
                    context: line.context,
                    continuation: line.continuation,
                }
            }
        };
        if matches!(&item, Item::Continuation { continuation, .. } if continuation.is_empty()) {
            return Err("continuation is empty, so there is nothing to score".to_owned());
        }
        if let Item::Choices { choices: all, gold, .. }
        | Item::Contexts {
            contexts: all, gold, ..
        } = &item
            && *gold >= all.len()
        {
            return Err(format!("gold is {gold} and there are {} to choose from", all.len()));
        }
        Ok(item)
    }

    /// Which of the texts is right; none where there is nothing to choose.
    pub(super) fn gold(&self) -> Option<usize> {
        match self {
            Item::Choices { gold, .. } | Item::Contexts { gold, .. } => Some(*gold),
            Item::Continuation { .. } => None,
        }
    }

    /// All texts of the item behind its examples. A language modelling item has two: without its continuation, and with
    /// it.
    pub(super) fn prompts(&self, examples: &[&Item], delimiter: &str) -> Vec<String> {
        let mut before = String::new();
        for example in examples {
            let (question, answer) = example.solved();
            before.extend([question, delimiter, answer, "\n\n"]);
        }
        let write = |question: &str, answer: &str| [&before, question, delimiter, answer].concat();
        match self {
            Item::Choices { query, choices, .. } => choices.iter().map(|choice| write(query, choice)).collect(),
            Item::Contexts {
                contexts, continuation, ..
            } => contexts.iter().map(|context| write(context, continuation)).collect(),
            Item::Continuation { context, continuation } => {
                let context = strip(context);
                // A space at the end would be part of the continuation's first token.
                vec![strip(&write(context, "")).to_owned(), write(context, continuation)]
            }
        }
    }

    /// As an example: the question and its right answer.
    fn solved(&self) -> (&str, &str) {
        match self {
            Item::Choices { query, choices, gold } => (query, &choices[*gold]),
            Item::Contexts {
                contexts,
                continuation,
                gold,
            } => (&contexts[*gold], continuation),
            Item::Continuation { context, continuation } => (strip(context), continuation),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// Python's `str.strip`, which takes four separators for white space that Unicode does not.
fn strip(text: &str) -> &str {
    text.trim_matches(|character: char| character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: CoreKind, json: &str) -> Item {
        Item::read(kind, json).unwrap()
    }

    #[test]
    fn choices_follow_the_question() {
        let snow = item(
            CoreKind::MultipleChoice,
            r#"{"query":"Snow is ","choices":["hot","cold\n"],"gold":1,"extra":0}"#,
        );
        let fire = item(
            CoreKind::MultipleChoice,
            r#"{"query":" Fire is","choices":["hot","cold"],"gold":0}"#,
        );
        assert_eq!(
            fire.prompts(&[&snow, &snow], "\nAnswer: "),
            [
                "Snow is \nAnswer: cold\n\n\nSnow is \nAnswer: cold\n\n\n Fire is\nAnswer: hot",
                "Snow is \nAnswer: cold\n\n\nSnow is \nAnswer: cold\n\n\n Fire is\nAnswer: cold"
            ]
        );
        assert_eq!(snow.prompts(&[], " "), ["Snow is  hot", "Snow is  cold\n"]);
        assert_eq!(fire.gold(), Some(0));
    }

    #[test]
    fn contexts_stand_before_the_continuation() {
        let cup = item(
            CoreKind::Schema,
            r#"{"context_options":["The cup","The box"],"continuation":"fell.","gold":1}"#,
        );
        assert_eq!(
            cup.prompts(&[&cup], " "),
            ["The box fell.\n\nThe cup fell.", "The box fell.\n\nThe box fell."]
        );
    }

    #[test]
    fn contexts_to_be_continued_lose_their_margins() {
        let capital = item(
            CoreKind::LanguageModeling,
            r#"{"context":"\u001f\u3000Capital of France:\n ","continuation":" Paris\n"}"#,
        );
        let sum = item(CoreKind::LanguageModeling, r#"{"context":"2+2=","continuation":"4"}"#);
        assert_eq!(
            sum.prompts(&[&capital], " "),
            [
                "Capital of France:  Paris\n\n\n2+2=",
                "Capital of France:  Paris\n\n\n2+2= 4"
            ]
        );
        assert_eq!(
            capital.prompts(&[], "\nAnswer: "),
            ["Capital of France:\nAnswer:", "Capital of France:\nAnswer:  Paris\n"]
        );
        assert_eq!(sum.gold(), None);
    }

    #[test]
    fn broken_lines_are_refused() {
        for (json, expected) in [
            (
                r#"{"query":"q","choices":["a","b"],"gold":2}"#,
                "gold is 2 and there are 2",
            ),
            (r#"{"query":"q","gold":0}"#, "missing field `choices`"),
            ("[", "EOF"),
        ] {
            let error = Item::read(CoreKind::MultipleChoice, json).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let empty = r#"{"context":"2+2=","continuation":""}"#;
        let error = Item::read(CoreKind::LanguageModeling, empty).unwrap_err();
        assert!(error.contains("nothing to score"), "{error}");
        assert_eq!(CoreKind::named("schema"), Some(CoreKind::Schema));
        assert_eq!(CoreKind::named("Schema"), None);
    }
}
