//! No file makes the reader panic, run on or believe nonsense.
#![no_main]

use ferrochat_tokenizer::{SPLIT_PATTERN, Tokenizer, TokenizerError};
use libfuzzer_sys::fuzz_target;

const TEXT: &str = "What is left of it? 🌍 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn check(read: Result<Tokenizer, TokenizerError>) -> Option<Tokenizer> {
    match read {
        Ok(tokenizer) => {
            let ids = tokenizer.encode_ordinary(TEXT);
            assert!(ids.iter().all(|&id| id < tokenizer.bos()));
            if tokenizer.unknown_character(TEXT).is_none() {
                assert_eq!(tokenizer.decode(&ids), TEXT);
            }
            Some(tokenizer)
        }
        Err(TokenizerError::Malformed { place, problem, .. }) => {
            assert!(!place.is_empty() && !problem.is_empty());
            None
        }
        Err(_) => None,
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(Tokenizer::from_tiktoken(bytes, SPLIT_PATTERN));
    let folder = tempfile::tempdir().expect("a folder for the file");
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, bytes).expect("the file can be written");
    if let Some(tokenizer) = check(Tokenizer::load(&path)) {
        tokenizer.save(&path).expect("the file can be written");
        let again = Tokenizer::load(&path).expect("what was saved can be read");
        assert_eq!(again.fingerprint(), tokenizer.fingerprint());
    }
    // The same bytes as both of GPT-2's files.
    let (merges, encoder) = (folder.path().join("vocab.bpe"), folder.path().join("encoder.json"));
    std::fs::write(&merges, bytes).expect("the file can be written");
    std::fs::write(&encoder, bytes).expect("the file can be written");
    check(Tokenizer::load_gpt2(&merges, &encoder));
});
