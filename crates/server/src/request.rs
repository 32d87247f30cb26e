//! The body of a request: JSON to a conversation or a text, and how to go on with it, or one sentence.
//!
//! Fields that would change the answer and cannot be heeded are refused; all others that are unknown are passed over.

use std::hash::{BuildHasher as _, RandomState};

use ferrochat_chat::{Conversation, Part};
use ferrochat_model::Sampling;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::response::Form;
use crate::{Defaults, Limits};

/// Tokens of a continuation where a request does not say, as OpenAI has it.
const CONTINUATION_TOKENS: usize = 16;

/// Of the likeliest tokens beside a token of the answer.
const MOST_LOGPROBS: usize = 20;

/// What the model is to go on with.
#[derive(Debug)]
pub(crate) enum Subject {
    /// `POST /v1/chat/completions`
    Conversation(Conversation),
    /// `POST /v1/completions`
    Text(String),
}

/// A request for answers or continuations.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) model: Option<String>,
    pub(crate) subject: Subject,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) samples: usize,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Sampling,
    pub(crate) stops: Vec<String>,
    /// Whether probabilities of tokens are wanted, and beside each so many of the likeliest.
    pub(crate) logprobs: Option<usize>,
}

impl Asked {
    pub(crate) fn read(form: Form, body: &[u8], limits: &Limits, defaults: &Defaults) -> Result<Asked, ApiError> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("the request is not JSON: {error}")))?;
        let Value::Object(mut fields) = value else {
            let subject = form.subject();
            return Err(ApiError::bad_request(format!(
                "the request must be a JSON object with {subject:?}"
            )));
        };
        refuse_what_is_not_there(form, &fields)?;
        let subject = fields.remove(form.subject());
        let (subject, usual_tokens) = match form {
            Form::Chat => (
                Subject::Conversation(conversation(subject, limits)?),
                defaults.max_tokens,
            ),
            Form::Text => (Subject::Text(text(subject, limits)?), CONTINUATION_TOKENS),
        };
        let fields = Fields(&fields);
        let max_tokens = match fields.whole("max_completion_tokens", 1, limits.max_tokens)? {
            Some(tokens) => Some(tokens),
            None => fields.whole("max_tokens", 1, limits.max_tokens)?,
        };
        let temperature = fields.number("temperature", 0.0, limits.temperature)?;
        let top_p = fields.number("top_p", 0.0, 1.0)?.map(|p| p as f32);
        if top_p == Some(0.0) {
            return Err(ApiError::field("top_p", "\"top_p\" must be above 0 and at most 1"));
        }
        let stream_options = fields.0.get("stream_options").and_then(Value::as_object);
        Ok(Asked {
            model: fields.text("model")?,
            subject,
            stream: fields.truth("stream")?.unwrap_or(false),
            include_usage: stream_options.is_some_and(|o| o.get("include_usage") == Some(&Value::Bool(true))),
            samples: fields.whole("n", 1, limits.samples)?.unwrap_or(1),
            max_tokens: max_tokens.unwrap_or(usual_tokens.min(limits.max_tokens)),
            sampling: Sampling {
                temperature: temperature.map_or(defaults.temperature, |t| t as f32),
                top_k: Some(fields.whole("top_k", 1, limits.top_k)?.unwrap_or(defaults.top_k)),
                top_p,
                seed: fields.seed()?.unwrap_or_else(|| RandomState::new().hash_one(0)),
            },
            stops: fields.stops(limits.stops)?,
            logprobs: match form {
                Form::Chat => fields.chat_logprobs()?,
                Form::Text => fields.text_logprobs()?,
            },
        })
    }
}

/// Refuses settings without which the answer would not be the one that was asked for.
fn refuse_what_is_not_there(form: Form, fields: &Map<String, Value>) -> Result<(), ApiError> {
    let of_text = ["echo", "suffix", "best_of", "top_logprobs"];
    let refused = [
        "tools",
        "functions",
        "logit_bias",
        "frequency_penalty",
        "presence_penalty",
        "response_format",
        // Other servers have it.
        "min_p",
    ];
    for name in refused
        .into_iter()
        .chain(of_text.into_iter().filter(|_| form == Form::Text))
    {
        let harmless = match fields.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => true,
            // The best n of n are all of them.
            Some(Value::Number(number)) if name == "best_of" => {
                let samples = fields.get("n").filter(|n| !n.is_null());
                number.as_u64() == samples.map_or(Some(1), Value::as_u64)
            }
            Some(Value::Number(number)) => number.as_f64() == Some(0.0),
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(object)) => {
                object.is_empty() || object.get("type").and_then(Value::as_str) == Some("text")
            }
            Some(Value::Bool(true)) => false,
        };
        if !harmless {
            return Err(ApiError::field(
                name,
                format!("this server does not know {name:?}; leave it out"),
            ));
        }
    }
    Ok(())
}

