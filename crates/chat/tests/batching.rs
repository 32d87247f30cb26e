//! Continuous batching: whatever happens beside a reply, it is the one it would be alone.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;

use common::{cpu, model, prompts, tokenizer};
use ferrochat_chat::{Batcher, Engine, Reply, ReplyOptions, Request, RequestId, Stopped};
use ferrochat_model::{Decoder, Gpt, Rng, Sampling};
use ferrochat_tensor::{CpuOptions, DType, Device, Graph};
use ferrochat_tokenizer::Tokenizer;

fn request(prompt: &[u32], samples: usize, max_tokens: usize, sampling: Sampling) -> Request {
    Request {
        prompt: prompt.to_vec(),
        samples,
        max_tokens,
        sampling,
        stream: 0,
        likelihoods: None,
    }
}

/// What a request brings when nothing else is asked.
fn alone(gpt: &Gpt, tokenizer: &Tokenizer, request: &Request) -> Vec<Reply> {
    let options = ReplyOptions {
        samples: request.samples,
        max_tokens: request.max_tokens,
        sampling: request.sampling,
        batch: 1,
    };
    Engine::new(gpt, tokenizer)
        .unwrap()
        .reply(&request.prompt, &options)
        .unwrap()
}

/// Requests of all kinds, with different seeds.
fn requests(tokenizer: &Tokenizer) -> Vec<Request> {
    let mut rng = Rng::new(3);
    let lengths = [5, 1, 60, 12, 47, 61, 31, 2, 2, 90, 8, 9, 10, 11];
    let texts = prompts(tokenizer, &lengths);
    let request = |(index, prompt): (usize, &Vec<u32>)| {
        let sampling = match index % 3 {
            0 => Sampling::greedy(),
            1 => Sampling {
                seed: index as u64,
                top_k: Some(50),
                ..Sampling::default()
            },
            _ => Sampling {
                temperature: 0.8,
                top_p: Some(0.9),
                ..Sampling::default()
            },
        };
        let max_tokens = 1 + rng.next_u64() as usize % 70;
        request(prompt, 1 + index % 4, max_tokens, sampling)
    };
    texts.iter().enumerate().map(request).collect()
}

/// Runs until nothing is left. Checks that events add up to replies.
fn finish(batcher: &mut Batcher, replies: &mut HashMap<(RequestId, usize), Reply>) {
    let mut written: HashMap<(RequestId, usize), Vec<u32>> = HashMap::new();
    while !batcher.is_idle() {
        let live = batcher.live();
        let events = batcher.step();
        assert!(events.len() >= live, "every row goes on");
        for event in events {
            let key = (event.id, event.delta.row);
            assert!(!replies.contains_key(&key), "nothing follows the last");
            assert_eq!(event.delta.stopped.is_some(), event.reply.is_some());
            written.entry(key).or_default().extend(event.delta.id);
            if let Some(reply) = event.reply {
                assert!(reply.ids.ends_with(&written[&key]));
                replies.insert(key, reply);
            }
        }
    }
}

#[test]
fn replies_do_not_depend_on_rows_neighbours_or_threads() {
    let tokenizer = tokenizer();
    let best = |threads| CpuOptions {
        threads: Some(threads),
        ..CpuOptions::default()
    };
    let f32 = |threads| CpuOptions {
        dtype: Some(DType::F32),
        ..best(threads)
    };
    for pair in [[best(1), best(2)], [f32(1), f32(2)]] {
        let mut expected: Option<Vec<Vec<Reply>>> = None;
        for options in pair {
            let device = Device::cpu(&options).unwrap();
            let gpt = model(&device, tokenizer.vocab_size());
            let engine = Engine::new(&gpt, &tokenizer).unwrap();
            let requests = requests(&tokenizer);
            let expected = expected.get_or_insert_with(|| {
                requests
                    .iter()
                    .map(|request| alone(&gpt, &tokenizer, request))
                    .collect()
            });
            for rows in [1, 3, 8, 100] {
                let mut batcher = Batcher::new(&engine, rows);
                let mut replies = HashMap::new();
                let mut ids = Vec::new();
                for (index, request) in requests.iter().enumerate() {
                    ids.push(batcher.submit(request.clone()).unwrap());
                    if index % 3 == 2 {
                        // Others come while these are being written.
                        for event in (0..4).flat_map(|_| batcher.step()) {
                            if let Some(reply) = event.reply {
                                replies.insert((event.id, event.delta.row), reply);
                            }
                        }
                    }
                    assert!(batcher.live() <= rows);
                }
                finish_partly_written(&mut batcher, &mut replies);
                for (id, expected) in ids.iter().zip(expected.iter()) {
                    for (sample, expected) in expected.iter().enumerate() {
                        assert_eq!(&replies[&(*id, sample)], expected, "{} rows {rows}", device.name());
                    }
                }
            }
        }
        let expected = expected.unwrap();
        let ended = |reply: &&Reply| matches!(reply.stopped, Stopped::End(_));
        assert!(expected.iter().flatten().any(|reply| reply.ids.len() > 30));
        assert_ne!(
            expected.iter().flatten().filter(ended).count(),
            0,
            "some end by themselves"
        );
    }
}

