//! Conversations to batches: rows against the rules as they are worded, masks,
//! exact resume, ranks, ends.

// Clippy's allow-unwrap-in-tests does not reach helper functions.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use ferrochat_chat::{Conversation, Message, Part, Role, render};
use ferrochat_data::{
    Batch, ConversationLoader, ConversationLoaderConfig, ConversationPacking, DataError, Generated, InMemory,
    LoaderState, Mixture,
};
use ferrochat_tokenizer::{SPLIT_PATTERN, Tokenizer};
use proptest::prelude::*;

const PACKINGS: [ConversationPacking; 3] = [
    ConversationPacking::BestFit,
    ConversationPacking::OnePerRow,
    ConversationPacking::Stream,
];

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let ranks = include_bytes!("../../tokenizer/tests/fixtures/ranks.tiktoken");
    Arc::new(Tokenizer::from_tiktoken(ranks, SPLIT_PATTERN).unwrap())
});

/// Conversations of uneven lengths, some with a tool, some longer than any row
/// of these tests, some without an answer.
fn talk(seed: u64, number: u64) -> Conversation {
    let salt = (number + 1).wrapping_mul(seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let words = |count: u64| "word ".repeat(count as usize);
    let mut messages = vec![Message::user(format!("number {number} {}", words(salt % 7)))];
    if !salt.is_multiple_of(11) {
        let mut parts = vec![Part::Text(format!("answer {number} {}", words(salt % 23)))];
        if salt.is_multiple_of(3) {
            parts.insert(0, Part::Python(format!("{number} + 1")));
            parts.insert(1, Part::PythonOutput((number + 1).to_string()));
        }
        let role = Role::Assistant;
        messages.push(Message { role, parts });
    }
    if salt.is_multiple_of(13) && messages.len() == 2 {
        messages.push(Message::user(words(100)));
        messages.push(Message::assistant(words(100)));
    }
    Conversation::from(messages)
}

fn mixture(seed: u64, count: u64) -> Mixture {
    let talks = Generated::new(count, format!("talks {seed}"), move |number| talk(seed, number));
    let one = InMemory::new("one", vec![talk(seed, 1000)]).unwrap();
    let mixture = Mixture::new(seed).with("talks", Arc::new(talks), 1).unwrap();
    mixture.with("one", Arc::new(one), 3).unwrap()
}

fn start(
    mixture: &Mixture,
    config: &ConversationLoaderConfig,
    state: Option<LoaderState>,
) -> Result<ConversationLoader, DataError> {
    ConversationLoader::start(mixture, &TOKENIZER, config.clone(), state)
}

/// All batches, or the first `most`.
fn batches(
    mixture: &Mixture,
    config: &ConversationLoaderConfig,
    state: Option<LoaderState>,
    most: usize,
) -> Vec<Batch> {
    let mut loader = start(mixture, config, state).unwrap();
    let mut all = Vec::new();
    while all.len() < most {
        let Some(batch) = loader.next_batch().unwrap() else {
            assert!(loader.next_batch().unwrap().is_none(), "the end is the end");
            break;
        };
        all.push(batch);
    }
    all
}

type Row = (Vec<u32>, Vec<i32>);

fn rows(batches: &[Batch], length: usize) -> Vec<Row> {
    let rows = batches.iter().flat_map(|batch| {
        let inputs = batch.inputs.chunks(length);
        inputs.zip(batch.targets.chunks(length))
    });
    rows.map(|(inputs, targets)| (inputs.to_vec(), targets.to_vec()))
        .collect()
}

/// The conversations of some passes as (id, mask) in their order.
fn rendered(mixture: &Mixture, passes: u64, longest: usize) -> Vec<Vec<(u32, u8)>> {
    let conversations = (0..passes).flat_map(|pass| mixture.conversations(pass));
    conversations
        .map(|one| {
            let one = render(&one.unwrap(), &TOKENIZER, longest).unwrap();
            one.ids.into_iter().zip(one.mask).collect()
        })
        .collect()
}

/// Inputs and targets of a row that is not yet padded.
fn shifted(mut row: Vec<(u32, u8)>, length: usize) -> Row {
    row.resize(length + 1, (TOKENIZER.bos(), 0));
    let inputs = row[..length].iter().map(|&(id, _)| id).collect();
    let target = |&(id, mask): &(u32, u8)| if mask == 1 { id as i32 } else { -1 };
    (inputs, row[1..].iter().map(target).collect())
}

/// The rules as they are worded.
fn naive(packing: ConversationPacking, conversations: Vec<Vec<(u32, u8)>>, batch: usize, length: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    match packing {
        ConversationPacking::OnePerRow => {
            rows.extend(conversations.into_iter().map(|one| shifted(one, length)));
        }
        ConversationPacking::BestFit => {
            let mut coming = conversations.into_iter();
            let mut buffer: Vec<Vec<(u32, u8)>> = Vec::new();
            loop {
                let mut row: Vec<(u32, u8)> = Vec::new();
                while row.len() < length + 1 {
                    while buffer.len() < 100 {
                        let Some(next) = coming.next() else { break };
                        buffer.push(next);
                    }
                    let mut best: Option<usize> = None;
                    for (index, one) in buffer.iter().enumerate() {
                        let fits = one.len() <= length + 1 - row.len();
                        if fits && best.is_none_or(|best| one.len() > buffer[best].len()) {
                            best = Some(index);
                        }
                    }
                    match best {
                        Some(best) => row.extend(buffer.remove(best)),
                        None => break,
                    }
                }
                if row.is_empty() {
                    break;
                }
                rows.push(shifted(row, length));
            }
        }
        ConversationPacking::Stream => {
            let stream: Vec<(u32, u8)> = conversations.into_iter().flatten().map(|(id, _)| (id, 1)).collect();
            for block in stream.chunks(batch * length + 1) {
                for row in 0..batch {
                    let begin = (row * length).min(block.len());
                    let end = (begin + length + 1).min(block.len());
                    let piece = &block[begin..end];
                    // A row that would only repeat the last token is none.
                    if piece.len() > usize::from(row > 0) {
                        rows.push(shifted(piece.to_vec(), length));
                    }
                }
            }
        }
    }
    while rows.len() % batch > 0 {
        rows.push(shifted(Vec::new(), length));
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn rows_are_those_of_the_rules_as_they_are_worded(
        seed in 0..1000_u64, count in 1..300_u64, batch in 1..5_usize, length in 1..80_usize, passes in 1..3_u64,
        threads in 1..4_usize,
    ) {
        let mixture = mixture(seed, count);
        for packing in PACKINGS {
            let config = ConversationLoaderConfig {
                passes: Some(passes), threads, ..ConversationLoaderConfig::new(batch, length, packing)
            };
            let ours = batches(&mixture, &config, None, usize::MAX);
            let expected = naive(packing, rendered(&mixture, passes, length), batch, length);
            prop_assert_eq!(rows(&ours, length), expected, "{}", packing);
            let counters = ours.last().unwrap().state.counters();
            prop_assert_eq!(counters.documents_read, passes * mixture.count());
            let lost: usize = rendered(&mixture, passes, usize::MAX).iter()
                .map(|one| one.len().saturating_sub(length)).sum();
            prop_assert_eq!(counters.tokens_dropped, lost as u64);
        }
    }

    #[test]
    fn resuming_is_bit_exact(
        seed in 0..1000_u64, count in 1..300_u64, batch in 1..4_usize, length in 20..80_usize,
        passes in prop_oneof![Just(None), (1..4_u64).prop_map(Some)], stop in 0.0..1.0_f64, threads in 1..4_usize,
    ) {
        let mixture = mixture(seed, count);
        for packing in PACKINGS {
            let mut config = ConversationLoaderConfig {
                passes, ..ConversationLoaderConfig::new(batch, length, packing)
            };
            let whole = batches(&mixture, &config, None, 150);
            let stop = (stop * whole.len() as f64) as usize;
            let state = LoaderState::from_bytes(&whole[stop].state.to_bytes()).unwrap();
            prop_assert_eq!(&state, &whole[stop].state);
            config.threads = threads;
            let rest = batches(&mixture, &config, Some(state), whole.len() - stop - 1);
            prop_assert_eq!(rest.len(), whole.len() - stop - 1);
            for (ours, expected) in rest.iter().zip(&whole[stop + 1..]) {
                prop_assert_eq!(&ours.inputs, &expected.inputs);
                prop_assert_eq!(&ours.targets, &expected.targets);
                prop_assert_eq!(&ours.state, &expected.state);
            }
            if passes.is_some() && whole.len() < 150 {
                // From the last batch on there is nothing.
                let last = whole.last().unwrap().state.clone();
                prop_assert!(batches(&mixture, &config, Some(last), 9).is_empty());
            }
        }
    }

    #[test]
    fn ranks_share_the_rows_of_one_rank(seed in 0..1000_u64, count in 1..200_u64, world in 2..5_usize) {
        let mixture = mixture(seed, count);
        for packing in PACKINGS {
            let config = |batch, ranks| ConversationLoaderConfig {
                ranks, ..ConversationLoaderConfig::new(batch, 40, packing)
            };
            // The blocks of a stream have the rows of one rank's batch.
            let alone_batch = if packing == ConversationPacking::Stream { 2 } else { 2 * world };
            let alone = rows(&batches(&mixture, &config(alone_batch, (0, 1)), None, usize::MAX), 40);
            let shares: Vec<Vec<Batch>> = (0..world)
                .map(|rank| batches(&mixture, &config(2, (rank, world)), None, usize::MAX))
                .collect();
            let empty = shifted(Vec::new(), 40);
            for (rank, share) in shares.iter().enumerate() {
                prop_assert_eq!(share.len(), alone.len().div_ceil(2 * world));
                prop_assert_eq!(&share.last().unwrap().state, &shares[0].last().unwrap().state);
                for (index, row) in rows(share, 40).iter().enumerate() {
                    prop_assert_eq!(row, alone.get(index * world + rank).unwrap_or(&empty), "{} {}", packing, rank);
                }
            }
            let survey = ConversationLoader::survey(&mixture, &TOKENIZER, &config(2, (1, world))).unwrap();
            prop_assert_eq!(survey.batches, shares[0].len() as u64);
            prop_assert_eq!(survey.counters, shares[0].last().unwrap().state.counters());
            let targets = alone.iter().flat_map(|(_, targets)| targets).filter(|&&target| target >= 0).count();
            prop_assert_eq!(survey.targets, targets as u64);
        }
    }
}

/// One conversation in rows of its own, with the ids spelled out.
#[test]
fn targets_are_what_the_assistant_says() {
    let parts = vec![
        Part::Python("1+1".into()),
        Part::PythonOutput("2".into()),
        Part::Text("two".into()),
    ];
    let role = Role::Assistant;
    let conversation = Conversation::from(vec![Message::user("sum?"), Message { role, parts }]);
    let source = InMemory::new("sum", vec![conversation]).unwrap();
    let mixture = Mixture::new(0).with("sum", Arc::new(source), 1).unwrap();
    let id = |name: &str| TOKENIZER.special(name).unwrap();
    let text = |text: &str| {
        let mut ids = Vec::new();
        TOKENIZER.encode_ordinary_into(text, &mut ids);
        ids
    };
    // (ids, learned or not)
    let pieces = [
        (vec![TOKENIZER.bos(), id("<|user_start|>")], false),
        (text("sum?"), false),
        (vec![id("<|user_end|>"), id("<|assistant_start|>")], false),
        (vec![id("<|python_start|>")], true),
        (text("1+1"), true),
        (vec![id("<|python_end|>")], true),
        (vec![id("<|output_start|>")], false),
        (text("2"), false),
        (vec![id("<|output_end|>")], false),
        (text("two"), true),
        (vec![id("<|assistant_end|>")], true),
        (vec![TOKENIZER.bos(); 5], false),
    ];
    let all: Vec<(u32, bool)> = pieces
        .iter()
        .flat_map(|(ids, learned)| ids.iter().map(|&id| (id, *learned)))
        .collect();
    let length = all.len() - 1;
    let config = |packing| ConversationLoaderConfig::new(1, length, packing);
    for packing in [ConversationPacking::BestFit, ConversationPacking::OnePerRow] {
        let batch = batches(&mixture, &config(packing), None, 9).remove(0);
        for place in 0..length {
            assert_eq!(batch.inputs[place], all[place].0);
            let (next, learned) = all[place + 1];
            assert_eq!(
                batch.targets[place],
                if learned { next as i32 } else { -1 },
                "{packing} {place}"
            );
        }
    }
    let batch = batches(&mixture, &config(ConversationPacking::Stream), None, 9).remove(0);
    for place in 0..length {
        let expected = if place + 1 < all.len() - 5 {
            all[place + 1].0 as i32
        } else {
            -1
        };
        assert_eq!(batch.targets[place], expected, "stream {place}");
    }
}

#[test]
fn a_conversation_longer_than_the_context_loses_its_end() {
    let long = Conversation::from(vec![Message::user("u"), Message::assistant("x ".repeat(1 << 19))]);
    let source = InMemory::new("long", vec![long.clone()]).unwrap();
    let mixture = Mixture::new(0).with("long", Arc::new(source), 1).unwrap();
    let expected = render(&long, &TOKENIZER, 16).unwrap();
    for packing in PACKINGS {
        let all = batches(&mixture, &ConversationLoaderConfig::new(1, 16, packing), None, 9);
        assert_eq!(all.len(), 1, "{packing}");
        assert_eq!(all[0].inputs, expected.ids);
        assert_eq!(all[0].targets[14..], [expected.ids[15] as i32, -1]);
        assert!(all[0].state.counters().tokens_dropped > 500_000);
    }
}

/// A question longer than the row leaves nothing to learn.
#[test]
fn entirely_masked_rows_are_batches_like_others() {
    let mute = Conversation::from(vec![Message::user("u ".repeat(100)), Message::assistant("never seen")]);
    let source = InMemory::new("mute", vec![mute; 3]).unwrap();
    let mixture = Mixture::new(0).with("mute", Arc::new(source), 1).unwrap();
    for packing in [ConversationPacking::BestFit, ConversationPacking::OnePerRow] {
        let all = batches(&mixture, &ConversationLoaderConfig::new(1, 16, packing), None, 9);
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|batch| batch.targets.iter().all(|&target| target == -1)));
        assert!(
            all.iter()
                .all(|batch| batch.inputs.iter().all(|&id| (id as usize) < TOKENIZER.vocab_size()))
        );
    }
}

