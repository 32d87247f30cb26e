//! Continuous batching: requests wait in a queue, their replies share the rows of one decoder, and a row that ends
//! makes place for the next reply at once.
//!
//! Neither what a reply says nor what it draws depends on the others. Knows ids and turns, not who asks.

mod queue;
mod tools;

use std::collections::VecDeque;
use std::rc::Rc;

use ferrochat_model::{Choice, Decoder, GenerateError, Prompts, Sampler, Sampling};
use ferrochat_tokenizer::Tokenizer;

use crate::ChatError;
use crate::engine::Engine;
use crate::likelihood::Likelihood;
use crate::render::Marks;
use crate::tool::Calls;
use crate::turn::{Delta, Reply, Stopped, Turn};

/// No prompt with its reply is longer.
const LONGEST: usize = 1 << 20;

/// Replies to one prompt at most.
const MOST_SAMPLES: usize = 1 << 16;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Such as [`prompt`](crate::prompt) makes.
    pub prompt: Vec<u32>,
    /// Replies to it.
    pub samples: usize,
    /// Tokens in a reply at most, forced ones included.
    pub max_tokens: usize,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Sample `s` draws from stream `stream + s` of the seed.
    pub stream: u64,
    /// Whether to say how likely the model found its tokens, and beside each so many of the likeliest. Logits are
    /// downloaded then.
    pub likelihoods: Option<usize>,
}

/// Names a request that was submitted; the first of a [`Batcher`] is 0, and each has a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A step of a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Whose reply.
    pub id: RequestId,
    /// What is new; its row is the sample's number.
    pub delta: Delta,
    /// All of the reply, where this was its end.
    pub reply: Option<Reply>,
}

/// A request that has replies to begin.
struct Waiting {
    id: RequestId,
    request: Request,
    ids: Vec<i32>,
    /// Samples that have begun.
    begun: usize,
    /// The processed prompt, until all samples have begun.
    ready: Option<(Rc<Prompts>, usize)>,
}

/// A reply that is being written.
struct Live<'a> {
    id: RequestId,
    sample: usize,
    turn: Turn<'a>,
    sampler: Sampler,
    /// As it was asked.
    likelihoods: Option<usize>,
    /// The last token, which the model has not read yet.
    next: i32,
    /// What it replies to; empty where no tool can interrupt it.
    prompt: Rc<[u32]>,
}

/// A reply that waits for a tool, outside the decoder: what it says so far is read again when it goes on.
struct Parked<'a> {
    live: Live<'a>,
    /// Number of the call, until it has a result.
    call: Option<u64>,
}

/// Requests in, tokens out. [`Batcher::step`] does the work.
pub struct Batcher<'a> {
    tokenizer: &'a Tokenizer,
    marks: Marks,
    decoder: Decoder<'a>,
    rows: usize,
    submitted: u64,
    waiting: VecDeque<Waiting>,
    /// One for each row of the decoder.
    live: Vec<Live<'a>>,
    calls: Option<Calls>,
    /// In the order of their calls.
    parked: Vec<Parked<'a>>,
}

