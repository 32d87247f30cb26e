//! A small HTTP server for tests that does what it is told, also what no server should.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test fails where it happens")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    /// How many times the same was asked before.
    pub before: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn is_for_a_file(&self) -> bool {
        self.method == "GET" && self.path.contains("/resolve/")
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Length that is announced, if not the true one.
    pub announced: Option<usize>,
    /// Close after so many bytes of the body.
    pub cut: Option<usize>,
    /// Bytes at a time, and the pause between.
    pub pace: Option<(usize, Duration)>,
}

impl Answer {
    pub fn status(status: u16) -> Answer {
        Answer {
            status,
            ..Answer::default()
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn cut(mut self, at: usize) -> Answer {
        self.cut = Some(at);
        self
    }

    pub fn pace(mut self, bytes: usize, pause: Duration) -> Answer {
        self.pace = Some((bytes, pause));
        self
    }

    /// All of some contents.
    pub fn whole(contents: &[u8], etag: &str) -> Answer {
        let mut answer = Answer::status(200).with("etag", etag).with("accept-ranges", "bytes");
        answer.body = contents.to_vec();
        answer
    }

    /// As a good server does it, ranges and their conditions included.
    pub fn of(contents: &[u8], etag: &str, request: &Request) -> Answer {
        let range = request
            .header("range")
            .filter(|_| request.header("if-range").is_none_or(|name| name == etag));
        let first = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let Some(first) = first else {
            return Answer::whole(contents, etag);
        };
        if first >= contents.len() {
            return Answer::status(416).with("content-range", &format!("bytes */{}", contents.len()));
        }
        let said = format!("bytes {first}-{}/{}", contents.len() - 1, contents.len());
        let mut answer = Answer::status(206).with("etag", etag).with("content-range", &said);
        answer.body = contents[first..].to_vec();
        answer
    }
}

/// A server on a port of its own, and all it was asked.
pub struct Server {
    pub address: String,
    pub port: u16,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                // A client that goes away is none of our business.
                thread::spawn(move || {
                    let _ = serve(stream, &log, &*answer);
                });
            }
        });
        Server {
            address: format!("http://127.0.0.1:{port}"),
            port,
            asked,
        }
    }

    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    pub fn asked_for_files(&self) -> Vec<Request> {
        self.asked().into_iter().filter(Request::is_for_a_file).collect()
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers: HashMap::new(),
        before: 0,
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        request
            .headers
            .insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    {
        let mut log = log.lock().unwrap();
        let same = |other: &&Request| other.method == request.method && other.path == request.path;
        request.before = log.iter().filter(same).count();
        log.push(request.clone());
    }
    let answer = answer(&request);
    let length = answer.announced.unwrap_or(answer.body.len());
    let mut head = format!(
        "HTTP/1.1 {} X\r\nconnection: close\r\ncontent-length: {length}\r\n",
        answer.status
    );
    for (name, value) in &answer.headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let body = &answer.body[..answer.cut.unwrap_or(answer.body.len()).min(answer.body.len())];
    let (bytes, pause) = answer.pace.unwrap_or((1 << 20, Duration::ZERO));
    for chunk in body.chunks(bytes) {
        stream.write_all(chunk)?;
        thread::sleep(pause);
    }
    stream.flush()
}