#[test]
fn an_endless_run_sees_every_conversation_in_every_pass() {
    let mixture = mixture(3, 50);
    let config = ConversationLoaderConfig {
        passes: None,
        ..ConversationLoaderConfig::new(1, 300, ConversationPacking::OnePerRow)
    };
    let all = batches(&mixture, &config, None, 53 * 3);
    let state = &all.last().unwrap().state;
    assert_eq!((state.position().epoch, state.position().row), (3, 0));
    assert_eq!(state.documents_packed(), 159);
    let mut passes: Vec<Vec<&Vec<u32>>> = all
        .chunks(53)
        .map(|pass| pass.iter().map(|batch| &batch.inputs).collect())
        .collect();
    assert_ne!(passes[0], passes[1]);
    for pass in &mut passes {
        pass.sort();
    }
    assert_eq!(passes[0], passes[1]);
    assert_eq!(passes[0], passes[2]);
}

#[test]
fn a_broken_conversation_stops_the_loader_after_the_batches_before_it() {
    let make = |number| {
        let user = Message::user("u");
        Conversation::from(if number == 70 {
            vec![user.clone(), user]
        } else {
            vec![user]
        })
    };
    let broken = Arc::new(Generated::new(100, "broken", make));
    let mixture = Mixture::new(1).with("world", broken, 1).unwrap();
    for threads in [1, 3] {
        let config = ConversationLoaderConfig {
            threads,
            ..ConversationLoaderConfig::new(1, 8, ConversationPacking::OnePerRow)
        };
        let mut loader = start(&mixture, &config, None).unwrap();
        let error = loop {
            match loader.next_batch() {
                Ok(batch) => loader.recycle(batch.expect("it must fail before the end")),
                Err(error) => break error.to_string(),
            }
        };
        assert!(
            error.contains("world") && error.contains("conversation 71: message 2 is from the user"),
            "{error}"
        );
        assert!(matches!(loader.next_batch(), Err(DataError::Stopped)));
    }
}

