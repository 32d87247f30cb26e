//! Batches made ahead on other threads, each with the state after it. This room
//! must never know what a training step does with them.

use std::sync::Arc;

use crate::ahead::{Ahead, ahead};
use crate::corpus::{Corpus, Kind, Split};
use crate::documents::Documents;
use crate::encode::Encode;
use crate::error::DataError;
use crate::packing::{BestFit, Packer, Packing, RandomWindows, Stream, TokenChunk};
use crate::pipeline::{Pipeline, PipelineConfig, spawn};
use crate::state::{Identity, LoaderState};

/// More tokens than this in one batch are taken for a slip of the hand.
const MAX_BATCH_TOKENS: u64 = 1 << 31;

/// What batches to make.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Rows per batch, B.
    pub batch_size: usize,
    /// Tokens per row, T.
    pub sequence_len: usize,
    /// Which part of the corpus.
    pub split: Split,
    /// How documents fill rows.
    pub packing: Packing,
    /// (rank, number of ranks W). There is one global sequence of rows; of each
    /// W·B of them rank r takes rows r, r+W, …
    pub ranks: (usize, usize),
    /// Tokenising threads, at least 1. Any number gives the same batches.
    pub threads: usize,
    /// Batches that may wait to be taken, at least 1.
    pub prefetch: usize,
}

impl LoaderConfig {
    /// B rows of T tokens on one rank, one tokenising thread, four batches ahead.
    pub fn new(batch_size: usize, sequence_len: usize, split: Split, packing: Packing) -> Self {
        LoaderConfig {
            batch_size,
            sequence_len,
            split,
            packing,
            ranks: (0, 1),
            threads: 1,
            prefetch: 4,
        }
    }

    fn check(&self) -> Result<(), DataError> {
        check_shape(
            self.batch_size,
            self.sequence_len,
            self.ranks,
            self.threads,
            self.prefetch,
        )
    }

    /// Tokens that the first batch takes over all ranks.
    fn tokens_needed(&self) -> u64 {
        let (batch, length) = (self.batch_size as u64, self.sequence_len as u64);
        let world = self.ranks.1 as u64;
        match self.packing {
            Packing::BestFit => world * batch * (length + 1),
            Packing::Stream => world * (batch * length + 1),
            Packing::RandomWindows { .. } => length + 1,
        }
    }
}

/// Refuses settings that no loader can work with.
pub(crate) fn check_shape(
    batch_size: usize,
    sequence_len: usize,
    (rank, world): (usize, usize),
    threads: usize,
    prefetch: usize,
) -> Result<(), DataError> {
    let refuse = |sentence: String| Err(DataError::Config(sentence));
    if batch_size == 0 || sequence_len == 0 {
        return refuse("batch size and sequence length must be at least 1".into());
    }
    let rows = (batch_size as u64).saturating_mul(world.max(1) as u64);
    if rows.saturating_mul((sequence_len as u64).saturating_add(1)) > MAX_BATCH_TOKENS {
        return refuse(format!(
            "a batch of {rows} rows of {sequence_len} tokens is more than {MAX_BATCH_TOKENS} tokens; \
             choose a smaller one"
        ));
    }
    if rank >= world {
        return refuse(format!("rank {rank} does not exist among {world} ranks"));
    }
    if threads == 0 || prefetch == 0 {
        return refuse("the loader needs at least 1 thread and 1 batch of prefetch".into());
    }
    Ok(())
}

/// One batch of one rank.
#[derive(Debug, Default)]
pub struct Batch {
    /// Token ids `[B, T]`.
    pub inputs: Vec<u32>,
    /// The token after each input `[B, T]`; −1 means: no target.
    pub targets: Vec<i32>,
    /// The loader's state after this batch.
    pub state: LoaderState,
}

/// Hands out batches; dropping it stops its threads.
pub struct Loader(Ahead);

