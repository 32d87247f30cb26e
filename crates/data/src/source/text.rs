//! Plain text: whole files in pieces, or paragraphs as documents.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use crate::corpus::{Mark, SourceFile, TextDocuments};
use crate::documents::{Document, Position};
use crate::error::DataError;

/// Longest piece of a text, in bytes.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// The bytes of `file` from `offset` on.
pub(crate) fn open_at(file: &SourceFile, offset: u64) -> Result<Box<dyn Read + Send>, DataError> {
    if let Some(text) = &file.memory {
        struct Shared(Arc<str>);
        impl AsRef<[u8]> for Shared {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }
        let mut cursor = Cursor::new(Shared(Arc::clone(text)));
        cursor.set_position(offset);
        return Ok(Box::new(cursor));
    }
    let fail = |error| DataError::io(&file.path, error);
    let mut input = File::open(&file.path).map_err(fail)?;
    input.seek(SeekFrom::Start(offset)).map_err(fail)?;
    Ok(Box::new(input))
}

pub(crate) struct TextReader {
    input: Box<dyn Read + Send>,
    path: PathBuf,
    documents: TextDocuments,
    /// Unread bytes are `buffer[start..]`; they lie at the mark's offset.
    buffer: Vec<u8>,
    start: usize,
    /// No more bytes will come from `input`.
    drained: bool,
    mark: Mark,
}

impl TextReader {
    pub(crate) fn open(
        file: &SourceFile,
        from: Mark,
        end: Option<Mark>,
        documents: TextDocuments,
    ) -> Result<Self, DataError> {
        let end = end.map_or(file.bytes, |end| end.group);
        let input = open_at(file, from.group)?;
        Ok(TextReader {
            input: Box::new(input.take(end.saturating_sub(from.group))),
            path: file.path.clone(),
            documents,
            buffer: Vec::new(),
            start: 0,
            drained: false,
            mark: from,
        })
    }

    pub(crate) fn read(&mut self, epoch: u64, out: &mut Vec<Document>) -> Result<Option<Mark>, DataError> {
        loop {
            self.fill()?;
            if self.mark.group == 0 && self.rest().starts_with("\u{feff}".as_bytes()) {
                self.consume(3);
            }
            if self.documents == TextDocuments::Paragraphs && self.mark.row == 0 {
                let blank = leading_blank_lines(self.rest());
                self.consume(blank);
                if blank > 0 {
                    continue;
                }
            }
            if self.rest().is_empty() {
                return Ok(None);
            }
            let begins = self.mark.row == 0;
            let (length, skip, is_last) = self.next_piece();
            let text = std::str::from_utf8(&self.rest()[..length]).map_err(|error| {
                let byte = self.mark.group + error.valid_up_to() as u64;
                DataError::malformed(&self.path, format!("byte {byte}"), "it is not UTF-8 text")
            })?;
            let text = text.to_owned();
            self.consume(length + skip);
            self.mark.row = if is_last { 0 } else { self.mark.row + 1 };
            if self.documents == TextDocuments::Paragraphs && text.trim().is_empty() {
                continue;
            }
            out.push(Document {
                text,
                begins,
                after: Position::at(epoch, self.mark),
            });
            return Ok(Some(self.mark));
        }
    }

    /// Bytes of the next piece, bytes to skip after it, and whether the
    /// document ends with it.
    fn next_piece(&self) -> (usize, usize, bool) {
        let rest = self.rest();
        if self.documents == TextDocuments::Paragraphs {
            let window = &rest[..rest.len().min(PIECE_BYTES)];
            if let Some((length, skip)) = paragraph_end(window) {
                return (length, skip, true);
            }
        }
        if rest.len() > PIECE_BYTES {
            return (cut(rest, PIECE_BYTES), 0, false);
        }
        let length = match self.documents {
            TextDocuments::Whole => rest.len(),
            TextDocuments::Paragraphs => rest.trim_ascii_end().len(),
        };
        (length, rest.len() - length, true)
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.mark.group += bytes as u64;
    }

    /// Makes more than one piece available unless the input ends before.
    fn fill(&mut self) -> Result<(), DataError> {
        if self.drained || self.rest().len() > PIECE_BYTES {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let want = 4 * PIECE_BYTES - self.buffer.len();
        let got = (&mut self.input)
            .take(want as u64)
            .read_to_end(&mut self.buffer)
            .map_err(|error| DataError::io(&self.path, error))?;
        self.drained = got < want;
        Ok(())
    }
}

/// Bytes of the blank lines that `bytes` begins with.
fn leading_blank_lines(bytes: &[u8]) -> usize {
    let blank = bytes.len() - bytes.trim_ascii_start().len();
    if blank == bytes.len() {
        return blank;
    }
    // The indentation of the first line with text stays with it.
    bytes[..blank]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |newline| newline + 1)
}

/// The first blank line: bytes before it and bytes up to its end.
fn paragraph_end(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = bytes[from..].iter().position(|&byte| byte == b'\n') {
        let newline = from + found;
        let mut next = newline + 1;
        while matches!(bytes.get(next), Some(b' ' | b'\t' | b'\r')) {
            next += 1;
        }
        if bytes.get(next) == Some(&b'\n') {
            let length = bytes[..newline].trim_ascii_end().len();
            return Some((length, next + 1 - length));
        }
        from = newline + 1;
    }
    None
}

/// Where to end a piece of at most `limit` bytes of a longer text: where the
/// split pattern of the tokenizer divides anyway, so that the ids of the pieces
/// are those of the whole: before a line that begins with a visible character,
/// else before the space in front of a word, else at any character.
fn cut(bytes: &[u8], limit: usize) -> usize {
    let visible = |at: usize| !bytes[at].is_ascii_whitespace();
    let half = limit / 2;
    for at in (half..=limit).rev() {
        if bytes[at - 1] == b'\n' && visible(at) {
            return at;
        }
    }
    for at in (half..limit).rev() {
        if bytes[at] == b' ' && visible(at - 1) && visible(at + 1) {
            return at;
        }
    }
    let mut at = limit;
    while at > limit - 3 && bytes[at] & 0xC0 == 0x80 {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_before_a_line_then_before_a_word_then_at_a_character() {
        assert_eq!(cut(b"ab cd\nef gh ij", 10), 6);
        assert_eq!(cut(b"ab cd ef gh ij", 10), 8);
        assert_eq!(cut(b"abcdefghijklmn", 10), 10);
        // 'é' takes bytes 9 and 10.
        assert_eq!(cut("abcdefghi\u{e9}jkl".as_bytes(), 10), 9);
        // An indented line is no place to cut: the newline and the spaces
        // are one chunk for the split pattern.
        assert_eq!(cut(b"ab cd\n  ef ghij", 10), 10);
    }

    #[test]
    fn blank_lines_may_hold_spaces_and_carriage_returns() {
        assert_eq!(paragraph_end(b"one\ntwo\n\nthree"), Some((7, 2)));
        assert_eq!(paragraph_end(b"one\r\n \t\r\nthree"), Some((3, 6)));
        assert_eq!(paragraph_end(b"one\ntwo\n"), None);
        assert_eq!(leading_blank_lines(b"\n  \n  text"), 4);
        assert_eq!(leading_blank_lines(b"  text"), 0);
        assert_eq!(leading_blank_lines(b" \n \n"), 4);
    }
}
