//! Batches of conversations made ahead on other threads, each with the state
//! after it. This room must never know what a training step does with them.

use std::sync::Arc;

use ferrochat_tokenizer::Tokenizer;

use super::mixture::Mixture;
use super::rendering::{Rendered, Rendering};
use crate::ahead::{Ahead, ahead};
use crate::documents::Position;
use crate::error::DataError;
use crate::loader::{Batch, check_shape};
use crate::packing::{BestFit, ConversationPacking, OnePerRow, Packer, Stream, TokenChunk};
use crate::pipeline::spawn;
use crate::state::{Counters, Identity, LoaderState};
use crate::token;

/// What batches to make of a mixture.
#[derive(Clone, Debug)]
pub struct ConversationLoaderConfig {
    /// Rows per batch, B.
    pub batch_size: usize,
    /// Tokens per row, T. Conversations longer than T tokens lose their end (nanochat cuts at 2048, its T).
    pub sequence_len: usize,
    /// How conversations fill rows.
    pub packing: ConversationPacking,
    /// (rank, number of ranks W). There is one global sequence of rows; of each
    /// W·B of them rank r takes rows r, r+W, …
    pub ranks: (usize, usize),
    /// Rendering threads, at least 1. Any number gives the same batches.
    pub threads: usize,
    /// Batches that may wait to be taken, at least 1.
    pub prefetch: usize,
    /// After how many passes of the mixture the batches end; `None`: never.
    pub passes: Option<u64>,
}

impl ConversationLoaderConfig {
    /// B rows of T tokens on one rank, one pass, one rendering thread, four
    /// batches ahead.
    pub fn new(batch_size: usize, sequence_len: usize, packing: ConversationPacking) -> Self {
        ConversationLoaderConfig {
            batch_size,
            sequence_len,
            packing,
            ranks: (0, 1),
            threads: 1,
            prefetch: 4,
            passes: Some(1),
        }
    }
}

/// Hands out batches of conversations; dropping it stops its threads.
///
/// The last batch before the end is filled up with rows of BOS without targets,
/// so every rank gets as many batches as the others. Rows, even whole batches of
/// a rank, may have no target at all.
pub struct ConversationLoader {
    ahead: Ahead,
    ended: bool,
}

/// What one run over a mixture comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Batches of one rank.
    pub batches: u64,
    /// Targets that are not −1, over all ranks.
    pub targets: u64,
    /// Conversations, their tokens, those lost, and rows that hold any.
    pub counters: Counters,
}

impl ConversationLoader {
    /// Starts at the first conversation, or after the batch whose state is given.
    /// A state may be continued with another number of ranks, rows or passes.
    ///
    /// # Errors
    /// Settings that cannot work, an empty mixture, or a state of something else.
    /// What goes wrong later comes out of [`next_batch`](Self::next_batch).
    pub fn start(
        mixture: &Mixture,
        tokenizer: &Arc<Tokenizer>,
        config: ConversationLoaderConfig,
        resume: Option<LoaderState>,
    ) -> Result<Self, DataError> {
        let ConversationLoaderConfig { packing, passes, .. } = config;
        check_shape(
            config.batch_size,
            config.sequence_len,
            config.ranks,
            config.threads,
            config.prefetch,
        )?;
        if mixture.count() == 0 {
            let sentence = "the mixture holds no conversations; give it at least one source";
            return Err(DataError::Config(sentence.into()));
        }
        if passes == Some(0) {
            let sentence = "0 passes over the conversations make no batch; choose at least 1";
            return Err(DataError::Config(sentence.into()));
        }
        let identity = Identity {
            corpus: mixture.fingerprint(),
            tokenizer: tokenizer.fingerprint(),
            split: None,
            packing: None,
            sequence_len: config.sequence_len as u64,
            conversations: Some(packing),
        };
        let longest = config.sequence_len;
        let state = match resume {
            Some(state) => {
                state.check(&identity, tokenizer.vocab_size())?;
                // A longer one would never find a row.
                if state.buffer.iter().any(|tokens| tokens.len() > longest) {
                    let what = "it holds a conversation longer than a row; start anew";
                    return Err(DataError::State(what.into()));
                }
                state
            }
            None => LoaderState {
                identity,
                ..LoaderState::default()
            },
        };
        let rendering = Rendering {
            mixture: mixture.clone(),
            tokenizer: Arc::clone(tokenizer),
            packing,
            longest,
            from: number_of(state.position, mixture.count())?,
            until: passes.map_or(u64::MAX, |passes| passes.saturating_mul(mixture.count())),
        };
        let (mut ahead, maker) = ahead(config.prefetch);
        let rendered = Rendered::start(&rendering, config.threads, &mut ahead)?;
        let mut source = Source {
            next: rendering.from,
            count: mixture.count(),
            pad: tokenizer.bos(),
            rendered,
            config,
            state,
        };
        let packing = spawn("pack-conversations", move || {
            let mut packer = source.packer();
            let mut row = vec![0; source.config.sequence_len + 1];
            maker.run(|batch| source.fill(&mut packer, &mut row, batch));
        })?;
        ahead.threads.push(packing);
        Ok(ConversationLoader { ahead, ended: false })
    }

