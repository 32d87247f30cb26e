//! The exact state of a loader between two batches, and its bytes in a
//! checkpoint. This room must never trust what it reads.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::corpus::Split;
use crate::documents::Position;
use crate::error::DataError;
use crate::packing::{ConversationPacking, Packing};
use crate::skipped::{Seen, Skipped};
use crate::token;

/// First bytes of a saved state; the last one is the version of the format.
const MAGIC: &[u8; 8] = b"FCLOAD\0\x02";
const CHECKSUM_BYTES: usize = 32;

/// What the loader has done so far in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Documents (or pieces of long texts, or conversations) read into the packer.
    pub documents_read: u64,
    /// Their tokens, BOS included.
    pub tokens_read: u64,
    /// Tokens lost where best fit cut a document, or where a conversation was
    /// longer than a row (those are not among the tokens read).
    pub tokens_dropped: u64,
    /// Rows packed, over all ranks.
    pub rows: u64,
}

/// What belongs to a loader and decides its batches; compared on resume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) corpus: String,
    pub(crate) tokenizer: String,
    pub(crate) split: Option<Split>,
    pub(crate) packing: Option<Packing>,
    pub(crate) sequence_len: u64,
    /// Absent where documents are packed: their states have no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) conversations: Option<ConversationPacking>,
}

/// Everything needed to make the batches after a certain one again, bit for
/// bit. Cloning shares the buffered documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoaderState {
    pub(crate) identity: Identity,
    pub(crate) position: Position,
    pub(crate) counters: Counters,
    /// Tokens already taken from the first buffered document.
    pub(crate) offset: u64,
    pub(crate) buffer: Vec<Arc<[u32]>>,
    /// What is known of the files.
    pub(crate) seen: Arc<Seen>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    identity: Identity,
    position: Position,
    counters: Counters,
    offset: u64,
    #[serde(default)]
    seen: Seen,
    lengths: Vec<u32>,
}

impl LoaderState {
    /// The position after the last document read into the packer.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What has been read, packed and dropped so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The files that this run has given up so far, in the order in which it met them.
    pub fn skipped(&self) -> &[Skipped] {
        &self.seen.skipped
    }

    /// Documents or conversations that have left the packer: those read less
    /// those that wait in its buffer.
    pub fn documents_packed(&self) -> u64 {
        self.counters.documents_read.saturating_sub(self.buffer.len() as u64)
    }

