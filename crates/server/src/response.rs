//! Answers as OpenAI's clients read them: one object, or the chunks of a stream. Knows JSON, not where answers come from.
//!
//! One thing is our own: what the model gave its calculator and got back is no text, and stands in
//! `parts` of a message, or `part` of a delta, as `{"type": "python" | "python_output", "text"}`. A message with
//! these parts as its `content` goes on where it was.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use ferrochat_chat::{Part, PartKind};
use serde_json::{Value, json};

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
    id: String,
    created: u64,
    model: String,
}

impl Head {
    pub(crate) fn new(model: &str) -> Head {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Head {
            id: format!("chatcmpl-{:016x}", RandomState::new().hash_one(1)),
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
        let choices = choices.iter().enumerate().map(|(index, choice)| choice.to_json(index));
        let mut object = self.object("chat.completion", &choices.collect::<Vec<_>>());
        object["usage"] = usage.to_json();
        object
    }

    fn chunk(&self, choice: usize, delta: &Value, finish: Option<Finish>) -> Value {
        let choice = json!({
            "index": choice, "delta": delta, "logprobs": null, "finish_reason": finish.map(Finish::name),
        });
        self.object("chat.completion.chunk", &[choice])
    }

    /// The first chunk of a choice.
    pub(crate) fn begin(&self, choice: usize) -> Value {
        self.chunk(choice, &json!({"role": "assistant", "content": ""}), None)
    }

    /// A piece of a choice.
    pub(crate) fn piece(&self, choice: usize, kind: PartKind, text: &str) -> Value {
        let delta = match kind {
            PartKind::Text => json!({"content": text}),
            tool => json!({"part": {"type": tool.name(), "text": text}}),
        };
        self.chunk(choice, &delta, None)
    }

    /// The last chunk of a choice.
    pub(crate) fn end(&self, choice: usize, finish: Finish) -> Value {
        self.chunk(choice, &json!({}), Some(finish))
    }

    /// The chunk after all choices, where it is asked for.
    pub(crate) fn usage(&self, usage: Usage) -> Value {
        let mut object = self.object("chat.completion.chunk", &[]);
        object["usage"] = usage.to_json();
        object
    }
}

/// One answer, put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    parts: Vec<Part>,
    pub(crate) finish: Option<Finish>,
}

impl Choice {
    pub(crate) fn push(&mut self, kind: PartKind, text: &str) {
        match self.parts.pop_if(|part| part.kind() == kind) {
            Some(part) => self.parts.push(Part::new(kind, part.text().to_owned() + text)),
            None => self.parts.push(Part::new(kind, text)),
        }
    }

    fn to_json(&self, index: usize) -> Value {
        let texts = self.parts.iter().filter(|part| part.kind() == PartKind::Text);
        let text: String = texts.map(Part::text).collect();
        let mut message = json!({"role": "assistant", "content": text, "refusal": null});
        if self.parts.iter().any(|part| part.kind() != PartKind::Text) {
            let part = |part: &Part| json!({"type": part.kind().name(), "text": part.text()});
            message["parts"] = self.parts.iter().map(part).collect();
        }
        json!({
            "index": index, "message": message, "logprobs": null, "finish_reason": self.finish.map(Finish::name),
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
            choice.push(kind, text);
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
        plain.push(PartKind::Text, "two");
        assert!(plain.to_json(0)["message"].get("parts").is_none());
        let head = Head::new("m");
        let chunk = head.piece(1, PartKind::Python, "1+1");
        assert_eq!(
            chunk["choices"][0]["delta"],
            json!({"part": {"type": "python", "text": "1+1"}})
        );
        assert_eq!(chunk["id"], head.end(1, Finish::Length)["id"]);
    }
}
