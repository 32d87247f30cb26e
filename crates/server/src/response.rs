//! Answers as OpenAI's clients read them: one object, or the chunks of a stream. Knows JSON, not where answers come from.
//!
//! One thing is our own: what the model gave its calculator and got back is no text, and stands in
//! `parts` of a message, or `part` of a delta, as `{"type": "python" | "python_output", "text"}`. A message with
//! these parts as its `content` goes on where it was.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use ferrochat_chat::{Part, PartKind};
use serde_json::{Value, json};

use crate::words::{Word, logprobs};

/// What is asked for, and in which form it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An answer in a conversation.
    Chat,
    /// More of a text. What the model gave its calculator is no text and is left out.
    Text,
}

impl Form {
    /// The field of a request that says what to go on with.
    pub(crate) fn subject(self) -> &'static str {
        match self {
            Form::Chat => "messages",
            Form::Text => "prompt",
        }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The model was done, or a stop string came.
    Stop,
    /// There was room or time for no more.
    Length,
}

impl Finish {
    fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
        }
    }
}

/// What all pieces of an answer share.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    form: Form,
    id: String,
    created: u64,
    model: String,
}

impl Head {
    pub(crate) fn new(form: Form, model: &str) -> Head {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let kind = match form {
            Form::Chat => "chatcmpl",
            Form::Text => "cmpl",
        };
        Head {
            form,
            id: format!("{kind}-{:016x}", RandomState::new().hash_one(1)),
            created: now.map_or(0, |now| now.as_secs()),
            model: model.to_owned(),
        }
    }

    fn object(&self, kind: &str, choices: &[Value]) -> Value {
        json!({
            "id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices,
        })
    }

    /// The whole answer.
    pub(crate) fn completion(&self, choices: &[Choice], usage: Usage) -> Value {
        let kind = match self.form {
            Form::Chat => "chat.completion",
            Form::Text => "text_completion",
        };
        let choices = choices.iter().enumerate();
        let choices = choices.map(|(index, choice)| match self.form {
            Form::Chat => choice.to_json(index),
            Form::Text => continuation(index, &choice.text(), choice.words.as_deref(), choice.finish),
        });
        let mut object = self.object(kind, &choices.collect::<Vec<_>>());
        object["usage"] = usage.to_json();
        object
    }

    /// A chunk with one choice.
    fn chunk(&self, choice: &Value) -> Value {
        self.object(self.chunk_kind(), std::slice::from_ref(choice))
    }

    fn chunk_kind(&self) -> &'static str {
        match self.form {
            Form::Chat => "chat.completion.chunk",
            Form::Text => "text_completion",
        }
    }

    /// The first chunk of a choice, where it has one before its text.
    pub(crate) fn begin(&self, choice: usize) -> Option<Value> {
        let begun = delta(choice, &json!({"role": "assistant", "content": ""}), None);
        (self.form == Form::Chat).then(|| self.chunk(&begun))
    }

    /// A piece of a choice; none of what is not shown.
    pub(crate) fn piece(&self, choice: usize, kind: PartKind, text: &str, words: &[Word]) -> Option<Value> {
        let words = (!words.is_empty()).then_some(words);
        let piece = match (self.form, kind) {
            (Form::Chat, PartKind::Text) => {
                let mut piece = delta(choice, &json!({"content": text}), None);
                piece["logprobs"] = logprobs(Form::Chat, words);
                piece
            }
            (Form::Chat, tool) => delta(choice, &json!({"part": {"type": tool.name(), "text": text}}), None),
            (Form::Text, PartKind::Text) => continuation(choice, text, words, None),
            (Form::Text, _) => return None,
        };
        Some(self.chunk(&piece))
    }

    /// The last chunk of a choice.
    pub(crate) fn end(&self, choice: usize, finish: Finish) -> Value {
        self.chunk(&match self.form {
            Form::Chat => delta(choice, &json!({}), Some(finish)),
            Form::Text => continuation(choice, "", None, Some(finish)),
        })
    }

    /// The chunk after all choices, where it is asked for.
    pub(crate) fn usage(&self, usage: Usage) -> Value {
        let mut object = self.object(self.chunk_kind(), &[]);
        object["usage"] = usage.to_json();
        object
    }
}

/// What a chunk adds to a choice of a chat.
fn delta(index: usize, delta: &Value, finish: Option<Finish>) -> Value {
    json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish.map(Finish::name)})
}

