//! Files of conversations: JSONL, gzipped JSONL, Parquet, or a folder of them.
//!
//! A file is read once when it is opened: every conversation is checked, and
//! where each one begins is remembered (8 bytes each). Later they are read one
//! by one from the file itself, or, where it is compressed, from an unnamed
//! temporary copy that stays in memory while it is small.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ferrochat_chat::Conversation;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tempfile::SpooledTempFile;

use super::{ConversationSource, hex, parquet};
use crate::error::DataError;

/// A longer line is not a conversation.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Temporary copies up to this size stay in memory.
const MEMORY_BYTES: usize = 64 << 20;

/// Endings of the files that are taken from a folder.
const ENDINGS: [&str; 5] = [".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".parquet"];

const EXPECTED: &str = "give a .jsonl, .jsonl.gz or .parquet file with one conversation per line or row, \
                        or a folder of such files";

/// Opens a file, or all files directly in a folder in the order of their names,
/// and checks every conversation. What a file is its first bytes say.
///
/// A line of JSONL is a conversation in either form of
/// [`Conversation::from_json`]; empty lines are passed over. A Parquet file has
/// a column `messages` or `conversations` of the same structure.
///
/// # Errors
/// [`DataError::Conversations`] with the file and the line or row of the first
/// fault, or [`DataError::Io`].
pub fn open_conversations(path: &Path) -> Result<Arc<dyn ConversationSource>, DataError> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => fault(path, format!("it does not exist; {EXPECTED}")),
        _ => DataError::io(path, error),
    })?;
    if metadata.is_file() {
        return Ok(Arc::new(ConversationFile::open(path)?));
    }
    if !metadata.is_dir() {
        return Err(fault(path, format!("it is neither a file nor a folder; {EXPECTED}")));
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| DataError::io(path, error))? {
        let entry = entry.map_err(|error| DataError::io(path, error))?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if ENDINGS.iter().any(|ending| name.ends_with(ending)) && entry.path().is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(fault(path, format!("there is no such file in this folder; {EXPECTED}")));
    }
    let files: Result<Vec<_>, DataError> = paths.iter().map(|path| ConversationFile::open(path)).collect();
    Ok(Arc::new(Folder { files: files? }))
}

fn fault(path: &Path, reason: impl std::fmt::Display) -> DataError {
    DataError::conversations(path.display().to_string(), reason)
}

/// Files one after the other.
struct Folder {
    files: Vec<ConversationFile>,
}

impl ConversationSource for Folder {
    fn count(&self) -> u64 {
        self.files.iter().map(ConversationSource::count).sum()
    }

    fn get(&self, mut index: u64) -> Result<Conversation, DataError> {
        for file in &self.files {
            if index < file.count() {
                return file.get(index);
            }
            index -= file.count();
        }
        Err(DataError::Config(format!(
            "there is no conversation {index} past the last file"
        )))
    }

    fn fingerprint(&self) -> String {
        let prints: Vec<String> = self.files.iter().map(ConversationSource::fingerprint).collect();
        prints.join("+")
    }
}

/// What conversations are read from.
trait Stored: Read + Seek + Send {}

impl<T: Read + Seek + Send> Stored for T {}

/// One file, checked and indexed.
struct ConversationFile {
    path: PathBuf,
    stored: Mutex<Box<dyn Stored>>,
    /// Where each line begins, and where the last one ends.
    bounds: Vec<u64>,
    fingerprint: String,
}

impl ConversationFile {
    fn open(path: &Path) -> Result<Self, DataError> {
        let fail = |error| DataError::io(path, error);
        let mut file = File::open(path).map_err(fail)?;
        let mut magic = Vec::new();
        (&file).take(4).read_to_end(&mut magic).map_err(fail)?;
        file.seek(SeekFrom::Start(0)).map_err(fail)?;
        let mut index = Index {
            path,
            bounds: vec![0],
            hash: Sha256::new(),
        };
        let stored: Box<dyn Stored> = if magic.starts_with(&[0x1f, 0x8b]) {
            let mut copy = Copy::new(path);
            let unpacked = BufReader::new(MultiGzDecoder::new(BufReader::new(file)));
            index.lines(unpacked, &mut |line| copy.push(line))?;
            copy.finish()?
        } else if magic == b"PAR1" {
            let mut copy = Copy::new(path);
            parquet::read(path, file, &mut |row, json| {
                index.check(json.as_bytes(), &format!("row {row}"))?;
                copy.push(json.as_bytes())?;
                index.bounds.push(copy.bytes);
                Ok(())
            })?;
            copy.finish()?
        } else {
            index.lines(BufReader::with_capacity(256 << 10, &file), &mut |_| Ok(()))?;
            Box::new(file)
        };
        if index.bounds.len() < 2 {
            return Err(fault(path, format!("there are none in it; {EXPECTED}")));
        }
        Ok(ConversationFile {
            path: path.to_path_buf(),
            stored: Mutex::new(stored),
            bounds: index.bounds,
            fingerprint: hex(index.hash),
        })
    }
}

