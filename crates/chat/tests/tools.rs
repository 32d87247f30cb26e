//! Tools that take a while: a reply waits for its own, and nobody else does.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{cpu, model, prompts, tokenizer};
use ferrochat_chat::{Batcher, Engine, Part, PartKind, Reply, Request, RequestId, Stopped, Tool};
use ferrochat_model::Sampling;
use ferrochat_tokenizer::Tokenizer;

/// Replies of random tokens, long enough that some of them call a tool.
fn requests(tokenizer: &Tokenizer) -> Vec<Request> {
    let texts = prompts(tokenizer, &[5, 9, 1, 30]);
    let request = |(index, prompt): (usize, Vec<u32>)| Request {
        prompt,
        samples: 40,
        max_tokens: 700,
        sampling: Sampling {
            top_k: None,
            temperature: 2.0,
            seed: index as u64,
            ..Sampling::default()
        },
        stream: 0,
        likelihoods: None,
    };
    texts.into_iter().enumerate().map(request).collect()
}

type Replies = HashMap<(RequestId, usize), Reply>;

/// All replies; their deltas add up to them.
fn replies(engine: &Engine, tokenizer: &Tokenizer, rows: usize) -> Replies {
    let mut batcher = Batcher::new(engine, rows);
    for request in requests(tokenizer) {
        batcher.submit(request).unwrap();
    }
    let (mut replies, mut written) = (Replies::new(), HashMap::<_, Vec<u32>>::new());
    while !batcher.is_idle() {
        for event in batcher.step() {
            let key = (event.id, event.delta.row);
            written.entry(key).or_default().extend(event.delta.id);
            if let Some(reply) = event.reply {
                assert_eq!(reply.ids, written[&key]);
                assert!(replies.insert(key, reply).is_none());
            }
        }
    }
    assert_eq!(replies.len(), 160);
    replies
}

#[test]
fn who_waits_for_nothing_says_what_it_would_have_said() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let expected = replies(&engine, &tokenizer, 16);
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    let silent = Tool::new(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(number as u64 % 4));
        None
    });
    let engine = engine.with_tool(Some(silent));
    for rows in [16, 3] {
        assert_eq!(replies(&engine, &tokenizer, rows), expected);
    }
    assert!(called.load(Ordering::SeqCst) >= 10, "{called:?} calls");
}

#[test]
fn results_are_put_in_where_they_were_asked_for() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let loud = Tool::new(|text: &str| Some(format!("{} bytes", text.len())));
    let engine = Engine::new(&gpt, &tokenizer).unwrap().with_tool(Some(loud));
    let all = replies(&engine, &tokenizer, 16);
    assert_eq!(all, replies(&engine, &tokenizer, 5), "rows change nothing");
    let mut met = 0;
    for reply in all.values() {
        for parts in reply.parts.windows(2) {
            // A call may hold special tokens, which stand in no part.
            let asked = matches!(parts[0], Part::Python(_)) && parts[1].text().ends_with(" bytes");
            met += usize::from(asked && parts[1].kind() == PartKind::PythonOutput);
        }
        let put_in = reply.mask.contains(&0);
        let outputs = reply
            .parts
            .iter()
            .filter(|part| part.kind() == PartKind::PythonOutput)
            .count();
        assert!(!put_in || outputs > 0);
    }
    assert!(met >= 3, "{met} results");
}

#[test]
fn the_others_go_on_while_a_tool_runs() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let running = Arc::new(AtomicBool::new(false));
    let inside = Arc::clone(&running);
    let slow = Tool::new(move |_| {
        inside.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_secs(30));
        Some("late".to_owned())
    });
    let engine = Engine::new(&gpt, &tokenizer).unwrap().with_tool(Some(slow));
    let mut batcher = Batcher::new(&engine, 48);
    let ids: Vec<RequestId> = requests(&tokenizer)
        .into_iter()
        .map(|request| batcher.submit(request).unwrap())
        .collect();
    let (mut meanwhile, mut ended) = (0, 0);
    while meanwhile < 500 {
        let events = batcher.step();
        if running.load(Ordering::SeqCst) {
            meanwhile += events.len();
        }
        ended += events.iter().filter(|event| event.reply.is_some()).count();
        assert!(!batcher.is_idle(), "somebody waits for the tool");
    }
    // Who is taken back does not wait either, and has what it said before the call.
    let mut broken = Vec::new();
    for id in ids {
        broken.extend(batcher.cancel(id));
    }
    assert_eq!((ended + broken.len(), batcher.live(), batcher.waiting()), (160, 0, 0));
    assert!(batcher.is_idle());
    let end = tokenizer.special("<|python_end|>");
    let asked = broken.iter().filter(|(_, reply)| reply.ids.last().copied() == end);
    assert!(asked.count() > 0);
    assert!(broken.iter().all(|(_, reply)| reply.stopped == Stopped::Early));
}