/// A choice of text, whole or a piece of it.
fn continuation(index: usize, text: &str, words: Option<&[Word]>, finish: Option<Finish>) -> Value {
    json!({
        "index": index, "text": text, "logprobs": logprobs(Form::Text, words), "finish_reason": finish.map(Finish::name),
    })
}

/// One answer, put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    parts: Vec<Part>,
    /// None where nobody asked.
    words: Option<Vec<Word>>,
    pub(crate) finish: Option<Finish>,
}

impl Choice {
    /// With the probabilities of its tokens, or without.
    pub(crate) fn new(likelihoods: bool) -> Choice {
        Choice {
            words: likelihoods.then(Vec::new),
            ..Choice::default()
        }
    }

    pub(crate) fn push(&mut self, kind: PartKind, text: &str, words: Vec<Word>) {
        if let Some(all) = &mut self.words {
            all.extend(words);
        }
        match self.parts.pop_if(|part| part.kind() == kind) {
            Some(part) => self.parts.push(Part::new(kind, part.text().to_owned() + text)),
            None => self.parts.push(Part::new(kind, text)),
        }
    }

    fn text(&self) -> String {
        let texts = self.parts.iter().filter(|part| part.kind() == PartKind::Text);
        texts.map(Part::text).collect()
    }

    fn to_json(&self, index: usize) -> Value {
        let mut message = json!({"role": "assistant", "content": self.text(), "refusal": null});
        if self.parts.iter().any(|part| part.kind() != PartKind::Text) {
            let part = |part: &Part| json!({"type": part.kind().name(), "text": part.text()});
            message["parts"] = self.parts.iter().map(part).collect();
        }
        json!({
            "index": index, "message": message, "logprobs": logprobs(Form::Chat, self.words.as_deref()),
            "finish_reason": self.finish.map(Finish::name),
        })
    }
}

/// Tokens read and written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) prompt: usize,
    pub(crate) completion: usize,
}

impl Usage {
    fn to_json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_calls_stand_beside_the_text() {
        let mut choice = Choice::default();
        for (kind, text) in [
            (PartKind::Text, "It"),
            (PartKind::Text, " is "),
            (PartKind::Python, "1+"),
            (PartKind::Python, "1"),
            (PartKind::PythonOutput, "2"),
            (PartKind::Text, "two."),
        ] {
            choice.push(kind, text, Vec::new());
        }
        choice.finish = Some(Finish::Stop);
        let json = choice.to_json(0);
        assert_eq!(json["message"]["content"], "It is two.");
        let parts = json!([
            {"type": "text", "text": "It is "}, {"type": "python", "text": "1+1"},
            {"type": "python_output", "text": "2"}, {"type": "text", "text": "two."},
        ]);
        assert_eq!(json["message"]["parts"], parts);
        let mut plain = Choice::default();
        plain.push(PartKind::Text, "two", Vec::new());
        assert!(plain.to_json(0)["message"].get("parts").is_none());
        let head = Head::new(Form::Chat, "m");
        let chunk = head.piece(1, PartKind::Python, "1+1", &[]).unwrap();
        assert_eq!(
            chunk["choices"][0]["delta"],
            json!({"part": {"type": "python", "text": "1+1"}})
        );
        assert_eq!(chunk["id"], head.end(1, Finish::Length)["id"]);
    }

    #[test]
    fn a_continuation_is_text_alone() {
        let head = Head::new(Form::Text, "m");
        assert!(head.begin(0).is_none() && head.piece(0, PartKind::Python, "1+1", &[]).is_none());
        let piece = head.piece(1, PartKind::Text, "two", &[]).unwrap();
        let expected = json!({"index": 1, "text": "two", "logprobs": null, "finish_reason": null});
        assert_eq!(
            (&piece["choices"][0], &piece["object"]),
            (&expected, &json!("text_completion"))
        );
        assert_eq!(head.end(0, Finish::Length)["choices"][0]["finish_reason"], "length");
        let mut choice = Choice::default();
        choice.push(PartKind::Text, "two", Vec::new());
        choice.push(PartKind::PythonOutput, "2", Vec::new());
        let whole = head.completion(&[choice], Usage::default());
        assert_eq!(whole["choices"][0]["text"], "two");
        assert!(whole["id"].as_str().unwrap().starts_with("cmpl-"));
    }
}
