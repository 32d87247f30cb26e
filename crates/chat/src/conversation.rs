//! Roles, messages, parts, and the rules that a conversation keeps.
//!
//! Knows nothing of tokens; how conversations are written down is `json.rs`'s business.

use std::fmt;

use crate::ChatError;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions for the whole conversation; only as the first message.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a part of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartKind {
    /// Words for the other side.
    Text,
    /// What the assistant gives a tool to run.
    Python,
    /// What the tool gave back.
    PythonOutput,
}

impl PartKind {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            PartKind::Text => "text",
            PartKind::Python => "python",
            PartKind::PythonOutput => "python_output",
        }
    }
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Words for the other side.
    Text(String),
    /// What the assistant gives a tool to run.
    Python(String),
    /// What the tool gave back.
    PythonOutput(String),
}

impl Part {
    /// A part of a kind.
    pub fn new(kind: PartKind, text: impl Into<String>) -> Part {
        match kind {
            PartKind::Text => Part::Text(text.into()),
            PartKind::Python => Part::Python(text.into()),
            PartKind::PythonOutput => Part::PythonOutput(text.into()),
        }
    }

    /// What it is.
    pub fn kind(&self) -> PartKind {
        match self {
            Part::Text(_) => PartKind::Text,
            Part::Python(_) => PartKind::Python,
            Part::PythonOutput(_) => PartKind::PythonOutput,
        }
    }

    /// What it says.
    pub fn text(&self) -> &str {
        let (Part::Text(text) | Part::Python(text) | Part::PythonOutput(text)) = self;
        text
    }

    pub(crate) fn text_mut(&mut self) -> &mut String {
        let (Part::Text(text) | Part::Python(text) | Part::PythonOutput(text)) = self;
        text
    }
}

/// One contribution to a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order. Only the assistant has other parts than text.
    pub parts: Vec<Part>,
}

impl Message {
    /// A message of one text.
    pub fn new(role: Role, text: impl Into<String>) -> Message {
        Message {
            role,
            parts: vec![Part::Text(text.into())],
        }
    }

    /// A system message of one text.
    pub fn system(text: impl Into<String>) -> Message {
        Message::new(Role::System, text)
    }

    /// A user message of one text.
    pub fn user(text: impl Into<String>) -> Message {
        Message::new(Role::User, text)
    }

    /// An assistant message of one text.
    pub fn assistant(text: impl Into<String>) -> Message {
        Message::new(Role::Assistant, text)
    }

    /// What a reader sees: the text parts, without tool calls and their results.
    pub fn text(&self) -> String {
        text_of(&self.parts)
    }
}

/// The text parts, one after the other.
pub(crate) fn text_of(parts: &[Part]) -> String {
    let texts = parts.iter().filter(|part| part.kind() == PartKind::Text);
    texts.map(Part::text).collect()
}

/// Messages in order. It may break the rules until [`Conversation::validate`] has looked at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Conversation {
    /// The messages.
    pub messages: Vec<Message>,
}

impl From<Vec<Message>> for Conversation {
    fn from(messages: Vec<Message>) -> Conversation {
        Conversation { messages }
    }
}

impl Conversation {
    /// Checks the rules: a system message at most and only as the first, then user and assistant in turn
    /// beginning with the user, no message empty, tools used by the assistant only. The last message may be
    /// from either.
    ///
    /// # Errors
    /// [`ChatError::Conversation`], naming the message, counted from 1.
    pub fn validate(&self) -> Result<(), ChatError> {
        let refuse = |sentence: String| Err(ChatError::Conversation(sentence));
        let (system, turns) = self.split();
        if turns.is_empty() {
            return refuse(if system.is_some() {
                "the conversation has a system message only; a user message must follow it".to_owned()
            } else {
                "the conversation has no messages; it needs at least one from the user".to_owned()
            });
        }
        let skipped = self.messages.len() - turns.len();
        for (index, message) in turns.iter().enumerate() {
            let (number, role) = (index + skipped + 1, message.role);
            if role == Role::System {
                return refuse(format!(
                    "message {number} is a system message; only the first message may be one"
                ));
            }
            let expected = if index % 2 == 0 { Role::User } else { Role::Assistant };
            if role != expected {
                return refuse(format!(
                    "message {number} is from the {role} and must be from the {expected}: user and assistant take \
                     turns, beginning with the user"
                ));
            }
        }
        for (index, message) in self.messages.iter().enumerate() {
            let (number, role) = (index + 1, message.role);
            if message.parts.iter().all(|part| part.text().is_empty()) {
                return refuse(format!(
                    "message {number}, from the {role}, is empty; it must say something"
                ));
            }
            let tool = message.parts.iter().find(|part| part.kind() != PartKind::Text);
            if let Some(part) = tool.filter(|_| role != Role::Assistant) {
                return refuse(format!(
                    "message {number}, from the {role}, has a part of type {}; only the assistant uses tools",
                    part.kind().name()
                ));
            }
        }
        Ok(())
    }

    /// The system message, if the first is one, and the others.
    pub(crate) fn split(&self) -> (Option<&Message>, &[Message]) {
        match self.messages.split_first() {
            Some((first, turns)) if first.role == Role::System => (Some(first), turns),
            _ => (None, &self.messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(messages: Vec<Message>) -> String {
        Conversation::from(messages).validate().unwrap_err().to_string()
    }

    #[test]
    fn rules_are_kept() {
        let (system, user, assistant) = (Message::system("s"), Message::user("u"), Message::assistant("a"));
        for right in [
            vec![user.clone()],
            vec![user.clone(), assistant.clone()],
            vec![system.clone(), user.clone(), assistant.clone(), user.clone()],
        ] {
            Conversation::from(right).validate().unwrap();
        }
        assert!(refusal(vec![]).contains("no messages"));
        assert!(refusal(vec![system.clone()]).contains("system message only"));
        assert!(refusal(vec![assistant.clone()]).contains("message 1 is from the assistant and must be from the user"));
        assert!(refusal(vec![system.clone(), assistant.clone()]).contains("message 2 is from the assistant"));
        assert!(refusal(vec![user.clone(), user.clone()]).contains("message 2 is from the user"));
        assert!(refusal(vec![user.clone(), system]).contains("message 2 is a system message"));
        assert!(
            refusal(vec![user.clone(), Message::assistant("")]).contains("message 2, from the assistant, is empty")
        );
        let nothing = Message {
            role: Role::User,
            parts: vec![],
        };
        assert!(refusal(vec![nothing]).contains("message 1, from the user, is empty"));
        let tool = Message {
            role: Role::User,
            parts: vec![Part::Text("a".to_owned()), Part::Python("1".to_owned())],
        };
        assert!(refusal(vec![tool]).contains("part of type python"));
    }
}
