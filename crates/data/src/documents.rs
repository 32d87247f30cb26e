//! The documents of one split in their order, with exact positions. This room
//! walks files and epochs; it must never know of tokens or batches.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::corpus::{Corpus, Kind, Mark, Split};
use crate::error::DataError;
use crate::skipped::{self, Seen, Skipped, is_unreadable};
use crate::source::Reader;

/// Documents that travel together; nanochat refills its buffer 128 at a time.
pub(crate) const CHUNK_DOCUMENTS: usize = 128;

/// A chunk of plain text ends early after this many bytes, so that a stream
/// over long files keeps its buffer (and its saved state) small.
const CHUNK_TEXT_BYTES: usize = 256 << 10;

/// A place between two documents of a split, from which reading can go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Complete passes over the split.
    pub epoch: u64,
    /// Index of the file in the corpus's order.
    pub file: u64,
    /// Row group of a Parquet shard; byte offset in a text or JSONL file.
    pub group: u64,
    /// Row in that row group; in a text file, pieces already read of a document
    /// too long for one piece. 0 in JSONL files.
    pub row: u64,
}

impl Position {
    pub(crate) fn at(epoch: u64, mark: Mark) -> Self {
        Position {
            epoch,
            file: mark.file,
            group: mark.group,
            row: mark.row,
        }
    }

    fn mark(self) -> Mark {
        Mark {
            file: self.file,
            group: self.group,
            row: self.row,
        }
    }
}

/// One document, or one piece of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The text as it stands in the file.
    pub text: String,
    /// False for the second and later pieces of one long text.
    pub begins: bool,
    /// The position after this document.
    pub after: Position,
}

/// Up to 128 documents of one epoch, never across a Parquet row group.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) documents: Vec<Document>,
    pub(crate) after: Position,
    /// What was known of the files by then.
    pub(crate) seen: Arc<Seen>,
}

/// Iterator over the documents of one split; ends for good after an error.
pub struct Documents {
    corpus: Corpus,
    split: Split,
    /// Where the next chunk begins.
    position: Position,
    /// Stop when this epoch would begin.
    end_epoch: Option<u64>,
    reader: Option<Reader>,
    seen: Arc<Seen>,
    found_in_epoch: bool,
    queue: VecDeque<Document>,
    finished: bool,
}

impl Documents {
    pub(crate) fn new(
        corpus: Corpus,
        split: Split,
        position: Position,
        epochs: Option<u64>,
        seen: Arc<Seen>,
    ) -> Result<Self, DataError> {
        let (start, end) = corpus.span(split);
        if start >= end {
            return Err(DataError::NoDocuments {
                path: corpus.describe().path.clone(),
                split,
            });
        }
        let mark = position.mark();
        if mark < start || mark > end {
            return Err(DataError::State(format!(
                "it points outside the {split} part of {}; was the data changed?",
                corpus.describe().path.display()
            )));
        }
        Ok(Documents {
            found_in_epoch: mark > start,
            corpus,
            split,
            position,
            end_epoch: epochs.map(|epochs| position.epoch.saturating_add(epochs)),
            reader: None,
            seen,
            queue: VecDeque::new(),
            finished: false,
        })
    }

    /// The files given up so far.
    pub fn skipped(&self) -> &[Skipped] {
        &self.seen.skipped
    }

