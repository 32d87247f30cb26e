//! What the data is: its files in order, their kind, and where training ends
//! and validation begins. This room reads names, sizes and headers, never a
//! whole file, and must never know of tokens.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::discover;
use crate::documents::{Documents, Position};
use crate::error::DataError;
use crate::fingerprint;
use crate::packing::Packing;
use crate::skipped::{Seen, is_unreadable};
use crate::source::parquet::ParquetShard;

/// A text file up to this size is tokenised whole for random windows; a larger
/// one is streamed, so that training begins at once and memory stays small.
const RANDOM_WINDOWS_LIMIT: u64 = 8 << 20;

/// The two parts of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What the model learns from.
    Train,
    /// What it is measured on, never learned from.
    Validation,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "training",
            Split::Validation => "validation",
        })
    }
}

/// What lies at the data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One text file, or text in memory.
    TextFile,
    /// A folder of text files.
    TextFolder,
    /// One or more files of one JSON object per line.
    Jsonl,
    /// Documents in memory, kept as such lines.
    Made,
    /// One or more Parquet shards.
    Parquet,
}

/// How text files are divided into documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextDocuments {
    /// A file is one document, read in pieces of at most 64 KiB that end, where
    /// possible, where a line begins. Right for prose trained on as a stream.
    #[default]
    Whole,
    /// Blank lines separate documents. Right for best-fit packing.
    Paragraphs,
}

/// How to read a corpus.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CorpusOptions {
    /// The JSONL field or Parquet column that holds the text.
    pub text_field: String,
    /// How text files are divided into documents; other kinds ignore it.
    pub text_documents: TextDocuments,
    /// Whether a file that cannot be read ends the run. Otherwise a run goes on without it, as long as it is one of
    /// several to learn from and more than half of them can be read (see [`Skipped`](crate::Skipped)).
    #[serde(default)]
    pub strict: bool,
}

impl Default for CorpusOptions {
    fn default() -> Self {
        CorpusOptions {
            text_field: "text".to_owned(),
            text_documents: TextDocuments::Whole,
            strict: false,
        }
    }
}

/// One file of a corpus.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Where it is; for text in memory its name.
    pub(crate) path: PathBuf,
    /// Its name below the data path.
    pub(crate) name: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its contents, when they were never on disk.
    pub(crate) memory: Option<Arc<str>>,
}

/// A place between two documents, without the epoch. `group` is the Parquet row
/// group, or the byte offset in a text or JSONL file; `row` the row in that
/// group, or the number of pieces of a long text already read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) file: u64,
    pub(crate) group: u64,
    pub(crate) row: u64,
}

/// Files, sizes and kind of a corpus, for plans and messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The data path.
    pub path: PathBuf,
    /// What lies there.
    pub kind: Kind,
    /// Number of files.
    pub files: usize,
    /// Their size on disk in bytes (compressed, for Parquet).
    pub bytes: u64,
    /// Identifies names, sizes, contents (of large data: samples of every file) and reading options; a resumed run
    /// compares it.
    pub fingerprint: String,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, many) = match self.kind {
            Kind::TextFile | Kind::TextFolder => ("text file", "text files"),
            Kind::Jsonl => ("JSONL file", "JSONL files"),
            Kind::Made => ("text made on the spot", ""),
            Kind::Parquet => ("Parquet shard", "Parquet shards"),
        };
        let what = if self.files == 1 { one } else { many };
        let megabytes = self.bytes as f64 / 1e6;
        match self.kind {
            Kind::Made => write!(f, "{}: {what}", self.path.display())?,
            _ => write!(f, "{}: {} {what}", self.path.display(), self.files)?,
        }
        if megabytes < 0.1 {
            write!(f, ", {:.1} kB", self.bytes as f64 / 1e3)
        } else {
            write!(f, ", {megabytes:.1} MB")
        }
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) options: CorpusOptions,
    pub(crate) description: Description,
    /// Training is everything before, validation everything from here on.
    pub(crate) boundary: Mark,
}

/// An opened corpus: cheap to clone, safe to share between threads.
#[derive(Clone, Debug)]
pub struct Corpus(pub(crate) Arc<Inner>);

