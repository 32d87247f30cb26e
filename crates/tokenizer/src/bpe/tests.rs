//! All the ways to merge against the definition of BPE.

use super::*;
use proptest::prelude::*;

/// Merge by merge, in the order they were learned, left to right: the definition of BPE.
fn by_definition(bpe: &Bpe, piece: &[u8]) -> Vec<u32> {
    let mut ids: Vec<u32> = piece.iter().map(|&byte| bpe.byte_ids[byte as usize]).collect();
    for (k, &(left, right)) in bpe.merges.iter().enumerate() {
        let mut at = 0;
        while at + 1 < ids.len() {
            if (ids[at], ids[at + 1]) == (left, right) {
                ids[at] = 256 + k as u32;
                ids.remove(at + 1);
            }
            at += 1;
        }
    }
    ids
}

/// Random merges over the letters "abc": many overlap. Without `any`, only tokens that their own merges
/// lead to, as trained vocabularies have; with it also others, as files may have.
fn random_bpe(choices: &[(usize, usize)], any: bool) -> Bpe {
    let order = std::array::from_fn(|byte| byte as u8);
    let splitter = Splitter::new(crate::SPLIT_PATTERN).unwrap();
    let mut bpe = Bpe::new(splitter, &order);
    let mut made: Vec<u32> = "abc".bytes().map(u32::from).collect();
    for &(left, right) in choices {
        let pair = (made[left % made.len()], made[right % made.len()]);
        let bytes = [bpe.tokens.get(pair.0), bpe.tokens.get(pair.1)].concat();
        if bytes.len() < 500 && (any || by_definition(&bpe, &bytes) == [pair.0, pair.1]) && bpe.push(pair) {
            made.push(255 + bpe.merges.len() as u32);
        }
    }
    bpe
}

fn linear(bpe: &Bpe, piece: &[u8]) -> Vec<u32> {
    let mut ids = vec![7];
    let long = bpe.long.get_or_init(|| Long::new(bpe));
    long.merge(bpe, piece, &mut long::Scratch::default(), &mut ids);
    ids.split_off(1)
}

fn choices() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..100_usize, 0..100_usize), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn all_ways_equal_the_definition(
        choices in choices(),
        any in any::<bool>(),
        pieces in prop::collection::vec("[abc]{1,100}|[ab]{1,40}|a{1,200}", 1..8),
    ) {
        let bpe = random_bpe(&choices, any);
        for piece in &pieces {
            let expected = by_definition(&bpe, piece.as_bytes());
            prop_assert_eq!(&linear(&bpe, piece.as_bytes()), &expected);
            prop_assert_eq!(&heap::merge(&bpe, piece.as_bytes()), &expected);
            let start = &piece.as_bytes()[..piece.len().min(SHORT)];
            let (ids, count) = short::merge(&bpe, start);
            prop_assert_eq!(&ids[..count], by_definition(&bpe, start));
        }
    }

    #[test]
    fn texts_are_their_pieces(choices in choices(), any in any::<bool>(), text in "([abc]{1,20}[ .]{0,2}){0,60}") {
        let bpe = random_bpe(&choices, any);
        let mut expected = Vec::new();
        bpe.splitter.split(&text, &mut |start, end| {
            let piece = &text.as_bytes()[start..end];
            match bpe.whole.get(&bpe.tokens, piece) {
                NONE => expected.extend(by_definition(&bpe, piece)),
                id => expected.push(id),
            }
        });
        // Twice: the second time most pieces come from the cache.
        for _ in 0..2 {
            let mut ids = Vec::new();
            bpe.encode_into(&text, &mut ids);
            prop_assert_eq!(&ids, &expected);
        }
    }
}

#[test]
fn a_doubled_token_is_refused_and_leaves_no_trace() {
    let mut bpe = random_bpe(&[], true);
    assert!(bpe.push((97, 98)));
    assert!(bpe.push((256, 99)));
    assert!(bpe.push((98, 99)));
    assert!(!bpe.push((97, 258)), "abc is there");
    assert_eq!(bpe.merges.len(), 3);
    assert_eq!(bpe.tokens.len(), 259);
    assert!(bpe.push((99, 99)));
    assert_eq!(bpe.tokens.get(259), b"cc");
}
