//! One conversation per row, padded to its end (nanochat's SFT, 2025-10).

use std::collections::VecDeque;
use std::sync::Arc;

use super::Feed;
use crate::error::DataError;

/// Conversations that wait for their rows; none is longer than a row.
pub(crate) struct OnePerRow {
    waiting: VecDeque<Arc<[u32]>>,
    pad: u32,
}

impl OnePerRow {
    /// Rows end with `pad`.
    pub(crate) fn new(waiting: impl IntoIterator<Item = Arc<[u32]>>, pad: u32) -> Self {
        OnePerRow {
            waiting: waiting.into_iter().collect(),
            pad,
        }
    }

    /// Fills `row` to the last token; false when nothing is left to put there.
    pub(crate) fn fill_row(&mut self, row: &mut [u32], feed: &mut Feed<'_>) -> Result<bool, DataError> {
        loop {
            if let Some(conversation) = self.waiting.pop_front() {
                let length = conversation.len().min(row.len());
                row[..length].copy_from_slice(&conversation[..length]);
                row[length..].fill(self.pad);
                return Ok(true);
            }
            match feed()? {
                Some(chunk) => self.waiting.extend(chunk.documents),
                None => return Ok(false),
            }
        }
    }

    pub(crate) fn conversations(&self) -> impl Iterator<Item = &Arc<[u32]>> {
        self.waiting.iter()
    }
}
