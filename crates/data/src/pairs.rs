//! Preference pairs: a prompt, a reply to prefer and one to avoid, read from JSONL in the forms that are
//! common. This room must never know what is done with them.
//!
//! `{"prompt", "chosen", "rejected"}`, each a text, the prompt also a list of messages, the replies also
//! a message or a list of one; perhaps with a text `"system"`. Or `chosen` and `rejected` as whole conversations that
//! differ in their last message, which is the assistant's; a `"prompt"` beside them only repeats their beginning and
//! is not looked at. Other fields are passed over.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _};
use std::path::Path;

use ferrochat_chat::{Conversation, Message, Role};
use flate2::bufread::MultiGzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::conversations::hex;
use crate::error::DataError;

/// A longer line is not a pair.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Two replies to one prompt, of which one is better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferencePair {
    /// Ends with the user's message; keeps the rules of [`Conversation::validate`].
    pub prompt: Conversation,
    /// What to say.
    pub chosen: Message,
    /// What not to say; never equal to `chosen`.
    pub rejected: Message,
}

impl PreferencePair {
    /// A pair of plain texts.
    pub fn of_texts(prompt: impl Into<String>, chosen: impl Into<String>, rejected: impl Into<String>) -> Self {
        PreferencePair {
            prompt: Conversation::from(vec![Message::user(prompt)]),
            chosen: Message::assistant(chosen),
            rejected: Message::assistant(rejected),
        }
    }

    /// Reads a line of a file. None where both replies are the same, which prefers nothing.
    ///
    /// # Errors
    /// One sentence that says what is wrong; the caller adds the file and the line.
    pub fn from_json(text: &str) -> Result<Option<PreferencePair>, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            // The JSON reader counts lines within this one line, which would mislead.
            let error = error.to_string().replacen(" at line 1 column ", " at column ", 1);
            format!("this is not JSON ({error}); a pair is an object with \"prompt\", \"chosen\" and \"rejected\"")
        })?;
        let chosen = side(&value, "chosen")?;
        let rejected = side(&value, "rejected")?;
        let (prompt, chosen, rejected) = match (chosen, rejected) {
            (Side::Reply(chosen), Side::Reply(rejected)) => (prompt(&value)?, chosen, rejected),
            (Side::Whole(before, chosen), Side::Whole(other, rejected)) => {
                if before != other {
                    return Err(
                        "\"chosen\" and \"rejected\" differ before their last message; only the last reply may differ"
                            .to_owned(),
                    );
                }
                (before, chosen, rejected)
            }
            _ => {
                return Err(
                    "one of \"chosen\" and \"rejected\" is a whole conversation and the other a reply; both must be \
                     of one form"
                        .to_owned(),
                );
            }
        };
        for (name, reply) in [("chosen", &chosen), ("rejected", &rejected)] {
            let mut whole = prompt.clone();
            whole.messages.push(reply.clone());
            whole
                .validate()
                .map_err(|error| format!("with \"{name}\" as the reply, {error}"))?;
        }
        Ok((chosen != rejected).then_some(PreferencePair {
            prompt,
            chosen,
            rejected,
        }))
    }
}

/// What stands as `chosen` or `rejected`.
enum Side {
    /// The assistant's message alone.
    Reply(Message),
    /// What came before, and the assistant's message.
    Whole(Conversation, Message),
}

fn side(value: &Value, name: &str) -> Result<Side, String> {
    let named = |error: &dyn std::fmt::Display| format!("\"{name}\": {error}");
    let mut messages = match value.get(name) {
        None => {
            return Err(format!(
                "there is no \"{name}\"; a pair has \"prompt\", \"chosen\" and \"rejected\""
            ));
        }
        Some(Value::String(text)) => vec![Message::assistant(text.clone())],
        Some(list @ Value::Array(_)) => messages(list).map_err(|error| named(&error))?,
        Some(message @ Value::Object(_)) => {
            vec![serde_json::from_value(message.clone()).map_err(|error| named(&error))?]
        }
        Some(_) => return Err(named(&"it must be a text or a list of messages")),
    };
    match messages.pop() {
        Some(last) if last.role == Role::Assistant => Ok(if messages.is_empty() {
            Side::Reply(last)
        } else {
            Side::Whole(Conversation::from(messages), last)
        }),
        Some(last) => Err(named(&format!(
            "its last message is from the {} and must be from the assistant",
            last.role
        ))),
        None => Err(named(&"it is an empty list; it must end with the assistant's reply")),
    }
}

