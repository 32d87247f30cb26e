//! What a server does not do, and how it says so.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{MODEL, Reply, Running, greedy};
use ferrochat_server::{Limits, Options, Server, ServerError};
use serde_json::{Value, json};

/// Long enough that a test is over before it, however fast the machine.
const LONG: usize = 1_000_000;

fn no_limit() -> Limits {
    Limits {
        max_tokens: LONG,
        ..Limits::default()
    }
}

#[test]
fn wrong_requests_get_a_sentence() {
    let server = Running::start(Options::default());
    let raw = |body: &str| Reply::read(server.send("POST", "/v1/chat/completions", &[], body)).error();
    for (body, expected) in [
        ("", "not JSON"),
        ("{\"messages\": [", "not JSON"),
        ("\u{0}", "not JSON"),
        ("[]", "JSON object"),
        ("{}", "\"messages\" is missing"),
        (r#"{"messages": []}"#, "no messages"),
        (r#"{"messages": [{"role": "wizard", "content": "x"}]}"#, "\"wizard\""),
        (
            r#"{"messages": [{"role": "assistant", "content": "x"}]}"#,
            "must be from the user",
        ),
        (r#"{"messages": [{"role": "user", "content": ""}]}"#, "empty"),
        (r#"{"messages": [{"role": "user", "content": 3}]}"#, "a number"),
        (
            r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#,
            "type",
        ),
        (
            r#"{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}"#,
            "message 2",
        ),
        (
            r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#,
            "last message is from the assistant",
        ),
    ] {
        let (status, message, _) = raw(body);
        assert!(
            status == 400 && message.contains(expected),
            "{status} {message} for {body}"
        );
    }
    for (field, value) in [
        ("temperature", json!(2.5)),
        ("top_k", json!(0)),
        ("max_tokens", json!(5000)),
        ("n", json!(1000)),
        ("stop", json!([""])),
    ] {
        let mut request = greedy("x", 5);
        request[field] = value;
        let reply = server.post(&request);
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(field)));
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
    }
    let mut request = greedy("x", 5);
    request["model"] = json!("gpt-4o");
    let (status, message, code) = server.post(&request).error();
    assert_eq!((status, code), (404, json!("model_not_found")));
    assert!(message.contains("gpt-4o") && message.contains(MODEL));
    assert_eq!(raw(&"[".repeat(200_000)).0, 400);
    // The server is none the worse for it.
    assert_eq!(server.post(&greedy("x", 5)).status, 200);
}

#[test]
fn huge_bodies_are_refused() {
    let server = Running::start(Options::default());
    for size in [(1 << 20) + 1, 5 << 20] {
        let body = format!("{{\"x\": \"{}\"}}", "a".repeat(size));
        let (status, message, _) = Reply::read(server.send("POST", "/v1/chat/completions", &[], &body)).error();
        assert!(status == 413 && message.contains("1048576"), "{message}");
    }
    // One that says that it is huge, and one that never comes.
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\nContent-Length: 99999999999\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let slow = Running::start(Options {
        limits: Limits {
            body_time: Duration::from_millis(100),
            ..Limits::default()
        },
        ..Options::default()
    });
    let stream = slow.send("POST", "/v1/chat/completions", &[("Content-Length", "50")], "");
    drop(stream);
    let mut stream = TcpStream::connect(slow.address).unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 50\r\n\r\n{{",
        slow.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(Reply::read(stream).status, 408);
}

#[test]
fn paths_and_methods() {
    let server = Running::start(Options::default());
    let models = server.get("/v1/models").json();
    assert_eq!(
        (&models["object"], &models["data"][0]["id"]),
        (&json!("list"), &json!(MODEL))
    );
    assert_eq!(server.get(&format!("/v1/models/{MODEL}")).json()["id"], MODEL);
    assert_eq!(server.get("/v1/models/other").status, 404);
    assert_eq!(server.get("/v1/nothing").error().0, 404);
    assert_eq!(server.get("/v1/chat/completions").error().0, 405);
    assert_eq!(server.get("/health").json()["status"], "ok");
    assert_eq!(server.get("/../Cargo.toml").status, 404);
}

#[test]
fn the_page_is_served_with_a_strict_policy() {
    let server = Running::start(Options::default());
    let page = server.get("/");
    assert_eq!(page.status, 200);
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; script-src 'self';",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
    ] {
        assert!(page.head.contains(header), "{header} in {}", page.head);
    }
    // All that it asks for is here, and nothing is inline or from elsewhere.
    for (path, kind) in [
        ("/chat.js", "text/javascript"),
        ("/markdown.js", "text/javascript"),
        ("/chat.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        assert!(page.body.contains(&format!("\"{path}\"")), "{path}");
        let file = server.get(path);
        assert!(
            file.status == 200 && file.head.contains(&format!("content-type: {kind}")),
            "{path}"
        );
        assert!(
            !file.body.contains("innerHTML") && !file.body.contains("https://"),
            "{path}"
        );
    }
    assert!(!page.body.contains("https://") && !page.body.contains("style="));
    let info = server.get("/info").json();
    assert_eq!(info["summary"], "a <tiny> model");
    assert_eq!(info["suggestions"], json!(["Why?"]));
    assert_eq!(info["defaults"]["temperature"].as_f64().unwrap() as f32, 0.8);
}

#[test]
fn strangers_are_refused() {
    let server = Running::start(Options {
        api_key: Some("secret".to_owned()),
        ..Options::default()
    });
    let body = greedy("x", 3).to_string();
    let status =
        |headers: &[(&str, &str)]| Reply::read(server.send("POST", "/v1/chat/completions", headers, &body)).status;
    let key = ("Authorization", "Bearer secret");
    assert_eq!(status(&[key]), 200);
    assert_eq!(status(&[]), 401);
    assert_eq!(status(&[("Authorization", "Bearer Secret")]), 401);
    assert_eq!(status(&[key, ("Host", "rebound.example")]), 403);
    assert_eq!(status(&[key, ("Origin", "http://evil.example")]), 403);
    let own = format!("http://{}", server.address);
    assert_eq!(status(&[key, ("Origin", &own)]), 200);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/v1/models").status, 401);
}

fn streamed(question: &str) -> Value {
    let mut request = greedy(question, LONG);
    request["stream"] = json!(true);
    request
}

#[test]
fn a_full_queue_says_so_and_a_dropped_connection_makes_room_at_once() {
    let server = Running::start(Options {
        at_once: 1,
        max_queue: 1,
        limits: no_limit(),
        ..Options::default()
    });
    let send = |request: &Value| server.send("POST", "/v1/chat/completions", &[], &request.to_string());
    // One writes, one waits; neither has ended when they are dropped.
    let mut writing = send(&streamed("one"));
    server.wait_until(1, 0);
    let waiting = send(&greedy("two", LONG));
    server.wait_until(1, 1);
    let full = server.post(&greedy("three", 3));
    assert_eq!((full.status, full.error().2), (429, json!("queue_full")));
    assert!(full.head.contains("retry-after:"));
    drop(waiting);
    server.wait_until(1, 0);
    writing.read_exact(&mut [0; 200]).unwrap();
    drop(writing);
    server.wait_until(0, 0);
    // A whole answer is given up as well as a stream.
    let writing = send(&greedy("four", LONG));
    server.wait_until(1, 0);
    drop(writing);
    server.wait_until(0, 0);
    assert_eq!(server.post(&greedy("five", 3)).status, 200);
}

#[test]
fn answers_that_take_too_long_are_cut_off() {
    let server = Running::start(Options {
        at_once: 1,
        limits: Limits {
            answer_time: Duration::from_millis(30),
            ..no_limit()
        },
        ..Options::default()
    });
    let cut = server.post(&greedy("one", LONG)).json();
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
    assert!(cut["usage"]["completion_tokens"].as_u64().unwrap() < LONG as u64);
}

#[test]
fn a_server_ends_when_it_is_asked_to() {
    // Idle.
    Running::start(Options::default()).join();
    // At work: what is being written may be finished within the time of grace, and is cut then.
    let server = Running::start(Options {
        grace: Duration::from_millis(200),
        limits: no_limit(),
        ..Options::default()
    });
    let stream = server.send("POST", "/v1/chat/completions", &[], &streamed("x").to_string());
    server.wait_until(1, 0);
    let asked = Instant::now();
    server.ask_to_stop();
    let events = Reply::read(stream).events();
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap_or_default();
    assert!(
        last["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("shutting down")),
        "{last}"
    );
    server.join();
    assert!(asked.elapsed() < Duration::from_secs(5));
    let server = Running::start(Options {
        grace: Duration::from_mins(1),
        ..Options::default()
    });
    let mut short = streamed("x");
    short["max_tokens"] = json!(2000);
    let stream = server.send("POST", "/v1/chat/completions", &[], &short.to_string());
    // One that still waits to begin would be sent away.
    server.wait_until(1, 0);
    server.ask_to_stop();
    assert_eq!(Reply::read(stream).events().last().unwrap(), "[DONE]");
    server.join();
}

#[test]
fn a_port_belongs_to_one() {
    let first = Server::bind(Options {
        port: 0,
        ..Options::default()
    });
    let port = first.as_ref().unwrap().address().port();
    let second = Server::bind(Options {
        port,
        ..Options::default()
    });
    assert!(matches!(second, Err(ServerError::Taken(_))));
    let nowhere = Server::bind(Options {
        host: "999.1.1.1".to_owned(),
        ..Options::default()
    });
    let Err(error @ ServerError::Listen { .. }) = nowhere else {
        panic!("there is no such place");
    };
    assert!(error.to_string().contains("999.1.1.1:8000"));
}
