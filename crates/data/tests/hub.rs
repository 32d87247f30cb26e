//! Downloads from servers that misbehave: whatever they do, what lies there in the end is right or is not there.

#![allow(clippy::unwrap_used, reason = "a test fails where it happens")]

mod unruly;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ferrochat_data::hub::{
    Choice, FetchOptions, Fetched, Hub, HubError, HubSettings, Note, Remote, Retry, Silent, State, Watch, verify,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use unruly::{Answer, Request, Server};

/// Where gsm8k:test lies below the folder of data sets.
const FILE: &str = "task_data/openai--gsm8k/main/test/00000.parquet";

fn contents(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// The hub's list of one file.
fn list(contents: &[u8], with_sum: bool) -> Answer {
    let size = contents.len();
    let lfs = if with_sum {
        format!(
            ",\"lfs\":{{\"oid\":\"{:x}\",\"size\":{size}}}",
            Sha256::digest(contents)
        )
    } else {
        String::new()
    };
    let entry = format!("[{{\"type\":\"file\",\"path\":\"main/test/0000.parquet\",\"size\":{size}{lfs}}}]");
    Answer::whole(entry.as_bytes(), "\"list\"")
}

/// A hub with one file, whose requests are answered by `answer`.
fn hub_of(
    contents: Vec<u8>,
    with_sum: bool,
    answer: impl Fn(&Request, &[u8]) -> Answer + Send + Sync + 'static,
) -> Server {
    Server::start(move |request| {
        if request.path.contains("/tree/refs%2Fconvert%2Fparquet/main/test") {
            list(&contents, with_sum)
        } else if request.is_for_a_file() {
            answer(request, &contents)
        } else {
            Answer::status(404)
        }
    })
}

struct Place {
    folder: TempDir,
    options: FetchOptions,
    stop: AtomicBool,
}

#[derive(Default)]
struct Notes(Mutex<Vec<Note>>);

impl Watch for Notes {
    fn note(&self, _: usize, _: &Remote, note: Note) {
        self.0.lock().unwrap().push(note);
    }
}

impl Place {
    fn new() -> Place {
        let retry = Retry {
            attempts: 5,
            first: Duration::from_millis(5),
            longest: Duration::from_millis(20),
            asked: Duration::from_secs(5),
        };
        Place {
            folder: tempfile::tempdir().unwrap(),
            options: FetchOptions {
                retry,
                ..FetchOptions::default()
            },
            stop: AtomicBool::new(false),
        }
    }

    fn hub(&self, endpoint: &str, token: Option<&str>) -> Hub {
        let settings = HubSettings {
            endpoint: endpoint.to_owned(),
            token: token.map(ToOwned::to_owned),
            certificates: None,
            proxies: false,
        };
        Hub::new(&settings, self.folder.path()).unwrap()
    }

    fn fetch_from(&self, endpoint: &str, watch: &dyn Watch) -> Result<Fetched, HubError> {
        let hub = self.hub(endpoint, Some("secret"));
        let plan = hub.plan(Choice::parse("gsm8k:test").unwrap(), &self.options, &self.stop)?;
        hub.fetch(&plan, &self.options, watch, &self.stop)
    }

    fn fetch(&self, server: &Server) -> Result<Fetched, HubError> {
        self.fetch_from(&server.address, &Silent)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    fn has(&self, contents: &[u8]) {
        assert!(fs::read(self.file()).unwrap() == contents, "other bytes arrived");
        let manifest = fs::read_to_string(self.file().with_file_name("manifest.json")).unwrap();
        assert_eq!(manifest, "[\"00000.parquet\"]");
    }

    fn fails(&self, server: &Server, words: &[&str]) {
        let error = self.fetch(server).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{error:?} does not say {word:?}");
        }
        assert!(!self.file().exists());
    }
}

#[test]
fn a_connection_that_breaks_is_gone_on_with() {
    let data = contents(1, 900_000);
    let server = hub_of(data.clone(), true, |request, data| {
        let answer = Answer::of(data, "\"v1\"", request);
        // The first three connections bring 200,000 bytes each.
        if request.before < 3 {
            answer.cut(200_000)
        } else {
            answer
        }
    });
    let place = Place::new();
    place.fetch(&server).unwrap();
    place.has(&data);
    let asked = server.asked_for_files();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[0].header("range"), None);
    for (number, request) in asked.iter().enumerate().skip(1) {
        assert_eq!(
            request.header("range"),
            Some(format!("bytes={}-", number * 200_000).as_str())
        );
        assert_eq!(request.header("if-range"), Some("\"v1\""));
    }
}

#[test]
fn a_busy_server_is_given_the_time_it_asks_for() {
    let data = contents(2, 1000);
    let server = hub_of(data.clone(), true, |request, data| match request.before {
        0 => Answer::status(429).with("retry-after", "1"),
        1 | 2 => Answer::status(503),
        _ => Answer::of(data, "\"v1\"", request),
    });
    let place = Place::new();
    let begun = Instant::now();
    place.fetch(&server).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    place.has(&data);

    let hours = hub_of(data.clone(), true, |_, _| {
        Answer::status(429).with("retry-after", "7200")
    });
    Place::new().fails(&hours, &["00000.parquet", "429", "120 minutes"]);
    let dead = hub_of(data, true, |_, _| Answer::status(503));
    Place::new().fails(&dead, &["00000.parquet", "503"]);
    assert_eq!(dead.asked_for_files().len(), 5);
}

#[test]
fn wrong_lengths_are_found_out() {
    let data = contents(3, 5000);
    let server = hub_of(data.clone(), true, |request, data| {
        let mut answer = Answer::of(data, "\"v1\"", request);
        match request.before {
            0 => answer.announced = Some(data.len() + 10),
            1 => {
                answer.body.truncate(4000);
            }
            _ => {}
        }
        answer
    });
    let place = Place::new();
    place.fetch(&server).unwrap();
    place.has(&data);

    let always = hub_of(data.clone(), true, |_, data| Answer::whole(&data[..4990], "\"v1\""));
    Place::new().fails(&always, &["00000.parquet", "4990", "5000"]);
    // Even where the bytes that it announces never come.
    let never = hub_of(data, true, |request, data| {
        let answer = Answer::of(data, "\"v1\"", request);
        let less = answer.body.len().saturating_sub(7);
        if request.header("range").is_some() {
            answer.cut(0)
        } else {
            answer.cut(less)
        }
    });
    Place::new().fails(&never, &["00000.parquet"]);
}

#[test]
fn damaged_bytes_never_get_a_name() {
    let data = contents(4, 50_000);
    let spoil = |mut answer: Answer| {
        let middle = answer.body.len() / 2;
        answer.body[middle] ^= 1;
        answer
    };
    let once = hub_of(data.clone(), true, move |request, data| {
        let answer = Answer::of(data, "\"v1\"", request);
        if request.before == 0 { spoil(answer) } else { answer }
    });
    let place = Place::new();
    let notes = Notes::default();
    place.fetch_from(&once.address, &notes).unwrap();
    place.has(&data);
    let notes = notes.0.into_inner().unwrap();
    let again = notes
        .iter()
        .any(|note| matches!(note, Note::Again { lost: 50_000, reason } if reason.contains("damaged")));
    assert!(again, "{notes:?}");

    let always = hub_of(data, true, move |request, data| {
        spoil(Answer::of(data, "\"v1\"", request))
    });
    Place::new().fails(&always, &["00000.parquet", "damaged", "3 times"]);
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let data = contents(5, 400_000);
    let server = hub_of(data.clone(), true, |request, data| {
        let answer = Answer::whole(data, "\"v1\"");
        if request.before < 2 {
            answer.cut(150_000 + 100_000 * request.before)
        } else {
            answer
        }
    });
    let place = Place::new();
    place.fetch(&server).unwrap();
    place.has(&data);
    assert_eq!(server.asked_for_files().len(), 3);
}

#[test]
fn contents_that_change_between_attempts_are_not_mixed() {
    for honest in [true, false] {
        // What is no Parquet file is refused where nothing else vouches for it.
        let [old, new] = [6, 7].map(|seed| [&b"PAR1"[..], &contents(seed, 300_000), b"PAR1"].concat());
        let answered = new.clone();
        // Without checksums in the list, the server's own names of the contents must do.
        let server = hub_of(old, false, move |request, old| match request.before {
            0 => Answer::of(old, "\"old\"", request).cut(100_000),
            _ if honest => Answer::of(&answered, "\"new\"", request),
            // This one does not know conditions.
            _ => {
                let mut blunt = request.clone();
                blunt.headers.remove("if-range");
                Answer::of(&answered, "\"new\"", &blunt)
            }
        });
        let place = Place::new();
        place.fetch(&server).unwrap();
        place.has(&new);
    }
}

#[test]
fn a_token_stays_with_its_host() {
    let data = contents(8, 10_000);
    let (elsewhere, there) = (data.clone(), data.clone());
    let other = Server::start(move |request| Answer::of(&elsewhere, "\"cdn\"", request));
    // The same machine under another name is another host.
    let target = format!("http://localhost:{}/resolve/file?signature=1", other.port);
    let server = hub_of(data.clone(), true, move |_, data| {
        Answer::status(302)
            .with("location", &target)
            .with("x-linked-size", &data.len().to_string())
            .with("x-linked-etag", &format!("\"{:x}\"", Sha256::digest(data)))
    });
    let place = Place::new();
    place.fetch(&server).unwrap();
    place.has(&there);
    assert!(
        server
            .asked()
            .iter()
            .all(|request| request.header("authorization") == Some("Bearer secret"))
    );
    let asked = other.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
    assert!(asked[0].path.contains("signature=1"));

    let circle = hub_of(data, true, |request, _| {
        Answer::status(302).with("location", &request.path)
    });
    Place::new().fails(&circle, &["circles"]);
}

#[test]
fn refusals_name_the_file_and_what_would_help() {
    let data = contents(9, 1000);
    for (status, word) in [(401, "HF_TOKEN"), (403, "terms"), (404, "--revision"), (418, "418")] {
        let server = hub_of(data.clone(), true, move |_, _| Answer::status(status));
        Place::new().fails(&server, &["00000.parquet", &status.to_string(), word]);
        assert_eq!(server.asked_for_files().len(), 1, "{status} was tried again");
    }
    let place = Place::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = place
        .fetch_from(&format!("http://{closed}"), &Silent)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("HF_ENDPOINT") && error.contains("HTTPS_PROXY"),
        "{error}"
    );
    let page = Server::start(|_| Answer::whole(b"<html>", "\"page\""));
    let error = place.fetch(&page).unwrap_err().to_string();
    assert!(error.contains("HF_ENDPOINT"), "{error}");
}

