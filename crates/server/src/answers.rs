//! The thread of the model: requests come in by a channel, share one batch, and their answers go out piece by piece.
//!
//! Knows tokens and time, not HTTP. Nobody waits for a reader: whoever has gone away loses the place at the next token.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use ferrochat_chat::{Batcher, Delta, Engine, Event, PartKind, Request, RequestId, Stopped};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

use crate::error::ApiError;
use crate::response::Finish;
use crate::stops::StopWatch;

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
}

/// One answer of a job.
struct Answer {
    watch: StopWatch,
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
    at_once: usize,
    jobs: &Receiver<Job>,
    status: &Status,
    grace: Duration,
    stop: &dyn Fn() -> bool,
) {
    let mut desk = Desk {
        batcher: Batcher::new(engine, at_once),
        open: BTreeMap::new(),
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
    open: BTreeMap<RequestId, Open>,
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
        let (job, tell) = (&self.job, |kind, text: String| {
            if !text.is_empty() {
                self.job.tell(News::Piece { choice, kind, text });
            }
        });
        let (mut finish, watch) = (None, &mut answer.watch);
        if delta.kind == PartKind::Text {
            let (ready, found) = watch.push(&delta.text);
            tell(PartKind::Text, ready);
            finish = found.then_some(Finish::Stop);
        } else if !delta.text.is_empty() {
            // No stop string reaches across a tool call.
            tell(PartKind::Text, watch.finish());
            tell(delta.kind, delta.text.clone());
        }
        if finish.is_none()
            && let Some(stopped) = delta.stopped
        {
            tell(PartKind::Text, watch.finish());
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
            let text = answer.watch.finish();
            if !text.is_empty() {
                self.job.tell(News::Piece {
                    choice,
                    kind: PartKind::Text,
                    text,
                });
            }
            self.job.tell(News::Finished {
                choice,
                finish,
                tokens: answer.tokens,
            });
        }
    }
}
