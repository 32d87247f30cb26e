//! Replies: one or many, at once or as they are written.

use std::ops::Range;

use ferrochat_model::{Gpt, Sampler, Sampling};
use ferrochat_tokenizer::Tokenizer;

use crate::ChatError;
use crate::columns::Columns;
use crate::render::Marks;
use crate::turn::{Delta, Reply, Turn};

/// No prompt with its reply is longer.
const LONGEST: usize = 1 << 20;

/// How to reply.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyOptions {
    /// Replies to each prompt.
    pub samples: usize,
    /// Tokens in a reply at most, forced ones included.
    pub max_tokens: usize,
    /// How tokens are drawn. Sample `s` of prompt `p` draws from stream `p · samples + s` of the seed.
    pub sampling: Sampling,
    /// Replies that are written at once, where there are as many; memory grows with it. The samples of one prompt
    /// are never torn apart; where they fill a batch, it processes its prompt only once.
    pub batch: usize,
}

impl Default for ReplyOptions {
    fn default() -> ReplyOptions {
        ReplyOptions {
            samples: 1,
            max_tokens: 256,
            sampling: Sampling {
                temperature: 0.6,
                top_k: Some(50),
                ..Sampling::default()
            },
            batch: 16,
        }
    }
}

/// A model and its tokenizer, ready to reply.
pub struct Engine<'a> {
    gpt: &'a Gpt,
    tokenizer: &'a Tokenizer,
    marks: Marks,
}

impl<'a> Engine<'a> {
    /// Puts the two together.
    ///
    /// # Errors
    /// [`ChatError::Request`] if their vocabularies differ in size.
    pub fn new(gpt: &'a Gpt, tokenizer: &'a Tokenizer) -> Result<Engine<'a>, ChatError> {
        let (model, own) = (gpt.config().vocab_size, tokenizer.vocab_size());
        if model != own {
            return Err(ChatError::Request(format!(
                "the model has a vocabulary of {model} and the tokenizer one of {own}; use the tokenizer that the \
                 model was trained with"
            )));
        }
        Ok(Engine {
            gpt,
            tokenizer,
            marks: Marks::of(tokenizer),
        })
    }

    /// The replies to one prompt, such as [`prompt`](crate::prompt) makes; it is processed once for all samples.
    ///
    /// # Errors
    /// [`ChatError::Request`] or [`ChatError::Generate`] for impossible options or ids.
    pub fn reply(&self, prompt: &[u32], options: &ReplyOptions) -> Result<Vec<Reply>, ChatError> {
        let mut replies = self.stream(&[prompt], options)?;
        replies.by_ref().for_each(drop);
        Ok(replies.into_replies())
    }

    /// The replies to many prompts, in their order, `options.samples` to each. Prompts of similar length
    /// are continued together.
    ///
    /// # Errors
    /// As [`Engine::reply`], before anything is computed.
    pub fn reply_all(&self, prompts: &[Vec<u32>], options: &ReplyOptions) -> Result<Vec<Vec<Reply>>, ChatError> {
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        self.check(&prompts, options)?;
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|&index| prompts[index].len());
        let lengths: Vec<usize> = order.iter().map(|&index| prompts[index].len()).collect();
        let mut replies = vec![Vec::new(); prompts.len()];
        for group in groups(&lengths, options) {
            let mut stream = self.start(&order[group], &prompts, options)?;
            stream.by_ref().for_each(drop);
            for (row, reply) in stream.rows.clone().into_iter().zip(stream.into_replies()) {
                replies[row].push(reply);
            }
        }
        Ok(replies)
    }

    /// The replies to some prompts as they are written, all at once: row `p · samples + s` is sample `s` of prompt `p`.
    ///
    /// # Errors
    /// As [`Engine::reply`].
    pub fn stream(&self, prompts: &[&[u32]], options: &ReplyOptions) -> Result<Replies<'a>, ChatError> {
        self.check(prompts, options)?;
        if prompts.is_empty() {
            return Err(ChatError::Request(
                "there is no prompt to reply to; give at least one".to_owned(),
            ));
        }
        let all: Vec<usize> = (0..prompts.len()).collect();
        self.start(&all, prompts, options)
    }

    fn check(&self, prompts: &[&[u32]], options: &ReplyOptions) -> Result<(), ChatError> {
        options.sampling.validate()?;
        let refuse = |sentence: String| Err(ChatError::Request(sentence));
        if options.samples == 0 || options.batch == 0 {
            return refuse("no reply at a time is none ever; samples and batch must be 1 or more".to_owned());
        }
        let vocab = self.tokenizer.vocab_size();
        for prompt in prompts {
            if prompt.is_empty() {
                return refuse("an empty prompt gives the model nothing to reply to; begin with <|bos|>".to_owned());
            }
            if let Some(id) = prompt.iter().find(|&&id| id as usize >= vocab) {
                return refuse(format!(
                    "token {id} is not in the vocabulary of {vocab}; the prompt was encoded with another tokenizer"
                ));
            }
            if prompt.len().saturating_add(options.max_tokens) > LONGEST {
                return refuse(format!(
                    "a prompt of {} tokens and {} new ones are too long; together they must be at most {LONGEST}",
                    prompt.len(),
                    options.max_tokens
                ));
            }
        }
        Ok(())
    }

    /// Begins with the prompts of these indices.
    fn start(&self, chosen: &[usize], prompts: &[&[u32]], options: &ReplyOptions) -> Result<Replies<'a>, ChatError> {
        let samples = options.samples;
        let texts: Vec<&[u32]> = chosen.iter().map(|&index| prompts[index]).collect();
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let columns = Columns::new(self.gpt, &texts, samples, longest + options.max_tokens)?;
        let mut replies = Replies {
            rows: Vec::new(),
            turns: Vec::new(),
            samplers: Vec::new(),
            prompts: texts.iter().map(|text| text.to_vec()).collect(),
            samples,
            column: vec![0; texts.len() * samples],
            started: false,
            columns,
        };
        for &prompt in chosen {
            for sample in 0..samples {
                let row = prompt * samples + sample;
                replies.rows.push(prompt);
                replies.samplers.push(Sampler::new(&options.sampling, row as u64));
                replies
                    .turns
                    .push(Turn::new(self.tokenizer, self.marks, row, options.max_tokens));
            }
        }
        Ok(replies)
    }
}