    /// The state as bytes: magic and version, length of a JSON header, header,
    /// buffered ids as little-endian u32, SHA-256 of all before.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = Header {
            identity: self.identity.clone(),
            position: self.position,
            counters: self.counters,
            offset: self.offset,
            seen: Seen::clone(&self.seen),
            lengths: self.buffer.iter().map(|ids| ids.len() as u32).collect(),
        };
        let header = serde_json::to_vec(&header).expect("numbers and strings always serialise");
        let ids: usize = self.buffer.iter().map(|ids| ids.len()).sum();
        let mut bytes = Vec::with_capacity(16 + header.len() + 4 * ids + CHECKSUM_BYTES);
        bytes.extend(MAGIC);
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        for document in &self.buffer {
            bytes.extend(document.iter().flat_map(|id| id.to_le_bytes()));
        }
        let checksum = Sha256::digest(&bytes);
        bytes.extend(checksum);
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`DataError::State`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DataError> {
        let damaged = |what: &str| DataError::State(what.to_owned());
        if bytes.len() < 16 + CHECKSUM_BYTES || bytes[..7] != MAGIC[..7] {
            return Err(damaged("it is not a saved loader state"));
        }
        if bytes[7] != MAGIC[7] {
            return Err(DataError::State(format!(
                "its format is version {}, this program reads version {}",
                bytes[7], MAGIC[7]
            )));
        }
        let (body, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if Sha256::digest(body).as_slice() != checksum {
            return Err(damaged("its checksum does not match; the file is damaged"));
        }
        let mut length = [0; 8];
        length.copy_from_slice(&body[8..16]);
        let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
        let rest = &body[16..];
        if length > rest.len() {
            return Err(damaged("its header is longer than the file"));
        }
        let (header, ids) = rest.split_at(length);
        let header: Header = serde_json::from_slice(header)
            .map_err(|error| DataError::State(format!("its header cannot be read: {error}")))?;
        let total: u64 = header.lengths.iter().map(|&length| u64::from(length)).sum();
        if total * 4 != ids.len() as u64 || header.lengths.contains(&0) {
            return Err(damaged("its documents do not have the lengths it states"));
        }
        let first = header.lengths.first().copied().unwrap_or(1);
        if header.offset >= u64::from(first) {
            return Err(damaged("its offset lies outside its first document"));
        }
        let mut ids = ids
            .chunks_exact(4)
            .map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]]));
        let buffer = header.lengths.iter();
        let buffer = buffer.map(|&length| ids.by_ref().take(length as usize).collect());
        Ok(LoaderState {
            identity: header.identity,
            position: header.position,
            counters: header.counters,
            offset: header.offset,
            seen: Arc::new(header.seen),
            buffer: buffer.collect(),
        })
    }

    /// Refuses a state of another corpus, split or packing.
    pub(crate) fn check(&self, now: &Identity, vocab_size: usize) -> Result<(), DataError> {
        let then = &self.identity;
        let differs = |what: &str| {
            Err(DataError::State(format!(
                "it was made with another {what}; use the same, or start anew"
            )))
        };
        if then.corpus != now.corpus {
            return differs("data set (names, sizes, contents or reading options of its files changed)");
        }
        if then.tokenizer != now.tokenizer {
            return differs("tokenizer");
        }
        if then.split != now.split {
            return differs("part of the data");
        }
        if then.packing != now.packing || then.conversations != now.conversations {
            return differs("packing");
        }
        if then.sequence_len != now.sequence_len {
            return differs("sequence length");
        }
        let conversations = now.conversations.is_some();
        let known = |&id: &u32| {
            let id = if conversations { token::id(id) } else { id };
            (id as usize) < vocab_size
        };
        if !self.buffer.iter().all(|ids| ids.iter().all(known)) {
            return differs("vocabulary");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> LoaderState {
        LoaderState {
            identity: Identity {
                corpus: "c0ffee".into(),
                tokenizer: "7ea".into(),
                split: Some(Split::Train),
                packing: Some(Packing::RandomWindows { seed: 3 }),
                sequence_len: 64,
                conversations: Some(ConversationPacking::OnePerRow),
            },
            position: Position {
                epoch: 1,
                file: 2,
                group: 3,
                row: 4,
            },
            counters: Counters {
                documents_read: 5,
                tokens_read: 6,
                tokens_dropped: 7,
                rows: 8,
            },
            offset: 1,
            seen: Arc::new(Seen {
                skipped: Vec::new(),
                shards: vec![(2, "d1".into())],
            }),
            buffer: vec![Arc::from([1, 2, 3]), Arc::from([u32::MAX])],
        }
    }

    /// Bytes around `header` and `ids` with a checksum that is right.
    fn sealed(header: &str, ids: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(ids);
        let checksum = Sha256::digest(&bytes);
        bytes.extend(checksum);
        bytes
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        let bytes = state().to_bytes();
        assert_eq!(LoaderState::from_bytes(&bytes).unwrap(), state());
        let empty = LoaderState::default();
        assert_eq!(LoaderState::from_bytes(&empty.to_bytes()).unwrap(), empty);
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
        let bytes = state().to_bytes();
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x10;
            assert!(LoaderState::from_bytes(&damaged).is_err(), "byte {index}");
            assert!(LoaderState::from_bytes(&bytes[..index]).is_err());
        }
    }

    #[test]
    fn a_lying_header_with_a_right_checksum_is_an_error() {
        let header = |offset: u64, lengths: &str| {
            format!(
                r#"{{"identity":{{"corpus":"","tokenizer":"","split":null,"packing":null,"sequence_len":1}},
                "position":{{"epoch":0,"file":0,"group":0,"row":0}},
                "counters":{{"documents_read":0,"tokens_read":0,"tokens_dropped":0,"rows":0}},
                "offset":{offset},"lengths":{lengths}}}"#
            )
        };
        let read = |offset, lengths| LoaderState::from_bytes(&sealed(&header(offset, lengths), &[0; 8]));
        assert!(read(1, "[2]").is_ok());
        for (offset, lengths) in [
            (0, "[3]"),
            (0, "[1]"),
            (0, "[2, 0]"),
            (2, "[2]"),
            (0, "[4294967295, 4294967295]"),
            (0, "[-1]"),
        ] {
            let error = read(offset, lengths).unwrap_err();
            assert!(matches!(error, DataError::State(_)), "{offset} {lengths}");
        }
        let mut long = sealed("{}", &[]);
        long.truncate(18);
        long[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        let checksum = Sha256::digest(&long);
        long.extend(checksum);
        assert!(LoaderState::from_bytes(&long).is_err());
    }
}
