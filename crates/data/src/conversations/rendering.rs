//! Rendering on threads of their own, in an order that does not depend on how
//! many there are: each makes every n-th chunk of the global order by itself.
//! This room must never know how conversations become rows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ferrochat_chat::render;
use ferrochat_tokenizer::Tokenizer;

use super::mixture::Mixture;
use crate::ahead::Ahead;
use crate::error::DataError;
use crate::packing::ConversationPacking;
use crate::pipeline::spawn;
use crate::token;

/// Conversations that travel together.
const CHUNK: u64 = 32;

/// Chunks that may wait after each thread.
const WAITING_CHUNKS: usize = 4;

/// A conversation as tokens, marked where they are learned (`token.rs`).
pub(crate) struct Tokens {
    pub(crate) tokens: Arc<[u32]>,
    /// Tokens beyond the longest that a row can hold.
    pub(crate) cut: u64,
}

type Chunk = Result<Option<Vec<Tokens>>, DataError>;

/// What the threads need to know.
#[derive(Clone)]
pub(crate) struct Rendering {
    pub(crate) mixture: Mixture,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) packing: ConversationPacking,
    /// Longer conversations lose their end.
    pub(crate) longest: usize,
    /// Passes of the mixture follow each other; the first conversation to render
    /// and the one before which to stop, counted over all of them.
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// The receiving end of the rendering threads.
pub(crate) struct Rendered {
    threads: Vec<Receiver<Chunk>>,
    turn: usize,
    waiting: VecDeque<Tokens>,
    ended: bool,
}

impl Rendered {
    /// Starts `threads` threads and adds them to `ahead`.
    pub(crate) fn start(rendering: &Rendering, threads: usize, ahead: &mut Ahead) -> Result<Self, DataError> {
        let mut receivers = Vec::new();
        for index in 0..threads {
            let (chunks, receiver) = sync_channel(WAITING_CHUNKS);
            receivers.push(receiver);
            let (rendering, stop) = (rendering.clone(), Arc::clone(&ahead.stop));
            let thread = spawn(&format!("render-{index}"), move || {
                rendering.run(index, threads, &chunks, &stop);
            })?;
            ahead.threads.push(thread);
        }
        Ok(Rendered {
            threads: receivers,
            turn: 0,
            waiting: VecDeque::new(),
            ended: false,
        })
    }

    /// The next conversation; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Tokens>, DataError> {
        while self.waiting.is_empty() && !self.ended {
            let chunk = self.threads[self.turn].recv();
            self.turn = (self.turn + 1) % self.threads.len();
            match chunk.unwrap_or(Err(DataError::Stopped))? {
                Some(chunk) => self.waiting.extend(chunk),
                None => self.ended = true,
            }
        }
        Ok(self.waiting.pop_front())
    }
}

impl Rendering {
    fn run(&self, index: usize, threads: usize, chunks: &SyncSender<Chunk>, stop: &AtomicBool) {
        let mut begin = self.from.saturating_add(index as u64 * CHUNK);
        while !stop.load(Ordering::Relaxed) {
            let chunk = if begin < self.until {
                self.chunk(begin, stop).map(Some)
            } else {
                Ok(None)
            };
            let last = !matches!(chunk, Ok(Some(_)));
            if chunks.send(chunk).is_err() || last {
                return;
            }
            begin = begin.saturating_add(threads as u64 * CHUNK);
        }
    }

    fn chunk(&self, begin: u64, stop: &AtomicBool) -> Result<Vec<Tokens>, DataError> {
        let end = begin.saturating_add(CHUNK).min(self.until);
        let mut chunk = Vec::with_capacity(CHUNK as usize);
        let count = self.mixture.count();
        let mut pass = begin / count;
        let mut order = self.mixture.order(pass);
        for number in begin..end {
            if stop.load(Ordering::Relaxed) {
                return Err(DataError::Stopped);
            }
            if number / count != pass {
                pass = number / count;
                order = self.mixture.order(pass);
            }
            chunk.push(self.render(order.at(number % count))?);
        }
        Ok(chunk)
    }

    fn render(&self, number: u64) -> Result<Tokens, DataError> {
        let place = self.mixture.place(number);
        let conversation = self.mixture.get(place)?;
        // Cut here and not there, to know how much is lost.
        let rendered = render(&conversation, &self.tokenizer, usize::MAX);
        let rendered = rendered.map_err(|error| self.mixture.fault(place, error))?;
        let every_token = self.packing == ConversationPacking::Stream;
        let marked = rendered.ids.iter().zip(&rendered.mask).take(self.longest);
        let tokens = marked.map(|(&id, &mask)| {
            if mask == 1 || every_token {
                token::learned(id)
            } else {
                id
            }
        });
        Ok(Tokens {
            cut: rendered.ids.len().saturating_sub(self.longest) as u64,
            tokens: tokens.collect(),
        })
    }
}