/// The text to go on with; none is the beginning of a text.
fn text(prompt: Option<Value>, limits: &Limits) -> Result<String, ApiError> {
    let text = match prompt {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(Value::Array(mut list)) => match (list.pop(), list.is_empty()) {
            (Some(Value::String(text)), true) => text,
            _ => {
                return Err(ApiError::field(
                    "prompt",
                    "\"prompt\" must be one text; send a request for each of several, and text in place of tokens",
                ));
            }
        },
        Some(_) => return Err(ApiError::field("prompt", "\"prompt\" must be a text")),
    };
    let chars = text.chars().count();
    if chars > limits.total_chars {
        return Err(ApiError::field(
            "prompt",
            format!(
                "the prompt has {chars} characters; at most {} are allowed",
                limits.total_chars
            ),
        ));
    }
    Ok(text)
}

fn conversation(messages: Option<Value>, limits: &Limits) -> Result<Conversation, ApiError> {
    let refuse = |sentence: String| Err(ApiError::field("messages", sentence));
    let mut messages = match messages {
        Some(Value::Array(messages)) => messages,
        Some(_) => return refuse("\"messages\" must be a list".to_owned()),
        None => return refuse("\"messages\" is missing; it must be a list of messages".to_owned()),
    };
    if messages.len() > limits.messages {
        return refuse(format!(
            "there are {} messages; at most {} are allowed",
            messages.len(),
            limits.messages
        ));
    }
    for message in &mut messages {
        // The newer name of the same role.
        if message.get("role").and_then(Value::as_str) == Some("developer") {
            message["role"] = Value::from("system");
        }
    }
    let conversation: Conversation = serde_json::from_value(Value::Array(messages))
        .map_err(|error| ApiError::field("messages", error.to_string()))?;
    let mut total = 0;
    for (index, message) in conversation.messages.iter().enumerate() {
        let chars: usize = message.parts.iter().map(|part| Part::text(part).chars().count()).sum();
        total += chars;
        if chars > limits.message_chars {
            return refuse(format!(
                "message {} has {chars} characters; at most {} are allowed",
                index + 1,
                limits.message_chars
            ));
        }
    }
    if total > limits.total_chars {
        return refuse(format!(
            "the messages have {total} characters; at most {} are allowed",
            limits.total_chars
        ));
    }
    conversation
        .validate()
        .map_err(|error| ApiError::field("messages", error.to_string()))?;
    Ok(conversation)
}

