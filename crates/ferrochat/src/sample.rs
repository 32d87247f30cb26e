//! Letting a base model continue a text. Knows how a text begins for a model that was trained on
//! documents or on running text; the arithmetic of decoding is the model's.

use std::sync::Arc;

use anyhow::Result;
use ferrochat_chat::TextStart;
use ferrochat_data::Packing;
use ferrochat_model::{GenerateOptions, Gpt, Sampling, generate};
use ferrochat_tokenizer::Tokenizer;
use serde_json::json;

use crate::cli::SampleArgs;
use crate::errors::{refuse, usage};
use crate::home::Home;
use crate::{model, output};

/// How a text begins for a model trained with this packing.
pub fn start_of(packing: Packing) -> TextStart {
    match packing {
        Packing::RandomWindows { .. } => TextStart::RunningText,
        _ => TextStart::Document,
    }
}

/// Tokens of a sample during training.
const TRAINING_TOKENS: usize = 96;

/// Two short texts for the log: they cost little and change no state of training.
///
/// # Errors
/// Decoding fails.
pub fn during_training(gpt: &Gpt, tokenizer: &Tokenizer, start: TextStart) -> Result<Vec<String>> {
    texts(gpt, tokenizer, start, "", &usual(2, TRAINING_TOKENS))
}

/// `samples` continuations as the program shows them unasked.
pub fn usual(samples: usize, max_tokens: usize) -> GenerateOptions {
    let sampling = Sampling {
        temperature: 0.8,
        top_k: Some(50),
        top_p: None,
        seed: 42,
    };
    GenerateOptions {
        samples,
        max_tokens,
        sampling,
        stop: Vec::new(),
    }
}

/// Texts that begin with `prompt`, prompt included; BOS ends them.
///
/// # Errors
/// Decoding fails.
pub fn texts(
    gpt: &Gpt,
    tokenizer: &Tokenizer,
    start: TextStart,
    prompt: &str,
    options: &GenerateOptions,
) -> Result<Vec<String>> {
    let ids: Vec<i32> = start.prompt(tokenizer, prompt).iter().map(|&id| id as i32).collect();
    let options = GenerateOptions {
        stop: vec![tokenizer.bos() as i32],
        ..options.clone()
    };
    let text = |ids: Vec<i32>| {
        let ids: Vec<u32> = ids.into_iter().map(|id| id as u32).collect();
        format!("{prompt}{}", tokenizer.decode(&ids))
    };
    Ok(generate(gpt, &ids, &options)
        .map_err(usage)?
        .into_iter()
        .map(text)
        .collect())
}

/// `sample`
///
/// # Errors
/// No such model, or a prompt that it cannot take.
pub fn command(home: &Home, args: &SampleArgs) -> Result<()> {
    if !(args.temperature.is_finite() && args.temperature >= 0.0) {
        refuse!("--temperature must be a number from 0 on");
    }
    if args.count == 0 || args.count > 1024 {
        refuse!("--count {} is out of range; it must be from 1 to 1024", args.count);
    }
    if args.max_tokens == 0 || args.max_tokens > 1 << 20 {
        refuse!(
            "--max-tokens {} is out of range; it must be from 1 to {}",
            args.max_tokens,
            1 << 20
        );
    }
    let model = args.model.clone().resolve(home)?;
    let trained = model::load(home, &model)?;
    let tokenizer = Arc::clone(&trained.tokenizer);
    if let Some((at, character)) = tokenizer.unknown_character(&args.prompt) {
        refuse!("--prompt: the character {character:?} at byte {at} is not in this model's character vocabulary");
    }
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: (args.top_k > 0).then_some(args.top_k),
        top_p: None,
        seed: args.seed,
    };
    let options = GenerateOptions {
        samples: args.count,
        max_tokens: args.max_tokens,
        sampling,
        stop: Vec::new(),
    };
    for text in texts(&trained.gpt, &tokenizer, trained.start, &args.prompt, &options)? {
        if args.json {
            let line = json!({"run": model.run, "step": trained.step, "prompt": args.prompt, "text": text});
            output::print(&format!("{line}\n"))?;
        } else {
            let line = if args.count > 1 {
                format!("{text}\n---\n")
            } else {
                format!("{text}\n")
            };
            output::print(&line)?;
        }
    }
    Ok(())
}
