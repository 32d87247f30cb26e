//! Decoding with a KV cache against the forward pass over the whole sequence.

use ferrochat_model::{Arch, Decoder, GenerateOptions, Gpt, KvCache, Rng, Sampling, generate};
use ferrochat_tensor::{CpuOptions, DType, Device, Graph};

use super::{ARCHS, cpu, kernels, random, small, tokens};

fn greedy(samples: usize, max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        samples,
        max_tokens,
        sampling: Sampling::greedy(),
        stop: Vec::new(),
    }
}

#[test]
fn chunks_through_the_cache_give_the_states_of_the_whole() {
    for (device, limit) in [(Device::oracle(), 1e-10), (cpu(None), 1e-4)] {
        for arch in ARCHS {
            // 140 positions: the short window of 128 matters for the last ones.
            let config = small(arch, 140);
            let gpt = random(&device, &config);
            let g = Graph::inference(&device);
            let ids = tokens(2 * 140, 3);
            let whole = gpt.forward(&g, &device.indices(&ids, [2, 140])).download_f64();
            let mut cache = KvCache::new(&device, &config);
            cache.add_rows(2).unwrap();
            cache.reserve(2, 150).unwrap();
            let mut start = 0;
            for time in [1, 2, 60, 1, 70, 1, 1, 4] {
                let rows = [&ids[start..start + time], &ids[140 + start..140 + start + time]].concat();
                let part = gpt
                    .forward_cached(&g, &device.indices(&rows, [2, time]), &mut cache)
                    .download_f64();
                let width = config.n_embd;
                for row in 0..2 {
                    let expected = &whole[(row * 140 + start) * width..][..time * width];
                    for (i, (a, b)) in part[row * time * width..].iter().zip(expected).enumerate() {
                        assert!((a - b).abs() < limit, "{arch} row {row} from {start}, {i}: {a} for {b}");
                    }
                }
                start += time;
            }
            assert_eq!((start, cache.length(0), cache.length(1)), (140, 140, 140));
            cache.clear();
            cache.add_rows(2).unwrap();
            let first = gpt.forward_cached(&g, &device.indices(&[ids[0], ids[140]], [2, 1]), &mut cache);
            assert!(
                (first.download_f64()[0] - whole[0]).abs() < limit,
                "a cleared cache is a new one"
            );
        }
    }
}

/// The likeliest tokens by running the whole sequence again for each.
fn without_cache(gpt: &Gpt, prompt: &[i32], count: usize) -> Vec<i32> {
    let (device, g) = (gpt.device(), Graph::inference(gpt.device()));
    let mut ids = prompt.to_vec();
    for _ in 0..count {
        let x = gpt.forward(&g, &device.indices(&ids, [1, ids.len()]));
        let logits = g.logits(&x, &gpt.head()).download();
        let last = &logits[logits.len() - gpt.config().vocab_size..];
        let best = (0..last.len())
            .rev()
            .max_by(|&a, &b| last[a].total_cmp(&last[b]))
            .unwrap();
        ids.push(best as i32);
    }
    ids.split_off(prompt.len())
}

#[test]
fn greedy_tokens_are_the_same_with_and_without_the_cache() {
    for device in [Device::oracle(), cpu(None)] {
        for arch in ARCHS {
            let gpt = random(&device, &small(arch, 40));
            for prompt in [&tokens(1, 4)[..], &tokens(11, 5)] {
                let expected = without_cache(&gpt, prompt, 20);
                assert!(
                    expected.iter().any(|token| *token != expected[0]),
                    "a sequence worth comparing"
                );
                assert_eq!(
                    generate(&gpt, prompt, &greedy(1, 20)).unwrap(),
                    std::slice::from_ref(&expected)
                );
                let three = generate(&gpt, prompt, &greedy(3, 20)).unwrap();
                assert!(three.iter().all(|sample| *sample == expected));
            }
        }
    }
}