/// Fields by name; `null` is the same as nothing.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        name: &'static str,
        wanted: impl std::fmt::Display,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(ApiError::field(name, format!("{name:?} must be {wanted}"))),
        }
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        self.read(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    fn truth(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        self.read(name, "true or false", Value::as_bool)
    }

    fn number(&self, name: &'static str, low: f64, high: f64) -> Result<Option<f64>, ApiError> {
        self.read(name, format_args!("a number from {low} to {high}"), |value| {
            value.as_f64().filter(|number| (low..=high).contains(number))
        })
    }

    fn whole(&self, name: &'static str, low: usize, high: usize) -> Result<Option<usize>, ApiError> {
        self.read(name, format_args!("a whole number from {low} to {high}"), |value| {
            let number = usize::try_from(value.as_u64()?).ok()?;
            Some(number).filter(|number| (low..=high).contains(number))
        })
    }

    fn seed(&self) -> Result<Option<u64>, ApiError> {
        self.read("seed", "a whole number of at most 64 bits", |value| {
            value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned))
        })
    }

    /// `logprobs` says whether, `top_logprobs` how many.
    fn chat_logprobs(&self) -> Result<Option<usize>, ApiError> {
        let count = self.whole("top_logprobs", 0, MOST_LOGPROBS)?;
        if self.truth("logprobs")? == Some(true) {
            return Ok(Some(count.unwrap_or(0)));
        }
        match count {
            None | Some(0) => Ok(None),
            Some(_) => Err(ApiError::field(
                "top_logprobs",
                "\"top_logprobs\" needs \"logprobs\" to be true",
            )),
        }
    }

    /// `logprobs` says how many; none still are the logprobs of the text itself.
    fn text_logprobs(&self) -> Result<Option<usize>, ApiError> {
        if self.get("logprobs") == Some(&Value::Bool(false)) {
            return Ok(None);
        }
        self.whole("logprobs", 0, MOST_LOGPROBS)
    }

    fn stops(&self, most: usize) -> Result<Vec<String>, ApiError> {
        let wanted = format_args!("a text or a list of at most {most} texts, none of them empty").to_string();
        let stops = self.read("stop", wanted, |value| {
            let list = match value {
                Value::Array(list) => list.as_slice(),
                one => std::slice::from_ref(one),
            };
            let text = |stop: &Value| Some(stop.as_str().filter(|stop| !stop.is_empty())?.to_owned());
            let stops: Option<Vec<String>> = list.iter().map(text).collect();
            stops.filter(|stops| stops.len() <= most)
        });
        Ok(stops?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(form: Form, value: &Value) -> Result<Asked, ApiError> {
        Asked::read(
            form,
            value.to_string().as_bytes(),
            &Limits::default(),
            &Defaults::default(),
        )
    }

    fn with(name: &str, value: Value) -> Result<Asked, ApiError> {
        let mut request = json!({"messages": [{"role": "user", "content": "u"}]});
        request[name] = value;
        read(Form::Chat, &request)
    }

    fn continued(name: &str, value: Value) -> Result<Asked, ApiError> {
        let mut request = json!({"prompt": "Once"});
        request[name] = value;
        read(Form::Text, &request)
    }

    #[test]
    fn defaults_fill_what_is_missing() {
        let request = with("temperature", Value::Null).unwrap();
        assert_eq!((request.samples, request.max_tokens, request.stream), (1, 512, false));
        assert_eq!((request.sampling.temperature, request.sampling.top_k), (0.8, Some(50)));
        assert!(request.stops.is_empty() && request.model.is_none());
        let seeds = [(); 4].map(|()| with("n", json!(1)).unwrap().sampling.seed);
        assert!(seeds.iter().any(|&seed| seed != seeds[0]));
        assert_eq!(with("seed", json!(-1)).unwrap().sampling.seed, u64::MAX);
        assert_eq!(with("max_completion_tokens", json!(7)).unwrap().max_tokens, 7);
        assert_eq!(with("stop", json!("x")).unwrap().stops, ["x"]);
        assert_eq!(with("stop", json!(["x", "y"])).unwrap().stops, ["x", "y"]);
        for (name, value) in [
            ("frequency_penalty", json!(0.0)),
            ("logprobs", json!(false)),
            ("logprobs", Value::Null),
            ("top_logprobs", json!(0)),
        ] {
            assert_eq!(with(name, value).unwrap().samples, 1, "{name}");
        }
        assert_eq!(with("response_format", json!({"type": "text"})).unwrap().samples, 1);
    }

    #[test]
    fn faults_name_the_field() {
        for (name, value) in [
            ("temperature", json!(2.01)),
            ("temperature", json!("1")),
            ("temperature", json!(-0.1)),
            ("top_p", json!(0)),
            ("top_p", json!(1.5)),
            ("top_k", json!(0)),
            ("top_k", json!(201)),
            ("max_tokens", json!(0)),
            ("max_tokens", json!(4097)),
            ("max_tokens", json!(1.5)),
            ("max_completion_tokens", json!(-1)),
            ("n", json!(0)),
            ("n", json!(17)),
            ("stop", json!("")),
            ("stop", json!(["a", 1])),
            ("stop", json!(vec!["a"; 17])),
            ("seed", json!(1.5)),
            ("stream", json!("yes")),
            ("model", json!(1)),
            ("logprobs", json!(1)),
            ("top_logprobs", json!(2)),
            ("top_logprobs", json!(21)),
            ("min_p", json!(0.1)),
            ("tools", json!([{"type": "function"}])),
            ("response_format", json!({"type": "json_object"})),
            ("messages", json!("hello")),
            ("messages", json!([])),
            ("messages", json!([{"role": "tool", "content": "x"}])),
            ("messages", json!([{"role": "user", "content": "x".repeat(8001)}])),
        ] {
            let error = with(name, value).unwrap_err();
            assert_eq!((error.status.as_u16(), error.param), (400, Some(name)), "{error:?}");
        }
    }

    #[test]
    fn a_text_is_one_text() {
        let text = |value| match continued("prompt", value).map(|asked| asked.subject) {
            Ok(Subject::Text(text)) => Ok(text),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.param),
        };
        for (value, expected) in [
            (json!("a"), Ok("a")),
            (json!(["a"]), Ok("a")),
            (json!(""), Ok("")),
            (Value::Null, Ok("")),
            (json!(["a", "b"]), Err(Some("prompt"))),
            (json!([]), Err(Some("prompt"))),
            (json!([1, 2]), Err(Some("prompt"))),
            (json!([[1, 2]]), Err(Some("prompt"))),
            (json!({"a": 1}), Err(Some("prompt"))),
            (json!("é".repeat(32_001)), Err(Some("prompt"))),
        ] {
            let shown = value.to_string().chars().take(40).collect::<String>();
            assert_eq!(text(value), expected.map(str::to_owned), "{shown}");
        }
        assert_eq!(continued("n", json!(2)).unwrap().max_tokens, 16);
        for (count, expected) in [
            (json!(0), Some(0)),
            (json!(20), Some(20)),
            (json!(false), None),
            (Value::Null, None),
        ] {
            assert_eq!(continued("logprobs", count).unwrap().logprobs, expected);
        }
        for (name, value) in [
            ("logprobs", json!(21)),
            ("logprobs", json!(true)),
            ("echo", json!(true)),
            ("suffix", json!("end")),
            ("top_logprobs", json!(3)),
            ("best_of", json!(2)),
            ("max_tokens", json!(4097)),
        ] {
            let error = continued(name, value).unwrap_err();
            assert_eq!((error.status.as_u16(), error.param), (400, Some(name)), "{error:?}");
        }
        for (name, value) in [("echo", json!(false)), ("best_of", json!(1)), ("suffix", json!(""))] {
            assert!(continued(name, value).is_ok(), "{name}");
        }
        let best = |best: Value, n: Value| {
            read(Form::Text, &json!({"prompt": "Once", "best_of": best, "n": n})).map_err(|error| error.param)
        };
        assert_eq!(best(json!(3), json!(3)).unwrap().samples, 3);
        assert_eq!(best(Value::Null, json!(3)).unwrap().samples, 3);
        assert_eq!(best(json!(1), Value::Null).unwrap().samples, 1);
        for (of, n) in [(json!(3), json!(2)), (json!(1), json!(2)), (json!(2), Value::Null)] {
            assert_eq!(best(of, n).unwrap_err(), Some("best_of"));
        }
    }

    #[test]
    fn logprobs_of_a_chat_are_asked_for_in_two_fields() {
        let asked = |logprobs: Value, top: Value| {
            let message = json!({"role": "user", "content": "u"});
            let request = json!({"messages": [message], "logprobs": logprobs, "top_logprobs": top});
            read(Form::Chat, &request).map_err(|error| error.param)
        };
        for (logprobs, top, expected) in [
            (json!(true), Value::Null, Some(0)),
            (json!(true), json!(3), Some(3)),
            (json!(false), json!(0), None),
            (Value::Null, Value::Null, None),
        ] {
            assert_eq!(asked(logprobs, top).unwrap().logprobs, expected);
        }
        assert_eq!(asked(json!(false), json!(3)).unwrap_err(), Some("top_logprobs"));
    }

    #[test]
    fn a_developer_is_a_system() {
        let request = with(
            "messages",
            json!([{"role": "developer", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "u"}]}]),
        );
        let Subject::Conversation(conversation) = request.unwrap().subject else {
            panic!("this is a chat");
        };
        assert_eq!(conversation.messages[0], ferrochat_chat::Message::system("s"));
        assert_eq!(conversation.messages[1], ferrochat_chat::Message::user("u"));
    }

    #[test]
    fn long_conversations_are_refused() {
        let talk = |count: usize, chars: usize| {
            let message = |index| {
                let role = if index % 2 == 0 { "user" } else { "assistant" };
                json!({"role": role, "content": "é".repeat(chars)})
            };
            with("messages", (0..count).map(message).collect())
        };
        assert!(talk(499, 64).is_ok());
        assert!(talk(501, 1).unwrap_err().message.contains("501 messages"));
        assert!(talk(5, 6500).unwrap_err().message.contains("32500 characters"));
        assert!(talk(3, 8000).is_ok());
    }
}
