//! Training and encoding against rustbpe 0.1.0 and tiktoken 0.14.0, by fixtures that
//! `tests/fixtures/make.py` remakes.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use ferrochat_tokenizer::{CharTrainer, Kind, SPECIAL_TOKENS, SPLIT_PATTERN, Tokenizer, Trainer};

const TEXT: &str = include_str!("fixtures/text.txt");
const RANKS: &str = include_str!("fixtures/ranks.tiktoken");
const EARLY: &str = include_str!("fixtures/early.tiktoken");
const ENCODINGS: &str = include_str!("fixtures/encodings.jsonl");

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

fn trained(text: &str) -> Tokenizer {
    let mut trainer = Trainer::new(800).unwrap().doc_cap(usize::MAX);
    trainer.feed(text);
    trainer.finish(&mut |_, _| ()).unwrap()
}

fn characters() -> Tokenizer {
    let mut trainer = CharTrainer::new();
    trainer.feed(TEXT);
    trainer.finish().unwrap()
}

fn check(tokenizer: &Tokenizer) {
    let mut cases = 0;
    for line in ENCODINGS.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        assert_eq!(tokenizer.encode_ordinary(&case.text), case.ids, "{:?}", case.text);
        assert_eq!(tokenizer.decode(&case.ids), case.text);
        cases += 1;
    }
    assert_eq!(cases, 93);
}

#[test]
fn learns_what_rustbpe_learns() {
    let tokenizer = trained(TEXT);
    assert_eq!(tokenizer.vocab_size(), 800);
    assert_eq!(tokenizer.to_tiktoken().unwrap(), RANKS);
    check(&tokenizer);
}

#[test]
fn ends_as_early_as_rustbpe() {
    let start: String = TEXT.chars().take(50).collect();
    let tokenizer = trained(&start);
    assert_eq!(tokenizer.to_tiktoken().unwrap(), EARLY);
    assert_eq!(tokenizer.vocab_size(), 288 + 9);
}

#[test]
fn documents_count_alike_in_any_order() {
    let halves = TEXT.split_at(TEXT.find("\n ").unwrap());
    let train = |documents: [&str; 2]| {
        let mut trainer = Trainer::new(500).unwrap();
        for document in documents {
            assert!(trainer.feed(document));
        }
        trainer.finish(&mut |_, _| ()).unwrap().fingerprint()
    };
    assert_eq!(train([halves.0, halves.1]), train([halves.1, halves.0]));
}

#[test]
fn encodes_as_tiktoken_with_ranks_from_a_file() {
    check(&Tokenizer::from_tiktoken(RANKS.as_bytes(), SPLIT_PATTERN).unwrap());
}

#[test]
fn ids_bytes_and_special_tokens() {
    let tokenizer = trained(TEXT);
    assert_eq!(tokenizer.kind(), Kind::Bpe);
    assert_eq!(tokenizer.bos(), 791);
    for (name, id) in SPECIAL_TOKENS.iter().zip(791..) {
        assert_eq!(tokenizer.special(name), Some(id));
        assert_eq!(tokenizer.token_bytes(id), name.as_bytes());
        // Spelled out in text it stays text.
        assert!(tokenizer.encode_ordinary(name).iter().all(|&id| id < 791));
        assert_eq!(tokenizer.decode(&tokenizer.encode_ordinary(name)), *name);
    }
    assert_eq!(tokenizer.special("<|endoftext|>"), None);
    assert_eq!(
        tokenizer.decode(&[791, 104, 105, 799, 800, u32::MAX]),
        "<|bos|>hi<|output_end|>"
    );
    assert_eq!(tokenizer.decode(&[0xE2, 104]), "\u{FFFD}h");
    assert_eq!(tokenizer.decode_bytes(&[0xE2, 104]), [0xE2, 104]);
    assert_eq!(tokenizer.token_bytes(800), b"");

    let lengths = tokenizer.byte_lengths();
    assert_eq!(lengths.len(), 800);
    assert!(lengths[..256].iter().all(|&length| length == 1));
    assert!(lengths[791..].iter().all(|&length| length == 0));
    let ids = tokenizer.encode_ordinary(TEXT);
    let bytes: u32 = ids.iter().map(|&id| lengths[id as usize]).sum();
    assert_eq!(bytes as usize, TEXT.len());
}

#[test]
fn special_tokens_where_they_are_allowed() {
    let tokenizer = trained(TEXT);
    let text = "<|bos|>bread<|user_start|> and<|bos|>";
    let ids = tokenizer.encode_with_special(text, &["<|bos|>"]).unwrap();
    assert_eq!((ids[0], ids[ids.len() - 1]), (791, 791));
    assert_eq!(
        ids[1..ids.len() - 1],
        tokenizer.encode_ordinary("bread<|user_start|> and")
    );
    assert_eq!(tokenizer.decode(&ids), text);
    assert_eq!(
        tokenizer.encode_with_special(text, &[]).unwrap(),
        tokenizer.encode_ordinary(text)
    );
    let error = tokenizer.encode_with_special(text, &["<|endoftext|>"]).unwrap_err();
    assert!(error.to_string().contains("<|endoftext|>"));
}

#[test]
fn batches_are_their_texts() {
    let texts: Vec<String> = (0..3000)
        .map(|k| TEXT.chars().cycle().skip(k % 700).take(k % 1300).collect())
        .collect();
    for tokenizer in [trained(TEXT), characters()] {
        let alone: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode_ordinary(text)).collect();
        assert!(tokenizer.encode_batch(&texts) == alone);
        for threads in [0, 1, 3, 8] {
            assert!(tokenizer.encode_batch_on(&texts, threads) == alone);
        }
        assert!(tokenizer.encode_batch::<&str>(&[]).is_empty());
        assert_eq!(tokenizer.encode_batch(&["", "a"])[0].len(), 0);
    }
}

#[test]
fn appends() {
    let tokenizer = trained(TEXT);
    let mut ids = vec![tokenizer.bos()];
    tokenizer.encode_ordinary_into("bread", &mut ids);
    assert_eq!(ids[0], 791);
    assert_eq!(ids[1..], tokenizer.encode_ordinary("bread"));
}

#[test]
fn may_be_shared_between_threads() {
    fn shareable<T: Send + Sync>(_: &T) {}
    shareable(&trained("ab"));
}