#[test]
fn samples_differ_and_do_not_depend_on_their_number() {
    let device = cpu(None);
    let gpt = random(&device, &small(ARCHS[1], 40));
    let sampled = |samples, seed| {
        let options = GenerateOptions {
            sampling: Sampling {
                seed,
                top_k: Some(20),
                ..Sampling::default()
            },
            ..greedy(samples, 12)
        };
        generate(&gpt, &tokens(3, 6), &options).unwrap()
    };
    let four = sampled(4, 1);
    assert_ne!(four[0], four[1]);
    assert_eq!(sampled(2, 1), four[..2]);
    assert_ne!(sampled(1, 2)[0], four[0]);
}

#[test]
fn stop_tokens_end_a_sample_and_are_not_returned() {
    let device = cpu(None);
    let gpt = random(&device, &small(ARCHS[1], 40));
    let prompt = tokens(5, 7);
    let free = generate(&gpt, &prompt, &greedy(1, 10)).unwrap().remove(0);
    let stop = free[6];
    let options = GenerateOptions {
        stop: vec![stop],
        ..greedy(2, 10)
    };
    let end = free.iter().position(|&token| token == stop).unwrap();
    assert_eq!(generate(&gpt, &prompt, &options).unwrap(), [&free[..end], &free[..end]]);
}

#[test]
fn generation_goes_on_beyond_the_context() {
    let device = cpu(None);
    for arch in ARCHS {
        let gpt = random(&device, &small(arch, 8));
        let sample = generate(&gpt, &tokens(5, 8), &greedy(1, 40)).unwrap().remove(0);
        assert_eq!(sample.len(), 40);
        // The window is the context, so that what lies three layers of windows back has no influence.
        let (mut a, mut b) = (tokens(60, 9), tokens(60, 9));
        (a[0], b[0]) = (1, 2);
        let logits = |ids: &[i32]| Decoder::new(&gpt).prefill(&[ids]).unwrap().logits(0);
        assert_eq!(logits(&a), logits(&b), "{arch}");
        (a[40], b[40]) = (1, 2);
        assert_ne!(logits(&a), logits(&b), "{arch}");
    }
}

/// The best that this machine has, f32 on one thread and on two, and, for one model, AMX in software.
pub(crate) fn cpus(arch: Arch) -> Vec<Device> {
    let best = CpuOptions {
        threads: Some(2),
        ..CpuOptions::default()
    };
    let mut cpus = vec![Device::cpu(&best).unwrap(), cpu(Some(1)), cpu(Some(2))];
    if arch == ARCHS[0] {
        kernels::emulate_amx();
        cpus.extend(kernels::cpu("amx", DType::Bf16, 2));
    }
    cpus
}

/// Rows come and go as in a server; at every step each has, bit by bit, the logits of its own tokens processed alone
/// and at once.
#[test]
fn logits_are_those_of_the_rows_own_tokens_whatever_stands_beside_them() {
    for arch in ARCHS {
        for device in cpus(arch) {
            // Windows reach back 128 and 140 positions, memory grows at 256.
            let gpt = random(&device, &small(arch, 140));
            let alone = |ids: &[i32]| Decoder::new(&gpt).prefill(&[ids]).unwrap().logits(0);
            let (mut decoder, mut rng) = (Decoder::new(&gpt), Rng::new(9));
            let mut rows: Vec<Vec<i32>> = Vec::new();
            for step in 0..90 {
                let new: &[usize] = match step {
                    0 => &[1, 33, 250, 7],
                    1 | 20 => &[12],
                    40 => &[270, 3],
                    _ => &[],
                };
                let prompts: Vec<Vec<i32>> = new.iter().map(|&length| tokens(length, step + 1)).collect();
                let prompts: Vec<&[i32]> = prompts.iter().map(Vec::as_slice).collect();
                let ready = decoder.prefill(&prompts).unwrap();
                for (index, prompt) in prompts.iter().enumerate() {
                    assert_eq!(
                        ready.logits(index),
                        alone(prompt),
                        "{arch} a prompt of {}",
                        prompt.len()
                    );
                }
                // The last prompt is continued twice.
                let chosen: Vec<usize> = (0..new.len()).chain(new.len().checked_sub(1)).collect();
                decoder.append(&ready, &chosen).unwrap();
                rows.extend(chosen.iter().map(|&index| prompts[index].to_vec()));

                let next: Vec<i32> = rows.iter().map(|_| (rng.next_u64() % 37) as i32).collect();
                decoder.push(&next).unwrap();
                for (row, (ids, token)) in rows.iter_mut().zip(next).enumerate() {
                    ids.push(token);
                    assert_eq!(decoder.length(row), ids.len());
                    // Each step some rows, over time all.
                    if (step as usize + row).is_multiple_of(7) {
                        assert_eq!(
                            decoder.logits(row),
                            alone(ids),
                            "{arch} step {step} row {row}, {}",
                            device.name()
                        );
                    }
                }
                if step % 16 == 15 {
                    let row = rng.next_u64() as usize % rows.len();
                    rows.swap_remove(row);
                    decoder.swap_remove(row);
                }
                assert_eq!(decoder.rows(), rows.len());
            }
            assert!(decoder.capacity() == 512 && rows.len() > 2);
        }
    }
}