fn prompt(value: &Value) -> Result<Conversation, String> {
    let mut asked = match value.get("prompt") {
        Some(Value::String(text)) => vec![Message::user(text.clone())],
        Some(list @ Value::Array(_)) => messages(list).map_err(|error| format!("\"prompt\": {error}"))?,
        Some(_) => return Err("\"prompt\": it must be a text or a list of messages".to_owned()),
        None => return Err("there is no \"prompt\", and the replies are not whole conversations".to_owned()),
    };
    match value.get("system") {
        Some(Value::String(text)) if !text.is_empty() => asked.insert(0, Message::system(text.clone())),
        None | Some(Value::Null | Value::String(_)) => {}
        Some(_) => return Err("\"system\": it must be a text".to_owned()),
    }
    match asked.last() {
        Some(last) if last.role == Role::User => Ok(Conversation::from(asked)),
        Some(last) => Err(format!(
            "\"prompt\": its last message is from the {} and must be from the user",
            last.role
        )),
        None => Err("\"prompt\": it is an empty list; it must end with the user's message".to_owned()),
    }
}

fn messages(list: &Value) -> Result<Vec<Message>, serde_json::Error> {
    if list.as_array().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    Ok(serde_json::from_value::<Conversation>(list.clone())?.messages)
}

/// A file of pairs, in memory.
#[derive(Clone, Debug)]
pub struct PairFile {
    /// The pairs in their order.
    pub pairs: Vec<PreferencePair>,
    /// Lines left out because both replies are the same.
    pub equal: usize,
    /// The same for the same lines in the same order: a resumed run must have the same.
    pub fingerprint: String,
}

