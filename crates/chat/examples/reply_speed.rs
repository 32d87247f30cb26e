//! Tokens per second of replies, on a model of four layers and width 128 with random weights:
//! `cargo run --release -p ferrochat-chat --example reply_speed [BATCH] [ROUNDS]`.
//!
//! Three loads: what RL asks for (16 samples of each prompt, all equally long), what evaluation asks for (many
//! prompts of different lengths, greedy, replies that end at different times), and one reply alone.

use std::time::Instant;

use ferrochat_chat::{Engine, Reply, ReplyOptions};
use ferrochat_model::{Arch, Dials, Gpt, GptConfig, Rng, Sampling};
use ferrochat_tensor::{CpuOptions, Device};
use ferrochat_tokenizer::{SPLIT_PATTERN, Tokenizer};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<usize> = std::env::args()
        .skip(1)
        .map(|argument| argument.parse())
        .collect::<Result<_, _>>()?;
    let batch = arguments.first().copied().unwrap_or(128);
    let rounds = arguments.get(1).copied().unwrap_or(3);
    let ranks = include_bytes!("../../tokenizer/tests/fixtures/ranks.tiktoken");
    let tokenizer = Tokenizer::from_tiktoken(ranks, SPLIT_PATTERN)?;
    let device = Device::cpu(&CpuOptions::default())?;
    let gpt = model(&device, &tokenizer)?;
    let engine = Engine::new(&gpt, &tokenizer)?;
    println!("{}, batch {batch}", device.name());

    let options = |samples, max_tokens, sampling, batch| ReplyOptions {
        samples,
        max_tokens,
        sampling,
        batch,
    };
    let top_k = Sampling {
        top_k: Some(50),
        ..Sampling::default()
    };
    let greedy = Sampling::greedy();
    let ragged: Vec<usize> = (0..4 * batch).map(|index| 20 + index * 37 % 60).collect();
    for _ in 0..rounds {
        let same = prompts(&tokenizer, &vec![32; batch / 16]);
        measure("16 samples each", &engine, &same, &options(16, 64, top_k, batch))?;
        measure(
            "ragged, greedy",
            &engine,
            &prompts(&tokenizer, &ragged),
            &options(1, 64, greedy, batch),
        )?;
        measure("one", &engine, &prompts(&tokenizer, &[32]), &options(1, 200, top_k, 1))?;
    }
    Ok(())
}

fn measure(name: &str, engine: &Engine, prompts: &[Vec<u32>], options: &ReplyOptions) -> Result<(), Failure> {
    let start = Instant::now();
    let replies: Vec<Reply> = engine.reply_all(prompts, options)?.into_iter().flatten().collect();
    let seconds = start.elapsed().as_secs_f64();
    let tokens: usize = replies.iter().map(|reply| reply.ids.len()).sum();
    let check = replies
        .iter()
        .flat_map(|reply| &reply.ids)
        .fold(0u32, |hash, id| hash.rotate_left(5) ^ id);
    println!(
        "{name:16} {:5} replies {tokens:6} tokens {:8.0} tokens/s  ({check:08x})",
        replies.len(),
        tokens as f64 / seconds
    );
    Ok(())
}

/// Random weights; the token that ends a reply is likely enough that replies are of many lengths.
fn model(device: &Device, tokenizer: &Tokenizer) -> Result<Gpt, Failure> {
    let dials = Dials {
        sequence_len: 128,
        vocab_size: tokenizer.vocab_size(),
        head_dim: 32,
        n_embd: Some(128),
        ..Dials::default()
    };
    let gpt = Gpt::new(device, &GptConfig::from_depth(Arch::V2026_07, 4, &dials))?;
    let end = tokenizer.special("<|assistant_end|>").map_or(0, |id| id as usize);
    for declaration in gpt.declarations() {
        let param = &declaration.param;
        let mut rng = Rng::derive(7, param.name(), 0);
        let mut values: Vec<f32> = (0..param.numel()).map(|_| (rng.uniform() as f32 - 0.5) * 0.5).collect();
        if param.name() == "lm_head.weight" {
            values[end * 128..(end + 1) * 128]
                .iter_mut()
                .for_each(|value| *value *= 2.5);
        }
        param.upload(&values);
    }
    Ok(gpt)
}

fn prompts(tokenizer: &Tokenizer, lengths: &[usize]) -> Vec<Vec<u32>> {
    let mut rng = Rng::new(11);
    let mut random = || (rng.next_u64() % u64::from(tokenizer.bos())) as u32;
    lengths
        .iter()
        .map(|&length| (0..length).map(|_| random()).collect())
        .collect()
}
