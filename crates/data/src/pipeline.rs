//! Reading and tokenising on threads of their own, in an order that does not
//! depend on how many there are: chunk i goes to worker i mod n and is taken
//! back from it in turn, so nothing is ever sorted or waited for out of order.
//! This room must never know how tokens become rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::documents::{Chunk, Documents};
use crate::encode::Encode;
use crate::error::DataError;
use crate::packing::TokenChunk;

/// Chunks that may wait before and after each worker.
const WAITING_CHUNKS: usize = 2;

type Read = Result<Option<Chunk>, DataError>;
type Tokenised = Result<Option<TokenChunk>, DataError>;

/// The receiving end of the tokenising threads.
pub(crate) struct Pipeline {
    workers: Vec<Receiver<Tokenised>>,
    turn: usize,
}

/// What the threads need to know.
pub(crate) struct PipelineConfig {
    pub(crate) threads: usize,
    /// Every piece gets a BOS, not only those that begin a document.
    pub(crate) bos_for_every_piece: bool,
    /// Longer documents are divided into documents of this many tokens.
    pub(crate) longest: Option<usize>,
    /// Set when the loader is dropped.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Pipeline {
    /// Starts one reader and `threads` tokenising threads; their handles are
    /// added to `handles`.
    pub(crate) fn start(
        documents: Documents,
        tokenizer: &Arc<dyn Encode>,
        config: PipelineConfig,
        handles: &mut Vec<JoinHandle<()>>,
    ) -> Result<Self, DataError> {
        let mut to_workers = Vec::new();
        let mut workers = Vec::new();
        for index in 0..config.threads {
            let (to_worker, chunks) = sync_channel(WAITING_CHUNKS);
            let (tokens, from_worker) = sync_channel(WAITING_CHUNKS);
            to_workers.push(to_worker);
            workers.push(from_worker);
            let worker = Worker {
                tokenizer: Arc::clone(tokenizer),
                bos_for_every_piece: config.bos_for_every_piece,
                longest: config.longest,
                stop: Arc::clone(&config.stop),
            };
            handles.push(spawn(&format!("tokenize-{index}"), move || {
                worker.run(&chunks, &tokens);
            })?);
        }
        let stop = config.stop;
        handles.push(spawn("read-data", move || {
            read(documents, &to_workers, &stop);
        })?);
        Ok(Pipeline { workers, turn: 0 })
    }

    /// The next chunk; `None` when a single pass has ended.
    pub(crate) fn next(&mut self) -> Tokenised {
        let chunk = self.workers[self.turn].recv();
        self.turn = (self.turn + 1) % self.workers.len();
        chunk.unwrap_or(Err(DataError::Stopped))
    }
}

/// Starts a named thread.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, DataError> {
    Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| DataError::Config(format!("cannot start a loader thread: {error}")))
}

fn read(mut documents: Documents, workers: &[SyncSender<Read>], stop: &AtomicBool) {
    for worker in workers.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let chunk = documents.next_chunk();
        let last = !matches!(chunk, Ok(Some(_)));
        if worker.send(chunk).is_err() || last {
            return;
        }
    }
}

struct Worker {
    tokenizer: Arc<dyn Encode>,
    bos_for_every_piece: bool,
    longest: Option<usize>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn run(&self, chunks: &Receiver<Read>, tokens: &SyncSender<Tokenised>) {
        let mut ids = Vec::new();
        for chunk in chunks {
            let chunk = match chunk {
                Ok(Some(chunk)) => match self.tokenise(chunk, &mut ids) {
                    Some(tokenised) => Ok(Some(tokenised)),
                    None => return,
                },
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            if tokens.send(chunk).is_err() {
                return;
            }
        }
    }

    /// `None` when the loader was dropped meanwhile.
    fn tokenise(&self, chunk: Chunk, ids: &mut Vec<u32>) -> Option<TokenChunk> {
        let mut documents = Vec::with_capacity(chunk.documents.len());
        for document in chunk.documents {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            ids.clear();
            if document.begins || self.bos_for_every_piece {
                ids.push(self.tokenizer.bos());
            }
            self.tokenizer.encode_ordinary_into(&document.text, ids);
            let Some(longest) = self.longest.filter(|&longest| ids.len() > longest) else {
                if !ids.is_empty() {
                    documents.push(Arc::from(ids.as_slice()));
                }
                continue;
            };
            for part in ids[1..].chunks(longest - 1) {
                documents.push(std::iter::once(ids[0]).chain(part.iter().copied()).collect());
            }
        }
        Some(TokenChunk {
            documents,
            after: chunk.after,
            seen: Some(chunk.seen),
        })
    }
}