#[test]
fn ctrl_c_keeps_what_came_and_a_slow_server_is_gone_on_with() {
    let data = contents(10, 400_000);
    let server = hub_of(data.clone(), true, |request, data| {
        Answer::of(data, "\"v1\"", request).pace(10_000, Duration::from_millis(10))
    });
    let place = Place::new();
    thread::scope(|scope| {
        let fetching = scope.spawn(|| place.fetch(&server));
        let part = place
            .folder
            .path()
            .join("task_data/.hub/openai--gsm8k/main/test/00000.parquet.part");
        while fs::metadata(&part).map_or(0, |metadata| metadata.len()) < 50_000 {
            assert!(!fetching.is_finished());
            thread::sleep(Duration::from_millis(5));
        }
        place.stop.store(true, Ordering::Relaxed);
        assert!(matches!(fetching.join().unwrap(), Err(HubError::Interrupted)));
    });
    assert!(!place.file().exists());
    place.stop.store(false, Ordering::Relaxed);
    place.fetch(&server).unwrap();
    place.has(&data);
    let asked = server.asked_for_files();
    assert!(
        asked.last().unwrap().header("range").is_some(),
        "it did not go on where it was"
    );
}

#[test]
fn two_share_one_download() {
    let data = contents(11, 200_000);
    let server = hub_of(data.clone(), true, |request, data| {
        Answer::of(data, "\"v1\"", request).pace(20_000, Duration::from_millis(30))
    });
    let place = Place::new();
    let fetched = thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| place.fetch(&server).unwrap()));
        both.map(|one| one.join().unwrap().brought)
    });
    assert_eq!(fetched.iter().sum::<usize>(), 1);
    assert_eq!(server.asked_for_files().len(), 1);
    place.has(&data);
}

