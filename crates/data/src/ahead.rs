//! The two ends of a loader: batches made ahead on one thread, taken by another.
//! This room must never know what fills a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::error::DataError;
use crate::loader::Batch;

/// A batch, or `None` where the data has ended.
type Made = Result<Option<Batch>, DataError>;

/// The taking end; dropping it stops the threads.
pub(crate) struct Ahead {
    /// `None` once dropping has begun.
    batches: Option<Receiver<Made>>,
    returned: SyncSender<Batch>,
    /// Set when the loader is dropped.
    pub(crate) stop: Arc<AtomicBool>,
    /// Joined when the loader is dropped.
    pub(crate) threads: Vec<JoinHandle<()>>,
}

/// The making end.
pub(crate) struct Maker {
    batches: SyncSender<Made>,
    recycled: Receiver<Batch>,
}

/// Both ends, with room for `prefetch` batches between them.
pub(crate) fn ahead(prefetch: usize) -> (Ahead, Maker) {
    let (to_loop, batches) = sync_channel(prefetch);
    // One with the training loop, one in the packer's hands, the rest waiting.
    let (returned, recycled) = sync_channel(prefetch + 2);
    let ahead = Ahead {
        batches: Some(batches),
        returned,
        stop: Arc::new(AtomicBool::new(false)),
        threads: Vec::new(),
    };
    let maker = Maker {
        batches: to_loop,
        recycled,
    };
    (ahead, maker)
}

impl Ahead {
    /// The next batch; [`DataError::Stopped`] after an error or the end.
    pub(crate) fn next(&self) -> Made {
        let batches = self.batches.as_ref().ok_or(DataError::Stopped)?;
        batches.recv().unwrap_or(Err(DataError::Stopped))
    }

    pub(crate) fn recycle(&self, batch: Batch) {
        // A full channel only means that this batch is freed instead.
        let _ = self.returned.try_send(batch);
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Whoever waits to send finds its receiver gone, from here backwards.
        self.batches = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has already said so.
            let _ = thread.join();
        }
    }
}

impl Maker {
    /// Sends what `fill` makes (false: there is no more) until it ends, fails,
    /// or nobody listens.
    pub(crate) fn run(self, mut fill: impl FnMut(&mut Batch) -> Result<bool, DataError>) {
        loop {
            let mut batch = self.recycled.try_recv().unwrap_or_default();
            let made = fill(&mut batch);
            let last = !matches!(made, Ok(true));
            if self.batches.send(made.map(|some| some.then_some(batch))).is_err() || last {
                return;
            }
        }
    }

    /// Says why no batch can be made.
    pub(crate) fn fail(self, error: DataError) {
        // Nobody listens any more if this fails.
        let _ = self.batches.send(Err(error));
    }
}