    /// The next documents together; `None` after the last epoch asked for.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Chunk>, DataError> {
        let corpus = self.corpus.clone();
        let (start, end) = corpus.span(self.split);
        let kind = corpus.describe().kind;
        let is_text = matches!(kind, Kind::TextFile | Kind::TextFolder);
        let mut documents: Vec<Document> = Vec::new();
        let mut bytes = 0;
        loop {
            let full = documents.len() >= CHUNK_DOCUMENTS
                || (is_text && bytes >= CHUNK_TEXT_BYTES)
                || (kind == Kind::Parquet && !documents.is_empty());
            if full || (self.position.mark() >= end && !documents.is_empty()) {
                self.found_in_epoch = true;
                if let Some(last) = documents.last_mut() {
                    last.after = self.position;
                }
                return Ok(Some(Chunk {
                    documents,
                    after: self.position,
                    seen: Arc::clone(&self.seen),
                }));
            }
            if self.position.mark() >= end {
                if !self.found_in_epoch {
                    return Err(self.nothing_found());
                }
                let epoch = self.position.epoch.saturating_add(1);
                if self.end_epoch.is_some_and(|last| epoch >= last) {
                    return Ok(None);
                }
                self.position = Position::at(epoch, start);
                self.found_in_epoch = false;
                self.reader = None;
            }
            let before = documents.len();
            match self.read(end, &mut documents) {
                Ok(Some(mark)) => self.position = Position::at(self.position.epoch, mark),
                Ok(None) => self.next_file(end),
                Err(error) => {
                    // What was read with the fault would depend on where reading began.
                    documents.truncate(before);
                    self.give_up(error)?;
                    self.next_file(end);
                }
            }
            let read = documents[before..].iter();
            bytes += read.map(|document| document.text.len()).sum::<usize>();
        }
    }

    /// Appends what can be read at once from the current file; `None` at its end.
    fn read(&mut self, end: Mark, documents: &mut Vec<Document>) -> Result<Option<Mark>, DataError> {
        let mark = self.position.mark();
        if self.reader.is_none() {
            let end = self.seen.end_of(mark.file).map_or(end, |given_up| given_up.min(end));
            if mark >= end {
                return Ok(None);
            }
            self.compare_shard(mark.file)?;
            self.reader = Some(Reader::open(&self.corpus, mark, end)?);
        }
        let reader = self.reader.as_mut().expect("opened just above");
        reader.read(self.position.epoch, documents)
    }

    fn next_file(&mut self, end: Mark) {
        let next = Mark {
            file: self.position.file + 1,
            ..Mark::default()
        };
        self.reader = None;
        self.position = Position::at(self.position.epoch, next.min(end));
    }

    /// A shard that is read again must be what it was.
    fn compare_shard(&mut self, number: u64) -> Result<(), DataError> {
        let file = &self.corpus.0.files[number as usize];
        if self.corpus.describe().kind != Kind::Parquet {
            return Ok(());
        }
        let Some(digest) = skipped::digest(&file.path)? else {
            return Ok(());
        };
        let known = self.seen.shards.iter().find(|(known, _)| *known == number);
        match known {
            Some((_, first)) if *first == digest => Ok(()),
            Some(_) => Err(DataError::Changed {
                path: file.path.clone(),
            }),
            None => {
                Arc::make_mut(&mut self.seen).shards.push((number, digest));
                Ok(())
            }
        }
    }

    /// Goes on without the current file, if that may be.
    fn give_up(&mut self, error: DataError) -> Result<(), DataError> {
        let inner = &self.corpus.0;
        // What a model is measured on must be whole, or figures could not be compared.
        let may_skip = !inner.options.strict && inner.files.len() > 1 && self.split == Split::Train;
        if !may_skip || !is_unreadable(&error) {
            return Err(error);
        }
        let mark = self.position.mark();
        let file = &inner.files[mark.file as usize];
        let skipped = &mut Arc::make_mut(&mut self.seen).skipped;
        skipped.push(Skipped::new(file, mark, &error));
        let unreadable = skipped.len();
        if unreadable * 2 > self.files() {
            return Err(self.nothing_found());
        }
        Ok(())
    }

    /// Files of this split, whole or in part.
    fn files(&self) -> usize {
        let (start, end) = self.corpus.span(self.split);
        let last = end.file + u64::from((end.group, end.row) != (0, 0));
        (last - start.file) as usize
    }

    fn nothing_found(&self) -> DataError {
        let path = self.corpus.describe().path.clone();
        match self.seen.skipped.first() {
            Some(first) => DataError::Unreadable {
                path,
                split: self.split,
                unreadable: self.seen.skipped.len(),
                files: self.files(),
                first: first.reason.clone(),
            },
            None => DataError::NoDocuments {
                path,
                split: self.split,
            },
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.queue.is_empty() {
            if self.finished {
                return None;
            }
            match self.next_chunk() {
                Ok(Some(chunk)) => self.queue.extend(chunk.documents),
                Ok(None) => self.finished = true,
                Err(error) => {
                    self.finished = true;
                    return Some(Err(error));
                }
            }
        }
        self.queue.pop_front().map(Ok)
    }
}
