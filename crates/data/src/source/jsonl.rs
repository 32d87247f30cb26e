//! JSONL: one object per line, one of whose fields is the text.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::corpus::{Mark, SourceFile};
use crate::documents::{Document, Position};
use crate::error::DataError;
use crate::source::text::open_at;

/// Bytes of the longest line that is read into memory.
const LONGEST_LINE: u64 = 256 << 20;

pub(crate) struct JsonlReader {
    input: BufReader<Box<dyn Read + Send>>,
    path: PathBuf,
    field: String,
    mark: Mark,
    end: u64,
    line: Vec<u8>,
}

impl JsonlReader {
    pub(crate) fn open(file: &SourceFile, from: Mark, end: Option<Mark>, field: &str) -> Result<Self, DataError> {
        Ok(JsonlReader {
            input: BufReader::with_capacity(256 << 10, open_at(file, from.group)?),
            path: file.path.clone(),
            field: field.to_owned(),
            mark: from,
            end: end.map_or(u64::MAX, |end| end.group),
            line: Vec::new(),
        })
    }

    pub(crate) fn read(&mut self, epoch: u64, out: &mut Vec<Document>) -> Result<Option<Mark>, DataError> {
        loop {
            if self.mark.group >= self.end {
                return Ok(None);
            }
            self.line.clear();
            let bytes = (&mut self.input)
                .take(LONGEST_LINE + 1)
                .read_until(b'\n', &mut self.line)
                .map_err(|error| DataError::io(&self.path, error))?;
            if bytes == 0 {
                return Ok(None);
            }
            let line_at = self.mark.group;
            self.mark.group += bytes as u64;
            if bytes as u64 > LONGEST_LINE {
                let place =
                    line_number(&self.path, line_at).map_or_else(|_| "a line".to_owned(), |n| format!("line {n}"));
                let reason = format!("it is longer than {} MiB, which no document is", LONGEST_LINE >> 20);
                return Err(DataError::malformed(&self.path, place, reason));
            }
            let line = self.line.strip_prefix("\u{feff}".as_bytes());
            let line = line.unwrap_or(&self.line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            let text = text_of(line, &self.field).map_err(|reason| {
                let place = match line_number(&self.path, line_at) {
                    Ok(number) => format!("line {number}"),
                    Err(_) => format!("the line at byte {line_at}"),
                };
                DataError::malformed(&self.path, place, reason)
            })?;
            out.push(Document {
                text,
                begins: true,
                after: Position::at(epoch, self.mark),
            });
            return Ok(Some(self.mark));
        }
    }
}

/// Lines are counted only when an error has to name one: reading may begin
/// anywhere in the file.
fn line_number(path: &Path, offset: u64) -> std::io::Result<u64> {
    let mut input = BufReader::new(File::open(path)?).take(offset);
    let mut lines = 1;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(lines);
        }
        lines += buffer.split(|&byte| byte == b'\n').count() as u64 - 1;
        let read = buffer.len();
        input.consume(read);
    }
}

/// The string in `field` of the object on `line`; the other fields are checked
/// to be JSON but never built.
fn text_of(line: &[u8], field: &str) -> Result<String, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let text = deserializer
        .deserialize_map(TextField(field))
        .and_then(|text| deserializer.end().map(|()| text))
        .map_err(|error| {
            // Its line number counts within this one line and would mislead.
            let message = error.to_string();
            let end = message.rfind(" at line ").unwrap_or(message.len());
            message[..end].to_owned()
        })?;
    text.ok_or_else(|| format!("the object has no field `{field}`"))
}

struct TextField<'a>(&'a str);

impl<'de> Visitor<'de> for TextField<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a JSON object with a string in field `{}`", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut text = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == self.0 {
                let value: serde_json::Value = map.next_value()?;
                let serde_json::Value::String(value) = value else {
                    return Err(A::Error::custom(format!("field `{}` is not a string", self.0)));
                };
                text = Some(value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::text_of;

    #[test]
    fn finds_the_field_among_others() {
        let line = br#"{"id": [1, {"text": "no"}], "text": "a\n\u00e9", "z": null}"#;
        assert_eq!(text_of(line, "text"), Ok("a\n\u{e9}".to_owned()));
        assert_eq!(text_of(br#"{"body": "b"}"#, "body"), Ok("b".to_owned()));
    }

    #[test]
    fn says_what_is_wrong_with_a_line() {
        let reason = |line: &[u8]| text_of(line, "text").unwrap_err();
        assert_eq!(reason(br#"{"a": 1}"#), "the object has no field `text`");
        assert_eq!(reason(br#"{"text": 1}"#), "field `text` is not a string");
        assert!(reason(b"[1]").contains("expected a JSON object"));
        assert!(reason(br#"{"text": "a""#).contains("EOF"));
        assert!(reason(br#"{"text": "a"} x"#).contains("trailing"));
        assert!(!reason(b"{\"text\": \"\xff\"}").is_empty());
    }
}
