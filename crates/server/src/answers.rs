//! The thread of the model: requests come in by a channel, share one batch, and their answers go out piece by piece.
//!
//! Knows tokens and time, not HTTP. Nobody waits for a reader: whoever has gone away loses the place at the next token.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use ferrochat_chat::{Batcher, Delta, Engine, Event, PartKind, Request, RequestId, Stopped};
use ferrochat_tokenizer::Tokenizer;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

use crate::error::ApiError;
use crate::response::Finish;
use crate::stops::StopWatch;
use crate::words::{Word, Words};

/// How often an idle model looks whether the server is to end.
const LOOK: Duration = Duration::from_millis(50);

/// A request for answers.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) stops: Vec<String>,
    pub(crate) deadline: Instant,
    /// Where the answers go. Once the other end is dropped, nobody wants them.
    pub(crate) news: UnboundedSender<News>,
    /// Held until the job is done.
    pub(crate) _place: OwnedSemaphorePermit,
}

/// What becomes of a job. The channel closes after the last.
#[derive(Debug)]
pub(crate) enum News {
    /// A piece of an answer.
    Piece {
        choice: usize,
        kind: PartKind,
        text: String,
        /// The tokens of it, where their probabilities are asked for.
        words: Vec<Word>,
    },
    /// An answer is complete, with so many tokens.
    Finished {
        choice: usize,
        finish: Finish,
        tokens: usize,
    },
    /// There will be no answer, or no more of it.
    Failed(ApiError),
}

/// What the threads tell each other.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// Set when the server is to end: no more requests are taken.
    pub(crate) ending: AtomicBool,
    /// Answers being written.
    pub(crate) writing: AtomicUsize,
    /// Answers not begun.
    pub(crate) waiting: AtomicUsize,
    /// Requests taken since the start.
    pub(crate) requests: AtomicUsize,
    /// Tokens written since the start.
    pub(crate) tokens: AtomicUsize,
}

/// One answer of a job.
struct Answer {
    watch: StopWatch,
    words: Words,
    tokens: usize,
    finished: bool,
}

struct Open {
    job: Job,
    answers: Vec<Answer>,
}

