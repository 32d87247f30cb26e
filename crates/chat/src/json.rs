//! Conversations written down: read from the two common forms, written in one.
//!
//! `{"messages": [{"role", "content"}]}`, where content is a text or a list of `{"type", "text"}`, or the bare
//! list of messages; and ShareGPT's `{"conversations": [{"from", "value"}]}`. Other fields are passed over.

use serde::de::Error as _;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::ChatError;
use crate::conversation::{Conversation, Message, Part, PartKind, Role};

impl Conversation {
    /// Reads one conversation, such as a line of a JSONL file, and checks the rules.
    ///
    /// # Errors
    /// [`ChatError::Conversation`] naming the message; the caller adds the file and the line.
    pub fn from_json(text: &str) -> Result<Conversation, ChatError> {
        let value = serde_json::from_str(text).map_err(|error| {
            ChatError::Conversation(format!(
                "this is not JSON ({error}); a conversation is an object with \"messages\""
            ))
        })?;
        let conversation = read(&value)?;
        conversation.validate()?;
        Ok(conversation)
    }

    /// The messages form, on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts are always JSON")
    }
}

/// Reads either form. The rules are not checked: see [`Conversation::validate`].
impl<'de> Deserialize<'de> for Conversation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Conversation, D::Error> {
        read(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Reads `{"role", "content"}`.
impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Message, D::Error> {
        read_message(&Value::deserialize(deserializer)?, 1, &MESSAGES).map_err(D::Error::custom)
    }
}

impl Serialize for Conversation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("messages", &self.messages)?;
        map.end()
    }
}

/// A message of one text has it as its content, any other a list of parts.
impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("role", self.role.name())?;
        match self.parts.as_slice() {
            [Part::Text(text)] => map.serialize_entry("content", text)?,
            parts => map.serialize_entry("content", &Parts(parts))?,
        }
        map.end()
    }
}

struct Parts<'a>(&'a [Part]);

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for part in self.0 {
            list.serialize_element(&PartObject(part))?;
        }
        list.end()
    }
}

struct PartObject<'a>(&'a Part);

impl Serialize for PartObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", self.0.kind().name())?;
        map.serialize_entry("text", self.0.text())?;
        map.end()
    }
}

/// What a form calls its fields and roles.
struct Form {
    role: &'static str,
    content: &'static str,
    roles: &'static [(&'static str, Role)],
}

const MESSAGES: Form = Form {
    role: "role",
    content: "content",
    roles: &[
        ("system", Role::System),
        ("user", Role::User),
        ("assistant", Role::Assistant),
    ],
};

const SHAREGPT: Form = Form {
    role: "from",
    content: "value",
    roles: &[
        ("system", Role::System),
        ("human", Role::User),
        ("gpt", Role::Assistant),
        ("user", Role::User),
        ("assistant", Role::Assistant),
        ("chatgpt", Role::Assistant),
        ("bot", Role::Assistant),
        ("model", Role::Assistant),
    ],
};

fn refuse<T>(sentence: String) -> Result<T, ChatError> {
    Err(ChatError::Conversation(sentence))
}

fn read(value: &Value) -> Result<Conversation, ChatError> {
    let (list, form) = if value.is_array() {
        (value, &MESSAGES)
    } else if let Some(list) = value.get("messages") {
        (list, &MESSAGES)
    } else if let Some(list) = value.get("conversations") {
        (list, &SHAREGPT)
    } else {
        return refuse(
            "there is neither \"messages\" nor \"conversations\"; a conversation has one of them".to_owned(),
        );
    };
    let Some(list) = list.as_array() else {
        return refuse(format!("the messages must be a list, not {}", kind_of(list)));
    };
    let messages = list.iter().enumerate();
    let messages: Result<Vec<Message>, ChatError> = messages
        .map(|(index, message)| read_message(message, index + 1, form))
        .collect();
    Ok(Conversation::from(messages?))
}

