//! A server with a tiny random model that never ends an answer by itself, and a client that hides nothing.

#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ferrochat_model::{Arch, Dials, Gpt, GptConfig, Rng};
use ferrochat_server::{Options, Server, ServerError, ServerInfo};
use ferrochat_tensor::{CpuOptions, DType, Device};
use ferrochat_tokenizer::{SPLIT_PATTERN, Tokenizer};
use serde_json::{Value, json};

pub const MODEL: &str = "tiny";

pub fn tokenizer() -> Tokenizer {
    let ranks = include_bytes!("../../../tokenizer/tests/fixtures/ranks.tiktoken");
    Tokenizer::from_tiktoken(ranks, SPLIT_PATTERN).unwrap()
}

pub fn model(tokenizer: &Tokenizer) -> Gpt {
    let options = CpuOptions {
        threads: Some(1),
        dtype: Some(DType::F32),
        ..CpuOptions::default()
    };
    let dials = Dials {
        sequence_len: 64,
        vocab_size: tokenizer.vocab_size(),
        head_dim: 6,
        n_embd: Some(24),
        ..Dials::default()
    };
    let config = GptConfig::from_depth(Arch::V2026_07, 2, &dials);
    let gpt = Gpt::new(&Device::cpu(&options).unwrap(), &config).unwrap();
    for declaration in gpt.declarations() {
        let param = &declaration.param;
        let mut rng = Rng::derive(7, param.name(), 0);
        let mut values: Vec<f32> = (0..param.numel()).map(|_| rng.uniform() as f32 - 0.5).collect();
        if param.name().contains("lm_head") {
            // A logit of 0 is never among the likeliest.
            values[tokenizer.bos() as usize * config.n_embd..].fill(0.0);
        }
        param.upload(&values);
    }
    gpt
}

pub struct Running {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Running {
    pub fn start(options: Options) -> Running {
        let server = Server::bind(Options { port: 0, ..options }).unwrap();
        let (address, stop) = (server.address(), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let tokenizer = Arc::new(tokenizer());
            let info = ServerInfo {
                title: "Tiny".to_owned(),
                summary: "a <tiny> model".to_owned(),
                suggestions: vec!["Why?".to_owned()],
                model_id: MODEL.to_owned(),
                ..ServerInfo::default()
            };
            server.run(&model(&tokenizer), &tokenizer, info, || asked.load(Ordering::Relaxed))
        });
        Running {
            address,
            stop,
            thread: Some(thread),
        }
    }

    pub fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub fn join(mut self) {
        self.ask_to_stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    pub fn get(&self, path: &str) -> Reply {
        Reply::read(self.send("GET", path, &[], ""))
    }

    pub fn post(&self, body: &Value) -> Reply {
        Reply::read(self.send("POST", "/v1/chat/completions", &[], &body.to_string()))
    }

    /// Asks for more of a text.
    pub fn continued(&self, body: &Value) -> Reply {
        Reply::read(self.send("POST", "/v1/completions", &[], &body.to_string()))
    }

    /// Asks and leaves the connection open.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let own = ("Host", self.address.to_string());
        let host = (!headers.iter().any(|(name, _)| *name == "Host")).then_some((own.0, own.1.as_str()));
        let length = body.len().to_string();
        let length = [("Content-Length", length.as_str())];
        let lines = host.iter().chain(headers).chain(&length);
        let lines: Vec<String> = lines.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nConnection: close\r\n{}\r\n",
            lines.concat()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A server may refuse before it has read all.
        let _ = stream.write_all(body.as_bytes());
        stream
    }

    /// Answers that are being written, and that wait.
    pub fn at_work(&self) -> (u64, u64) {
        let health = self.get("/health").json();
        (health["writing"].as_u64().unwrap(), health["waiting"].as_u64().unwrap())
    }

    pub fn wait_until(&self, writing: u64, waiting: u64) {
        for _ in 0..1000 {
            if self.at_work() == (writing, waiting) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("still {:?} and not {:?}", self.at_work(), (writing, waiting));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn read(mut stream: TcpStream) -> Reply {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let head = head.to_lowercase();
        let body = if head.contains("transfer-encoding: chunked") {
            unchunked(body)
        } else {
            body.to_owned()
        };
        Reply { status, head, body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// What stands after `data:`, one after the other.
    pub fn events(&self) -> Vec<String> {
        let events = self
            .body
            .split("\n\n")
            .filter(|event| !event.is_empty() && !event.starts_with(':'));
        events
            .map(|event| event.strip_prefix("data: ").unwrap().to_owned())
            .collect()
    }

    pub fn error(&self) -> (u16, String, Value) {
        let error = &self.json()["error"];
        let message = error["message"]
            .as_str()
            .unwrap_or_else(|| panic!("no message in {self:?}"));
        (self.status, message.to_owned(), error["code"].clone())
    }
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return text;
        }
        text += &rest[..size];
        body = &rest[size + 2..];
    }
}

/// A request for a greedy answer.
pub fn greedy(question: &str, max_tokens: usize) -> Value {
    json!({
        "model": MODEL, "messages": [{"role": "user", "content": question}],
        "temperature": 0, "max_tokens": max_tokens,
    })
}

pub fn text_of(reply: &Reply) -> String {
    reply.json()["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned()
}
