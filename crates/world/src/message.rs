//! Conversations and preference pairs as plain values, with the JSON form that
//! every chat program reads. This room must never know what they are about.

use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sets the tone; at most one, at the beginning.
    System,
    /// Asks.
    User,
    /// Answers.
    Assistant,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "text", rename_all = "snake_case")]
pub enum Part {
    /// Said.
    Text(String),
    /// An expression for the calculator.
    Python(String),
    /// What the calculator printed, exactly as Python would.
    PythonOutput(String),
}

impl Part {
    /// The text of the part, whatever its type.
    pub fn text(&self) -> &str {
        match self {
            Part::Text(text) | Part::Python(text) | Part::PythonOutput(text) => text,
        }
    }
}

/// One turn of a conversation. In JSON its content is a string when it is plain
/// text, else a list of `{"type", "text"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A message of plain text.
    pub fn plain(role: Role, text: impl Into<String>) -> Self {
        Message {
            role,
            parts: vec![Part::Text(text.into())],
        }
    }

    /// The parts that are said, joined; calls and their outputs left out.
    pub fn said(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                Part::Python(_) | Part::PythonOutput(_) => None,
            })
            .collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Serialize, Deserialize)]
struct WireMessage {
    role: Role,
    content: Content,
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content = match self.parts.as_slice() {
            [Part::Text(text)] => Content::Text(text.clone()),
            parts => Content::Parts(parts.to_vec()),
        };
        WireMessage {
            role: self.role,
            content,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireMessage::deserialize(deserializer)?;
        let parts = match wire.content {
            Content::Text(text) => vec![Part::Text(text)],
            Content::Parts(parts) if parts.is_empty() => {
                return Err(de::Error::custom("the content of a message is an empty list"));
            }
            Content::Parts(parts) => parts,
        };
        Ok(Message { role: wire.role, parts })
    }
}

/// A conversation, `{"messages": [{"role", "content"}, …]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The turns: perhaps a system message, then user and assistant in turn.
    pub messages: Vec<Message>,
}

/// A prompt, a good answer and a worse one, for DPO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// What the user says.
    pub prompt: String,
    /// The answer to prefer.
    pub chosen: String,
    /// The answer to avoid.
    pub rejected: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_a_string_and_calls_are_a_list() {
        let conversation = Conversation {
            messages: vec![
                Message::plain(Role::User, "What is 2 + 3?"),
                Message {
                    role: Role::Assistant,
                    parts: vec![
                        Part::Python("2+3".into()),
                        Part::PythonOutput("5".into()),
                        Part::Text("That is 5.".into()),
                    ],
                },
            ],
        };
        let json = serde_json::to_string(&conversation).unwrap();
        assert_eq!(
            json,
            r#"{"messages":[{"role":"user","content":"What is 2 + 3?"},{"role":"assistant","content":[{"type":"python","text":"2+3"},{"type":"python_output","text":"5"},{"type":"text","text":"That is 5."}]}]}"#
        );
        assert_eq!(serde_json::from_str::<Conversation>(&json).unwrap(), conversation);
        assert!(serde_json::from_str::<Message>(r#"{"role":"user","content":[]}"#).is_err());
    }
}
