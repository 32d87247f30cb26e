//! Replies: one or many, at once or as they are written. All of them are written by a [`Batcher`].

use ferrochat_model::{Gpt, Sampling};
use ferrochat_tokenizer::Tokenizer;

use crate::ChatError;
use crate::batcher::{Batcher, Request, RequestId};
use crate::render::Marks;
use crate::tool::Tool;
use crate::turn::{Delta, Reply, Stopped};

/// How to reply.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyOptions {
    /// Replies to each prompt.
    pub samples: usize,
    /// Tokens in a reply at most, forced ones included.
    pub max_tokens: usize,
    /// How tokens are drawn. Sample `s` of prompt `p` draws from stream `p · samples + s` of the seed.
    pub sampling: Sampling,
    /// Replies that [`Engine::reply_all`] writes at once, where there are as many; memory grows with it.
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
    pub(crate) gpt: &'a Gpt,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) marks: Marks,
    pub(crate) tool: Option<Tool>,
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
            tool: None,
        })
    }

    /// With a tool for calls that are nothing for the calculator. Without one, such calls have no result.
    #[must_use]
    pub fn with_tool(mut self, tool: Option<Tool>) -> Engine<'a> {
        self.tool = tool;
        self
    }

    /// The replies to one prompt, such as [`prompt`](crate::prompt) makes; it is processed once for all samples.
    ///
    /// # Errors
    /// [`ChatError::Request`] or [`ChatError::Generate`] for impossible options or ids, or where memory is short.
    pub fn reply(&self, prompt: &[u32], options: &ReplyOptions) -> Result<Vec<Reply>, ChatError> {
        let replies = self.start(&[prompt], &[0], options, options.samples)?;
        complete(replies.into_all())
    }

    /// The replies to many prompts, in their order, `options.samples` to each. At most `options.batch` are written at
    /// once; as soon as one ends, the next begins.
    ///
    /// # Errors
    /// As [`Engine::reply`]; what cannot be asked for is refused before anything is computed.
    pub fn reply_all(&self, prompts: &[Vec<u32>], options: &ReplyOptions) -> Result<Vec<Vec<Reply>>, ChatError> {
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        // Prompts of similar length are processed together; with the longest first, memory grows once.
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(prompts[index].len()));
        let replies = self.start(&prompts, &order, options, options.batch)?;
        let mut replies = complete(replies.into_all())?.into_iter();
        Ok(prompts
            .iter()
            .map(|_| replies.by_ref().take(options.samples).collect())
            .collect())
    }

    /// The replies to some prompts as they are written, all at once: row `p · samples + s` is sample `s` of prompt `p`.
    /// A reply for which memory runs out ends with [`Stopped::Memory`].
    ///
    /// # Errors
    /// As [`Engine::reply`].
    pub fn stream(&self, prompts: &[&[u32]], options: &ReplyOptions) -> Result<Replies<'a>, ChatError> {
        if prompts.is_empty() {
            return Err(ChatError::Request(
                "there is no prompt to reply to; give at least one".to_owned(),
            ));
        }
        let all: Vec<usize> = (0..prompts.len()).collect();
        let rows = prompts.len().saturating_mul(options.samples);
        self.start(prompts, &all, options, rows)
    }

    /// Submits the prompts in this order.
    fn start(
        &self,
        prompts: &[&[u32]],
        order: &[usize],
        options: &ReplyOptions,
        rows: usize,
    ) -> Result<Replies<'a>, ChatError> {
        let samples = options.samples;
        if samples == 0 || options.batch == 0 {
            return Err(ChatError::Request(
                "no reply at a time is none ever; samples and batch must be 1 or more".to_owned(),
            ));
        }
        options.sampling.validate()?;
        let mut batcher = Batcher::new(self, rows);
        for &prompt in order {
            batcher.submit(Request {
                prompt: prompts[prompt].to_vec(),
                samples,
                max_tokens: options.max_tokens,
                sampling: options.sampling,
                stream: (prompt * samples) as u64,
                likelihoods: None,
            })?;
        }
        Ok(Replies {
            batcher,
            order: order.to_vec(),
            samples,
            ended: vec![None; prompts.len() * samples],
        })
    }
}

/// All replies, if memory sufficed.
fn complete(replies: Vec<Reply>) -> Result<Vec<Reply>, ChatError> {
    match replies.iter().find(|reply| reply.stopped == Stopped::Memory) {
        None => Ok(replies),
        Some(reply) => Err(ChatError::Request(format!(
            "memory ran out after {} tokens of a reply; ask for fewer tokens, or write fewer replies at once",
            reply.ids.len()
        ))),
    }
}

/// Replies as they are written: each item has one [`Delta`] for every reply that goes on.
pub struct Replies<'a> {
    batcher: Batcher<'a>,
    /// The caller's number of each request.
    order: Vec<usize>,
    samples: usize,
    /// Those that have ended, by row.
    ended: Vec<Option<Reply>>,
}

impl Replies<'_> {
    /// What has been written so far; all of it once the iterator has ended.
    pub fn into_replies(mut self) -> Vec<Reply> {
        for request in 0..self.order.len() {
            for (sample, reply) in self.batcher.cancel(RequestId(request as u64)) {
                let row = self.row(request, sample);
                self.ended[row] = Some(reply);
            }
        }
        self.ended.into_iter().flatten().collect()
    }

    fn into_all(mut self) -> Vec<Reply> {
        self.by_ref().for_each(drop);
        self.into_replies()
    }

    fn row(&self, request: usize, sample: usize) -> usize {
        self.order[request] * self.samples + sample
    }
}

impl Iterator for Replies<'_> {
    type Item = Vec<Delta>;

    fn next(&mut self) -> Option<Vec<Delta>> {
        while !self.batcher.is_idle() {
            let events = self.batcher.step();
            let mut deltas = Vec::with_capacity(events.len());
            for event in events {
                let row = self.row(event.id.0 as usize, event.delta.row);
                if event.reply.is_some() {
                    self.ended[row] = event.reply;
                }
                deltas.push(Delta { row, ..event.delta });
            }
            if !deltas.is_empty() {
                deltas.sort_by_key(|delta| delta.row);
                return Some(deltas);
            }
        }
        None
    }
}