impl Corpus {
    /// Opens the data at `path`: a text file, a JSONL or Parquet file, or a
    /// folder of any one of them (a folder with Parquet files in it is a folder
    /// of shards, then JSONL, then text; files are sorted by their path below it).
    ///
    /// The split: of several shards the last by name is validation. Otherwise it
    /// is the last tenth: of the rows of a lone Parquet file, of the bytes of a
    /// lone JSONL file (at a line), of the bytes of text (for one file exactly
    /// nanoGPT's last tenth of the characters when they are ASCII; for a folder
    /// at a file's beginning if that leaves 5% to 20%).
    ///
    /// Reads metadata and, of more than 64 MiB, samples.
    pub fn open(path: &Path, options: CorpusOptions) -> Result<Corpus, DataError> {
        let (kind, files) = discover::discover(path)?;
        Self::build(path, kind, files, options)
    }

    /// A corpus of text that is already in memory; `name` stands for its path in
    /// messages.
    pub fn from_text(name: &str, text: impl Into<Arc<str>>, options: CorpusOptions) -> Result<Corpus, DataError> {
        let text = text.into();
        let file = SourceFile {
            path: PathBuf::from(name),
            name: name.to_owned(),
            bytes: text.len() as u64,
            memory: Some(text),
        };
        Self::build(Path::new(name), Kind::TextFile, vec![file], options)
    }

    /// A corpus of documents that were made on the spot; `name` stands for their path in messages. They are
    /// kept in memory as lines of JSON, so that a document may hold anything.
    pub fn from_documents(name: &str, documents: impl Iterator<Item = String>) -> Result<Corpus, DataError> {
        let mut lines = String::new();
        for document in documents {
            lines += &serde_json::json!({"text": document}).to_string();
            lines.push('\n');
        }
        let file = SourceFile {
            path: PathBuf::from(name),
            name: name.to_owned(),
            bytes: lines.len() as u64,
            memory: Some(lines.into()),
        };
        Self::build(Path::new(name), Kind::Made, vec![file], CorpusOptions::default())
    }

    fn build(path: &Path, kind: Kind, files: Vec<SourceFile>, options: CorpusOptions) -> Result<Corpus, DataError> {
        let bytes = files.iter().map(|file| file.bytes).sum();
        if bytes == 0 {
            return Err(DataError::Empty {
                path: path.to_path_buf(),
            });
        }
        let boundary = match kind {
            Kind::Parquet if files.len() > 1 => {
                some_shard(&files, &options)?;
                last_file(files.len())
            }
            Kind::Parquet => ParquetShard::open(&files[0].path, &options.text_field)?.last_tenth(),
            Kind::Jsonl if files.len() > 1 => last_file(files.len()),
            Kind::Jsonl | Kind::Made => jsonl_last_tenth(&files[0])?,
            Kind::TextFile | Kind::TextFolder => text_last_tenth(&files, options.text_documents)?,
        };
        let description = Description {
            path: path.to_path_buf(),
            kind,
            files: files.len(),
            bytes,
            fingerprint: fingerprint::of(kind, &files, &options),
        };
        Ok(Corpus(Arc::new(Inner {
            files,
            options,
            description,
            boundary,
        })))
    }

    /// Files, bytes and kind.
    pub fn describe(&self) -> &Description {
        &self.0.description
    }

    /// The packing that suits this kind: best fit for shards (nanochat,
    /// 2026-07) and paragraphs, random windows for one text file (nanoGPT), a
    /// plain stream for a text over 8 MiB or a folder of texts.
    pub fn default_packing(&self) -> Packing {
        let description = self.describe();
        match description.kind {
            Kind::Parquet | Kind::Jsonl | Kind::Made => Packing::BestFit,
            Kind::TextFile if self.0.options.text_documents == TextDocuments::Paragraphs => Packing::BestFit,
            Kind::TextFile if description.bytes <= RANDOM_WINDOWS_LIMIT => Packing::RandomWindows { seed: 0 },
            Kind::TextFile | Kind::TextFolder => Packing::Stream,
        }
    }

    /// Whether a file that cannot be read ends the run.
    pub fn is_strict(&self) -> bool {
        self.0.options.strict
    }

    /// The position before the first document of `split`.
    pub fn begin(&self, split: Split) -> Position {
        Position::at(0, self.span(split).0)
    }

    /// The documents of `split` from `position` on, epoch after epoch without
    /// end.
    ///
    /// # Errors
    /// [`DataError::State`] if `position` lies outside the split,
    /// [`DataError::NoDocuments`] if the split is empty.
    pub fn documents(&self, split: Split, position: Position) -> Result<Documents, DataError> {
        self.documents_from(split, position, None, Arc::default())
    }

