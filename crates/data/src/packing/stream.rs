//! Documents as one stream of tokens (nanochat, 2025-10).

use std::collections::VecDeque;
use std::sync::Arc;

use super::Feed;
use crate::error::DataError;

/// Tokens not yet taken, and where in a block of rows the next one begins.
pub(crate) struct Stream {
    documents: VecDeque<Arc<[u32]>>,
    /// Tokens of the first document already taken.
    offset: usize,
    /// A block of this many rows shares one stretch of B·T+1 tokens.
    rows_per_block: usize,
    row_in_block: usize,
    /// Last token of the row before, which begins the next one of its block.
    last: u32,
    /// Fills the last row when the feed ends in the middle of it.
    pad: u32,
}

impl Stream {
    /// A stream at the beginning of a block.
    pub(crate) fn new(documents: impl IntoIterator<Item = Arc<[u32]>>, offset: usize, rows_per_block: usize) -> Self {
        Stream {
            documents: documents.into_iter().collect(),
            offset,
            rows_per_block,
            row_in_block: 0,
            last: 0,
            pad: 0,
        }
    }

    /// The same stream, which may end: its last row is filled with `pad`.
    pub(crate) fn ending_with(mut self, pad: u32) -> Self {
        self.pad = pad;
        self
    }

    /// Fills `row` to the last token; false when nothing is left to put there.
    pub(crate) fn fill_row(&mut self, row: &mut [u32], feed: &mut Feed<'_>) -> Result<bool, DataError> {
        let carried = usize::from(self.row_in_block > 0);
        let mut filled = carried;
        if carried > 0 {
            row[0] = self.last;
        }
        while filled < row.len() {
            let Some(document) = self.documents.front() else {
                match feed()? {
                    Some(chunk) => self.documents.extend(chunk.documents),
                    None if filled == carried => return Ok(false),
                    None => {
                        row[filled..].fill(self.pad);
                        filled = row.len();
                    }
                }
                continue;
            };
            let rest = &document[self.offset..];
            let take = rest.len().min(row.len() - filled);
            row[filled..filled + take].copy_from_slice(&rest[..take]);
            filled += take;
            self.offset += take;
            if self.offset == document.len() {
                self.documents.pop_front();
                self.offset = 0;
            }
        }
        self.last = row[row.len() - 1];
        self.row_in_block = (self.row_in_block + 1) % self.rows_per_block;
        Ok(true)
    }

    pub(crate) fn documents(&self) -> impl Iterator<Item = &Arc<[u32]>> {
        self.documents.iter()
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Position;
    use crate::packing::TokenChunk;

    #[test]
    fn a_block_of_rows_takes_one_more_token_than_it_trains_on() {
        let mut next = 0_u32;
        let mut feed = || {
            let documents = (0..3).map(|length| {
                let ids: Vec<u32> = (next..next + length).collect();
                next += length;
                Arc::from(ids)
            });
            Ok(Some(TokenChunk {
                documents: documents.collect(),
                after: Position::default(),
                seen: None,
            }))
        };
        let mut stream = Stream::new([], 0, 2);
        let mut rows = Vec::new();
        for _ in 0..4 {
            let mut row = [0; 5];
            stream.fill_row(&mut row, &mut feed).unwrap();
            rows.push(row);
        }
        // B = 2, T = 4: the first batch is tokens 0..9, the second 9..18.
        assert_eq!(
            rows,
            [
                [0, 1, 2, 3, 4],
                [4, 5, 6, 7, 8],
                [9, 10, 11, 12, 13],
                [13, 14, 15, 16, 17]
            ]
        );
    }
}
