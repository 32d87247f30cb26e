//! No input is too long or too odd: a megabyte of anything comes back exactly.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use ferrochat_tokenizer::{CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, SPLIT_PATTERN, Tokenizer, Trainer};
use proptest::prelude::*;
use std::sync::LazyLock;

const RANKS: &[u8] = include_bytes!("fixtures/ranks.tiktoken");
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_tiktoken(RANKS, SPLIT_PATTERN).unwrap());

const MEGABYTE: usize = 1 << 20;

/// What a hand-made matcher or merger trips over, with how many bytes of it; the classes that differ for
/// the pattern get a megabyte, the rest enough to notice quadratic time.
const REPEATED: [(&str, usize); 21] = [
    ("a", MEGABYTE),
    (" ", MEGABYTE),
    ("\n", MEGABYTE),
    ("7", MEGABYTE),
    ("!", MEGABYTE),
    ("中", MEGABYTE),
    ("A", MEGABYTE),
    ("^", MEGABYTE),
    ("\u{301}", MEGABYTE),
    ("🌍", 10 * MEGABYTE),
    ("\u{212a}", MEGABYTE / 8),
    ("\r\n", MEGABYTE / 8),
    ("\t", MEGABYTE / 8),
    ("é", MEGABYTE / 8),
    ("\u{a0}", MEGABYTE / 8),
    ("'S", MEGABYTE / 8),
    ("'s", MEGABYTE / 8),
    (" a", MEGABYTE / 8),
    ("\n ", MEGABYTE / 8),
    ("carried", MEGABYTE / 8),
    ("a1! ", MEGABYTE / 8),
];

fn round_trip(tokenizer: &Tokenizer, text: &str) {
    let ids = tokenizer.encode_ordinary(text);
    assert!(ids.iter().all(|&id| id < tokenizer.bos()));
    assert!(tokenizer.decode(&ids) == text, "{:?}…", text.chars().next());
}

#[test]
fn a_megabyte_of_anything() {
    for (text, size) in REPEATED {
        round_trip(&TOKENIZER, &(text.repeat(size / text.len()) + "x"));
    }
    round_trip(&TOKENIZER, &" ".repeat(MEGABYTE));
}

#[test]
fn a_megabyte_of_random_bytes() {
    let mut state = 1_u64;
    let bytes: Vec<u8> = (0..MEGABYTE)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    round_trip(&TOKENIZER, &String::from_utf8_lossy(&bytes));
}

#[test]
fn a_megabyte_by_the_other_patterns() {
    for pattern in [GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN] {
        let tokenizer = Tokenizer::from_tiktoken(RANKS, pattern).unwrap();
        for text in ["a", " ", "A", "^", "\u{301}", "Aa", "A中", "\u{301}A"] {
            round_trip(&tokenizer, &text.repeat(MEGABYTE / text.len()));
        }
    }
}

#[test]
fn learns_from_a_megabyte_of_one_letter() {
    let mut trainer = Trainer::new(300).unwrap().doc_cap(usize::MAX);
    trainer.feed(&"a".repeat(MEGABYTE));
    let tokenizer = trainer.finish(&mut |_, _| ()).unwrap();
    // Each merge doubles; 2^20 letters are one token after 20 of them.
    assert_eq!(tokenizer.vocab_size(), 256 + 20 + 9);
    assert_eq!(tokenizer.encode_ordinary(&"a".repeat(MEGABYTE)), [275]);
    assert_eq!(tokenizer.encode_ordinary(&"a".repeat(MEGABYTE - 1)).len(), 20);
}

proptest! {
    #[test]
    fn any_text_comes_back(text in any::<String>()) {
            round_trip(&TOKENIZER, &text);
    }

    #[test]
    fn any_ids_decode(ids in prop::collection::vec(any::<u32>().prop_map(|id| id % 1000), 0..50)) {
            let bytes = TOKENIZER.decode_bytes(&ids);
        prop_assert_eq!(TOKENIZER.decode(&ids), String::from_utf8_lossy(&bytes));
    }
}
