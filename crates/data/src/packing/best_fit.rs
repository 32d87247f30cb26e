//! BOS-aligned best-fit packing (nanochat, 2026-07), with the buffer indexed by
//! length: the same rows as scanning it, in logarithmic time. Documents are cut
//! to fill the end of a row, conversations are not.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Feed, TokenChunk};
use crate::error::DataError;

/// Before each pick the buffer is refilled to at least this many documents.
pub(crate) const BUFFER_DOCUMENTS: usize = 1000;

/// The same for conversations.
pub(crate) const BUFFER_CONVERSATIONS: usize = 100;

/// What happens where a row has room but nothing fits.
enum RowEnd {
    /// The shortest is cut, its rest is lost.
    Cut,
    /// The row is filled with this token.
    Pad(u32),
}

/// The buffer of documents and the rule that picks from it.
pub(crate) struct BestFit {
    /// By order of arrival.
    documents: BTreeMap<u64, Arc<[u32]>>,
    /// (length, arrival), earlier arrivals *after* later ones of the same
    /// length, so that the last entry up to a length is the first in the buffer
    /// among the longest.
    by_length: BTreeSet<(usize, Reverse<u64>)>,
    arrivals: u64,
    tokens_dropped: u64,
    at_least: usize,
    row_end: RowEnd,
    /// The feed has nothing more.
    ended: bool,
}

impl BestFit {
    /// A packer whose buffer holds `documents`, none of them empty.
    pub(crate) fn new(documents: impl IntoIterator<Item = Arc<[u32]>>, dropped: u64) -> Self {
        BestFit::with(documents, dropped, BUFFER_DOCUMENTS, RowEnd::Cut)
    }

    /// A packer of conversations, none of them longer than a row: a row into
    /// which none fits any more ends with `pad`.
    pub(crate) fn padded(conversations: impl IntoIterator<Item = Arc<[u32]>>, pad: u32) -> Self {
        BestFit::with(conversations, 0, BUFFER_CONVERSATIONS, RowEnd::Pad(pad))
    }

    fn with(documents: impl IntoIterator<Item = Arc<[u32]>>, dropped: u64, at_least: usize, row_end: RowEnd) -> Self {
        let mut packer = BestFit {
            documents: BTreeMap::new(),
            by_length: BTreeSet::new(),
            arrivals: 0,
            tokens_dropped: dropped,
            at_least,
            row_end,
            ended: false,
        };
        packer.add(documents);
        packer
    }

    fn add(&mut self, documents: impl IntoIterator<Item = Arc<[u32]>>) {
        for document in documents {
            self.by_length.insert((document.len(), Reverse(self.arrivals)));
            self.documents.insert(self.arrivals, document);
            self.arrivals += 1;
        }
    }

    /// Fills `row` to the last token; false when nothing is left to put there.
    pub(crate) fn fill_row(&mut self, row: &mut [u32], feed: &mut Feed<'_>) -> Result<bool, DataError> {
        let mut filled = 0;
        while filled < row.len() {
            while !self.ended && self.documents.len() < self.at_least {
                match feed()? {
                    Some(TokenChunk { documents, .. }) => self.add(documents),
                    None => self.ended = true,
                }
            }
            let room = row.len() - filled;
            let key = match self.row_end {
                RowEnd::Pad(_) => self.longest_within(room),
                RowEnd::Cut => self.longest_within(room).or_else(|| self.shortest()),
            };
            let Some(key) = key else {
                if let RowEnd::Pad(pad) = self.row_end {
                    row[filled..].fill(pad);
                }
                return Ok(filled > 0);
            };
            self.by_length.remove(&key);
            let document = self.documents.remove(&key.1.0);
            let document = document.expect("both indexes hold the same documents");
            let take = document.len().min(room);
            row[filled..filled + take].copy_from_slice(&document[..take]);
            self.tokens_dropped += (document.len() - take) as u64;
            filled += take;
        }
        Ok(true)
    }

    fn longest_within(&self, room: usize) -> Option<(usize, Reverse<u64>)> {
        self.by_length.range(..=(room, Reverse(0))).next_back().copied()
    }

    fn shortest(&self) -> Option<(usize, Reverse<u64>)> {
        let (length, _) = self.by_length.first()?;
        self.longest_within(*length)
    }

    /// The buffer in order of arrival.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &Arc<[u32]>> {
        self.documents.values()
    }

    pub(crate) fn tokens_dropped(&self) -> u64 {
        self.tokens_dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Position;
    use crate::rng::SplitMix64;

    /// Documents of skewed random lengths; document n holds n, n, n, …
    struct Source {
        rng: SplitMix64,
        next: u32,
    }

    impl Source {
        fn chunk(&mut self) -> TokenChunk {
            let documents = (0..128).map(|_| {
                self.next += 1;
                let scale = 1 << self.rng.below(9);
                let length = 1 + self.rng.below(scale) as usize;
                Arc::from(vec![self.next; length])
            });
            TokenChunk {
                documents: documents.collect(),
                after: Position::default(),
                seen: None,
            }
        }
    }

    fn source(seed: u64) -> Source {
        Source {
            rng: SplitMix64::new(seed),
            next: 0,
        }
    }

    /// The rule as it is worded, by scanning a list.
    fn scan_row(buffer: &mut Vec<Arc<[u32]>>, source: &mut Source, capacity: usize) -> Vec<u32> {
        let mut row = Vec::new();
        while row.len() < capacity {
            while buffer.len() < BUFFER_DOCUMENTS {
                buffer.extend(source.chunk().documents);
            }
            let room = capacity - row.len();
            let mut pick = None;
            for (index, document) in buffer.iter().enumerate() {
                let fits = document.len() <= room;
                if fits && pick.is_none_or(|best: usize| document.len() > buffer[best].len()) {
                    pick = Some(index);
                }
            }
            let pick = pick.unwrap_or_else(|| {
                let shortest = buffer.iter().map(|document| document.len()).min().unwrap();
                let first = buffer.iter().position(|document| document.len() == shortest);
                first.unwrap()
            });
            let document = buffer.remove(pick);
            row.extend(document.iter().take(room));
        }
        row
    }

    #[test]
    fn rows_are_those_of_a_plain_scan() {
        for (seed, capacity) in [(1, 65), (2, 17), (3, 257), (4, 3)] {
            let (mut ours, mut theirs) = (source(seed), source(seed));
            let mut packer = BestFit::new([], 0);
            let mut buffer = Vec::new();
            let mut row = vec![0; capacity];
            for index in 0..400 {
                packer.fill_row(&mut row, &mut || Ok(Some(ours.chunk()))).unwrap();
                let expected = scan_row(&mut buffer, &mut theirs, capacity);
                assert_eq!(row, expected, "seed {seed}, row {index}");
            }
            let left: Vec<_> = packer.documents().cloned().collect();
            assert_eq!(left, buffer);
            // Rows as short as 3 must cut, or this test proves little.
            assert!(capacity > 3 || packer.tokens_dropped() > 0);
        }
    }
}
