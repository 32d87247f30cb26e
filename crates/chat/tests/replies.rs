//! Replies of tiny random models.

#![allow(clippy::unwrap_used)]

mod common;

use common::{cpu, model, prompts, tokenizer};
use ferrochat_chat::{Engine, PartKind, Reply, ReplyOptions, Stopped};
use ferrochat_model::Sampling;
use ferrochat_tensor::Device;

fn options(sampling: Sampling, samples: usize) -> ReplyOptions {
    ReplyOptions {
        samples,
        max_tokens: 30,
        sampling,
        batch: 16,
    }
}

#[test]
fn greedy_replies_are_the_same_alone_and_in_a_batch() {
    let tokenizer = tokenizer();
    for device in [Device::oracle(), cpu()] {
        let gpt = model(&device, tokenizer.vocab_size());
        let engine = Engine::new(&gpt, &tokenizer).unwrap();
        let greedy = options(Sampling::greedy(), 1);
        let prompts = prompts(&tokenizer, &[5, 1, 30, 12, 47, 60, 31]);
        let together = engine.reply_all(&prompts, &greedy).unwrap();
        for (prompt, replies) in prompts.iter().zip(&together) {
            assert_eq!(&engine.reply(prompt, &greedy).unwrap(), replies, "{}", device.name());
            assert!(
                replies[0].ids.iter().any(|&id| id != replies[0].ids[0]),
                "a reply worth comparing"
            );
        }
        let twice = engine.reply_all(&prompts, &options(Sampling::greedy(), 2)).unwrap();
        for (once, twice) in together.iter().zip(&twice) {
            assert_eq!([&once[0], &once[0]], [&twice[0], &twice[1]]);
        }
    }
}

#[test]
fn samples_have_their_own_streams() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let prompts = prompts(&tokenizer, &[4, 9]);
    let replies = engine.reply_all(&prompts, &options(Sampling::default(), 3)).unwrap();
    assert_ne!(replies[0][0].ids, replies[0][1].ids);
    assert_eq!(
        replies[0],
        engine.reply(&prompts[0], &options(Sampling::default(), 3)).unwrap()
    );
    assert_eq!(
        replies[0][..2],
        engine.reply(&prompts[0], &options(Sampling::default(), 2)).unwrap()
    );
    let other = Sampling {
        seed: 43,
        ..Sampling::default()
    };
    assert_ne!(replies[0], engine.reply(&prompts[0], &options(other, 3)).unwrap());
}

#[test]
fn a_stream_adds_up_to_the_replies() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let prompts = prompts(&tokenizer, &[3, 3, 8, 20]);
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let mut options = options(Sampling::default(), 4);
    options.max_tokens = 200;
    let mut stream = engine.stream(&prompts, &options).unwrap();
    let mut written = vec![(Vec::new(), Vec::new(), String::new(), None); 16];
    for delta in stream.by_ref().flatten() {
        let (ids, mask, text, stopped) = &mut written[delta.row];
        assert_eq!(*stopped, None, "nothing follows the last");
        ids.extend(delta.id);
        mask.extend(delta.id.map(|_| u8::from(delta.sampled)));
        if delta.kind == PartKind::Text {
            text.push_str(&delta.text);
        }
        *stopped = delta.stopped;
    }
    let replies = stream.into_replies();
    let ended = |reply: &Reply| matches!(reply.stopped, Stopped::End(_));
    assert!(
        replies.iter().any(ended) && !replies.iter().all(ended),
        "both ways to stop are seen"
    );
    for ((ids, mask, text, stopped), reply) in written.into_iter().zip(replies) {
        assert_eq!((ids.len(), &ids), (mask.len(), &reply.ids));
        assert_eq!((mask, text, stopped), (reply.mask, reply.text, Some(reply.stopped)));
    }
}

#[test]
fn a_broken_off_stream_keeps_what_was_written() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let prompts = prompts(&tokenizer, &[5]);
    let mut stream = engine.stream(&[&prompts[0]], &options(Sampling::greedy(), 1)).unwrap();
    let ids: Vec<u32> = stream.by_ref().take(5).filter_map(|deltas| deltas[0].id).collect();
    let reply = stream.into_replies().remove(0);
    assert_eq!((reply.ids, reply.stopped), (ids, Stopped::Early));
}

#[test]
fn impossible_requests_are_refused_in_a_sentence() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let fine = options(Sampling::greedy(), 1);
    let refusal = |ids: &[u32], options: &ReplyOptions| engine.reply(ids, options).unwrap_err().to_string();
    assert!(refusal(&[], &fine).contains("empty prompt"));
    assert!(refusal(&[800], &fine).contains("token 800"));
    assert!(refusal(&[u32::MAX], &fine).contains("vocabulary of 800"));
    assert!(refusal(&[1], &options(Sampling::greedy(), 0)).contains("samples"));
    let cold = Sampling {
        temperature: -1.0,
        ..Sampling::default()
    };
    assert!(refusal(&[1], &options(cold, 1)).contains("temperature"));
    let endless = ReplyOptions {
        max_tokens: usize::MAX,
        ..fine.clone()
    };
    assert!(refusal(&[1], &endless).contains("too long"));
    assert!(engine.stream(&[], &fine).is_err());
    assert_eq!(engine.reply_all(&[], &fine).unwrap(), Vec::<Vec<Reply>>::new());
    let silent = ReplyOptions { max_tokens: 0, ..fine };
    assert_eq!(engine.reply(&[1], &silent).unwrap()[0].stopped, Stopped::Length);
    let other = model(&device, 801);
    let refusal = Engine::new(&other, &tokenizer).err().unwrap().to_string();
    assert!(refusal.contains("801") && refusal.contains("800"), "{refusal}");
}
