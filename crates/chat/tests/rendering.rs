//! Rendering against the reference's renderer (`fixtures/make.py`), and what no fixture can list.

#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use ferrochat_chat::{Conversation, Message, Role, prompt, render, render_for_completion};
use ferrochat_tokenizer::{SPLIT_PATTERN, Tokenizer};
use proptest::prelude::*;
use serde_json::Value;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let ranks = include_bytes!("../../tokenizer/tests/fixtures/ranks.tiktoken");
    Tokenizer::from_tiktoken(ranks, SPLIT_PATTERN).unwrap()
});

fn tokenizer() -> &'static Tokenizer {
    &TOKENIZER
}

fn numbers(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Compares with every line that `make.py` wrote; how many there were.
fn assert_equals_reference(lines: &str, tokenizer: &Tokenizer) -> usize {
    let lines: Vec<&str> = lines.lines().skip(1).collect();
    for line in &lines {
        let case: Value = serde_json::from_str(line).unwrap();
        let conversation: Conversation = serde_json::from_value(case["conversation"].clone()).unwrap();
        let limit = case["limit"].as_u64().unwrap() as usize;
        let rendered = render(&conversation, tokenizer, limit).unwrap();
        assert_eq!(rendered.ids, numbers(&case["ids"]), "{line}");
        let mask: Vec<u32> = rendered.mask.iter().map(|&bit| u32::from(bit)).collect();
        assert_eq!(mask, numbers(&case["mask"]), "{line}");
        if let Some(completion) = case.get("completion") {
            let ids = render_for_completion(&conversation, tokenizer, limit).unwrap();
            assert_eq!(ids, numbers(completion), "{line}");
        }
    }
    lines.len()
}

#[test]
fn tokens_and_masks_are_those_of_the_reference() {
    let count = assert_equals_reference(include_str!("fixtures/rendered.jsonl"), tokenizer());
    assert!(count >= 24, "{count} cases");
}

/// `FERROCHAT_RENDERED` is what `make.py CHECKOUT RANKS FILE` wrote, `FERROCHAT_RANKS` its vocabulary.
#[test]
#[ignore = "needs files made by hand: see fixtures/make.py"]
fn tokens_and_masks_are_those_of_the_reference_on_other_conversations() {
    let read = |name| std::fs::read(std::env::var(name).unwrap()).unwrap();
    let tokenizer = Tokenizer::from_tiktoken(&read("FERROCHAT_RANKS"), SPLIT_PATTERN).unwrap();
    let lines = String::from_utf8(read("FERROCHAT_RENDERED")).unwrap();
    println!("{} conversations", assert_equals_reference(&lines, &tokenizer));
}

#[test]
fn a_completion_needs_no_last_answer() {
    let (tokenizer, question) = (tokenizer(), Message::user("walking?"));
    let open = Conversation::from(vec![question.clone()]);
    let answered = Conversation::from(vec![question, Message::assistant("yes")]);
    let ids = render_for_completion(&open, tokenizer, 100).unwrap();
    assert_eq!(ids, render_for_completion(&answered, tokenizer, 100).unwrap());
    assert_eq!(ids, prompt(&open, tokenizer, 100).unwrap());
}

#[test]
fn wrong_conversations_are_refused_everywhere() {
    let tokenizer = tokenizer();
    let wrong = Conversation::from(vec![Message::assistant("me first")]);
    assert!(render(&wrong, tokenizer, 10).is_err());
    assert!(render_for_completion(&wrong, tokenizer, 10).is_err());
    assert!(prompt(&wrong, tokenizer, 10).is_err());
    assert!(render(&Conversation::default(), tokenizer, 10).is_err());
    let answered = Conversation::from(vec![Message::user("u"), Message::assistant("a")]);
    let refusal = prompt(&answered, tokenizer, 100).unwrap_err().to_string();
    assert!(refusal.contains("last message is from the assistant"), "{refusal}");
}

#[test]
fn a_long_talk_loses_its_oldest_exchanges_and_keeps_its_system_message() {
    let tokenizer = tokenizer();
    let exchange = |n: usize| {
        [
            Message::user(format!("question {n}")),
            Message::assistant(format!("answer {n}")),
        ]
    };
    let talk = |first: usize| {
        let mut messages = vec![Message::system("be the miller")];
        messages.extend((first..6).flat_map(exchange));
        messages.push(Message::user("and now?"));
        Conversation::from(messages)
    };
    let length = |first| prompt(&talk(first), tokenizer, usize::MAX).unwrap().len();
    assert_eq!(
        length(0),
        render_for_completion(&talk(0), tokenizer, 1000).unwrap().len()
    );
    for first in 0..6 {
        let expected = prompt(&talk(first), tokenizer, 1000).unwrap();
        for room in length(first)..first.checked_sub(1).map_or(length(0) + 3, length) {
            assert_eq!(prompt(&talk(0), tokenizer, room).unwrap(), expected, "room for {room}");
        }
    }
    let refusal = prompt(&talk(0), tokenizer, length(6) - 1).unwrap_err().to_string();
    assert!(refusal.contains(&format!("{} tokens", length(6))), "{refusal}");
}

proptest! {
    #[test]
    fn a_limit_cuts_and_changes_nothing_else(
        texts in prop::collection::vec("[ -~é€\n]{1,30}", 1..6),
        limit in 0usize..120,
    ) {
        let roles = [Role::User, Role::Assistant];
        let messages: Vec<Message> = texts.iter().enumerate().map(|(i, text)| Message::new(roles[i % 2], text)).collect();
        let (conversation, tokenizer) = (Conversation::from(messages), tokenizer());
        let whole = render(&conversation, tokenizer, usize::MAX).unwrap();
        let cut = render(&conversation, tokenizer, limit).unwrap();
        prop_assert_eq!(whole.ids.len(), whole.mask.len());
        prop_assert_eq!(&cut.ids[..], &whole.ids[..limit.min(whole.ids.len())]);
        prop_assert_eq!(&cut.mask[..], &whole.mask[..limit.min(whole.ids.len())]);
        // What is learned is what the assistant says, and the end of each of its messages.
        let learned: Vec<u32> = whole.ids.iter().zip(&whole.mask).filter(|&(_, &bit)| bit == 1).map(|(&id, _)| id).collect();
        let said: Vec<&str> = texts.iter().skip(1).step_by(2).flat_map(|text| [text, "<|assistant_end|>"]).collect();
        prop_assert_eq!(tokenizer.decode(&learned), said.concat());
    }
}