#[test]
fn memory_grows_with_the_tokens_and_what_cannot_be_had_is_refused() {
    let device = cpu(None);
    let gpt = random(&device, &small(Arch::V2026_07, 40));
    generate(&gpt, &[1], &greedy(1, 2)).unwrap(); // makes the weights' compute copies
    let before = device.memory_use().live;
    let mut decoder = Decoder::new(&gpt);
    let prompt = decoder.prefill(&[&tokens(5, 1)]).unwrap();
    decoder.append(&prompt, &[0, 0]).unwrap();
    assert_eq!(decoder.capacity(), 256);
    for token in 0..252 {
        decoder.push(&[token % 37, 1]).unwrap();
    }
    assert_eq!(decoder.capacity(), 512);
    drop((decoder, prompt));
    assert_eq!(device.memory_use().live, before, "all memory is given back");

    let mut cache = KvCache::new(&device, gpt.config());
    cache.add_rows(1).unwrap();
    cache.reserve(1, 8).unwrap();
    for rows in [1 << 40, usize::MAX] {
        let refusal = cache.reserve(rows, 8).unwrap_err();
        assert!(refusal.to_string().contains("out of memory"), "{refusal}");
    }
    cache.limit_memory(1 << 18);
    assert!(cache.reserve(1, 1024).is_err());
    cache.reserve(1, 256).unwrap();
    let ids = device.indices(&tokens(8, 1), [1, 8]);
    let x = gpt.forward_cached(&Graph::inference(&device), &ids, &mut cache);
    assert!(x.download().iter().all(|x| x.is_finite()), "the cache is as before");
}

#[test]
fn impossible_requests_are_refused() {
    let device = cpu(None);
    let gpt = random(&device, &small(ARCHS[1], 8));
    let refusal = |prompt: &[i32], samples, max_tokens| {
        let refused = generate(&gpt, prompt, &greedy(samples, max_tokens));
        refused.expect_err("must be refused").to_string()
    };
    assert!(refusal(&[], 1, 4).contains("empty prompt"));
    assert!(refusal(&[1], 0, 4).contains("one sample"));
    assert!(refusal(&[1, 37], 1, 4).contains("token 37"));
    assert!(refusal(&[-1], 1, 4).contains("token -1"));
    assert!(refusal(&[1], 1, usize::MAX).contains("at most"));
    let mut decoder = Decoder::new(&gpt);
    assert!(decoder.prefill(&[&[1], &[]]).is_err());
    let prompt = decoder.prefill(&[&[1]]).unwrap();
    decoder.append(&prompt, &[0]).unwrap();
    assert!(decoder.push(&[37]).unwrap_err().to_string().contains("token 37"));
    decoder.push(&[36]).unwrap();
    assert_eq!(decoder.length(0), 2);
    decoder.swap_remove(0);
    decoder.push(&[]).unwrap();
}
