//! Decoding with a KV cache against the forward pass over the whole sequence.

use ferrochat_model::{Decoder, GenerateOptions, Gpt, KvCache, Sampling, generate};
use ferrochat_tensor::{Device, Graph};

use super::{ARCHS, cpu, random, small, tokens};

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
            let mut cache = KvCache::new(&device, &config, 2, 150);
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
            assert_eq!((start, cache.position()), (140, 140));
            cache.clear();
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
        let logits = |ids: &[i32]| Decoder::new(&gpt, ids, 1, 60).unwrap().logits(0).to_vec();
        assert_eq!(logits(&a), logits(&b), "{arch}");
        (a[40], b[40]) = (1, 2);
        assert_ne!(logits(&a), logits(&b), "{arch}");
    }
}

#[test]
fn impossible_requests_are_refused() {
    let device = cpu(None);
    let gpt = random(&device, &small(ARCHS[1], 8));
    let refusal = |prompt: &[i32], samples, capacity| {
        let error = Decoder::new(&gpt, prompt, samples, capacity)
            .err()
            .expect("must be refused");
        error.to_string()
    };
    assert!(refusal(&[], 1, 4).contains("empty prompt"));
    assert!(refusal(&[1], 0, 4).contains("one sample"));
    assert!(refusal(&[1, 37], 1, 4).contains("token 37"));
    assert!(refusal(&[-1], 1, 4).contains("token -1"));
    assert!(refusal(&[1, 2, 3], 1, 2).contains("3 tokens"));
    assert!(refusal(&[1], 1, usize::MAX).contains("at most"));
    let mut decoder = Decoder::new(&gpt, &[1], 1, 2).unwrap();
    decoder.push(&[2]).unwrap();
    assert!(decoder.push(&[2]).unwrap_err().to_string().contains("used up"));
}
