//! Tasks whose answers are written. This room must never know how they are judged, but that it may take a while: they
//! are judged on threads of their own while the model goes on with the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ferrochat_chat::{Batcher, Engine, Reply, ReplyOptions, Request, Stopped};

use super::{Answered, Run, Sink, Watch};
use crate::error::TaskError;
use crate::score::FalseRefusals;
use crate::task::{Task, transcript};

/// Tokens of each reply between two looks at the watch, where none ends.
const STEPS: usize = 16;

/// How often one looks at the watch when all is written and not yet judged.
const LOOK: Duration = Duration::from_millis(100);

/// Threads that judge, at most.
const JUDGES: usize = 8;

/// All replies to an item.
struct Written {
    index: usize,
    replies: Vec<Reply>,
}

type Judged = Result<(Answered, FalseRefusals), TaskError>;

impl Run<'_> {
    /// Replies to every item. What an item's replies draw depends on the seed and its number alone.
    pub(super) fn write(
        &mut self,
        engine: &Engine,
        options: &ReplyOptions,
        watch: &mut Watch,
        sink: &mut Sink,
    ) -> Result<(), TaskError> {
        let judges = thread::available_parallelism().map_or(1, usize::from).min(JUDGES);
        let (written, work) = mpsc::channel();
        let (judged, done) = mpsc::channel();
        let (work, given_up, task) = (Mutex::new(work), AtomicBool::new(false), self.task);
        thread::scope(|scope| {
            for _ in 0..judges {
                let (work, judged, given_up) = (&work, judged.clone(), &given_up);
                scope.spawn(move || judge(task, work, &judged, given_up));
            }
            drop(judged);
            let result = self.write_all(engine, options, written, &done, watch, sink);
            // Nobody wants to know any more, if anything is left.
            given_up.store(true, Ordering::Relaxed);
            result
        })
    }

    fn write_all(
        &mut self,
        engine: &Engine,
        options: &ReplyOptions,
        written: Sender<Written>,
        done: &Receiver<Judged>,
        watch: &mut Watch,
        sink: &mut Sink,
    ) -> Result<(), TaskError> {
        let samples = options.samples;
        let mut batcher = Batcher::new(engine, options.batch);
        for &index in &self.order {
            batcher.submit(Request {
                prompt: self.prompts[index].clone(),
                samples,
                max_tokens: options.max_tokens,
                sampling: options.sampling,
                stream: (index * samples) as u64,
                likelihoods: None,
            })?;
        }
        // Places for each sample: they end in any order, and who writes them down wants the same one every time.
        let mut waiting: Vec<Vec<Option<Reply>>> = vec![vec![None; samples]; self.order.len()];
        self.report(watch)?;
        let (mut steps, mut reported) = (0, 0);
        while !batcher.is_idle() {
            for event in batcher.step() {
                let Some(reply) = event.reply else { continue };
                if reply.stopped == Stopped::Memory {
                    return Err(TaskError::Request(format!(
                        "memory ran out after {} tokens of an answer; ask for fewer tokens, or use a smaller batch",
                        reply.ids.len()
                    )));
                }
                // Requests are numbered as they were submitted.
                let number = event.id.0 as usize;
                waiting[number][event.delta.row] = Some(reply);
                if waiting[number].iter().all(Option::is_some) {
                    let replies = std::mem::take(&mut waiting[number]).into_iter().flatten().collect();
                    let index = self.order[number];
                    written
                        .send(Written { index, replies })
                        .expect("the judges listen until this end is dropped");
                }
            }
            while let Ok(judged) = done.try_recv() {
                self.take(judged, sink)?;
            }
            steps += 1;
            if self.done.items > reported || steps % STEPS == 0 {
                reported = self.done.items;
                self.report(watch)?;
            }
        }
        drop(written);
        while self.done.items < self.order.len() {
            match done.recv_timeout(LOOK) {
                Ok(judged) => self.take(judged, sink)?,
                Err(RecvTimeoutError::Timeout) => {}
                // A judge panicked, which goes on where the threads are joined.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.report(watch)?;
        }
        Ok(())
    }

    fn take(&mut self, judged: Judged, sink: &mut Sink) -> Result<(), TaskError> {
        let (answered, refusals) = judged?;
        self.refusals.refused += refusals.refused;
        self.refusals.replies += refusals.replies;
        self.finish(answered, sink);
        Ok(())
    }
}

/// Judges what comes until nothing more does.
fn judge(task: &dyn Task, work: &Mutex<Receiver<Written>>, judged: &Sender<Judged>, given_up: &AtomicBool) {
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Written { index, replies }) = next else { return };
        let mut answered = Answered {
            index,
            said: replies.iter().map(transcript).collect(),
            right: Vec::with_capacity(replies.len()),
        };
        let mut refusals = FalseRefusals::default();
        for reply in &replies {
            if given_up.load(Ordering::Relaxed) {
                return;
            }
            match task.grade(index, reply) {
                Ok(right) => answered.right.push(right),
                Err(error) => {
                    let _ = judged.send(Err(error));
                    return;
                }
            }
            if let Some(refused) = task.falsely_refused(reply) {
                refusals.refused += usize::from(refused);
                refusals.replies += 1;
            }
        }
        if judged.send(Ok((answered, refusals))).is_err() {
            return;
        }
    }
}