/// Answers until `stop` says so; then no new request is taken, those in progress may go on for `grace`.
pub(crate) fn answer(
    engine: &Engine,
    tokenizer: &Tokenizer,
    at_once: usize,
    jobs: &Receiver<Job>,
    status: &Status,
    grace: Duration,
    stop: &dyn Fn() -> bool,
) {
    let mut desk = Desk {
        batcher: Batcher::new(engine, at_once),
        tokenizer,
        open: BTreeMap::new(),
        status,
    };
    let mut until: Option<Instant> = None;
    loop {
        if until.is_none() && stop() {
            status.ending.store(true, Ordering::SeqCst);
            until = Some(Instant::now() + grace);
        }
        loop {
            match jobs.try_recv() {
                Ok(job) => desk.take(job, until.is_some()),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        desk.dismiss(until);
        status.writing.store(desk.batcher.live(), Ordering::Relaxed);
        status.waiting.store(desk.batcher.waiting(), Ordering::Relaxed);
        if !desk.batcher.is_idle() {
            desk.step();
        } else if until.is_some() {
            return;
        } else {
            match jobs.recv_timeout(LOOK) {
                Ok(job) => desk.take(job, false),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

struct Desk<'a> {
    batcher: Batcher<'a>,
    tokenizer: &'a Tokenizer,
    open: BTreeMap<RequestId, Open>,
    status: &'a Status,
}

impl Desk<'_> {
    fn take(&mut self, mut job: Job, ending: bool) {
        if ending {
            job.fail(ApiError::ending());
            return;
        }
        let answers = (0..job.request.samples)
            .map(|_| Answer {
                watch: StopWatch::new(&job.stops),
                words: Words::default(),
                tokens: 0,
                finished: false,
            })
            .collect();
        // The ids are not needed here any more.
        let prompt = std::mem::take(&mut job.request.prompt);
        let request = Request {
            prompt,
            ..job.request.clone()
        };
        match self.batcher.submit(request) {
            Ok(id) => {
                self.status.requests.fetch_add(1, Ordering::Relaxed);
                self.open.insert(id, Open { job, answers });
            }
            Err(error) => job.fail(ApiError::bad_request(error.to_string())),
        }
    }

    /// Closes jobs that nobody waits for, and those whose time is up.
    fn dismiss(&mut self, until: Option<Instant>) {
        let now = Instant::now();
        let cut = until.is_some_and(|until| now >= until);
        let batcher = &mut self.batcher;
        self.open.retain(|&id, open| {
            if open.job.news.is_closed() {
                batcher.cancel(id);
                return false;
            }
            if !cut && now < open.job.deadline {
                return true;
            }
            let begun = open.answers.iter().any(|answer| answer.tokens > 0);
            if cut {
                open.job.fail(ApiError::ending());
            } else if begun {
                open.finish_all(Finish::Length);
            } else {
                open.job.fail(ApiError::unavailable(
                    "the request has waited too long for its turn; try again when fewer wait",
                ));
            }
            batcher.cancel(id);
            false
        });
    }

    fn step(&mut self) {
        for Event { id, delta, .. } in self.batcher.step() {
            let Some(open) = self.open.get_mut(&id) else {
                continue;
            };
            self.status
                .tokens
                .fetch_add(usize::from(delta.id.is_some()), Ordering::Relaxed);
            if open.job.request.likelihoods.is_some() {
                open.answers[delta.row].words.push(&delta, self.tokenizer);
            }
            open.write(&delta);
            if open.answers.iter().all(|answer| answer.finished) {
                self.open.remove(&id);
                self.batcher.cancel(id);
            }
        }
    }
}

impl Job {
    fn tell(&self, news: News) {
        // Whoever has gone away is noticed before the next token.
        let _ = self.news.send(news);
    }

    fn fail(&self, error: ApiError) {
        self.tell(News::Failed(error));
    }
}

impl Answer {
    /// Tells of so much text; `last` if no more follows it.
    fn show(&mut self, job: &Job, choice: usize, text: String, last: bool) {
        let words = self.words.show(text.len(), last);
        if !text.is_empty() || !words.is_empty() {
            let kind = PartKind::Text;
            job.tell(News::Piece {
                choice,
                kind,
                text,
                words,
            });
        }
    }

    /// Tells of what was held back.
    fn show_all(&mut self, job: &Job, choice: usize) {
        let text = self.watch.finish();
        self.show(job, choice, text, true);
    }
}

impl Open {
    fn write(&mut self, delta: &Delta) {
        let choice = delta.row;
        let answer = &mut self.answers[choice];
        if answer.finished {
            return;
        }
        if delta.stopped == Some(Stopped::Memory) && answer.tokens == 0 {
            self.job.fail(ApiError::unavailable(
                "there is no memory for an answer to this request; make it shorter, or try again when less is going on",
            ));
            self.answers.iter_mut().for_each(|answer| answer.finished = true);
            return;
        }
        answer.tokens += usize::from(delta.id.is_some());
        let (job, mut finish) = (&self.job, None);
        if delta.kind == PartKind::Text {
            let (ready, found) = answer.watch.push(&delta.text);
            answer.show(job, choice, ready, found);
            finish = found.then_some(Finish::Stop);
        } else if !delta.text.is_empty() {
            // No stop string reaches across a tool call.
            answer.show_all(job, choice);
            job.tell(News::Piece {
                choice,
                kind: delta.kind,
                text: delta.text.clone(),
                words: Vec::new(),
            });
        }
        if finish.is_none()
            && let Some(stopped) = delta.stopped
        {
            answer.show_all(job, choice);
            finish = Some(match stopped {
                Stopped::End(_) => Finish::Stop,
                _ => Finish::Length,
            });
        }
        if let Some(finish) = finish {
            answer.finished = true;
            job.tell(News::Finished {
                choice,
                finish,
                tokens: answer.tokens,
            });
        }
    }

    fn finish_all(&mut self, finish: Finish) {
        for (choice, answer) in self.answers.iter_mut().enumerate() {
            if answer.finished {
                continue;
            }
            answer.finished = true;
            answer.show_all(&self.job, choice);
            self.job.tell(News::Finished {
                choice,
                finish,
                tokens: answer.tokens,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    use ferrochat_model::Sampling;
    use tokio::sync::Semaphore;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn open(samples: usize, stops: &[&str]) -> (Open, UnboundedReceiver<News>) {
        let (sender, news) = unbounded_channel();
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let answer = || Answer {
            watch: StopWatch::new(&stops),
            words: Words::default(),
            tokens: 0,
            finished: false,
        };
        let answers = std::iter::repeat_with(answer).take(samples).collect();
        let job = Job {
            request: Request {
                prompt: vec![1],
                samples,
                max_tokens: 9,
                sampling: Sampling::greedy(),
                stream: 0,
                likelihoods: None,
            },
            stops,
            deadline: Instant::now(),
            news: sender,
            _place: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        };
        (Open { job, answers }, news)
    }

    fn delta(row: usize, kind: PartKind, text: &str, stopped: Option<Stopped>) -> Delta {
        Delta {
            row,
            id: (!matches!(stopped, Some(Stopped::End(_) | Stopped::Memory))).then_some(5),
            sampled: true,
            text: text.to_owned(),
            kind,
            likelihood: None,
            stopped,
        }
    }

    fn told(news: &mut UnboundedReceiver<News>) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(news) = news.try_recv() {
            told.push(match news {
                News::Piece { choice, kind, text, .. } => format!("{choice} {} {text}", kind.name()),
                News::Finished { choice, finish, tokens } => format!("{choice} {finish:?} {tokens}"),
                News::Failed(error) => error.message,
            });
        }
        told
    }

    #[test]
    fn a_tool_call_does_not_overtake_the_text_before_it() {
        let (mut open, mut news) = open(1, &["that is all"]);
        for (kind, text, stopped) in [
            (PartKind::Text, "I think that", None),
            (PartKind::Text, "", None),
            (PartKind::Python, "1+1", None),
            (PartKind::PythonOutput, "2", None),
            (PartKind::Text, " is all", None),
            (PartKind::Text, "", Some(Stopped::End(3))),
        ] {
            open.write(&delta(0, kind, text, stopped));
        }
        let expected = [
            "0 text I think ",
            "0 text that",
            "0 python 1+1",
            "0 python_output 2",
            "0 text  is all",
            "0 Stop 5",
        ];
        assert_eq!(told(&mut news), expected);
    }

    #[test]
    fn an_answer_ends_once() {
        let (mut open, mut news) = open(2, &["x"]);
        open.write(&delta(0, PartKind::Text, "axb", Some(Stopped::Length)));
        open.write(&delta(0, PartKind::Text, "more", None));
        open.write(&delta(1, PartKind::Text, "b", None));
        open.finish_all(Finish::Length);
        open.finish_all(Finish::Length);
        assert_eq!(told(&mut news), ["0 text a", "0 Stop 1", "1 text b", "1 Length 1"]);
    }

    #[test]
    fn without_memory_there_is_an_error_or_a_shorter_answer() {
        let (mut none, mut news) = open(2, &[]);
        none.write(&delta(0, PartKind::Text, "", Some(Stopped::Memory)));
        assert!(told(&mut news).remove(0).contains("no memory"));
        assert!(none.answers.iter().all(|answer| answer.finished));
        let (mut some, mut news) = open(1, &[]);
        some.write(&delta(0, PartKind::Text, "a", None));
        some.write(&delta(0, PartKind::Text, "", Some(Stopped::Memory)));
        assert_eq!(told(&mut news), ["0 text a", "0 Length 1"]);
    }
}