    /// The documents of `split` once, from the first to the last.
    pub fn one_pass(&self, split: Split) -> Result<Documents, DataError> {
        self.documents_from(split, self.begin(split), Some(1), Arc::default())
    }

    /// The same for a run that has read before.
    pub(crate) fn documents_from(
        &self,
        split: Split,
        position: Position,
        epochs: Option<u64>,
        seen: Arc<Seen>,
    ) -> Result<Documents, DataError> {
        Documents::new(self.clone(), split, position, epochs, seen)
    }

    /// First mark of a split and the one after its end.
    pub(crate) fn span(&self, split: Split) -> (Mark, Mark) {
        let end = Mark {
            file: self.0.files.len() as u64,
            ..Mark::default()
        };
        match split {
            Split::Train => (Mark::default(), self.0.boundary),
            Split::Validation => (self.0.boundary, end),
        }
    }
}

/// Finds a shard to learn from that can be opened; the first one must be, where none may be skipped.
fn some_shard(files: &[SourceFile], options: &CorpusOptions) -> Result<(), DataError> {
    let mut first = None;
    for file in &files[..files.len() - 1] {
        match ParquetShard::open(&file.path, &options.text_field) {
            Ok(_) => return Ok(()),
            Err(error) if options.strict || !is_unreadable(&error) => return Err(error),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(()), Err)
}

fn last_file(files: usize) -> Mark {
    Mark {
        file: files as u64 - 1,
        ..Mark::default()
    }
}

/// The line that begins at or after nine tenths of the file.
fn jsonl_last_tenth(file: &SourceFile) -> Result<Mark, DataError> {
    let tenth = file.bytes / 10 * 9 + file.bytes % 10 * 9 / 10;
    // One byte earlier, so that a line beginning exactly there is found.
    let from = tenth.saturating_sub(1);
    let mut input = BufReader::new(crate::source::text::open_at(file, from)?);
    let skipped = input
        .skip_until(b'\n')
        .map_err(|error| DataError::io(&file.path, error))?;
    Ok(Mark {
        group: from + skipped as u64,
        ..Mark::default()
    })
}

fn text_last_tenth(files: &[SourceFile], documents: TextDocuments) -> Result<Mark, DataError> {
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let target = total / 10 * 9 + total % 10 * 9 / 10;
    let mut before = 0;
    let mut inside = (0, 0);
    let mut best: Option<(u64, u64)> = None;
    for (index, file) in files.iter().enumerate() {
        if before <= target && target < before + file.bytes {
            inside = (index as u64, target - before);
        }
        let share = (total - before) as f64 / total as f64;
        let distance = before.abs_diff(target);
        if (0.05..=0.20).contains(&share) && best.is_none_or(|(_, nearest)| distance < nearest) {
            best = Some((index as u64, distance));
        }
        before += file.bytes;
    }
    if let Some((file, _)) = best {
        return Ok(Mark {
            file,
            ..Mark::default()
        });
    }
    let (index, offset) = inside;
    let file = &files[index as usize];
    Ok(Mark {
        file: index,
        group: text_cut(file, offset, documents)?,
        row: 0,
    })
}

/// The first place from `offset` on where `file` may be divided: a character
/// for whole documents, the end of a paragraph otherwise.
fn text_cut(file: &SourceFile, offset: u64, documents: TextDocuments) -> Result<u64, DataError> {
    let fail = |error| DataError::io(&file.path, error);
    let mut input = BufReader::new(crate::source::text::open_at(file, offset)?);
    if documents == TextDocuments::Whole {
        let mut next = [0_u8; 4];
        let mut got = 0;
        while got < 4 {
            match input.read(&mut next[got..]).map_err(fail)? {
                0 => break,
                n => got += n,
            }
        }
        let continuation = next[..got].iter().take_while(|&&byte| byte & 0xC0 == 0x80).count();
        return Ok(offset + continuation as u64);
    }
    let mut end = offset + input.skip_until(b'\n').map_err(fail)? as u64;
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = input.read_until(b'\n', &mut line).map_err(fail)?;
        end += bytes as u64;
        if bytes == 0 || line.trim_ascii().is_empty() {
            return Ok(end);
        }
    }
}
