//! Generation: the prompt once, then token by token with a KV cache.
//!
//! [`Decoder`] turns tokens into logits and leaves the choice to its caller, who may force tokens of his own;
//! [`Generator`] samples. Both know ids only, never what they mean.

use ferrochat_tensor::{DType, Graph, Tensor};

use crate::cache::{KvCache, last_position};
use crate::gpt::Gpt;
use crate::sample::{Sampler, Sampling};

/// Why nothing can be generated; one sentence with what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GenerateError(pub(crate) String);

/// No sequence is kept longer than this.
const LONGEST: usize = 1 << 20;

/// Several continuations of one prompt, all of one length.
pub struct Decoder<'a> {
    gpt: &'a Gpt,
    graph: Graph,
    cache: KvCache,
    ids: Tensor,
    logits: Vec<f32>,
}

impl<'a> Decoder<'a> {
    /// Processes the prompt for `samples` continuations with room for `capacity` tokens in all.
    ///
    /// The capacity may exceed the context length: the attention windows then slide.
    pub fn new(gpt: &'a Gpt, prompt: &[i32], samples: usize, capacity: usize) -> Result<Decoder<'a>, GenerateError> {
        if prompt.is_empty() {
            let sentence = "an empty prompt gives the model nothing to continue; begin with at least one token";
            return Err(GenerateError(sentence.to_owned()));
        }
        if samples == 0 {
            return Err(GenerateError("at least one sample must be asked for".to_owned()));
        }
        check_ids(gpt, prompt)?;
        if capacity < prompt.len() || capacity > LONGEST {
            return Err(GenerateError(format!(
                "a prompt of {} tokens needs room for at least as many and at most {LONGEST}, not {capacity}",
                prompt.len()
            )));
        }
        let (device, config) = (gpt.device(), gpt.config());
        let graph = Graph::inference(device);
        let alone = if samples == 1 { capacity } else { prompt.len() };
        let mut cache = KvCache::new(device, config, 1, alone);
        let x = gpt.forward_cached(&graph, &device.indices(prompt, [1, prompt.len()]), &mut cache);
        let last = last_position(&graph, &x, prompt.len() - 1);
        let logits = graph.logits(&last, &gpt.head()).download().repeat(samples);
        if samples > 1 {
            cache = cache.replicate(config, samples, capacity);
        }
        Ok(Decoder {
            gpt,
            graph,
            cache,
            ids: device.empty([samples, 1], DType::I32),
            logits,
        })
    }

    /// Logits for the next token of a continuation, one per token of the vocabulary.
    pub fn logits(&self, row: usize) -> &[f32] {
        let vocab = self.gpt.config().vocab_size;
        &self.logits[row * vocab..(row + 1) * vocab]
    }

    /// Tokens so far, prompt included.
    pub fn position(&self) -> usize {
        self.cache.position()
    }

    /// Appends one token to each continuation.
    ///
    /// # Panics
    /// If there are not as many tokens as continuations.
    pub fn push(&mut self, tokens: &[i32]) -> Result<(), GenerateError> {
        check_ids(self.gpt, tokens)?;
        if self.cache.position() == self.cache.capacity() {
            return Err(GenerateError(format!(
                "the {} tokens that there was room for are used up",
                self.cache.capacity()
            )));
        }
        self.ids.upload_i32(tokens);
        let x = self.gpt.forward_cached(&self.graph, &self.ids, &mut self.cache);
        self.graph.logits(&x, &self.gpt.head()).download_into(&mut self.logits);
        Ok(())
    }
}

fn check_ids(gpt: &Gpt, ids: &[i32]) -> Result<(), GenerateError> {
    let vocab = gpt.config().vocab_size;
    match ids.iter().find(|&&id| id < 0 || id as usize >= vocab) {
        None => Ok(()),
        Some(id) => Err(GenerateError(format!(
            "token {id} is not in the model's vocabulary of {vocab}; the prompt was encoded with another tokenizer"
        ))),
    }
}

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Continuations of the prompt.
    pub samples: usize,
    /// Tokens per continuation at most.
    pub max_tokens: usize,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Tokens that end a continuation; they are not returned.
    pub stop: Vec<i32>,
}

/// Iterates over columns of tokens: one per continuation, none for those that have ended.
pub struct Generator<'a> {
    decoder: Decoder<'a>,
    samplers: Vec<Sampler>,
    stop: Vec<i32>,
    left: usize,
    column: Vec<Option<i32>>,
    started: bool,
}

impl<'a> Generator<'a> {
    /// Processes the prompt.
    pub fn new(gpt: &'a Gpt, prompt: &[i32], options: &GenerateOptions) -> Result<Generator<'a>, GenerateError> {
        options.sampling.validate()?;
        let capacity = prompt.len().saturating_add(options.max_tokens);
        let rows = 0..options.samples as u64;
        Ok(Generator {
            decoder: Decoder::new(gpt, prompt, options.samples, capacity)?,
            samplers: rows.map(|row| Sampler::new(&options.sampling, row)).collect(),
            stop: options.stop.clone(),
            left: options.max_tokens,
            column: vec![Some(0); options.samples],
            started: false,
        })
    }
}

impl Iterator for Generator<'_> {
    type Item = Vec<Option<i32>>;

    fn next(&mut self) -> Option<Vec<Option<i32>>> {
        if self.left == 0 {
            return None;
        }
        if self.started {
            // Rows that have ended go on with any token; nobody looks.
            let tokens: Vec<i32> = self.column.iter().map(|token| token.unwrap_or(0)).collect();
            self.decoder
                .push(&tokens)
                .expect("sampled tokens are in the vocabulary and the cache has room for all");
        }
        self.started = true;
        self.left -= 1;
        for (row, sampler) in self.samplers.iter_mut().enumerate() {
            if self.column[row].is_some() {
                let token = sampler.pick(self.decoder.logits(row));
                self.column[row] = Some(token).filter(|token| !self.stop.contains(token));
            }
        }
        if self.column.iter().all(Option::is_none) {
            self.left = 0;
            return None;
        }
        Some(self.column.clone())
    }
}

/// All continuations of a prompt, without the prompt.
pub fn generate(gpt: &Gpt, prompt: &[i32], options: &GenerateOptions) -> Result<Vec<Vec<i32>>, GenerateError> {
    let mut samples = vec![Vec::new(); options.samples];
    for column in Generator::new(gpt, prompt, options)? {
        for (sample, token) in samples.iter_mut().zip(column) {
            sample.extend(token);
        }
    }
    Ok(samples)
}