impl ConversationSource for ConversationFile {
    fn count(&self) -> u64 {
        self.bounds.len() as u64 - 1
    }

    fn get(&self, index: u64) -> Result<Conversation, DataError> {
        let (begin, end) = (self.bounds[index as usize], self.bounds[index as usize + 1]);
        let mut line = vec![0; (end - begin) as usize];
        let changed = |reason: &dyn std::fmt::Display| {
            let number = index + 1;
            let what = "is no longer what it was when the file was opened";
            fault(&self.path, format!("conversation {number} {what}: {reason}"))
        };
        {
            // A thread that panicked while holding it left nothing half done.
            let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
            stored
                .seek(SeekFrom::Start(begin))
                .and_then(|_| stored.read_exact(&mut line))
                .map_err(|error| changed(&error))?;
        }
        parse(&line).map_err(|reason| changed(&reason))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

/// Checks lines and remembers where they are.
struct Index<'a> {
    path: &'a Path,
    bounds: Vec<u64>,
    hash: Sha256,
}

impl Index<'_> {
    /// Gives every line to `keep` as it is, empty ones too.
    fn lines(
        &mut self,
        mut input: impl BufRead,
        keep: &mut dyn FnMut(&[u8]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let (mut line, mut at) = (Vec::new(), 0);
        for number in 1_u64.. {
            line.clear();
            let place = format!("line {number}");
            let read = input.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
            let read = read.map_err(|error| match error.kind() {
                // What a damaged gzip file gives.
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    fault(self.path, format!("{place} cannot be unpacked: {error}"))
                }
                _ => DataError::io(self.path, error),
            })? as u64;
            if read == 0 {
                break;
            }
            if read > MAX_LINE_BYTES {
                let limit = MAX_LINE_BYTES >> 20;
                let reason = format!("{place} is longer than {limit} MiB; there must be one conversation per line");
                return Err(fault(self.path, reason));
            }
            keep(&line)?;
            at += read;
            let end = self.bounds.last_mut().expect("it begins with one");
            if text_of(&line).is_empty() {
                // Belongs to the line before, or to nothing.
                *end = at;
                continue;
            }
            self.check(&line, &place)?;
            self.bounds.push(at);
        }
        Ok(())
    }

    fn check(&mut self, line: &[u8], place: &str) -> Result<(), DataError> {
        parse(line).map_err(|reason| fault(self.path, format!("{place}: {reason}")))?;
        self.hash.update(text_of(line));
        self.hash.update(b"\n");
        Ok(())
    }
}

/// A line without byte order mark, spaces and line end.
fn text_of(line: &[u8]) -> &[u8] {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    line.trim_ascii()
}

fn parse(line: &[u8]) -> Result<Conversation, String> {
    let line = text_of(line);
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("it is not UTF-8 text from byte {} on", error.valid_up_to() + 1))?;
    Conversation::from_json(text).map_err(|error| {
        // The JSON reader counts lines within this one line, which would mislead.
        error.to_string().replacen(" at line 1 column ", " at column ", 1)
    })
}

/// A temporary copy being written.
struct Copy<'a> {
    path: &'a Path,
    output: BufWriter<SpooledTempFile>,
    bytes: u64,
}

impl<'a> Copy<'a> {
    fn new(path: &'a Path) -> Self {
        Copy {
            path,
            output: BufWriter::new(tempfile::spooled_tempfile(MEMORY_BYTES)),
            bytes: 0,
        }
    }

    fn fail(&self, error: &io::Error) -> DataError {
        fault(
            self.path,
            format!("there is no room to unpack it in the temporary folder: {error}"),
        )
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        self.bytes += bytes.len() as u64;
        let written = self.output.write_all(bytes);
        written.map_err(|error| self.fail(&error))
    }

    fn finish(mut self) -> Result<Box<dyn Stored>, DataError> {
        let flushed = self.output.flush();
        flushed.map_err(|error| self.fail(&error))?;
        let path = self.path;
        match self.output.into_inner() {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(DataError::io(path, error.into_error())),
        }
    }
}
