//! Probabilities of tokens over real HTTP: they belong to the text, whole or in pieces, and cost nothing where nobody asks.

#![allow(clippy::unwrap_used)]

mod common;

use common::{MODEL, Running, greedy, text_of};
use ferrochat_server::Options;
use serde_json::{Value, json};

/// The bytes of tokens, one after the other, as text.
fn joined(content: &[Value]) -> String {
    let bytes = content.iter().flat_map(|token| token["bytes"].as_array().unwrap());
    let bytes: Vec<u8> = bytes.map(|byte| byte.as_u64().unwrap() as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_chat_tells_the_tokens_of_its_text() {
    let server = Running::start(Options::default());
    let mut request = greedy("Why?", 30);
    let plain = server.post(&request);
    assert!(plain.json()["choices"][0]["logprobs"].is_null());
    request["logprobs"] = json!(true);
    request["top_logprobs"] = json!(3);
    let whole = server.post(&request);
    assert_eq!(text_of(&whole), text_of(&plain), "asking changes nothing");
    let content = whole.json()["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap()
        .clone();
    assert!(content.len() > 10 && content.len() <= 30, "{}", content.len());
    assert_eq!(joined(&content), text_of(&whole));
    for token in &content {
        let top = token["top_logprobs"].as_array().unwrap();
        let logprobs: Vec<f64> = top.iter().map(|one| one["logprob"].as_f64().unwrap()).collect();
        assert_eq!(logprobs.len(), 3);
        assert!(logprobs.is_sorted_by(|a, b| a >= b) && logprobs[0] < 0.0, "{token}");
        assert!(
            logprobs.iter().map(|logprob| logprob.exp()).sum::<f64>() <= 1.0001,
            "{token}"
        );
        assert_eq!(
            (&top[0]["bytes"], &top[0]["logprob"]),
            (&token["bytes"], &token["logprob"]),
            "greedy"
        );
    }

    request["stream"] = json!(true);
    let streamed = server.post(&request).events();
    let pieces = streamed
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let tokens = pieces.flat_map(|chunk| {
        chunk["choices"][0]["logprobs"]["content"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    });
    assert_eq!(tokens.collect::<Vec<_>>(), content);

    // A stop string takes its tokens along.
    let text = text_of(&whole);
    let stop: String = text.chars().skip(9).take(3).collect();
    request["stream"] = json!(false);
    request["stop"] = json!(stop);
    let stopped = server.post(&request);
    let kept = stopped.json()["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap()
        .clone();
    assert!(kept.len() < content.len() && content.starts_with(&kept));
    assert!(joined(&kept).starts_with(&text_of(&stopped)), "{kept:?}");
}

#[test]
fn a_continuation_tells_them_in_lists() {
    let server = Running::start(Options::default());
    let request = json!({"model": MODEL, "prompt": "Once", "temperature": 0, "max_tokens": 20, "logprobs": 2});
    let choice = server.continued(&request).json()["choices"][0].clone();
    let logprobs = &choice["logprobs"];
    let list = |name: &str| logprobs[name].as_array().unwrap().clone();
    let (tokens, offsets) = (list("tokens"), list("text_offset"));
    assert_eq!(offsets[0], 0);
    let text: Vec<char> = choice["text"].as_str().unwrap().chars().collect();
    let mut compared = 0;
    for (token, offset) in tokens.iter().zip(&offsets) {
        let (token, offset) = (token.as_str().unwrap(), offset.as_u64().unwrap() as usize);
        // Parts of characters are spelled by their bytes; that some are no character is only known with the token after them.
        if !token.starts_with("bytes:") && text[offset] != char::REPLACEMENT_CHARACTER {
            let length = token.chars().count();
            assert_eq!(text[offset..offset + length].iter().collect::<String>(), token);
            compared += 1;
        }
    }
    assert!(compared > 5, "{text:?}");
    for (top, logprob) in list("top_logprobs").iter().zip(list("token_logprobs")) {
        assert!(
            top.as_object().unwrap().values().any(|one| *one == logprob),
            "{top} {logprob}"
        );
    }
    assert_eq!(tokens.len(), list("token_logprobs").len());
}
