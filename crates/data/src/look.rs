//! What a file of text, JSONL or Parquet holds, and whether all of it can be read. This room must never know what
//! the file is for.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::error::DataError;
use crate::records::read_records;
use crate::source::parquet::guard;

/// Characters of the first record that are shown.
const SAMPLE: usize = 400;
/// Folders nested deeper than this are not searched.
const MAX_DEPTH: usize = 32;
/// Longest part of a text file that is looked at at once.
const BLOCK: u64 = 1 << 20;

/// What a file holds.
#[derive(Clone, Debug, Serialize)]
pub struct FileFacts {
    /// The file.
    pub path: PathBuf,
    /// `parquet`, `jsonl` or `text`.
    pub kind: &'static str,
    /// Its length.
    pub bytes: u64,
    /// Rows, or lines that are not empty.
    pub records: u64,
    /// Row groups of a Parquet file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_groups: Option<usize>,
    /// Columns, or the keys of the first line.
    pub columns: Vec<String>,
    /// The beginning of the first record.
    pub sample: String,
}

/// Every visible file below a path, or the file itself, in the order of their names.
///
/// # Errors
/// [`DataError::Missing`] or [`DataError::Io`].
pub fn files_below(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => DataError::Missing {
            path: path.to_path_buf(),
        },
        _ => DataError::io(path, error),
    })?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let (mut open, mut found) = (vec![(path.to_path_buf(), 0)], Vec::new());
    while let Some((folder, depth)) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| DataError::io(&folder, error))? {
            let entry = entry.map_err(|error| DataError::io(&folder, error))?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            // Links to folders are not followed, so that no loop can arise.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if depth < MAX_DEPTH {
                    open.push((path, depth + 1));
                }
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Looks at a file: of Parquet at its footer and first row, of others at every line.
///
/// # Errors
/// [`DataError::Malformed`] with the place of the first fault, or [`DataError::Io`].
pub fn look(path: &Path) -> Result<FileFacts, DataError> {
    let fail = |error| DataError::io(path, error);
    let kind = kind_of(path)?;
    let mut facts = FileFacts {
        path: path.to_path_buf(),
        kind,
        bytes: fs::metadata(path).map_err(fail)?.len(),
        records: 0,
        row_groups: None,
        columns: Vec::new(),
        sample: String::new(),
    };
    if kind != "parquet" {
        facts.records = read_through(path, &mut |record| {
            if facts.sample.is_empty() {
                facts.columns = keys(record);
                facts.sample = record.chars().take(SAMPLE).collect();
            }
        })?;
        return Ok(facts);
    }
    let file = File::open(path).map_err(fail)?;
    let file = guard(path, "its footer", || SerializedFileReader::new(file))?;
    let metadata = file.metadata();
    facts.records = metadata.file_metadata().num_rows().max(0) as u64;
    facts.row_groups = Some(metadata.num_row_groups());
    let fields = metadata.file_metadata().schema().get_fields();
    facts.columns = fields.iter().map(|field| field.name().to_owned()).collect();
    let mut rows = guard(path, "its schema", || file.get_row_iter(None))?;
    if let Some(row) = guard(path, "row 1", || rows.next().transpose())? {
        let row = crate::conversations::object(&row).to_string();
        facts.sample = row.chars().take(SAMPLE).collect();
    }
    Ok(facts)
}

/// Reads all of a file, gives each record to `take`, and says how many there were.
///
/// # Errors
/// As [`look`].
pub fn read_through(path: &Path, take: &mut dyn FnMut(&str)) -> Result<u64, DataError> {
    let kind = kind_of(path)?;
    if kind == "text" {
        return read_text(path, take);
    }
    let mut records = 0;
    read_records(path, &mut |record| {
        if kind == "jsonl" {
            serde_json::from_str::<IgnoredAny>(record).map_err(|error| format!("it is not JSON: {error}"))?;
        }
        records += 1;
        take(record);
        Ok(())
    })?;
    Ok(records)
}

/// Text of any length, also without a single newline.
fn read_text(path: &Path, take: &mut dyn FnMut(&str)) -> Result<u64, DataError> {
    let fail = |error| DataError::io(path, error);
    let mut file = BufReader::new(File::open(path).map_err(fail)?);
    let (mut block, mut lines, mut at) = (Vec::new(), 0, 0);
    loop {
        // What the last block ended in, in the middle of a character, is still there.
        let carried = block.len() as u64;
        let read = file.by_ref().take(BLOCK).read_until(b'\n', &mut block).map_err(fail)?;
        let whole = match std::str::from_utf8(&block) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
            Err(error) => {
                let place = format!("byte {}", at - carried + error.valid_up_to() as u64 + 1);
                return Err(DataError::malformed(path, place, "it is not UTF-8 text"));
            }
        };
        if read == 0 {
            return Ok(lines);
        }
        at += read as u64;
        let text = std::str::from_utf8(&block[..whole]).expect("it was just found to be valid");
        if !text.trim().is_empty() {
            lines += 1;
            take(text.trim_end());
        }
        block.drain(..whole);
    }
}

fn kind_of(path: &Path) -> Result<&'static str, DataError> {
    let mut magic = Vec::new();
    File::open(path)
        .and_then(|file| file.take(4).read_to_end(&mut magic))
        .map_err(|error| DataError::io(path, error))?;
    let name = path.to_string_lossy().to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    Ok(if magic == b"PAR1" || ends(&[".parquet"]) {
        "parquet"
    } else if magic.starts_with(&[0x1f, 0x8b]) || ends(&[".jsonl", ".ndjson"]) {
        "jsonl"
    } else {
        "text"
    })
}

fn keys(record: &str) -> Vec<String> {
    match serde_json::from_str(record) {
        Ok(Value::Object(object)) => object.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_what_they_hold_and_where_they_are_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        };
        let facts = look(&write("b.jsonl", b"{\"text\": \"a\", \"n\": 1}\n\n{\"text\": \"b\"}\n")).unwrap();
        assert_eq!((facts.kind, facts.records), ("jsonl", 2));
        assert_eq!(facts.columns.len(), 2);
        let mut long = "é".repeat(800_000).into_bytes();
        let facts = look(&write("sub/a.txt", &long)).unwrap();
        assert_eq!(facts.kind, "text");
        long[1_500_001] = b'x';
        let error = look(&write("c.txt", &long)).unwrap_err().to_string();
        assert!(error.contains("byte 1500001"), "{error}");
        let error = look(&write("d.jsonl", b"{}\n{\n")).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        let error = look(&write("e.parquet", b"<html>")).unwrap_err().to_string();
        assert!(error.contains("e.parquet"), "{error}");
        write(".hub/x.json", b"{}");
        assert_eq!(files_below(folder.path()).unwrap().len(), 5);
    }
}
