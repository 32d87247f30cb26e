//! Generation: continuations of one prompt, token by token. Knows ids only, never what they mean.

use crate::decoder::{Decoder, GenerateError, Prompts};
use crate::gpt::Gpt;
use crate::sample::{Sampler, Sampling};

/// No sequence is kept longer than this.
const LONGEST: usize = 1 << 20;

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
    /// Before the first column, which is drawn from the prompt's logits.
    prompt: Option<Prompts>,
    samplers: Vec<Sampler>,
    stop: Vec<i32>,
    left: usize,
    /// The continuation in each row of the decoder, and the token that it goes on with.
    rows: Vec<(usize, i32)>,
}

impl<'a> Generator<'a> {
    /// Processes the prompt, once for all continuations.
    ///
    /// # Errors
    /// [`GenerateError`]: options or a prompt that cannot be, or no memory.
    pub fn new(gpt: &'a Gpt, prompt: &[i32], options: &GenerateOptions) -> Result<Generator<'a>, GenerateError> {
        options.sampling.validate()?;
        if options.samples == 0 {
            return Err(GenerateError::request("at least one sample must be asked for"));
        }
        if prompt.len().saturating_add(options.max_tokens) > LONGEST {
            return Err(GenerateError::Request(format!(
                "a prompt of {} tokens and {} new ones are too long; together they must be at most {LONGEST}",
                prompt.len(),
                options.max_tokens
            )));
        }
        let mut decoder = Decoder::new(gpt);
        let prompt = decoder.prefill(&[prompt])?;
        decoder.append(&prompt, &vec![0; options.samples])?;
        let samples = 0..options.samples;
        Ok(Generator {
            decoder,
            prompt: Some(prompt),
            samplers: samples
                .clone()
                .map(|sample| Sampler::new(&options.sampling, sample as u64))
                .collect(),
            stop: options.stop.clone(),
            left: options.max_tokens,
            rows: samples.map(|sample| (sample, 0)).collect(),
        })
    }

    /// The next column.
    ///
    /// # Errors
    /// [`GenerateError::Memory`]; what was generated so far stands.
    pub fn step(&mut self) -> Result<Option<Vec<Option<i32>>>, GenerateError> {
        if self.left == 0 || self.rows.is_empty() {
            return Ok(None);
        }
        let prompt = self.prompt.take();
        if prompt.is_none() {
            let tokens: Vec<i32> = self.rows.iter().map(|&(_, token)| token).collect();
            self.decoder.push(&tokens)?;
        }
        self.left -= 1;
        let mut choices = Vec::with_capacity(self.rows.len());
        for (row, &(sample, _)) in self.rows.iter().enumerate() {
            let row = if prompt.is_some() { 0 } else { row };
            choices.push(self.samplers[sample].choice(row));
        }
        let tokens = match &prompt {
            Some(prompt) => prompt.choose(&choices),
            None => self.decoder.choose(&choices),
        };
        let mut column = vec![None; self.samplers.len()];
        for ((sample, last), token) in self.rows.iter_mut().zip(tokens) {
            *last = token;
            column[*sample] = Some(token).filter(|token| !self.stop.contains(token));
        }
        // From the last on: a hole is filled with a row that has been looked at.
        for row in (0..self.rows.len()).rev() {
            if column[self.rows[row].0].is_none() {
                self.rows.swap_remove(row);
                self.decoder.swap_remove(row);
            }
        }
        Ok((!self.rows.is_empty()).then_some(column))
    }
}

/// All continuations of a prompt, without the prompt.
///
/// # Errors
/// As [`Generator::new`] and [`Generator::step`].
pub fn generate(gpt: &Gpt, prompt: &[i32], options: &GenerateOptions) -> Result<Vec<Vec<i32>>, GenerateError> {
    let mut samples = vec![Vec::new(); options.samples];
    let mut generator = Generator::new(gpt, prompt, options)?;
    while let Some(column) = generator.step()? {
        for (sample, token) in samples.iter_mut().zip(column) {
            sample.extend(token);
        }
    }
    Ok(samples)
}
