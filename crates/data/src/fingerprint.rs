//! What identifies a corpus, so that a run does not go on with other data than it began with. This room reads
//! bytes; it must never know what they mean.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use crate::corpus::{CorpusOptions, Kind, SourceFile};
use crate::skipped::{Hashed, short};

/// A corpus up to this size is read whole: hundredths of a second where the processor knows SHA, tenths elsewhere.
const READ_WHOLE: u64 = 64 << 20;

/// Of a larger one each file gives its end (where Parquet says how long every page is) and three blocks.
const END: u64 = 16 << 10;
const BLOCK: u64 = 4 << 10;

/// Digest of names, sizes, reading options and contents: of all bytes of a small corpus, of samples of every file of
/// a large one. (What samples do not show is noticed where a shard is read again, see `skipped.rs`.)
pub(crate) fn of(kind: Kind, files: &[SourceFile], options: &CorpusOptions) -> String {
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    fingerprint(kind, files, options, total <= READ_WHOLE)
}

fn fingerprint(kind: Kind, files: &[SourceFile], options: &CorpusOptions, whole: bool) -> String {
    let CorpusOptions {
        text_field,
        text_documents,
        // Decides when a run ends, never what it reads.
        strict: _,
    } = options;
    let mut hash = Sha256::new();
    hash.update(format!("{kind:?}\n{text_field:?}\n{text_documents:?}\n"));
    for file in files {
        hash.update(format!("{}\n{}\n", file.name, file.bytes));
        if let Some(text) = &file.memory {
            hash.update(text.as_bytes());
        } else if let Err(error) = contents(file, whole, &mut hash) {
            // It will be named when it is its turn; once it can be read, the data are others.
            hash.update(format!("\n{:?}\n", error.kind()));
        }
    }
    short(&hash)
}

fn contents(file: &SourceFile, whole: bool, hash: &mut Sha256) -> io::Result<()> {
    let mut input = File::open(&file.path)?;
    let mut out = Hashed(hash.clone());
    if whole || file.bytes <= END + 4 * BLOCK {
        io::copy(&mut input, &mut out)?;
    } else {
        for quarter in 1..4 {
            input.seek(SeekFrom::Start(file.bytes / 4 * quarter))?;
            io::copy(&mut input.by_ref().take(BLOCK), &mut out)?;
        }
        input.seek(SeekFrom::Start(file.bytes - END))?;
        io::copy(&mut input, &mut out)?;
    }
    *hash = out.0;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn other_contents_of_the_same_length_are_other_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let mut bytes = vec![b'a'; 200_000];
        let print = |bytes: &[u8], whole: bool| {
            fs::write(&path, bytes).unwrap();
            let file = SourceFile {
                path: path.clone(),
                name: "a.txt".into(),
                bytes: bytes.len() as u64,
                memory: None,
            };
            fingerprint(Kind::TextFile, &[file], &CorpusOptions::default(), whole)
        };
        let (whole, sampled) = (print(&bytes, true), print(&bytes, false));
        for (place, noticed) in [(199_999, true), (100_000, true), (10, false)] {
            bytes[place] = b'b';
            assert_ne!(print(&bytes, true), whole, "byte {place}");
            assert_eq!(print(&bytes, false) != sampled, noticed, "byte {place}");
            bytes[place] = b'a';
        }
        assert_eq!(print(&bytes, true), whole);
    }

    #[test]
    fn a_file_that_cannot_be_read_has_a_fingerprint_too() {
        let file = SourceFile {
            path: "/nowhere/at/all.parquet".into(),
            name: "all.parquet".into(),
            bytes: 9,
            memory: None,
        };
        assert_eq!(of(Kind::Parquet, &[file], &CorpusOptions::default()).len(), 16);
    }
}
