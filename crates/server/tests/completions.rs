//! `/v1/completions`: a text goes on, over real HTTP.

#![allow(clippy::unwrap_used)]

mod common;

use common::{MODEL, Running, model, tokenizer};
use ferrochat_model::{GenerateOptions, Sampling, generate};
use ferrochat_server::Options;
use serde_json::{Value, json};

fn greedy(prompt: &str, max_tokens: usize) -> Value {
    json!({"model": MODEL, "prompt": prompt, "temperature": 0, "max_tokens": max_tokens})
}

fn text_of(choice: &Value) -> String {
    choice["text"].as_str().unwrap().to_owned()
}

/// The texts of a stream's choices, why they ended, and the usage.
fn put_together(events: &[String], choices: usize) -> (Vec<String>, Vec<Value>, Option<Value>) {
    let (mut texts, mut ends, mut usage) = (vec![String::new(); choices], vec![Value::Null; choices], None);
    let (last, events) = events.split_last().unwrap();
    assert_eq!(last, "[DONE]");
    for event in events {
        let chunk: Value = serde_json::from_str(event).unwrap();
        assert_eq!(chunk["object"], "text_completion");
        usage = chunk.get("usage").cloned();
        for choice in chunk["choices"].as_array().unwrap() {
            let index = choice["index"].as_u64().unwrap() as usize;
            assert!(ends[index].is_null(), "nothing follows an end");
            texts[index] += &text_of(choice);
            ends[index] = choice["finish_reason"].clone();
        }
    }
    (texts, ends, usage)
}

#[test]
fn a_text_goes_on_as_the_model_would_write_it() {
    let server = Running::start(Options::default());
    let (tokenizer, options) = (
        tokenizer(),
        GenerateOptions {
            samples: 1,
            max_tokens: 40,
            sampling: Sampling::greedy(),
            stop: Vec::new(),
        },
    );
    let gpt = model(&tokenizer);
    for prompt in ["Once upon a time", ""] {
        let mut ids = vec![tokenizer.bos()];
        tokenizer.encode_ordinary_into(prompt, &mut ids);
        let read: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let written = generate(&gpt, &read, &options).unwrap().remove(0);
        let written: Vec<u32> = written.into_iter().map(|id| id as u32).collect();
        assert!(written.iter().all(|&id| id < tokenizer.bos()), "marks are no text");
        let expected = tokenizer.decode(&written);

        let mut request = greedy(prompt, 40);
        let body = server.continued(&request).json();
        assert_eq!(
            (&body["object"], &body["model"]),
            (&json!("text_completion"), &json!(MODEL))
        );
        assert_eq!(text_of(&body["choices"][0]), expected, "behind {prompt:?}");
        assert_eq!(body["choices"][0]["finish_reason"], "length");
        let usage = json!({"prompt_tokens": ids.len(), "completion_tokens": 40, "total_tokens": ids.len() + 40});
        assert_eq!(body["usage"], usage);

        request["stream"] = json!(true);
        request["stream_options"] = json!({"include_usage": true});
        let stream = server.continued(&request);
        assert!(stream.head.contains("content-type: text/event-stream"));
        let (texts, ends, streamed) = put_together(&stream.events(), 1);
        assert_eq!(
            (&texts[0], &ends[0], streamed),
            (&expected, &json!("length"), Some(usage))
        );
    }
}

#[test]
fn stops_samples_and_seeds_are_heeded() {
    let server = Running::start(Options::default());
    let text = text_of(&server.continued(&greedy("Once", 40)).json()["choices"][0]);
    let stop: String = text.chars().skip(12).take(3).collect();
    let mut request = greedy("Once", 40);
    request["stop"] = json!(stop);
    let choice = server.continued(&request).json()["choices"][0].clone();
    assert_eq!(text_of(&choice), text.split(&stop).next().unwrap());
    assert_eq!(choice["finish_reason"], "stop");

    let mut request = json!({"prompt": ["Once"], "temperature": 1, "n": 3, "seed": 5});
    let whole = server.continued(&request).json();
    let texts: Vec<String> = whole["choices"].as_array().unwrap().iter().map(text_of).collect();
    assert_eq!((texts.len(), &whole["usage"]["completion_tokens"]), (3, &json!(3 * 16)));
    assert!(texts.iter().any(|text| text != &texts[0]), "samples differ: {texts:?}");
    request["stream"] = json!(true);
    assert_eq!(put_together(&server.continued(&request).events(), 3).0, texts);
}

#[test]
fn the_same_is_refused_as_in_a_chat() {
    let server = Running::start(Options::default());
    let long = server.continued(&greedy(&"number ".repeat(100), 4)).error();
    assert_eq!((long.0, long.2), (400, json!("context_length_exceeded")), "{}", long.1);
    for (field, value) in [
        ("prompt", json!(["a", "b"])),
        ("temperature", json!(3)),
        ("max_tokens", json!(5000)),
        ("echo", json!(true)),
        ("logprobs", json!(21)),
    ] {
        let mut request = greedy("x", 4);
        request[field] = value;
        let reply = server.continued(&request);
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(field)));
    }
    let (status, _, code) = server.continued(&json!({"model": "gpt-4o", "prompt": "x"})).error();
    assert_eq!((status, code), (404, json!("model_not_found")));
    assert_eq!(server.get("/v1/completions").status, 405);
}

#[test]
fn counters_count() {
    let server = Running::start(Options::default());
    server.continued(&greedy("Once", 7));
    server.post(&common::greedy("Why?", 5));
    let metrics = server.get("/metrics");
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{}", metrics.head);
    for line in [
        "# HELP ferrochat_tokens_total Tokens decoded.",
        "# TYPE ferrochat_tokens_total counter",
        "ferrochat_requests_total 2",
        "ferrochat_tokens_total 12",
        "ferrochat_waiting 0",
    ] {
        assert!(
            metrics.body.lines().any(|one| one == line),
            "{line} is not in {}",
            metrics.body
        );
    }
    let keyed = Running::start(Options {
        api_key: Some("secret".to_owned()),
        ..Options::default()
    });
    assert_eq!(keyed.continued(&greedy("Once", 7)).status, 401);
    for open in ["/metrics", "/health"] {
        assert_eq!(
            keyed.get(open).status,
            200,
            "{open} is asked by machines that have no key"
        );
    }
}
