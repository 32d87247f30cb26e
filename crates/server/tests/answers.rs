//! Answers over real HTTP: what is said, when it ends, and in which form.

#![allow(clippy::unwrap_used)]

mod common;

use common::{MODEL, Running, greedy, text_of};
use ferrochat_server::Options;
use serde_json::{Value, json};

/// The texts of a stream's choices, why they ended, and the usage.
fn put_together(events: &[String], choices: usize) -> (Vec<String>, Vec<Value>, Option<Value>) {
    assert_eq!(events.last().unwrap(), "[DONE]");
    let (mut texts, mut ends) = (vec![String::new(); choices], vec![Value::Null; choices]);
    let (mut usage, mut begun) = (None, vec![false; choices]);
    let mut ids = Vec::new();
    for event in &events[..events.len() - 1] {
        let chunk: Value = serde_json::from_str(event).unwrap();
        assert_eq!(chunk["object"], "chat.completion.chunk");
        ids.push(chunk["id"].as_str().unwrap().to_owned());
        if chunk.get("usage").is_some() {
            assert_eq!(chunk["choices"], json!([]));
            usage = Some(chunk["usage"].clone());
        }
        for choice in chunk["choices"].as_array().unwrap() {
            let index = choice["index"].as_u64().unwrap() as usize;
            assert!(ends[index].is_null() && usage.is_none(), "nothing follows an end");
            if !begun[index] {
                assert_eq!(choice["delta"], json!({"role": "assistant", "content": ""}));
                begun[index] = true;
            }
            texts[index] += choice["delta"]["content"].as_str().unwrap_or_default();
            ends[index] = choice["finish_reason"].clone();
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one answer has one id");
    (texts, ends, usage)
}

#[test]
fn a_stream_says_what_a_whole_answer_says() {
    let server = Running::start(Options::default());
    let mut request = greedy("Why?", 40);
    let whole = server.post(&request);
    assert_eq!(whole.status, 200, "{whole:?}");
    let body = whole.json();
    assert_eq!(
        (&body["object"], &body["model"]),
        (&json!("chat.completion"), &json!(MODEL))
    );
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(body["created"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(body["choices"][0]["message"]["role"], "assistant");
    let (prompt, written) = (&body["usage"]["prompt_tokens"], &body["usage"]["completion_tokens"]);
    assert_eq!(written, &json!(40));
    assert_eq!(body["usage"]["total_tokens"], json!(prompt.as_u64().unwrap() + 40));
    let text = text_of(&whole);
    assert!(text.chars().count() > 20, "an answer worth comparing: {text:?}");

    request["stream"] = json!(true);
    request["stream_options"] = json!({"include_usage": true});
    let stream = server.post(&request);
    assert!(stream.head.contains("content-type: text/event-stream"));
    let (texts, ends, usage) = put_together(&stream.events(), 1);
    assert_eq!((texts, ends), (vec![text.clone()], vec![json!("length")]));
    assert_eq!(usage.unwrap(), body["usage"]);
    request["stream_options"] = Value::Null;
    let (texts, _, usage) = put_together(&server.post(&request).events(), 1);
    assert_eq!((&texts[0], usage), (&text, None));

    // The content may come in parts, and other requests at the same time change nothing.
    let mut parts = greedy("Why?", 40);
    parts["messages"][0]["content"] = json!([{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}]);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..5)
            .map(|number| {
                let (server, parts) = (&server, &parts);
                scope.spawn(move || {
                    let other = server.post(&greedy(&"ho ".repeat(number + 2), 30));
                    assert_eq!(other.status, 200);
                    text_of(&server.post(parts))
                })
            })
            .collect();
        for other in others {
            assert_eq!(other.join().unwrap(), text);
        }
    });
}

#[test]
fn stop_strings_end_an_answer_before_them() {
    let server = Running::start(Options::default());
    let text = text_of(&server.post(&greedy("Why?", 40)));
    let chars: Vec<char> = text.chars().collect();
    // Across the border of two tokens as often as not, which is why all lengths are tried.
    for length in 1..6 {
        let stop: String = chars[12..12 + length].iter().collect();
        let expected = text.split(&stop).next().unwrap();
        for stop in [json!(stop), json!(["never said", stop])] {
            let mut request = greedy("Why?", 40);
            request["stop"] = stop;
            let whole = server.post(&request);
            assert_eq!(text_of(&whole), expected, "{request}");
            assert_eq!(whole.json()["choices"][0]["finish_reason"], "stop");
            assert!(whole.json()["usage"]["completion_tokens"].as_u64().unwrap() < 40);
            request["stream"] = json!(true);
            let (texts, ends, _) = put_together(&server.post(&request).events(), 1);
            assert_eq!((texts[0].as_str(), &ends[0]), (expected, &json!("stop")));
        }
    }
    server.wait_until(0, 0);
}

#[test]
fn n_answers_and_seeds() {
    let server = Running::start(Options::default());
    let mut request = greedy("Why?", 12);
    request["temperature"] = json!(1);
    request["n"] = json!(5);
    request["seed"] = json!(3);
    let whole = server.post(&request).json();
    let texts = |body: &Value| -> Vec<String> {
        let choices = body["choices"].as_array().unwrap().iter().enumerate();
        choices
            .map(|(index, choice)| {
                assert_eq!(choice["index"], json!(index));
                choice["message"]["content"].as_str().unwrap().to_owned()
            })
            .collect()
    };
    let first = texts(&whole);
    assert_eq!(first.len(), 5);
    assert!(first.iter().any(|text| text != &first[0]), "samples differ: {first:?}");
    assert_eq!(whole["usage"]["completion_tokens"], json!(5 * 12));
    assert_eq!(
        texts(&server.post(&request).json()),
        first,
        "equal seeds draw equal answers"
    );
    request["stream"] = json!(true);
    assert_eq!(put_together(&server.post(&request).events(), 5).0, first);
    request["stream"] = json!(false);
    request["seed"] = json!(4);
    assert_ne!(texts(&server.post(&request).json()), first);
    request["seed"] = Value::Null;
    let (one, other) = (server.post(&request).json(), server.post(&request).json());
    assert_ne!(texts(&one), texts(&other), "without a seed each request has its own");
    request["seed"] = json!(3);
    request["top_k"] = json!(1);
    let single = texts(&server.post(&request).json());
    assert!(
        single
            .iter()
            .all(|text| text == &text_of(&server.post(&greedy("Why?", 12))))
    );
}

#[test]
fn a_talk_longer_than_the_context_is_answered() {
    let server = Running::start(Options::default());
    let message = |index: usize| {
        let role = if index.is_multiple_of(2) { "user" } else { "assistant" };
        json!({"role": role, "content": format!("number {index}")})
    };
    let mut request = greedy("", 5);
    request["messages"] = (0..99).map(message).collect();
    let reply = server.post(&request);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.json()["usage"]["prompt_tokens"].as_u64().unwrap() <= 64);
    request["messages"] = json!([{"role": "user", "content": "number ".repeat(100)}]);
    let (status, message, code) = server.post(&request).error();
    assert_eq!((status, code), (400, json!("context_length_exceeded")), "{message}");
}
