//! The server: an API that OpenAI clients understand, and a page to talk on.
//!
//! | module | one job |
//! | --- | --- |
//! | `server`, `connections` | from a port to requests, and an orderly end |
//! | `guard` | who may ask: Host, Origin, key; the headers of every answer |
//! | `api`, `request`, `response`, `stream` | `/v1/...`: JSON in, JSON or server-sent events out |
//! | `answers`, `stops` | the thread of the model: a queue, a few answers at a time, stop strings |
//! | `page` | the chat page, embedded from `web/` |
//!
//! The thread that calls [`Server::run`] keeps the model and answers; one other thread speaks HTTP, and
//! a channel lies between them. This room must never know training, runs or where a model comes from.

mod answers;
mod api;
mod connections;
mod error;
mod guard;
mod page;
mod request;
mod response;
mod server;
mod stops;
mod stream;
mod words;

use std::time::Duration;

use ferrochat_chat::{TextStart, Tool};

pub use error::ServerError;
pub use server::Server;

/// What the page and the API say about the model.
#[derive(Clone, Debug, Default)]
pub struct ServerInfo {
    /// Its name, such as the heading of the page.
    pub title: String,
    /// Its size and training, in one line.
    pub summary: String,
    /// Questions to try.
    pub suggestions: Vec<String>,
    /// What clients call it.
    pub model_id: String,
    /// How texts begin that it is to continue.
    pub text_start: TextStart,
}

/// Where to listen, whom to answer, and how much at once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name or address to listen on.
    pub host: String,
    /// Port; 0: any that is free.
    pub port: u16,
    /// Where set, `/v1/...` answers only to `Authorization: Bearer KEY`.
    pub api_key: Option<String>,
    /// Names, beside `localhost` and plain addresses, by which this server may be called.
    pub allowed_hosts: Vec<String>,
    /// Requests answered at once.
    pub at_once: usize,
    /// Requests that wait for their turn; further ones get status 429.
    pub max_queue: usize,
    /// Connections open at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long answers in progress may go on when the server is asked to end.
    pub grace: Duration,
    /// What is refused.
    pub limits: Limits,
    /// What is used where a request does not say.
    pub defaults: Defaults,
    /// For tool calls that are nothing for the calculator.
    pub tool: Option<Tool>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            host: "127.0.0.1".to_owned(),
            port: 8000,
            api_key: None,
            allowed_hosts: Vec::new(),
            at_once: 16,
            max_queue: 64,
            max_connections: 256,
            grace: Duration::from_secs(5),
            limits: Limits::default(),
            defaults: Defaults::default(),
            tool: None,
        }
    }
}

/// Limits of a request.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Messages.
    pub messages: usize,
    /// Characters in a message.
    pub message_chars: usize,
    /// Characters in all messages.
    pub total_chars: usize,
    /// Tokens in an answer.
    pub max_tokens: usize,
    /// Answers to a request.
    pub samples: usize,
    /// The highest temperature.
    pub temperature: f64,
    /// The highest top-k.
    pub top_k: usize,
    /// Stop strings.
    pub stops: usize,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Time for the body to arrive.
    pub body_time: Duration,
    /// Time from a request to the end of its answer, which is cut off then.
    pub answer_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            messages: 500,
            message_chars: 8_000,
            total_chars: 32_000,
            max_tokens: 4_096,
            samples: 16,
            temperature: 2.0,
            top_k: 200,
            stops: 16,
            body_bytes: 1 << 20,
            body_time: Duration::from_secs(30),
            answer_time: Duration::from_mins(10),
        }
    }
}

/// Settings of a request that says nothing about them.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Temperature.
    pub temperature: f32,
    /// Top-k.
    pub top_k: usize,
    /// Tokens in an answer.
    pub max_tokens: usize,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            temperature: 0.8,
            top_k: 50,
            max_tokens: 512,
        }
    }
}