impl Loader {
    /// Starts reading, tokenising and packing at the beginning of the split, or
    /// after the batch whose state is given. The batches never end: after the
    /// last document comes the first again ([`LoaderState::position`] counts the
    /// epochs; with [`Packing::Stream`] it is 0 until a batch holds a token of
    /// the second pass). A state may be continued with another number of ranks
    /// or rows.
    ///
    /// # Errors
    /// Settings that cannot work, a split without documents, or a state of
    /// something else. What goes wrong later comes out of
    /// [`next_batch`](Self::next_batch).
    pub fn start<E: Encode + 'static>(
        corpus: &Corpus,
        tokenizer: Arc<E>,
        config: LoaderConfig,
        resume: Option<LoaderState>,
    ) -> Result<Loader, DataError> {
        config.check()?;
        let tokenizer: Arc<dyn Encode> = tokenizer;
        let identity = Identity {
            corpus: corpus.describe().fingerprint.clone(),
            tokenizer: tokenizer.fingerprint(),
            split: Some(config.split),
            packing: Some(config.packing),
            sequence_len: config.sequence_len as u64,
            conversations: None,
        };
        let fresh = resume.is_none();
        let state = match resume {
            Some(state) => {
                state.check(&identity, tokenizer.vocab_size())?;
                if let Some(skipped) = state.skipped().first().filter(|_| corpus.is_strict()) {
                    return Err(DataError::State(format!(
                        "its run has gone on without {}, and no file may be left out; leave strictness out, or start anew",
                        skipped.name
                    )));
                }
                state
            }
            None => LoaderState {
                identity,
                position: corpus.begin(config.split),
                ..LoaderState::default()
            },
        };
        let documents = match config.packing {
            Packing::RandomWindows { .. } => {
                let begin = corpus.begin(config.split);
                corpus.documents_from(config.split, begin, Some(1), Arc::clone(&state.seen))?
            }
            _ => corpus.documents_from(config.split, state.position, None, Arc::clone(&state.seen))?,
        };
        let (mut ahead, maker) = ahead(config.prefetch);
        let kind = corpus.describe().kind;
        let pipeline = start_pipeline(documents, kind, &tokenizer, &config, &mut ahead)?;
        let path = corpus.describe().path.clone();
        let packing = spawn("pack-batches", move || {
            let mut source = Source {
                pipeline,
                fresh,
                config,
                path,
                state,
            };
            let mut row = vec![0; source.config.sequence_len + 1];
            match source.packer() {
                Ok(mut packer) => maker.run(|batch| source.fill(&mut packer, &mut row, batch)),
                Err(error) => maker.fail(error),
            }
        })?;
        ahead.threads.push(packing);
        Ok(Loader(ahead))
    }

    /// The next batch, waiting for it if need be.
    ///
    /// # Errors
    /// Whatever stopped the threads, once, after every batch made before it;
    /// then [`DataError::Stopped`].
    pub fn next_batch(&mut self) -> Result<Batch, DataError> {
        self.0.next()?.ok_or(DataError::Stopped)
    }

    /// Gives a batch back, so that its memory is used for a later one: a loop
    /// that returns what it takes allocates nothing here.
    pub fn recycle(&self, batch: Batch) {
        self.0.recycle(batch);
    }
}

fn start_pipeline(
    documents: Documents,
    kind: Kind,
    tokenizer: &Arc<dyn Encode>,
    config: &LoaderConfig,
    ahead: &mut Ahead,
) -> Result<Pipeline, DataError> {
    let best_fit = config.packing == Packing::BestFit;
    let is_text = matches!(kind, Kind::TextFile | Kind::TextFolder);
    let settings = PipelineConfig {
        threads: config.threads,
        bos_for_every_piece: best_fit,
        // A text file is one document by our convention, not its author's:
        // dividing it loses nothing, cutting it would lose nearly all, and a
        // buffer of a thousand such documents would fill the memory.
        longest: (best_fit && is_text).then_some(config.sequence_len + 1),
        stop: Arc::clone(&ahead.stop),
    };
    Pipeline::start(documents, tokenizer, settings, &mut ahead.threads)
}

