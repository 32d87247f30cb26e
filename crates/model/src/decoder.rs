//! The decoder: rows of tokens that grow by one each at a time, with a KV cache. Prompts are processed aside,
//! become rows when their turn comes, and rows leave when they are done.
//!
//! It turns tokens into logits, which stay on the device; its caller says how the next tokens are chosen from them, and
//! may force tokens of his own. It knows ids only, never what they mean.

use ferrochat_tensor::{Choice, Graph, Tensor, TensorError};

use crate::cache::KvCache;
use crate::gpt::Gpt;

/// Why nothing can be generated; one sentence with what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// Something that cannot be asked for.
    #[error("{0}")]
    Request(String),
    /// The keys and values of so many tokens find no room.
    #[error(
        "there is no memory for the keys and values of {rows} sequences of {tokens} tokens; \
         ask for fewer tokens or fewer sequences at a time"
    )]
    Memory {
        /// Sequences, those included that have their memory.
        rows: usize,
        /// Tokens of the longest.
        tokens: usize,
    },
}

impl GenerateError {
    pub(crate) fn request(sentence: impl Into<String>) -> GenerateError {
        GenerateError::Request(sentence.into())
    }
}

/// Sequences that are continued together, each as long as it happens to be.
///
/// What a row's logits are depends on its tokens alone, bit by bit: not on its neighbours, on their number, or on
/// whether its tokens came as a prompt or one by one.
pub struct Decoder<'a> {
    gpt: &'a Gpt,
    graph: Graph,
    cache: KvCache,
    /// `[rows, vocab]` of the last push.
    logits: Option<Tensor>,
}

/// Prompts that have been processed: any number of rows can go on from each.
pub struct Prompts {
    cache: KvCache,
    /// `[prompts, vocab]`; none where there are no prompts.
    logits: Option<Tensor>,
}

impl Prompts {
    /// Tokens to follow the prompts; a choice's row is a prompt's number. Waits for the device.
    ///
    /// # Panics
    /// If there is no such prompt.
    pub fn choose(&self, choices: &[Choice]) -> Vec<i32> {
        choose(self.logits.as_ref(), choices)
    }

    /// Logits for the token that follows a prompt, one per token of the vocabulary. Waits for the device and downloads
    /// those of all prompts: for whoever wants probabilities.
    ///
    /// # Panics
    /// If there is no such prompt.
    pub fn logits(&self, index: usize) -> Vec<f32> {
        self.logits_of(&[index]).remove(0)
    }

    /// The same after several prompts, with one download.
    ///
    /// # Panics
    /// If there is no such prompt.
    pub fn logits_of(&self, indices: &[usize]) -> Vec<Vec<f32>> {
        rows_of(self.logits.as_ref(), indices)
    }
}

fn choose(logits: Option<&Tensor>, choices: &[Choice]) -> Vec<i32> {
    let Some(logits) = logits else {
        assert!(choices.is_empty(), "a choice needs a row");
        return Vec::new();
    };
    logits.device().choose(logits, choices)
}

fn rows_of(logits: Option<&Tensor>, rows: &[usize]) -> Vec<Vec<f32>> {
    let logits = logits.expect("a row has logits once a token was pushed");
    let (all, vocab) = (logits.download(), logits.shape().last());
    rows.iter().map(|row| all[row * vocab..][..vocab].to_vec()).collect()
}

impl<'a> Decoder<'a> {
    /// A decoder without rows.
    pub fn new(gpt: &'a Gpt) -> Decoder<'a> {
        Decoder {
            gpt,
            graph: Graph::inference(gpt.device()),
            cache: KvCache::new(gpt.device(), gpt.config()),
            logits: None,
        }
    }

    /// Keys and values of the rows never take more than so many bytes, nor do those of prompts that are processed
    /// together.
    pub fn limit_memory(&mut self, bytes: usize) {
        self.cache.limit_memory(bytes);
    }

    /// Processes prompts together, the shorter ones filled up to the length of the longest; only the logits of their
    /// last tokens are computed, and of the last layer nothing else than keys and values for the others.
    ///
    /// # Errors
    /// [`GenerateError`]: a prompt is empty or has tokens that the model does not know, or there is no memory.
    pub fn prefill(&mut self, prompts: &[&[i32]]) -> Result<Prompts, GenerateError> {
        for prompt in prompts {
            self.check(prompt)?;
            if prompt.is_empty() {
                let sentence = "an empty prompt gives the model nothing to continue; begin with at least one token";
                return Err(GenerateError::request(sentence));
            }
        }
        let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.len()).collect();
        let (rows, time) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        if rows == 0 {
            let cache = KvCache::new(self.gpt.device(), self.gpt.config());
            return Ok(Prompts { cache, logits: None });
        }
        let no_memory = |_: TensorError| GenerateError::Memory { rows, tokens: time };
        let mut cache = self.cache.aside(rows, time).map_err(no_memory)?;
        let mut ids = vec![0; rows * time];
        for (row, prompt) in ids.chunks_exact_mut(time).zip(prompts) {
            row[..prompt.len()].copy_from_slice(prompt);
        }
        let (g, device) = (&self.graph, self.gpt.device());
        let last: Vec<i32> = lengths.iter().map(|&length| length as i32 - 1).collect();
        cache.expect(lengths);
        let (ids, last) = (device.indices(&ids, [rows, time]), device.indices(&last, [rows]));
        let x = self.gpt.forward_at(g, &ids, &last, Some(&mut cache));
        let logits = Some(g.logits(&x, &self.gpt.head()));
        Ok(Prompts { cache, logits })
    }

