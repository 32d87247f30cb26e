//! From tokenised documents to rows of T+1 tokens. This room knows lengths and
//! ids; it must never know of files or threads.

mod best_fit;
mod one_per_row;
mod stream;
mod windows;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::documents::Position;
use crate::error::DataError;
use crate::skipped::Seen;
use crate::state::LoaderState;

pub(crate) use best_fit::BestFit;
pub(crate) use one_per_row::OnePerRow;
pub(crate) use stream::Stream;
pub(crate) use windows::RandomWindows;

/// How documents fill rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// Each row begins with BOS and takes, again and again, the longest document
    /// of a buffer of at least 1,000 that still fits; when none does, the
    /// shortest is cut to fill the row and its rest is lost (nanochat 2026-07).
    /// Text files longer than a row are first divided into rows.
    BestFit,
    /// All documents in order, each after a BOS, as one stream: every B rows of
    /// T take the next B·T+1 tokens (nanochat 2025-10).
    Stream,
    /// Rows begin anywhere in the split, which is tokenised once and kept in
    /// memory (nanoGPT). Row i of a run depends on the seed and i alone.
    RandomWindows {
        /// Chooses the windows.
        seed: u64,
    },
}

impl Packing {
    /// The packing that measures a model trained with this one: the same, but
    /// random windows become a stream, so that every evaluation sees the same
    /// tokens and each of them once.
    #[must_use]
    pub fn for_validation(self) -> Packing {
        match self {
            Packing::RandomWindows { .. } => Packing::Stream,
            other => other,
        }
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Packing::BestFit => f.write_str("best fit"),
            Packing::Stream => f.write_str("stream"),
            Packing::RandomWindows { seed } => write!(f, "random windows (seed {seed})"),
        }
    }
}

/// How conversations fill rows. Targets are what the assistant says, and −1
/// elsewhere, except where it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationPacking {
    /// A row takes, again and again, the longest of a buffer of 100 that still
    /// fits; when none does, it is padded (nanochat 2026-07, mid and SFT).
    BestFit,
    /// One conversation per row, padded (nanochat 2025-10, SFT).
    OnePerRow,
    /// All conversations in order as one stream in which every token is a
    /// target: every B rows of T take the next B·T+1 tokens (nanochat 2025-10,
    /// mid).
    Stream,
}

impl fmt::Display for ConversationPacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConversationPacking::BestFit => "best fit",
            ConversationPacking::OnePerRow => "one per row",
            ConversationPacking::Stream => "stream",
        })
    }
}

/// Tokenised documents that came in one chunk, in order.
#[derive(Debug)]
pub(crate) struct TokenChunk {
    /// Each with its BOS in front (later pieces of a streamed text: without).
    pub(crate) documents: Vec<Arc<[u32]>>,
    /// The position after them.
    pub(crate) after: Position,
    /// What was known of the files by then; conversations know nothing of files.
    pub(crate) seen: Option<Arc<Seen>>,
}

/// Where a packer gets its documents: at least one, `None` when there are no
/// more, or an error.
pub(crate) type Feed<'a> = dyn FnMut() -> Result<Option<TokenChunk>, DataError> + 'a;

/// A packer of any kind.
pub(crate) enum Packer {
    BestFit(BestFit),
    OnePerRow(OnePerRow),
    Stream(Stream),
    RandomWindows(RandomWindows),
}

impl Packer {
    /// Fills `row` with the next T+1 tokens; false when nothing is left to put
    /// there.
    pub(crate) fn fill_row(&mut self, row: &mut [u32], feed: &mut Feed<'_>) -> Result<bool, DataError> {
        match self {
            Packer::BestFit(packer) => packer.fill_row(row, feed),
            Packer::OnePerRow(packer) => packer.fill_row(row, feed),
            Packer::Stream(packer) => packer.fill_row(row, feed),
            Packer::RandomWindows(packer) => {
                packer.fill_row(row);
                Ok(true)
            }
        }
    }

    /// Writes what the packer holds into `state`, sharing the documents.
    pub(crate) fn save(&self, state: &mut LoaderState) {
        state.buffer.clear();
        state.offset = 0;
        match self {
            Packer::BestFit(packer) => {
                state.buffer.extend(packer.documents().cloned());
            }
            Packer::OnePerRow(packer) => {
                state.buffer.extend(packer.conversations().cloned());
            }
            Packer::Stream(packer) => {
                state.buffer.extend(packer.documents().cloned());
                state.offset = packer.offset() as u64;
            }
            Packer::RandomWindows(_) => {}
        }
    }

    /// Tokens lost so far where documents were cut.
    pub(crate) fn tokens_dropped(&self) -> u64 {
        match self {
            Packer::BestFit(packer) => packer.tokens_dropped(),
            Packer::OnePerRow(_) | Packer::Stream(_) | Packer::RandomWindows(_) => 0,
        }
    }
}