/// The packing thread's belongings.
struct Source {
    pipeline: Pipeline,
    /// Begun at the beginning, not resumed: the only case in which the tokens
    /// of the first pass are counted.
    fresh: bool,
    config: LoaderConfig,
    path: std::path::PathBuf,
    state: LoaderState,
}

impl Source {
    fn packer(&mut self) -> Result<Packer, DataError> {
        let buffer = std::mem::take(&mut self.state.buffer);
        let dropped = self.state.counters.tokens_dropped;
        let offset = self.state.offset as usize;
        Ok(match self.config.packing {
            Packing::BestFit => Packer::BestFit(BestFit::new(buffer, dropped)),
            Packing::Stream => Packer::Stream(Stream::new(buffer, offset, self.config.batch_size)),
            Packing::RandomWindows { seed } => {
                let tokens = self.whole_split()?;
                Packer::RandomWindows(RandomWindows::new(tokens, seed, self.state.counters.rows))
            }
        })
    }

    /// All tokens of the split, for random windows.
    fn whole_split(&mut self) -> Result<Vec<u32>, DataError> {
        let mut tokens: Vec<u32> = Vec::new();
        let mut documents = 0;
        while let Some(chunk) = self.pipeline.next()? {
            documents += chunk.documents.len() as u64;
            self.state.seen = chunk.seen.unwrap_or_default();
            for document in chunk.documents {
                tokens.extend_from_slice(&document);
            }
        }
        self.state.counters.documents_read = documents;
        self.state.counters.tokens_read = tokens.len() as u64;
        if (tokens.len() as u64) < self.config.tokens_needed() {
            return Err(self.too_small(tokens.len() as u64));
        }
        Ok(tokens)
    }

    /// Packs the rows of one batch over all ranks and keeps this rank's.
    fn fill(&mut self, packer: &mut Packer, row: &mut [u32], batch: &mut Batch) -> Result<bool, DataError> {
        let (rank, world) = self.config.ranks;
        let length = self.config.sequence_len;
        let rows = world * self.config.batch_size;
        batch.inputs.clear();
        batch.targets.clear();
        for index in 0..rows {
            let filled = packer.fill_row(row, &mut || self.next_chunk().map(Some))?;
            debug_assert!(filled, "documents never end");
            if index % world == rank {
                batch.inputs.extend_from_slice(&row[..length]);
                let targets = row[1..].iter().map(|&id| id as i32);
                batch.targets.extend(targets);
            }
        }
        self.state.counters.rows += rows as u64;
        self.state.counters.tokens_dropped = packer.tokens_dropped();
        // Field by field: the recycled state keeps its buffer's memory.
        packer.save(&mut batch.state);
        batch.state.identity.clone_from(&self.state.identity);
        batch.state.position = self.state.position;
        batch.state.counters = self.state.counters;
        batch.state.seen.clone_from(&self.state.seen);
        Ok(true)
    }

    fn next_chunk(&mut self) -> Result<TokenChunk, DataError> {
        let chunk = self.pipeline.next()?.ok_or(DataError::Stopped)?;
        let counters = &mut self.state.counters;
        if self.fresh && chunk.after.epoch > 0 {
            // Exactly one pass has been read.
            let tokens = counters.tokens_read;
            self.fresh = false;
            if tokens < self.config.tokens_needed() {
                return Err(self.too_small(tokens));
            }
        }
        let counters = &mut self.state.counters;
        counters.documents_read += chunk.documents.len() as u64;
        counters.tokens_read += chunk
            .documents
            .iter()
            .map(|document| document.len() as u64)
            .sum::<u64>();
        self.state.position = chunk.after;
        if let Some(seen) = &chunk.seen {
            self.state.seen.clone_from(seen);
        }
        Ok(chunk)
    }

    fn too_small(&self, tokens: u64) -> DataError {
        DataError::TooSmall {
            path: self.path.clone(),
            split: self.config.split,
            tokens,
            needed: self.config.tokens_needed(),
        }
    }
}
