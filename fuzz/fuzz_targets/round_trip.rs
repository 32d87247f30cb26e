//! Any text comes back from its ids.
#![no_main]

use std::sync::LazyLock;

use ferrochat_tokenizer::{CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, SPLIT_PATTERN, Tokenizer};
use libfuzzer_sys::fuzz_target;

const RANKS: &[u8] = include_bytes!("../../crates/tokenizer/tests/fixtures/ranks.tiktoken");

static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let patterns = [
        SPLIT_PATTERN,
        GPT2_PATTERN,
        CL100K_PATTERN,
        O200K_PATTERN,
        r"\p{L}+|\s+",
    ];
    let make = |pattern| Tokenizer::from_tiktoken(RANKS, pattern).expect("the fixture is valid");
    patterns.map(make).into()
});

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let halves = text.split_at(text.floor_char_boundary(text.len() / 2));
    for tokenizer in &*TOKENIZERS {
        let ids = tokenizer.encode_ordinary(&text);
        assert!(ids.iter().all(|&id| id < tokenizer.bos()));
        assert_eq!(tokenizer.decode(&ids), text);
        let batch = tokenizer.encode_batch(&[halves.0, halves.1, &text]);
        assert_eq!(batch[0], tokenizer.encode_ordinary(halves.0));
        assert_eq!(batch[1], tokenizer.encode_ordinary(halves.1));
        assert_eq!(batch[2], ids);
        let special = tokenizer
            .encode_with_special(&text, &["<|bos|>"])
            .expect("a special token");
        assert!(special.iter().all(|&id| id <= tokenizer.bos()));
        assert_eq!(tokenizer.decode(&special), text);
    }
});