fn finish_partly_written(batcher: &mut Batcher, replies: &mut HashMap<(RequestId, usize), Reply>) {
    while !batcher.is_idle() {
        for event in batcher.step() {
            if let Some(reply) = event.reply {
                replies.insert((event.id, event.delta.row), reply);
            }
        }
    }
}

#[test]
fn greedy_tokens_are_those_of_the_whole_sequence_without_a_cache() {
    let (tokenizer, device) = (tokenizer(), Device::cpu(&CpuOptions::default()).unwrap());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let prompts = prompts(&tokenizer, &[5, 1, 8, 12]);
    let options = ReplyOptions {
        samples: 1,
        max_tokens: 36, // the context is 48
        sampling: Sampling::greedy(),
        batch: 2,
    };
    let replies = engine.reply_all(&prompts, &options).unwrap();
    let g = Graph::inference(&device);
    for (prompt, replies) in prompts.iter().zip(&replies) {
        let mut ids: Vec<i32> = prompt.iter().map(|&id| id as i32).collect();
        for (&id, &sampled) in replies[0].ids.iter().zip(&replies[0].mask) {
            let x = gpt.forward(&g, &device.indices(&ids, [1, ids.len()]));
            let logits = g.logits(&x, &gpt.head()).download();
            let last = &logits[logits.len() - tokenizer.vocab_size()..];
            let best = (0..last.len())
                .rev()
                .max_by(|&a, &b| last[a].total_cmp(&last[b]))
                .unwrap();
            assert!(sampled == 0 || best == id as usize);
            ids.push(id as i32);
        }
    }
}

#[test]
fn events_add_up_and_rows_are_refilled_at_once() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let mut batcher = Batcher::new(&engine, 4);
    let prompts = prompts(&tokenizer, &[6; 10]);
    for (index, prompt) in prompts.iter().enumerate() {
        batcher
            .submit(request(prompt, 1, 1 + index, Sampling::greedy()))
            .unwrap();
    }
    assert_eq!((batcher.live(), batcher.waiting()), (0, 10));
    // The first has its only token already.
    assert_eq!(batcher.step().iter().filter(|event| event.reply.is_some()).count(), 1);
    assert_eq!((batcher.live(), batcher.waiting()), (4, 5));
    let mut steps = 1;
    while batcher.waiting() > 0 {
        assert_eq!(batcher.live(), 4, "no row is empty while somebody waits");
        batcher.step();
        steps += 1;
    }
    finish(&mut batcher, &mut HashMap::new());
    assert!(steps < 12, "{steps} steps for what four rows do in ten");
}

#[test]
fn a_cancelled_request_leaves_at_once_and_the_others_do_not_notice() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let prompts = prompts(&tokenizer, &[5, 9, 7, 4]);
    let asked: Vec<Request> = prompts
        .iter()
        .map(|prompt| request(prompt, 2, 40, Sampling::default()))
        .collect();
    let mut batcher = Batcher::new(&engine, 5);
    let ids: Vec<RequestId> = asked
        .iter()
        .map(|request| batcher.submit(request.clone()).unwrap())
        .collect();
    let mut replies = HashMap::new();
    for _ in 0..3 {
        assert!(batcher.step().iter().all(|event| event.reply.is_none()));
    }
    assert_eq!((batcher.live(), batcher.waiting()), (5, 3));
    let broken = batcher.cancel(ids[1]);
    assert_eq!((batcher.live(), batcher.waiting()), (3, 3));
    let whole = alone(&gpt, &tokenizer, &asked[1]);
    for (sample, reply) in &broken {
        assert_eq!((reply.ids.len(), reply.stopped), (3, Stopped::Early));
        assert!(whole[*sample].ids.starts_with(&reply.ids));
    }
    assert_eq!(broken.len(), 2);
    // One that has half begun, and one that nobody knows.
    let half = batcher.cancel(ids[2]);
    assert_eq!(
        half.iter()
            .map(|(sample, reply)| (*sample, reply.ids.len()))
            .collect::<Vec<_>>(),
        [(0, 3), (1, 0)]
    );
    assert_eq!(batcher.cancel(RequestId(77)), []);
    assert_eq!(batcher.cancel(ids[1]), []);
    finish_partly_written(&mut batcher, &mut replies);
    assert_eq!(replies.len(), 4);
    for index in [0, 3] {
        for (sample, expected) in alone(&gpt, &tokenizer, &asked[index]).iter().enumerate() {
            assert_eq!(&replies[&(ids[index], sample)], expected);
        }
    }
}

