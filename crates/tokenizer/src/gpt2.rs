//! GPT-2's own two files: `encoder.json` (tokens to ids) and `vocab.bpe` (merges, one on each line).

use std::path::Path;

use crate::error::Fault;
use crate::spelled::{Names, Vocab, assemble};
use crate::split::{GPT2_PATTERN, Splitter};
use crate::{Tokenizer, TokenizerError, file};

/// The one token of the files that is no merge. It ends a document as `<|bos|>` begins one, and comes at the
/// same place.
const END_OF_TEXT: &str = "<|endoftext|>";

impl Tokenizer {
    /// Reads GPT-2's files. Its `<|endoftext|>`, if it is there, must have the last id, which becomes the id
    /// of `<|bos|>`.
    ///
    /// # Errors
    /// [`TokenizerError::Io`] or, naming the file and the place of the fault, [`TokenizerError::Malformed`].
    pub fn load_gpt2(vocab_bpe: &Path, encoder_json: &Path) -> Result<Self, TokenizerError> {
        let merges = file::read(vocab_bpe)?;
        let encoder = file::read(encoder_json)?;
        read(&merges, &encoder).map_err(|(file, fault)| {
            fault.in_file(match file {
                InFile::Merges => vocab_bpe,
                InFile::Encoder => encoder_json,
            })
        })
    }
}

/// Which of the two files a fault is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InFile {
    Merges,
    Encoder,
}

fn read(merges: &str, encoder: &str) -> Result<Tokenizer, (InFile, Fault)> {
    let in_encoder = |fault| (InFile::Encoder, fault);
    let vocab: Vocab = serde_json::from_str(encoder).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        in_encoder(Fault::new(place, error.to_string()))
    })?;
    let mut spelled = vocab.by_id("token").map_err(in_encoder)?;
    if spelled.last().is_some_and(|token| token == END_OF_TEXT) {
        spelled.pop();
    }

    // A first line may name the version; a merge's halves cannot be that, as there is no such token.
    let skipped = usize::from(merges.starts_with("#version"));
    let lines: Vec<&str> = merges.lines().skip(skipped).collect();
    let used = lines
        .iter()
        .rposition(|line| !line.is_empty())
        .map_or(0, |last| last + 1);
    let merge_at = |k: usize| format!("line {}", k + skipped + 1);
    let names = Names {
        vocab: "token",
        merges: "all lines",
        merge: &merge_at,
    };
    let splitter = Splitter::new(GPT2_PATTERN).expect("our own pattern is known");
    let halves = lines[..used].iter().map(|line| line.split_once(' '));
    let bpe = assemble(splitter, &spelled, halves, &names).map_err(|fault| {
        let file = if fault.place.starts_with("token") {
            InFile::Encoder
        } else {
            InFile::Merges
        };
        (file, fault)
    })?;
    Ok(Tokenizer::from_bpe(bpe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byte_level::alphabet;

    fn encoder(more: &[&str]) -> String {
        let mut names: Vec<String> = alphabet().iter().map(char::to_string).collect();
        // GPT-2 has the printable bytes first.
        names.sort();
        names.extend(more.iter().map(|&name| name.to_owned()));
        let map: serde_json::Map<_, _> = names.into_iter().zip((0..).map(serde_json::Value::from)).collect();
        serde_json::to_string(&map).unwrap()
    }

    #[test]
    fn reads_what_gpt2_wrote() {
        let merges = "#version: 0.2\nh e\nĠ t\nĠt he\n";
        let encoder = encoder(&["he", "Ġt", "Ġthe", "<|endoftext|>"]);
        let tokenizer = read(merges, &encoder).unwrap();
        assert_eq!(tokenizer.bos(), 259);
        assert_eq!(tokenizer.encode_ordinary("he the t"), [256, 258, 257]);
        assert_eq!(tokenizer.decode(&[256, 258, 257]), "he the t");
        assert_eq!(
            read("h e\nĠ t\nĠt he", &encoder).unwrap().fingerprint(),
            tokenizer.fingerprint()
        );
    }

    #[test]
    fn faults_name_their_file_and_place() {
        let fault = |merges: &str, more: &[&str]| {
            let (file, fault) = read(merges, &encoder(more)).unwrap_err();
            (file, fault.place)
        };
        let merges = |line: usize| (InFile::Merges, format!("line {line}"));
        assert_eq!(fault("#version: 0.2\nh x\n", &["he"]), merges(2));
        assert_eq!(fault("h e\nhe\n", &["he", "hee"]), merges(2));
        assert_eq!(fault("h e\n\nh h", &["he", "ee", "hh"]), merges(2));
        assert_eq!(fault("h e", &[]), (InFile::Merges, "all lines".to_owned()));
        assert_eq!(
            fault("h e", &["h中"]),
            (InFile::Encoder, "token[\"h中\"] (id 256)".to_owned())
        );
        let (file, fault) = read("", "{\"a\": -1}").unwrap_err();
        assert_eq!((file, &fault.place[..6]), (InFile::Encoder, "line 1"));
        assert_eq!(read("", "{}").unwrap_err().0, InFile::Encoder);
    }
}