impl<'a> Batcher<'a> {
    /// A batcher that writes at most `rows` replies at once, one at least. Memory is taken when it is needed.
    pub fn new(engine: &Engine<'a>, rows: usize) -> Batcher<'a> {
        Batcher {
            tokenizer: engine.tokenizer,
            marks: engine.marks,
            decoder: Decoder::new(engine.gpt),
            rows: rows.max(1),
            submitted: 0,
            waiting: VecDeque::new(),
            live: Vec::new(),
            calls: engine.tool.clone().map(Calls::new),
            parked: Vec::new(),
        }
    }

    /// Keys and values never take more than so many bytes; without a limit, as many as there are.
    pub fn limit_memory(&mut self, bytes: usize) {
        self.decoder.limit_memory(bytes);
    }

    /// Puts a request at the end of the queue.
    ///
    /// # Errors
    /// [`ChatError`]: options or ids that are impossible.
    pub fn submit(&mut self, request: Request) -> Result<RequestId, ChatError> {
        check(&request, self.tokenizer.vocab_size())?;
        let id = RequestId(self.submitted);
        self.submitted += 1;
        self.waiting.push_back(Waiting {
            id,
            ids: request.prompt.iter().map(|&id| id as i32).collect(),
            request,
            begun: 0,
            ready: None,
        });
        Ok(id)
    }

    /// Replies that are being written, or wait for a tool.
    pub fn live(&self) -> usize {
        self.live.len() + self.parked.len()
    }

    /// Replies that have not begun.
    pub fn waiting(&self) -> usize {
        let left = |waiting: &Waiting| waiting.request.samples - waiting.begun;
        self.waiting.iter().map(left).sum()
    }

    /// True if there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.live.is_empty() && self.waiting.is_empty() && self.parked.is_empty()
    }

    /// One token more for each reply that is being written, and the first one of replies for which there is a row.
    /// A reply of 0 tokens has an event all the same. Where all replies wait for tools there may be no event, after a
    /// moment.
    pub fn step(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let busy = !self.live.is_empty();
        self.hear();
        self.go_on(&mut events);
        while self.live.len() < self.rows && self.resume(&mut events) {}
        while self.live.len() < self.rows && self.begin(&mut events) {
            if busy {
                // The others should not wait for a whole queue of prompts.
                break;
            }
        }
        events
    }

    /// Takes a request back. Returns what was written of its replies that had not ended, by sample.
    pub fn cancel(&mut self, id: RequestId) -> Vec<(usize, Reply)> {
        let mut replies = Vec::new();
        for row in (0..self.live.len()).rev() {
            if self.live[row].id == id {
                let live = self.remove(row);
                replies.push((live.sample, live.turn.into_reply()));
            }
        }
        for at in (0..self.parked.len()).rev() {
            if self.parked[at].live.id == id {
                let live = self.parked.remove(at).live;
                replies.push((live.sample, live.turn.into_reply()));
            }
        }
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.id == id)
            && let Some(waiting) = self.waiting.remove(at)
        {
            for sample in waiting.begun..waiting.request.samples {
                replies.push((sample, self.turn(&waiting, sample).into_reply()));
            }
        }
        replies.sort_by_key(|&(sample, _)| sample);
        replies
    }

    /// The next token of every row.
    fn go_on(&mut self, events: &mut Vec<Event>) {
        loop {
            let tokens: Vec<i32> = self.live.iter().map(|live| live.next).collect();
            match self.decoder.push(&tokens) {
                Ok(()) => break,
                Err(GenerateError::Memory { .. }) => self.end_the_longest(events),
                Err(GenerateError::Request(sentence)) => {
                    unreachable!("drawn and forced tokens are in the vocabulary: {sentence}")
                }
            }
        }
        let first = events.len();
        let choices = choices_of(self.live.iter_mut().enumerate());
        let mut chosen = self.decoder.choose(&choices).into_iter();
        events.extend(self.live.iter_mut().map(|live| live.step(&mut chosen)));
        note_likelihoods(self.live.iter().enumerate(), &mut events[first..], |rows| {
            self.decoder.logits_of(rows)
        });
        self.settle(0, first, events);
    }

    /// There is no memory for one more token of some rows: their replies end.
    fn end_the_longest(&mut self, events: &mut Vec<Event>) {
        let longest = (0..self.live.len()).map(|row| self.decoder.length(row)).max();
        for row in (0..self.live.len()).rev() {
            if Some(self.decoder.length(row)) == longest {
                let mut live = self.remove(row);
                events.push(Event {
                    id: live.id,
                    delta: live.turn.stop(Stopped::Memory),
                    reply: Some(live.turn.into_reply()),
                });
            }
        }
    }

    /// Takes the rows out that have ended, or wait for a tool; `events[first..]` are those of the rows from `first_row`
    /// on.
    fn settle(&mut self, first_row: usize, first: usize, events: &mut [Event]) {
        // From the last on: a hole is filled with a row that has been looked at.
        for row in (first_row..self.live.len()).rev() {
            if self.live[row].turn.stopped() {
                events[first + row - first_row].reply = Some(self.remove(row).turn.into_reply());
            } else if let Some(text) = self.live[row].turn.take_asked()
                && let Some(calls) = &mut self.calls
            {
                let call = Some(calls.make(text));
                let live = self.remove(row);
                self.parked.push(Parked { live, call });
            }
        }
    }

    fn remove(&mut self, row: usize) -> Live<'a> {
        self.decoder.swap_remove(row);
        self.live.swap_remove(row)
    }

    fn turn(&self, waiting: &Waiting, sample: usize) -> Turn<'a> {
        let asks = self.calls.is_some();
        Turn::new(self.tokenizer, self.marks, sample, waiting.request.max_tokens, asks)
    }
}

