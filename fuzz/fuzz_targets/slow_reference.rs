//! Training and encoding against the definitions.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fancy_regex::Regex;
use ferrochat_tokenizer::{CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, SPLIT_PATTERN, Trainer};
use libfuzzer_sys::fuzz_target;

static REGEXES: LazyLock<[(&str, Regex); 4]> = LazyLock::new(|| {
    [SPLIT_PATTERN, GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN]
        .map(|pattern| (pattern, Regex::new(pattern).expect("the patterns are valid")))
});

const MERGES: usize = 40;

type Pair = (u32, u32);

fn pieces(regex: &Regex, text: &str) -> Option<Vec<Vec<u32>>> {
    let matches = regex.find_iter(text);
    // The engine may give up on long runs of white space.
    matches
        .map(|found| Some(found.ok()?.as_str().bytes().map(u32::from).collect()))
        .collect()
}

fn merge(ids: &mut Vec<u32>, pair: Pair, id: u32) {
    let mut at = 0;
    while at + 1 < ids.len() {
        if (ids[at], ids[at + 1]) == pair {
            ids[at] = id;
            ids.remove(at + 1);
        }
        at += 1;
    }
}

/// Counts everything anew for each merge.
fn learn(mut pieces: Vec<Vec<u32>>) -> Vec<Pair> {
    let mut merges = Vec::new();
    while merges.len() < MERGES {
        let mut counts: BTreeMap<Pair, u64> = BTreeMap::new();
        for two in pieces.iter().flat_map(|ids| ids.windows(2)) {
            *counts.entry((two[0], two[1])).or_default() += 1;
        }
        let Some((&pair, _)) = counts.iter().rev().max_by_key(|&(_, count)| count) else {
            break;
        };
        for ids in &mut pieces {
            merge(ids, pair, 256 + merges.len() as u32);
        }
        merges.push(pair);
    }
    merges
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    let (learned_from, rest) = text.split_at(text.floor_char_boundary(text.len() * 2 / 3));
    if learned_from.is_empty() {
        return;
    }
    let (pattern, regex) = &REGEXES[choice as usize % REGEXES.len()];
    let (Some(training), Some(new)) = (pieces(regex, learned_from), pieces(regex, rest)) else {
        return;
    };
    let mut trainer = Trainer::with_pattern(265 + MERGES, pattern)
        .expect("a known pattern")
        .doc_cap(usize::MAX);
    trainer.feed(learned_from);
    let tokenizer = trainer.finish(&mut |_, _| ()).expect("there is text");

    let merges = learn(training);
    assert_eq!(tokenizer.vocab_size(), 265 + merges.len());
    let mut expected = Vec::new();
    for mut ids in new {
        for (k, &pair) in merges.iter().enumerate() {
            merge(&mut ids, pair, 256 + k as u32);
        }
        expected.extend(ids);
    }
    assert_eq!(tokenizer.encode_ordinary(rest), expected);
});
