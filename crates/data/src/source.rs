//! One file of a corpus, read from a place inside it up to another.

mod jsonl;
pub(crate) mod parquet;

pub use parquet::panic_is_caught;
pub(crate) mod text;

use crate::corpus::{Corpus, Kind, Mark};
use crate::documents::Document;
use crate::error::DataError;

/// A file being read.
pub(crate) enum Reader {
    Text(text::TextReader),
    Jsonl(jsonl::JsonlReader),
    Parquet(Box<parquet::ParquetReader>),
}

impl Reader {
    /// Opens the file of `from` there; reading stops before `end`.
    pub(crate) fn open(corpus: &Corpus, from: Mark, end: Mark) -> Result<Self, DataError> {
        let file = &corpus.0.files[from.file as usize];
        let end = (end.file == from.file).then_some(end);
        let options = &corpus.0.options;
        Ok(match corpus.describe().kind {
            Kind::TextFile | Kind::TextFolder => {
                Reader::Text(text::TextReader::open(file, from, end, options.text_documents)?)
            }
            Kind::Jsonl | Kind::Made => Reader::Jsonl(jsonl::JsonlReader::open(file, from, end, &options.text_field)?),
            Kind::Parquet => Reader::Parquet(Box::new(parquet::ParquetReader::open(
                file,
                from,
                end,
                &options.text_field,
            )?)),
        })
    }

    /// Appends the next document (for Parquet, up to 128 of one row group) to
    /// `out` and returns the mark after it; `None` at the end of the file or
    /// the split.
    pub(crate) fn read(&mut self, epoch: u64, out: &mut Vec<Document>) -> Result<Option<Mark>, DataError> {
        match self {
            Reader::Text(reader) => reader.read(epoch, out),
            Reader::Jsonl(reader) => reader.read(epoch, out),
            Reader::Parquet(reader) => reader.read(epoch, out),
        }
    }
}