#[test]
fn what_is_here_needs_no_network_and_what_is_damaged_comes_again() {
    let data = contents(12, 70_000);
    let server = hub_of(data.clone(), true, |request, data| Answer::of(data, "\"v1\"", request));
    let mut place = Place::new();
    assert_eq!(place.fetch(&server).unwrap().brought, 1);
    let asked = server.asked().len();
    assert_eq!(place.fetch(&server).unwrap().here, 1);
    assert_eq!(server.asked().len(), asked, "the network was asked");

    let state = |root: &Path| {
        let verdicts = verify(&root.join("task_data"), &|_| true, &AtomicBool::new(false), &mut |_| ()).unwrap();
        assert_eq!(verdicts.len(), 1);
        verdicts[0].state
    };
    assert_eq!(state(place.folder.path()), State::Good);
    let mut damaged = data.clone();
    damaged[1000] ^= 4;
    fs::write(place.file(), &damaged).unwrap();
    assert_eq!(state(place.folder.path()), State::Damaged);
    place.options.check = true;
    assert_eq!(place.fetch(&server).unwrap().brought, 1);
    place.has(&data);
    place.options.check = false;
    fs::remove_file(place.file()).unwrap();
    assert_eq!(state(place.folder.path()), State::Missing);
    // A file that somebody puts there is taken if it is the right one.
    fs::write(place.file(), &data).unwrap();
    fs::remove_dir_all(place.folder.path().join("task_data/.hub")).unwrap();
    assert_eq!(place.fetch(&server).unwrap().brought, 0);
}

#[test]
fn a_repository_that_changed_says_so() {
    let data = contents(13, 3000);
    let other = format!("\"{:x}\"", Sha256::digest(b"other"));
    let server = hub_of(data, true, move |request, data| {
        Answer::of(data, "\"v2\"", request).with("x-linked-etag", &other)
    });
    Place::new().fails(&server, &["00000.parquet", "--update"]);
}