    /// Appends a row for each of `chosen`, which goes on from the prompt of that number; several may go on from one.
    ///
    /// # Errors
    /// [`GenerateError::Memory`]; the rows are those of before.
    pub fn append(&mut self, prompts: &Prompts, chosen: &[usize]) -> Result<(), GenerateError> {
        let tokens = chosen
            .iter()
            .map(|&index| prompts.cache.length(index))
            .max()
            .unwrap_or(0);
        let rows = self.rows() + chosen.len();
        // One more position each, or the first token of their own would move everything again.
        let moved = self.cache.reserve(rows, tokens + 1);
        moved
            .and_then(|()| self.cache.append(&prompts.cache, chosen))
            .map_err(|_| GenerateError::Memory { rows, tokens })
    }

    /// Rows that grow.
    pub fn rows(&self) -> usize {
        self.cache.rows()
    }

    /// Tokens of a row, prompt included.
    pub fn length(&self, row: usize) -> usize {
        self.cache.length(row)
    }

    /// Tokens that a row can have before more memory is needed.
    pub fn capacity(&self) -> usize {
        self.cache.capacity()
    }

    /// Appends one token to each row.
    ///
    /// # Errors
    /// [`GenerateError`]: a token that the model does not know, or no memory; the rows are those of before.
    ///
    /// # Panics
    /// If there are not as many tokens as rows.
    pub fn push(&mut self, tokens: &[i32]) -> Result<(), GenerateError> {
        let rows = self.rows();
        assert_eq!(tokens.len(), rows, "one token per row");
        self.check(tokens)?;
        if rows == 0 {
            return Ok(());
        }
        let longest = (0..rows).map(|row| self.length(row)).max().unwrap_or(0) + 1;
        let no_memory = |_: TensorError| GenerateError::Memory { rows, tokens: longest };
        self.cache.reserve(rows, longest).map_err(no_memory)?;
        // Their memory is that of the next ones.
        self.logits = None;
        let ids = self.gpt.device().indices(tokens, [rows, 1]);
        let x = self.gpt.forward_cached(&self.graph, &ids, &mut self.cache);
        self.logits = Some(self.graph.logits(&x, &self.gpt.head()));
        Ok(())
    }

    /// Tokens to follow the last [`Decoder::push`]; a choice's row has the number that it had then. Waits for the device.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn choose(&self, choices: &[Choice]) -> Vec<i32> {
        choose(self.logits.as_ref(), choices)
    }

    /// Logits for the token that follows the last [`Decoder::push`] in a row, by the number that the row had then. Waits
    /// for the device and downloads those of all rows: for whoever wants probabilities.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn logits(&self, row: usize) -> Vec<f32> {
        self.logits_of(&[row]).remove(0)
    }

    /// The same of several rows, with one download.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn logits_of(&self, rows: &[usize]) -> Vec<Vec<f32>> {
        rows_of(self.logits.as_ref(), rows)
    }

    /// Removes a row; the last one takes its number.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn swap_remove(&mut self, row: usize) {
        self.cache.swap_remove(row);
    }

    fn check(&self, ids: &[i32]) -> Result<(), GenerateError> {
        let vocab = self.gpt.config().vocab_size;
        match ids.iter().find(|&&id| id < 0 || id as usize >= vocab) {
            None => Ok(()),
            Some(id) => Err(GenerateError::Request(format!(
                "token {id} is not in the model's vocabulary of {vocab}; the prompt was encoded with another tokenizer"
            ))),
        }
    }
}