/// Which of the sorted lengths are continued together: as many as the batch holds, and none so much longer
/// than the first that walking through its rest column by column costs more than a batch of its own.
fn groups(lengths: &[usize], options: &ReplyOptions) -> Vec<Range<usize>> {
    let most = (options.batch / options.samples).max(1);
    let spread = (options.max_tokens / 2).max(16);
    let mut groups = Vec::new();
    let mut start = 0;
    for end in 1..=lengths.len() {
        let full = end - start == most;
        if end == lengths.len() || full || lengths[end] - lengths[start] > spread {
            groups.push(start..end);
            start = end;
        }
    }
    groups
}

/// Replies as they are written: each item has one [`Delta`] for every reply that goes on.
pub struct Replies<'a> {
    columns: Columns<'a>,
    prompts: Vec<Vec<u32>>,
    samples: usize,
    /// Which of the caller's prompts each row belongs to.
    rows: Vec<usize>,
    turns: Vec<Turn<'a>>,
    samplers: Vec<Sampler>,
    column: Vec<i32>,
    started: bool,
}

impl Replies<'_> {
    /// What has been written so far; all of it once the iterator has ended.
    pub fn into_replies(self) -> Vec<Reply> {
        self.turns.into_iter().map(Turn::into_reply).collect()
    }
}

impl Iterator for Replies<'_> {
    type Item = Vec<Delta>;

    fn next(&mut self) -> Option<Vec<Delta>> {
        while !self.turns.iter().all(Turn::stopped) {
            if self.started {
                self.columns.push(&self.column);
            }
            self.started = true;
            let position = self.columns.position();
            let mut deltas = Vec::new();
            for (row, turn) in self.turns.iter_mut().enumerate() {
                // Rows that have ended go on with any token; nobody looks.
                self.column[row] = 0;
                if let Some(&id) = self.prompts[row / self.samples].get(position) {
                    self.column[row] = id as i32;
                } else if !turn.stopped() {
                    let (sampler, columns) = (&mut self.samplers[row], &self.columns);
                    let delta = turn.step(|| sampler.pick(columns.logits(row)) as u32);
                    self.column[row] = delta.id.map_or(0, |id| id as i32);
                    deltas.push(delta);
                }
            }
            if !deltas.is_empty() {
                return Some(deltas);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_full_and_of_similar_length() {
        let options = |batch, samples| ReplyOptions {
            batch,
            samples,
            max_tokens: 40,
            ..ReplyOptions::default()
        };
        assert_eq!(groups(&[1, 2, 3, 4, 5], &options(2, 1)), [0..2, 2..4, 4..5]);
        assert_eq!(groups(&[1, 2, 3], &options(6, 3)), [0..2, 2..3]);
        assert_eq!(groups(&[1, 2, 3], &options(2, 3)), [0..1, 1..2, 2..3]);
        assert_eq!(groups(&[10, 30, 31, 60], &options(64, 1)), [0..2, 2..3, 3..4]);
        assert!(groups(&[], &options(64, 1)).is_empty());
    }
}
