//! Multiple choice: ARC and MMLU. This room must never know where the files lie.

use ferrochat_chat::{Conversation, Reply};
use serde::Deserialize;

use crate::error::TaskError;
use crate::task::{Judging, Letters, Task, exchange};

/// Questions with labelled choices.
pub(crate) struct ChoiceTask {
    name: &'static str,
    origin: String,
    items: Vec<Item>,
}

pub(crate) struct Item {
    question: String,
    choices: Vec<String>,
    letters: Letters,
}

/// A row of ARC.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArcRow {
    question: String,
    choices: ArcChoices,
    answer_key: String,
}

#[derive(Deserialize)]
struct ArcChoices {
    text: Vec<String>,
    label: Vec<String>,
}

/// A row of MMLU. The answer is the number of a choice, from 0.
#[derive(Deserialize)]
pub(crate) struct MmluRow {
    question: String,
    choices: Vec<String>,
    answer: usize,
}

impl ChoiceTask {
    pub(crate) fn new(name: &'static str, origin: String, items: Vec<Item>) -> ChoiceTask {
        ChoiceTask { name, origin, items }
    }

    pub(crate) fn from_arc(row: ArcRow) -> Result<Item, String> {
        let ArcChoices { text: choices, label } = row.choices;
        if choices.len() != label.len() || choices.is_empty() {
            let (choices, labels) = (choices.len(), label.len());
            return Err(format!(
                "it has {choices} choices and {labels} labels; there must be as many, and at least 1"
            ));
        }
        let Some(right) = label.iter().position(|label| *label == row.answer_key) else {
            let (answer, labels) = (row.answer_key, label.join(", "));
            return Err(format!("its answerKey {answer:?} is not one of its labels {labels}"));
        };
        Ok(Item {
            question: row.question,
            choices,
            letters: Letters { labels: label, right },
        })
    }

    pub(crate) fn from_mmlu(row: MmluRow) -> Result<Item, String> {
        if row.choices.len() != 4 {
            return Err(format!("it has {} choices and must have 4", row.choices.len()));
        }
        if row.answer >= 4 {
            return Err(format!("its answer is {} and must be from 0 to 3", row.answer));
        }
        Ok(Item {
            question: row.question,
            choices: row.choices,
            letters: Letters {
                labels: ["A", "B", "C", "D"].map(String::from).to_vec(),
                right: row.answer,
            },
        })
    }
}

impl Item {
    /// The letter stands behind its choice and without a space, so that it is the very token of the answer; small
    /// models bind the two better that way round.
    fn ask(&self) -> String {
        let lines = self.choices.iter().zip(&self.letters.labels);
        let lines: Vec<String> = lines.map(|(choice, label)| format!("- {choice}={label}\n")).collect();
        let (question, lines) = (&self.question, lines.concat());
        format!("Multiple Choice question: {question}\n{lines}\nRespond only with the letter of the correct answer.")
    }

    fn answer(&self) -> &str {
        &self.letters.labels[self.letters.right]
    }
}

impl Task for ChoiceTask {
    fn name(&self) -> &str {
        self.name
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn count(&self) -> usize {
        self.items.len()
    }

    fn chance(&self) -> f64 {
        0.25
    }

    fn judging(&self) -> Judging {
        Judging::Letters
    }

    fn answered(&self, index: usize) -> Conversation {
        let item = &self.items[index];
        exchange(&item.ask(), item.answer())
    }

    fn grade(&self, index: usize, reply: &Reply) -> Result<bool, TaskError> {
        Ok(reply.text.trim() == self.items[index].answer())
    }

    fn letters(&self, index: usize) -> Option<Letters> {
        Some(self.items[index].letters.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::reply;
    use ferrochat_chat::Part;

    fn arc(json: &str) -> Result<Item, String> {
        ChoiceTask::from_arc(serde_json::from_str(json).unwrap())
    }

    fn mmlu(json: &str) -> Result<Item, String> {
        ChoiceTask::from_mmlu(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn the_prompt_has_each_letter_behind_its_choice() {
        let snow = r#"{"id":"x","question":"What is snow?","choices":{"text":["cold","two\nlines","blue = red"],"label":["1","2","3"]},"answerKey":"3"}"#;
        let sum = r#"{"question":"2+2=","subject":"sums","choices":["3","4","5","6"],"answer":1}"#;
        let items = vec![arc(snow).unwrap(), mmlu(sum).unwrap()];
        let task = ChoiceTask::new("ARC-Easy", "here".to_owned(), items);
        assert_eq!(
            task.answered(0),
            exchange(
                "Multiple Choice question: What is snow?\n- cold=1\n- two\nlines=2\n- blue = red=3\n\nRespond only with \
                 the letter of the correct answer.",
                "3"
            )
        );
        assert_eq!(
            task.answered(1),
            exchange(
                "Multiple Choice question: 2+2=\n- 3=A\n- 4=B\n- 5=C\n- 6=D\n\nRespond only with the letter of the \
                 correct answer.",
                "B"
            )
        );
        let letters = task.letters(0).unwrap();
        assert_eq!((letters.labels.concat(), letters.right), ("123".to_owned(), 2));
        for (text, right) in [("B", true), (" B\n", true), ("A", false), ("AB", false), ("", false)] {
            assert_eq!(
                task.grade(1, &reply(vec![Part::Text(text.to_owned())])).unwrap(),
                right,
                "{text:?}"
            );
        }
    }

    #[test]
    fn broken_items_are_refused() {
        for (json, expected) in [
            (
                r#"{"question":"q","choices":{"text":["a","b"],"label":["A","B"]},"answerKey":"C"}"#,
                "answerKey \"C\" is not one of its labels A, B",
            ),
            (
                r#"{"question":"q","choices":{"text":["a"],"label":["A","B"]},"answerKey":"A"}"#,
                "1 choices and 2 labels",
            ),
            (
                r#"{"question":"q","choices":{"text":[],"label":[]},"answerKey":"A"}"#,
                "0 choices",
            ),
        ] {
            let error = arc(json).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
        let three = r#"{"question":"q","choices":["a","b","c"],"answer":0}"#;
        assert!(mmlu(three).err().unwrap().contains("3 choices"));
        let fifth = r#"{"question":"q","choices":["a","b","c","d"],"answer":4}"#;
        assert!(mmlu(fifth).err().unwrap().contains("from 0 to 3"));
    }
}