#[test]
fn what_cannot_work_is_refused() {
    let full = mixture(1, 10);
    let right = ConversationLoaderConfig::new(2, 16, ConversationPacking::BestFit);
    let refuse = |mixture: &Mixture, config: ConversationLoaderConfig, state: Option<LoaderState>, words: &str| {
        let error = start(mixture, &config, state).err().expect(words).to_string();
        assert!(error.contains(words), "{error}");
    };
    refuse(&Mixture::new(1), right.clone(), None, "holds no conversations");
    let with = |change: fn(&mut ConversationLoaderConfig)| {
        let mut config = right.clone();
        change(&mut config);
        config
    };
    refuse(&full, with(|config| config.batch_size = 0), None, "at least 1");
    refuse(
        &full,
        with(|config| config.sequence_len = usize::MAX),
        None,
        "more than",
    );
    refuse(&full, with(|config| config.threads = 0), None, "at least 1 thread");
    refuse(&full, with(|config| config.passes = Some(0)), None, "0 passes");
    refuse(&full, with(|config| config.ranks = (2, 2)), None, "rank 2");
    let state = batches(&full, &right, None, 1).remove(0).state;
    let state = || Some(state.clone());
    refuse(&mixture(2, 10), right.clone(), state(), "another data set");
    refuse(&mixture(1, 11), right.clone(), state(), "another data set");
    refuse(
        &full,
        with(|config| config.sequence_len = 17),
        state(),
        "another sequence length",
    );
    refuse(
        &full,
        with(|config| config.packing = ConversationPacking::Stream),
        state(),
        "another packing",
    );
}

#[test]
fn returned_batches_are_used_again() {
    let config = ConversationLoaderConfig {
        passes: None,
        prefetch: 1,
        ..ConversationLoaderConfig::new(4, 64, ConversationPacking::BestFit)
    };
    let mut loader = start(&mixture(1, 100), &config, None).unwrap();
    let mut seen = Vec::new();
    for _ in 0..50 {
        let batch = loader.next_batch().unwrap().unwrap();
        seen.push(batch.inputs.as_ptr());
        loader.recycle(batch);
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() <= 6, "{} different batches", seen.len());
}