/// The choices of those replies, with their rows of the logits, whose next token is not forced.
fn choices_of<'l, 'a: 'l>(lives: impl Iterator<Item = (usize, &'l mut Live<'a>)>) -> Vec<Choice> {
    lives
        .filter(|(_, live)| !live.turn.is_forced())
        .map(|(row, live)| live.sampler.choice(row))
        .collect()
}

/// Says of the tokens in the events of those replies, with their rows of the logits, how likely they were, where that is asked.
fn note_likelihoods<'l, 'a: 'l>(
    lives: impl Iterator<Item = (usize, &'l Live<'a>)>,
    events: &mut [Event],
    logits_of: impl FnOnce(&[usize]) -> Vec<Vec<f32>>,
) {
    let (mut rows, mut asked) = (Vec::new(), Vec::new());
    for ((row, live), event) in lives.zip(events) {
        let delta = &mut event.delta;
        if let (Some(count), Some(id), true) = (live.likelihoods, delta.id, delta.sampled) {
            rows.push(row);
            asked.push((delta, id, count));
        }
    }
    if rows.is_empty() {
        return;
    }
    for (logits, (delta, id, count)) in logits_of(&rows).iter().zip(asked) {
        delta.likelihood = Some(Likelihood::of(logits, id, count));
    }
}

impl Live<'_> {
    /// The next token: a forced one, or the next of those that were chosen.
    fn step(&mut self, chosen: &mut impl Iterator<Item = i32>) -> Event {
        let delta = self
            .turn
            .step(|| chosen.next().expect("a token for every reply that is not forced") as u32);
        self.next = delta.id.map_or(0, |id| id as i32);
        Event {
            id: self.id,
            delta,
            reply: None,
        }
    }
}

fn check(request: &Request, vocab: usize) -> Result<(), ChatError> {
    request.sampling.validate()?;
    let refuse = |sentence: String| Err(ChatError::Request(sentence));
    if request.samples == 0 || request.samples > MOST_SAMPLES {
        return refuse(format!(
            "{} replies to one prompt are not possible; samples must be from 1 to {MOST_SAMPLES}",
            request.samples
        ));
    }
    if request.prompt.is_empty() {
        return refuse("an empty prompt gives the model nothing to reply to; begin with <|bos|>".to_owned());
    }
    if let Some(id) = request.prompt.iter().find(|&&id| id as usize >= vocab) {
        return refuse(format!(
            "token {id} is not in the vocabulary of {vocab}; the prompt was encoded with another tokenizer"
        ));
    }
    if request.prompt.len().saturating_add(request.max_tokens) > LONGEST {
        return refuse(format!(
            "a prompt of {} tokens and {} new ones are too long; together they must be at most {LONGEST}",
            request.prompt.len(),
            request.max_tokens
        ));
    }
    Ok(())
}
