//! Reading a prompt for its last position alone against the forward pass over all positions.

use ferrochat_model::{Arch, Decoder, Dials, Facts, Gpt, GptConfig, KvCache};
use ferrochat_tensor::{Device, Graph};

use super::{ARCHS, decoding, random, tokens};

/// Depth, windows and key-value heads.
const SHAPES: [(usize, &str, usize); 5] = [(1, "L", 2), (2, "S", 4), (3, "SL", 2), (3, "L", 1), (5, "SSSL", 4)];

/// Short windows reach back 128 of these.
const CONTEXT: usize = 300;

fn config(arch: Arch, (depth, windows, n_kv_head): (usize, &str, usize)) -> GptConfig {
    let dials = Dials {
        sequence_len: CONTEXT,
        vocab_size: 37,
        head_dim: 6,
        n_embd: Some(24),
        n_kv_head: Some(n_kv_head),
        window_pattern: Some(windows.to_owned()),
        ..Dials::default()
    };
    GptConfig::from_depth(arch, depth, &dials)
}

fn fresh(gpt: &Gpt, lengths: &[usize]) -> KvCache {
    let mut cache = KvCache::new(gpt.device(), gpt.config());
    cache.add_rows(lengths.len()).unwrap();
    cache.reserve(lengths.len(), CONTEXT).unwrap();
    cache.expect(lengths.to_vec());
    cache
}

#[test]
fn last_positions_alone_have_the_bits_that_they_have_among_all() {
    for arch in ARCHS {
        for (device, shape) in decoding::cpus(arch).iter().flat_map(|d| SHAPES.map(|shape| (d, shape))) {
            // AMX in software is slow.
            if device.name().contains("amx") && shape != SHAPES[2] {
                continue;
            }
            let gpt = random(device, &config(arch, shape));
            let g = Graph::inference(device);
            for lengths in [&[290, 1, 131, 260, 17][..], &[1, 1], &[64]] {
                let (rows, time) = (lengths.len(), lengths[0]);
                let about = format!("{arch} {shape:?} {lengths:?} {}", device.name());
                let ids = device.indices(&tokens(rows * time, 11), [rows, time]);
                let last: Vec<i32> = lengths.iter().map(|&length| length as i32 - 1).collect();
                let last = device.indices(&last, [rows]);

                let without = gpt.forward_at(&g, &ids, &last, None).download();
                let all = g.select_positions(&gpt.forward(&g, &ids), &last);
                assert_eq!(without, all.download(), "{about}, no cache");

                let mut caches = [fresh(&gpt, lengths), fresh(&gpt, lengths)];
                let with = gpt.forward_at(&g, &ids, &last, Some(&mut caches[0])).download();
                let all = g.select_positions(&gpt.forward_cached(&g, &ids, &mut caches[1]), &last);
                assert_eq!(with, all.download(), "{about}");
                assert_eq!(with, without, "{about}, with and without a cache");

                let next = device.indices(&tokens(rows, 12), [rows, 1]);
                let [a, b] = caches
                    .each_mut()
                    .map(|cache| gpt.forward_cached(&g, &next, cache).download());
                assert_eq!(a, b, "{about}, the token behind");
            }
        }
    }
}

#[test]
fn facts_say_what_a_prompt_is_multiplied_by() {
    let time = 40;
    for (arch, shape) in ARCHS.into_iter().flat_map(|arch| SHAPES.map(|shape| (arch, shape))) {
        let device = Device::oracle();
        let gpt = random(&device, &config(arch, shape));
        let facts = Facts::of_model(&gpt);
        let flops = |run: &dyn Fn(&Graph)| -> f64 {
            device.start_profile();
            run(&Graph::inference(&device));
            let uses = device.take_profile().into_iter();
            uses.filter(|used| used.name == "linear")
                .map(|used| used.cost.flops)
                .sum()
        };
        let ids = device.indices(&tokens(time, 13), [1, time]);
        let last = device.indices(&[time as i32 - 1], [1]);
        let all = flops(&|g| drop(gpt.forward(g, &ids)));
        let one = flops(&|g| drop(gpt.forward_at(g, &ids, &last, None)));
        let head = gpt.config().padded_vocab() * gpt.config().n_embd;
        let left_out = facts.matmul_parameters - head - facts.prompt_parameters;
        assert!(left_out > 0);
        assert_eq!(all - one, (2 * left_out * (time - 1)) as f64, "{arch} {shape:?}");
    }
}

#[test]
#[should_panic(expected = "the cache must hold nothing")]
fn a_cache_that_holds_tokens_is_refused() {
    let device = Device::oracle();
    let gpt = random(&device, &config(ARCHS[1], SHAPES[2]));
    let (g, mut cache) = (Graph::inference(&device), fresh(&gpt, &[3]));
    let ids = device.indices(&tokens(3, 1), [1, 3]);
    gpt.forward_cached(&g, &ids, &mut cache);
    gpt.forward_at(&g, &ids, &device.indices(&[2], [1]), Some(&mut cache));
}

/// What the decoder makes of prompts is the head's view of these states.
#[test]
fn prompts_have_the_logits_of_their_last_positions() {
    for (arch, shape) in ARCHS.into_iter().flat_map(|arch| SHAPES.map(|shape| (arch, shape))) {
        let device = super::cpu(Some(2));
        let gpt = random(&device, &config(arch, shape));
        let prompts = [200, 3, 140].map(|length| tokens(length, length as u64));
        let read: Vec<&[i32]> = prompts.iter().map(Vec::as_slice).collect();
        let read = Decoder::new(&gpt).prefill(&read).unwrap();
        for (index, ids) in prompts.iter().enumerate() {
            let g = Graph::inference(&device);
            let x = gpt.forward(&g, &device.indices(ids, [1, ids.len()]));
            let logits = g.logits(&x, &gpt.head()).download();
            assert_eq!(
                read.logits(index),
                logits[logits.len() - 37..],
                "{arch} {shape:?} {index}"
            );
        }
    }
}