    /// The next batch, waiting for it if need be; `None` after the last.
    ///
    /// # Errors
    /// Whatever stopped the threads, once, after every batch made before it;
    /// then [`DataError::Stopped`].
    pub fn next_batch(&mut self) -> Result<Option<Batch>, DataError> {
        if self.ended {
            return Ok(None);
        }
        let batch = self.ahead.next()?;
        self.ended = batch.is_none();
        Ok(batch)
    }

    /// Gives a batch back, so that its memory is used for a later one.
    pub fn recycle(&self, batch: Batch) {
        self.ahead.recycle(batch);
    }

    /// Counts what a run of [`passes`](ConversationLoaderConfig::passes) passes
    /// (one, if endless) comes to, by making all its batches: about as long as
    /// tokenising everything takes.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`next_batch`](Self::next_batch).
    pub fn survey(
        mixture: &Mixture,
        tokenizer: &Arc<Tokenizer>,
        config: &ConversationLoaderConfig,
    ) -> Result<Survey, DataError> {
        // One rank with the rows of all: the same rows in as many batches. The
        // stream's blocks are an exception and keep their size.
        let (stream, world) = (config.packing == ConversationPacking::Stream, config.ranks.1.max(1));
        let mut config = ConversationLoaderConfig {
            ranks: (0, 1),
            passes: config.passes.or(Some(1)),
            ..config.clone()
        };
        if !stream {
            config.batch_size = config.batch_size.saturating_mul(world);
        }
        let mut loader = ConversationLoader::start(mixture, tokenizer, config, None)?;
        let mut survey = Survey::default();
        while let Some(batch) = loader.next_batch()? {
            survey.batches += 1;
            survey.targets += batch.targets.iter().filter(|&&target| target >= 0).count() as u64;
            survey.counters = batch.state.counters();
            loader.recycle(batch);
        }
        if stream {
            survey.batches = survey.batches.div_ceil(world as u64);
        }
        Ok(survey)
    }
}

/// The number of a conversation, counted over all passes.
fn number_of(position: Position, count: u64) -> Result<u64, DataError> {
    let number = position.epoch.checked_mul(count);
    let number = number.and_then(|number| number.checked_add(position.row));
    number
        .filter(|_| position.row < count)
        .ok_or_else(|| DataError::State("it points outside the conversations; start anew".into()))
}

/// The packing thread's belongings.
struct Source {
    rendered: Rendered,
    config: ConversationLoaderConfig,
    state: LoaderState,
    /// The next conversation, counted over all passes of `count`.
    next: u64,
    count: u64,
    pad: u32,
}

impl Source {
    fn packer(&mut self) -> Packer {
        let buffer = std::mem::take(&mut self.state.buffer);
        let offset = self.state.offset as usize;
        match self.config.packing {
            ConversationPacking::BestFit => Packer::BestFit(BestFit::padded(buffer, self.pad)),
            ConversationPacking::OnePerRow => Packer::OnePerRow(OnePerRow::new(buffer, self.pad)),
            ConversationPacking::Stream => {
                let stream = Stream::new(buffer, offset, self.config.batch_size);
                Packer::Stream(stream.ending_with(self.pad))
            }
        }
    }

    /// Packs the rows of one batch over all ranks and keeps this rank's; false
    /// when there is nothing left for any.
    fn fill(&mut self, packer: &mut Packer, row: &mut [u32], batch: &mut Batch) -> Result<bool, DataError> {
        let (rank, world) = self.config.ranks;
        let length = self.config.sequence_len;
        batch.inputs.clear();
        batch.targets.clear();
        let mut filled = 0;
        for index in 0..world * self.config.batch_size {
            // Once it has ended, a packer says so again.
            if packer.fill_row(row, &mut || self.next_chunk())? {
                filled += 1;
            } else {
                row.fill(self.pad);
            }
            if index % world == rank {
                batch.inputs.extend(row[..length].iter().map(|&token| token::id(token)));
                batch.targets.extend(row[1..].iter().map(|&token| token::target(token)));
            }
        }
        if filled == 0 {
            return Ok(false);
        }
        self.state.counters.rows += filled;
        packer.save(&mut batch.state);
        batch.state.identity.clone_from(&self.state.identity);
        batch.state.position = self.state.position;
        batch.state.counters = self.state.counters;
        Ok(true)
    }

    /// One conversation at a time: the buffer of best fit holds 100 exactly.
    fn next_chunk(&mut self) -> Result<Option<TokenChunk>, DataError> {
        let Some(conversation) = self.rendered.next()? else {
            return Ok(None);
        };
        self.next += 1;
        self.state.position = Position {
            epoch: self.next / self.count,
            row: self.next % self.count,
            ..Position::default()
        };
        let counters = &mut self.state.counters;
        counters.documents_read += 1;
        counters.tokens_read += conversation.tokens.len() as u64;
        counters.tokens_dropped += conversation.cut;
        Ok(Some(TokenChunk {
            documents: vec![conversation.tokens],
            after: self.state.position,
            seen: None,
        }))
    }
}
