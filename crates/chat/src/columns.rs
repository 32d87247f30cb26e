//! Several sequences that advance together, one token each at a time.
//!
//! Samples of one prompt share its processing ([`Decoder`]). Different prompts are processed together up to the
//! length of the shortest; the caller feeds the others their remaining tokens column by column, so that
//! every row is always as long as the others and nothing is padded.

use ferrochat_model::{Decoder, Gpt, KvCache};
use ferrochat_tensor::{DType, Graph, Tensor};

use crate::ChatError;

/// Logits of the next token of every row.
pub(crate) enum Columns<'a> {
    /// Continuations of one prompt.
    Shared(Box<Decoder<'a>>),
    /// Continuations of different prompts.
    Apart(Box<Apart<'a>>),
}

/// A batch of different beginnings.
pub(crate) struct Apart<'a> {
    gpt: &'a Gpt,
    graph: Graph,
    cache: KvCache,
    ids: Tensor,
    logits: Vec<f32>,
}

impl<'a> Columns<'a> {
    /// `samples` continuations of each prompt, those of the first prompt first, with room for `capacity` tokens
    /// in each row. The ids are in the model's vocabulary and no prompt is empty.
    pub(crate) fn new(
        gpt: &'a Gpt,
        prompts: &[&[u32]],
        samples: usize,
        capacity: usize,
    ) -> Result<Columns<'a>, ChatError> {
        if let [prompt] = prompts {
            let prompt: Vec<i32> = prompt.iter().map(|&id| id as i32).collect();
            return Ok(Columns::Shared(Box::new(Decoder::new(
                gpt, &prompt, samples, capacity,
            )?)));
        }
        let (device, config) = (gpt.device(), gpt.config());
        let rows = prompts.len() * samples;
        let common = prompts.iter().map(|prompt| prompt.len()).min().unwrap_or(0);
        let mut ids: Vec<i32> = Vec::with_capacity(rows * common);
        for prompt in prompts {
            for _ in 0..samples {
                ids.extend(prompt[..common].iter().map(|&id| id as i32));
            }
        }
        let graph = Graph::inference(device);
        let mut cache = KvCache::new(device, config, rows, capacity);
        let x = gpt.forward_cached(&graph, &device.indices(&ids, [rows, common]), &mut cache);
        let last = device.indices(&vec![common as i32 - 1; rows], [rows]);
        let last = graph.select_positions(&x, &last);
        let logits = graph.logits(&last, &gpt.head()).download();
        Ok(Columns::Apart(Box::new(Apart {
            gpt,
            graph,
            cache,
            ids: device.empty([rows, 1], DType::I32),
            logits,
        })))
    }

    /// Tokens that every row has.
    pub(crate) fn position(&self) -> usize {
        match self {
            Columns::Shared(decoder) => decoder.position(),
            Columns::Apart(apart) => apart.cache.position(),
        }
    }

    /// `[vocab_size]`.
    pub(crate) fn logits(&self, row: usize) -> &[f32] {
        match self {
            Columns::Shared(decoder) => decoder.logits(row),
            Columns::Apart(apart) => {
                let vocab = apart.gpt.config().vocab_size;
                &apart.logits[row * vocab..(row + 1) * vocab]
            }
        }
    }

    /// Appends a token of the vocabulary to each row; there is room for it.
    pub(crate) fn push(&mut self, tokens: &[i32]) {
        match self {
            Columns::Shared(decoder) => decoder
                .push(tokens)
                .expect("the tokens are in the vocabulary and the cache has room for all"),
            Columns::Apart(apart) => {
                apart.ids.upload_i32(tokens);
                let x = apart.gpt.forward_cached(&apart.graph, &apart.ids, &mut apart.cache);
                apart
                    .graph
                    .logits(&x, &apart.gpt.head())
                    .download_into(&mut apart.logits);
            }
        }
    }
}