/// Reads a file of JSONL, gzipped or not, one pair per line; empty lines are passed over.
///
/// # Errors
/// [`DataError::Pairs`] with the file and the line of the first fault, or [`DataError::Io`].
pub fn open_pairs(path: &Path) -> Result<PairFile, DataError> {
    let fault = |reason: String| DataError::pairs(path, reason);
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => fault("it does not exist; give a .jsonl file with one pair per line".to_owned()),
        io::ErrorKind::IsADirectory => fault("it is a folder; give a .jsonl file with one pair per line".to_owned()),
        _ => DataError::io(path, error),
    };
    let mut file = File::open(path).map_err(fail)?;
    let mut magic = Vec::new();
    (&file).take(2).read_to_end(&mut magic).map_err(fail)?;
    file.rewind().map_err(fail)?;
    let plain = BufReader::new(file);
    let mut input: Box<dyn BufRead> = if magic == [0x1f, 0x8b] {
        Box::new(BufReader::new(MultiGzDecoder::new(plain)))
    } else {
        Box::new(plain)
    };

    let mut found = PairFile {
        pairs: Vec::new(),
        equal: 0,
        fingerprint: String::new(),
    };
    let mut hash = Sha256::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = input.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|error| match error.kind() {
            // What a damaged gzip file gives.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                fault(format!("line {number} cannot be unpacked: {error}"))
            }
            _ => DataError::io(path, error),
        })?;
        if read == 0 {
            break;
        }
        if read as u64 > MAX_LINE_BYTES {
            let limit = MAX_LINE_BYTES >> 20;
            return Err(fault(format!(
                "line {number} is longer than {limit} MiB; there must be one pair per line"
            )));
        }
        let bytes = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line).trim_ascii();
        if bytes.is_empty() {
            continue;
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let byte = error.valid_up_to() + 1;
            fault(format!("line {number}: it is not UTF-8 text from byte {byte} on"))
        })?;
        match PreferencePair::from_json(text).map_err(|reason| fault(format!("line {number}: {reason}")))? {
            Some(pair) => found.pairs.push(pair),
            None => found.equal += 1,
        }
        hash.update(bytes);
        hash.update(b"\n");
    }
    if found.pairs.is_empty() {
        return Err(fault(match found.equal {
            0 => "there are none in it; give a .jsonl file with one pair per line".to_owned(),
            equal => format!("in all {equal} of its lines both replies are the same; a pair prefers one to another"),
        }));
    }
    found.fingerprint = hex(hash);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(text: &str) -> PreferencePair {
        PreferencePair::from_json(text).unwrap().unwrap()
    }

    #[test]
    fn all_forms_are_read() {
        let expected = PreferencePair::of_texts("u", "good", "bad");
        for text in [
            r#"{"prompt": "u", "chosen": "good", "rejected": "bad", "score": 3}"#,
            r#"{"prompt": [{"role": "user", "content": "u"}], "chosen": [{"role": "assistant", "content": "good"}], "rejected": "bad"}"#,
            r#"{"prompt": "u", "system": "", "chosen": {"role": "assistant", "content": "good"}, "rejected": "bad"}"#,
            r#"{"prompt": "u", "chosen": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "good"}],
                "rejected": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "bad"}]}"#,
        ] {
            assert_eq!(pair(text), expected, "{text}");
        }
        let with_system = pair(r#"{"system": "s", "prompt": "u", "chosen": "good", "rejected": "bad"}"#);
        assert_eq!(with_system.prompt.messages, [Message::system("s"), Message::user("u")]);
        let later = pair(
            r#"{"prompt": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}],
                "chosen": "good", "rejected": "bad"}"#,
        );
        assert_eq!(later.prompt.messages.len(), 3);
        assert_eq!(
            PreferencePair::from_json(r#"{"prompt": "u", "chosen": "x", "rejected": "x"}"#),
            Ok(None)
        );
    }

    #[test]
    fn faults_are_named() {
        for (text, expected) in [
            ("", "not JSON"),
            ("{\"prompt\": ", "not JSON"),
            ("3", "no \"chosen\""),
            (r#"{"prompt": "u", "chosen": "x"}"#, "no \"rejected\""),
            (r#"{"chosen": "x", "rejected": "y"}"#, "no \"prompt\""),
            (
                r#"{"prompt": 3, "chosen": "x", "rejected": "y"}"#,
                "\"prompt\": it must be",
            ),
            (
                r#"{"prompt": "", "chosen": "x", "rejected": "y"}"#,
                "message 1, from the user, is empty",
            ),
            (
                r#"{"prompt": "u", "chosen": "", "rejected": "y"}"#,
                "with \"chosen\" as the reply, message 2",
            ),
            (
                r#"{"prompt": "u", "chosen": 1, "rejected": "y"}"#,
                "\"chosen\": it must be a text",
            ),
            (
                r#"{"prompt": "u", "chosen": [], "rejected": "y"}"#,
                "\"chosen\": it is an empty list",
            ),
            (
                r#"{"prompt": [], "chosen": "x", "rejected": "y"}"#,
                "\"prompt\": it is an empty list",
            ),
            (
                r#"{"prompt": "u", "chosen": [{"role": "user", "content": "x"}], "rejected": "y"}"#,
                "its last message is from the user",
            ),
            (
                r#"{"prompt": "u", "chosen": "x", "rejected": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "y"}]}"#,
                "one of \"chosen\" and \"rejected\" is a whole",
            ),
            (
                r#"{"chosen": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "x"}],
                    "rejected": [{"role": "user", "content": "v"}, {"role": "assistant", "content": "y"}]}"#,
                "differ before their last",
            ),
            (
                r#"{"prompt": "u", "chosen": [{"role": "gpt", "content": "x"}], "rejected": "y"}"#,
                "\"chosen\": message 1 is from \"gpt\"",
            ),
        ] {
            let refusal = PreferencePair::from_json(text).unwrap_err();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
    }
}
