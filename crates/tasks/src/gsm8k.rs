//! GSM8K: word problems whose worked answers call a calculator. This room must never know where the files lie.

use ferrochat_chat::{Conversation, Message, Part, Reply, Role};
use serde::Deserialize;

use crate::error::TaskError;
use crate::task::{Task, transcript};

/// Word problems.
pub(crate) struct Gsm8k {
    origin: String,
    items: Vec<Item>,
}

/// A row of the data set.
#[derive(Deserialize)]
pub(crate) struct Row {
    question: String,
    answer: String,
}

pub(crate) struct Item {
    row: Row,
    number: String,
}

impl Gsm8k {
    pub(crate) fn new(origin: String, items: Vec<Item>) -> Gsm8k {
        Gsm8k { origin, items }
    }

    pub(crate) fn item(row: Row) -> Result<Item, String> {
        if row.question.is_empty() {
            return Err("its question is empty".to_owned());
        }
        let last = parts(&row.answer).pop();
        let Some(number) = last.as_ref().and_then(|part| final_number(part.text())) else {
            return Err("its answer does not end with #### and a number".to_owned());
        };
        Ok(Item { row, number })
    }
}

/// The number after the first `#### `, commas left out: digits, commas and points behind an optional minus.
pub(crate) fn final_number(text: &str) -> Option<String> {
    text.match_indices("#### ").find_map(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let (sign, rest) = rest.strip_prefix('-').map_or(("", rest), |rest| ("-", rest));
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
            .unwrap_or(rest.len());
        (end > 0).then(|| format!("{sign}{}", rest[..end].replace(',', "")))
    })
}

/// An answer in parts: `<<48/2=24>>` is a call of the calculator and, behind the last `=`, what it gave back.
fn parts(answer: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut said, mut from) = (0, 0);
    while let Some(start) = answer[from..].find("<<").map(|at| from + at) {
        let inner = start + 2;
        let end = answer[inner..].find('>').map(|at| inner + at);
        let Some(end) = end.filter(|&end| end > inner && answer[end..].starts_with(">>")) else {
            from = start + 1;
            continue;
        };
        if said < start {
            parts.push(Part::Text(answer[said..start].to_owned()));
        }
        let call = &answer[inner..end];
        let (expression, result) = call.rsplit_once('=').unwrap_or((call, ""));
        parts.push(Part::Python(expression.to_owned()));
        parts.push(Part::PythonOutput(result.to_owned()));
        said = end + 2;
        from = said;
    }
    if said < answer.len() {
        parts.push(Part::Text(answer[said..].to_owned()));
    }
    parts
}

impl Task for Gsm8k {
    fn name(&self) -> &'static str {
        "GSM8K"
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn count(&self) -> usize {
        self.items.len()
    }

    fn answered(&self, index: usize) -> Conversation {
        let row = &self.items[index].row;
        let answer = Message {
            role: Role::Assistant,
            parts: parts(&row.answer),
        };
        Conversation::from(vec![Message::user(&row.question), answer])
    }

    /// Compared as text: 5 and 5.0 are different answers.
    fn grade(&self, index: usize, reply: &Reply) -> Result<bool, TaskError> {
        Ok(final_number(&transcript(reply)).as_ref() == Some(&self.items[index].number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::reply;

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn call(expression: &str, result: &str) -> [Part; 2] {
        [
            Part::Python(expression.to_owned()),
            Part::PythonOutput(result.to_owned()),
        ]
    }

    #[test]
    fn calls_of_the_calculator_become_parts() {
        let [a, b] = call("3*4", "12");
        let [c, d] = call("12=6+6", "12");
        assert_eq!(
            parts("Ada has 3*4=<<3*4=12>>12 eggs<<12=6+6=12>>.\n#### 12"),
            [text("Ada has 3*4="), a, b, text("12 eggs"), c, d, text(".\n#### 12")]
        );
        let [a, b] = call("7", "");
        let [c, d] = call("<1+1", "2");
        assert_eq!(parts("<<7>><<<1+1=2>>"), [a, b, c, d]);
        for plain in ["no call", "a << b", "<<>>", "<<1>2>>", "<<1", "x > y"] {
            assert_eq!(parts(plain), [text(plain)]);
        }
        assert!(parts("").is_empty());
        // The second << begins a call although the first does not.
        let [a, b] = call("1+1", "2");
        assert_eq!(parts("<<a>b<<1+1=2>>é"), [text("<<a>b"), a, b, text("é")]);
    }

    #[test]
    fn the_number_after_the_mark_is_the_answer() {
        for (said, number) in [
            ("So it is 5.\n#### 5", Some("5")),
            ("#### 1,234,567", Some("1234567")),
            ("#### -12.50 coins", Some("-12.50")),
            ("#### 5.", Some("5.")),
            ("##### 8", Some("8")),
            ("#### $5 #### 6", Some("6")),
            ("#### 5 #### 6", Some("5")),
            ("#### ,", Some("")),
            ("####5", None),
            ("#### --5", None),
            ("####  5", None),
            ("5", None),
            ("#### ٣", None),
        ] {
            assert_eq!(final_number(said).as_deref(), number, "{said:?}");
        }
    }

    #[test]
    fn replies_are_compared_as_text() {
        let row = |answer: &str| Row {
            question: "How many?".to_owned(),
            answer: answer.to_owned(),
        };
        let item = Gsm8k::item(row("<<600*2=1200>>\n#### 1,200")).unwrap();
        let task = Gsm8k::new("here".to_owned(), vec![item]);
        task.answered(0).validate().unwrap();
        assert_eq!(task.prompt(0).messages, [Message::user("How many?")]);
        for (said, right) in [
            ("#### 1200", true),
            ("Twice that: #### 1,200 coins.", true),
            ("#### 1200.0", false),
            ("#### -1200", false),
            ("1200", false),
        ] {
            assert_eq!(task.grade(0, &reply(vec![text(said)])).unwrap(), right, "{said}");
        }
        let [a, b] = call("600*2", "1200");
        assert!(
            task.grade(0, &reply(vec![a.clone(), b.clone(), text("\n#### 1200")]))
                .unwrap()
        );
        assert!(
            !task.grade(0, &reply(vec![text("#### "), a, b, text("1200")])).unwrap(),
            "a call stands between"
        );
        for wrong in ["", "no number", "#### 5<<2+3=5>>"] {
            assert!(Gsm8k::item(row(wrong)).err().unwrap().contains("####"), "{wrong}");
        }
    }
}
