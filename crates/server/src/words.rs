//! The tokens of an answer with their probabilities, as OpenAI's clients read them, and how they keep step with a text of which
//! the end may yet be held back. Knows JSON, and tokens by their bytes.

use std::collections::VecDeque;

use ferrochat_chat::{Delta, Likelihood, PartKind};
use ferrochat_tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

use crate::response::Form;

/// What is said of a token that the model holds impossible: JSON has no infinities.
const IMPOSSIBLE: f32 = -9999.0;

/// A token of an answer's text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Word {
    own: Spelled,
    likeliest: Vec<Spelled>,
    /// Characters of the answer's text before it.
    offset: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Spelled {
    bytes: Vec<u8>,
    logprob: f32,
}

impl Spelled {
    fn new(tokenizer: &Tokenizer, id: u32, logprob: f32) -> Spelled {
        Spelled {
            bytes: tokenizer.token_bytes(id).to_vec(),
            // A comparison with NaN is false.
            logprob: if logprob > IMPOSSIBLE { logprob } else { IMPOSSIBLE },
        }
    }

    /// The text, or, as several tokens may be the same parts of characters to a reader of text, the bytes spelled out.
    fn name(&self) -> String {
        let spell = |byte: &u8| match byte {
            0x20..0x7f => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("bytes:{}", self.bytes.iter().map(spell).collect::<String>()),
        }
    }

    fn to_json(&self) -> Value {
        let token = String::from_utf8_lossy(&self.bytes);
        json!({"token": token, "logprob": self.logprob, "bytes": self.bytes})
    }
}

/// The tokens of a text that is not all shown yet.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// With the bytes of text that came with each.
    waiting: VecDeque<(usize, Option<Word>)>,
    /// Bytes shown of what waits.
    shown: usize,
    chars: usize,
}

impl Words {
    /// Takes note of what a step adds, where probabilities are asked for.
    pub(crate) fn push(&mut self, delta: &Delta, tokenizer: &Tokenizer) {
        // Special tokens are no text; one may complete the text of others.
        let of_text = |id: &u32| *id < tokenizer.bos();
        let word = match (&delta.likelihood, delta.id.filter(of_text)) {
            (Some(Likelihood { logprob, likeliest }), Some(id)) => Some(Word {
                own: Spelled::new(tokenizer, id, *logprob),
                likeliest: likeliest
                    .iter()
                    .map(|&(id, logprob)| Spelled::new(tokenizer, id, logprob))
                    .collect(),
                offset: self.chars,
            }),
            _ => None,
        };
        if delta.kind == PartKind::Text && (word.is_some() || !delta.text.is_empty()) {
            self.chars += delta.text.chars().count();
            self.waiting.push_back((delta.text.len(), word));
        }
    }

    /// The tokens that are shown once so many bytes more of the text are; with the last ones, one that is cut in two, too.
    pub(crate) fn show(&mut self, bytes: usize, last: bool) -> Vec<Word> {
        self.shown += bytes;
        let mut words = Vec::new();
        while let Some(&(length, _)) = self.waiting.front()
            && (length <= self.shown || (last && self.shown > 0))
        {
            self.shown = self.shown.saturating_sub(length);
            words.extend(self.waiting.pop_front().and_then(|(_, word)| word));
        }
        words
    }
}

/// The `logprobs` of a choice or a piece of one; null where nobody asked.
pub(crate) fn logprobs(form: Form, words: Option<&[Word]>) -> Value {
    let Some(words) = words else { return Value::Null };
    match form {
        Form::Chat => {
            let one = |word: &Word| {
                let mut json = word.own.to_json();
                json["top_logprobs"] = word.likeliest.iter().map(Spelled::to_json).collect();
                json
            };
            json!({"content": words.iter().map(one).collect::<Vec<_>>(), "refusal": null})
        }
        Form::Text => {
            // As the reference has it, the token itself is always among them.
            let top = |word: &Word| -> Map<String, Value> {
                let all = word.likeliest.iter().chain([&word.own]);
                all.map(|token| (token.name(), json!(token.logprob))).collect()
            };
            let all = |field: &dyn Fn(&Word) -> Value| words.iter().map(field).collect::<Vec<_>>();
            json!({
                "tokens": all(&|word| json!(word.own.name())),
                "token_logprobs": all(&|word| json!(word.own.logprob)),
                "top_logprobs": all(&|word| json!(top(word))),
                "text_offset": all(&|word| json!(word.offset)),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(lengths: &[usize]) -> Words {
        let word = |offset| Word {
            own: Spelled {
                bytes: vec![b'a'],
                logprob: -0.5,
            },
            likeliest: vec![],
            offset,
        };
        Words {
            waiting: lengths
                .iter()
                .enumerate()
                .map(|(at, &length)| (length, Some(word(at))))
                .collect(),
            ..Words::default()
        }
    }

    #[test]
    fn tokens_keep_step_with_the_text() {
        let shown = |words: &mut Words, bytes, last| -> Vec<usize> {
            words.show(bytes, last).iter().map(|word| word.offset).collect()
        };
        let mut some = words(&[0, 2, 3, 0]);
        assert_eq!(shown(&mut some, 1, false), [0]);
        assert_eq!(shown(&mut some, 1, false), [1]);
        assert_eq!(shown(&mut some, 3, true), [2, 3]);
        // A stop string begins in the middle of a token.
        let mut cut = words(&[2, 3, 4]);
        assert_eq!(shown(&mut cut, 3, true), [0, 1]);
        let mut whole = words(&[2, 3]);
        assert_eq!(shown(&mut whole, 2, true), [0]);
    }

    #[test]
    fn there_are_two_forms_and_none() {
        let all = words(&[1, 1]).show(2, true);
        let json = logprobs(Form::Text, Some(&all));
        assert_eq!(json["text_offset"], json!([0, 1]));
        assert_eq!(json["top_logprobs"][0], json!({"a": -0.5}));
        let json = logprobs(Form::Chat, Some(&all));
        let expected = json!({"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []});
        assert_eq!(json["content"][1], expected);
        assert!(logprobs(Form::Chat, None).is_null());
        let none = json!({"content": [], "refusal": null});
        assert_eq!(
            logprobs(Form::Chat, Some(&[])),
            none,
            "an answer without text was asked too"
        );
    }

    #[test]
    fn parts_of_characters_have_names_of_their_own() {
        let name = |bytes: &[u8]| {
            let (bytes, logprob) = (bytes.to_vec(), 0.0);
            Spelled { bytes, logprob }.name()
        };
        assert_eq!(name("né ".as_bytes()), "né ");
        assert_eq!(name(b"\xe2\x80"), "bytes:\\xe2\\x80");
        assert_eq!(name(b" a\xc3"), "bytes: a\\xc3");
    }
}