#[test]
fn where_memory_ends_replies_end_and_the_next_begin() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    // Two layers of keys and values of 24 channels in f32: room for two rows of 256 positions.
    let row = 2 * 2 * 24 * 4 * 256;
    let prompts = prompts(&tokenizer, &[5, 9, 7, 4, 600, 6]);
    let mut batcher = Batcher::new(&engine, 8);
    batcher.limit_memory(2 * row);
    // 600 tokens never fit, neither in the prompt nor in the reply.
    for (prompt, max_tokens) in prompts.iter().zip([30, 600, 30, 0, 3, 30]) {
        batcher
            .submit(request(prompt, 1, max_tokens, Sampling::greedy()))
            .unwrap();
    }
    let mut replies = HashMap::new();
    finish(&mut batcher, &mut replies);
    let reply = |index| &replies[&(RequestId(index), 0)];
    for (index, max_tokens) in [(0, 30), (2, 30), (5, 30)] {
        let asked = request(&prompts[index as usize], 1, max_tokens, Sampling::greedy());
        assert_eq!(reply(index), &alone(&gpt, &tokenizer, &asked)[0]);
    }
    assert_eq!(reply(3).stopped, Stopped::Length);
    assert_eq!((reply(4).stopped, reply(4).ids.len()), (Stopped::Memory, 0));
    let whole = &alone(&gpt, &tokenizer, &request(&prompts[1], 1, 600, Sampling::greedy()))[0];
    assert!(whole.ids.starts_with(&reply(1).ids));
    assert_eq!((whole.stopped, reply(1).stopped), (Stopped::Length, Stopped::Memory));
}

#[test]
fn impossible_requests_are_refused_and_nothing_else_suffers() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let mut batcher = Batcher::new(&engine, 0);
    let fine = request(&[1, 2], 1, 3, Sampling::greedy());
    let mut refusal = |change: &dyn Fn(&mut Request)| {
        let mut wrong = fine.clone();
        change(&mut wrong);
        batcher.submit(wrong).unwrap_err().to_string()
    };
    assert!(refusal(&|r| r.prompt.clear()).contains("empty prompt"));
    assert!(refusal(&|r| r.prompt.push(800)).contains("token 800"));
    assert!(refusal(&|r| r.samples = 0).contains("samples"));
    assert!(refusal(&|r| r.samples = usize::MAX).contains("samples"));
    assert!(refusal(&|r| r.max_tokens = usize::MAX).contains("too long"));
    assert!(refusal(&|r| r.sampling.top_k = Some(0)).contains("top-k"));
    assert!(batcher.is_idle());
    assert_eq!(batcher.step(), []);
    let id = batcher.submit(fine).unwrap();
    assert_eq!(batcher.step()[0].id, id);
}

/// Said beside others, each token is as likely as to a model that reads all before it.
#[test]
fn likelihoods_are_those_of_the_model_and_change_nothing() {
    let tokenizer = tokenizer();
    let options = CpuOptions {
        dtype: Some(DType::F32),
        ..CpuOptions::default()
    };
    let gpt = model(&Device::cpu(&options).unwrap(), tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let texts = prompts(&tokenizer, &[5, 20, 7]);
    let mut batcher = Batcher::new(&engine, 4);
    for (index, text) in texts.iter().enumerate() {
        let mut request = request(text, 2, 12, Sampling::default());
        request.likelihoods = [Some(0), None, Some(3)][index];
        batcher.submit(request).unwrap();
    }
    let mut read: HashMap<(RequestId, usize), Vec<i32>> = HashMap::new();
    let (mut told, mut decoder) = (0, Decoder::new(&gpt));
    while !batcher.is_idle() {
        for event in batcher.step() {
            let index = event.id.0 as usize;
            let so_far = read
                .entry((event.id, event.delta.row))
                .or_insert_with(|| texts[index].iter().map(|&id| id as i32).collect());
            if let Some(said) = &event.delta.likelihood {
                let logits = decoder.prefill(&[so_far]).unwrap().logits(0);
                let mass = |logit: &f32| f64::from(*logit).exp();
                let id = event.delta.id.unwrap() as usize;
                let expected = (mass(&logits[id]) / logits.iter().map(mass).sum::<f64>()).ln();
                assert!((f64::from(said.logprob) - expected).abs() < 1e-4, "{said:?} {expected}");
                assert_eq!(said.likeliest.len(), [0, 0, 3][index]);
                assert!(
                    said.likeliest
                        .iter()
                        .all(|&(_, logprob)| logprob <= said.likeliest[0].1)
                );
                told += 1;
            }
            assert!(index != 1 || event.delta.likelihood.is_none(), "nobody asked");
            so_far.extend(event.delta.id.map(|id| id as i32));
            if let Some(reply) = event.reply {
                let alone = alone(&gpt, &tokenizer, &request(&texts[index], 2, 12, Sampling::default()));
                assert_eq!(reply, alone[event.delta.row]);
            }
        }
    }
    assert!(told > 20, "{told} tokens");
}
