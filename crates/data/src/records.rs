//! Files of records of any shape, row by row as JSON: JSONL, gzipped JSONL or
//! Parquet. This room must never know what a record means.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use flate2::bufread::MultiGzDecoder;

use crate::conversations::object;
use crate::error::DataError;
use crate::source::parquet::guard;

/// A longer line is not a record.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Gives every row of a file to `take` as JSON; empty lines are passed over.
/// What a file is its first bytes say. What `take` refuses becomes an error
/// that names the file and the line or row.
///
/// # Errors
/// [`DataError::Malformed`] with the place of the first fault, or
/// [`DataError::Io`].
pub fn read_records(path: &Path, take: &mut dyn FnMut(&str) -> Result<(), String>) -> Result<(), DataError> {
    let fail = |error| DataError::io(path, error);
    let mut file = File::open(path).map_err(fail)?;
    let mut magic = Vec::new();
    (&file).take(4).read_to_end(&mut magic).map_err(fail)?;
    file.seek(SeekFrom::Start(0)).map_err(fail)?;
    if magic == b"PAR1" {
        rows(path, file, take)
    } else if magic.starts_with(&[0x1f, 0x8b]) {
        lines(path, BufReader::new(MultiGzDecoder::new(BufReader::new(file))), take)
    } else {
        lines(path, BufReader::new(file), take)
    }
}

fn rows(path: &Path, file: File, take: &mut dyn FnMut(&str) -> Result<(), String>) -> Result<(), DataError> {
    let file = guard(path, "its footer", || SerializedFileReader::new(file))?;
    let mut rows = guard(path, "its schema", || file.get_row_iter(None))?;
    for number in 1.. {
        let place = format!("row {number}");
        let Some(row) = guard(path, &place, || rows.next().transpose())? else {
            break;
        };
        take(&object(&row).to_string()).map_err(|reason| DataError::malformed(path, place, reason))?;
    }
    Ok(())
}

fn lines(
    path: &Path,
    mut input: impl BufRead,
    take: &mut dyn FnMut(&str) -> Result<(), String>,
) -> Result<(), DataError> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let fault = |reason: String| DataError::malformed(path, format!("line {number}"), reason);
        let read = input.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|error| match error.kind() {
            // What a damaged gzip file gives.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                fault(format!("it cannot be unpacked: {error}"))
            }
            _ => DataError::io(path, error),
        })? as u64;
        if read == 0 {
            break;
        }
        if read > MAX_LINE_BYTES {
            return Err(fault(format!("it is longer than {} MiB", MAX_LINE_BYTES >> 20)));
        }
        let text = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line).trim_ascii();
        let text = std::str::from_utf8(text)
            .map_err(|error| fault(format!("it is not UTF-8 text from byte {} on", error.valid_up_to() + 1)))?;
        if !text.is_empty() {
            take(text).map_err(fault)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: &[u8]) -> Result<Vec<String>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut found = Vec::new();
        let read = read_records(file.path(), &mut |record| {
            if record == "bad" {
                return Err("it is bad".to_owned());
            }
            found.push(record.to_owned());
            Ok(())
        });
        read.map(|()| found).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_records_and_faults_name_them() {
        assert_eq!(read(b"\xef\xbb\xbf{\"a\":1}\r\n\n[2]").unwrap(), ["{\"a\":1}", "[2]"]);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"1\n2\n").unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(read(&packed).unwrap(), ["1", "2"]);
        for (bytes, expected) in [
            (&b"1\n\nbad\n"[..], "line 3: it is bad"),
            (b"1\n\xff\n", "line 2: it is not UTF-8 text from byte 1 on"),
            (&packed[..packed.len() - 9], "it cannot be unpacked"),
            (b"PAR1 and nothing else", "its footer"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