fn read_message(message: &Value, number: usize, form: &Form) -> Result<Message, ChatError> {
    let Some(name) = message.get(form.role).and_then(Value::as_str) else {
        return refuse(format!(
            "message {number} has no text \"{}\" that says whom it is from",
            form.role
        ));
    };
    let Some(&(_, role)) = form.roles.iter().find(|&&(known, _)| known == name) else {
        let known: Vec<String> = form.roles[..3].iter().map(|(name, _)| format!("\"{name}\"")).collect();
        return refuse(format!(
            "message {number} is from {name:?}; known are {}",
            known.join(", ")
        ));
    };
    let parts = match message.get(form.content) {
        Some(Value::String(text)) => vec![Part::Text(text.clone())],
        Some(Value::Array(parts)) => {
            let parts: Result<_, _> = parts.iter().map(|part| read_part(part, number)).collect();
            parts?
        }
        other => {
            return refuse(format!(
                "message {number} has {} as its \"{}\"; it must be a text or a list of parts",
                other.map_or("nothing", kind_of),
                form.content
            ));
        }
    };
    Ok(Message { role, parts })
}

fn read_part(part: &Value, number: usize) -> Result<Part, ChatError> {
    let kinds = [PartKind::Text, PartKind::Python, PartKind::PythonOutput];
    let field = |name| part.get(name).and_then(Value::as_str);
    let kind = kinds.into_iter().find(|kind| field("type") == Some(kind.name()));
    match (kind, field("text")) {
        (Some(kind), Some(text)) => Ok(Part::new(kind, text)),
        (None, _) => refuse(format!(
            "message {number} has a part without a known \"type\"; known are \"text\", \"python\", \"python_output\""
        )),
        (_, None) => refuse(format!("message {number} has a part without a \"text\"")),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Conversation::from_json(text).unwrap_err().to_string()
    }

    #[test]
    fn all_forms_are_read() {
        let expected = Conversation::from(vec![Message::system("s"), Message::user("u"), Message::assistant("a")]);
        for text in [
            r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}], "source": 1}"#,
            r#"[{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "u"}]}, {"role": "assistant", "content": "a"}]"#,
            r#"{"id": "x", "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]}"#,
        ] {
            assert_eq!(Conversation::from_json(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let assistant = Message {
            role: Role::Assistant,
            parts: vec![
                Part::Text("é\n\"".to_owned()),
                Part::Python("1/2".to_owned()),
                Part::PythonOutput("0.5".to_owned()),
            ],
        };
        let conversation = Conversation::from(vec![Message::user("half?"), assistant]);
        let text = conversation.to_json();
        let start = r#"{"messages":[{"role":"user","content":"half?"},{"role":"assistant","content":[{"type":"text","text":"é\n\""},{"type":"python","text":"1/2"},"#;
        assert!(text.starts_with(start), "{text}");
        assert_eq!(Conversation::from_json(&text).unwrap(), conversation);
    }

    #[test]
    fn faults_are_named() {
        for (text, expected) in [
            ("", "not JSON"),
            ("{\"messages\": ", "not JSON"),
            ("{}", "neither"),
            ("3", "neither"),
            (r#"{"messages": 3}"#, "a list, not a number"),
            (r#"{"messages": []}"#, "no messages"),
            (r#"[{"content": "u"}]"#, "message 1 has no text \"role\""),
            (
                r#"[{"role": "user", "content": "u"}, {"role": "bot", "content": "u"}]"#,
                "message 2 is from \"bot\"",
            ),
            (r#"[{"role": "user"}]"#, "nothing as its \"content\""),
            (r#"[{"role": "user", "content": null}]"#, "null as its \"content\""),
            (
                r#"[{"role": "user", "content": [{"type": "image"}]}]"#,
                "without a known \"type\"",
            ),
            (
                r#"[{"role": "user", "content": [{"type": "text"}]}]"#,
                "without a \"text\"",
            ),
            (
                r#"{"conversations": [{"from": "human", "value": 1}]}"#,
                "a number as its \"value\"",
            ),
        ] {
            assert!(refusal(text).contains(expected), "{text}: {}", refusal(text));
        }
    }
}
