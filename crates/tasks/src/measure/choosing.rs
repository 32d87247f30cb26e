//! Tasks that are answered by a letter: one forward pass, no reply. This room must never know what is chosen from.

use std::collections::HashMap;

use ferrochat_chat::ChatError;
use ferrochat_tensor::Graph;

use super::{Answered, Run, Sink, Watch};
use crate::error::TaskError;

/// Prompts are padded to multiples of it, so that batches come in few sizes and memory is used again.
const LENGTH_STEP: usize = 16;

/// Items between two looks at the watch.
const ITEMS: usize = 64;

impl Run<'_> {
    /// Chooses for every item.
    pub(super) fn choose(&mut self, batch: usize, watch: &mut Watch, sink: &mut Sink) -> Result<(), TaskError> {
        let (model, own) = (self.gpt.config().vocab_size, self.tokenizer.vocab_size());
        if model != own {
            return Err(ChatError::Request(format!(
                "the model has a vocabulary of {model} and the tokenizer one of {own}; use the tokenizer that the \
                 model was trained with"
            ))
            .into());
        }
        let mut ids = HashMap::new();
        let order = self.order.clone();
        self.report(watch)?;
        let mut reported = 0;
        for chunk in order.chunks(batch) {
            let logits = self.last_logits(chunk);
            for (row, &index) in chunk.iter().enumerate() {
                let Some(letters) = self.task.letters(index) else {
                    let name = self.task.name();
                    return Err(TaskError::Request(format!(
                        "item {} of {name} has no letters to choose from",
                        index + 1
                    )));
                };
                let row = &logits[row * model..][..model];
                let mut best = (0, f32::NEG_INFINITY);
                for (choice, label) in letters.labels.iter().enumerate() {
                    let id = match ids.get(label) {
                        Some(&id) => id,
                        None => *ids.entry(label.clone()).or_insert(self.one_token(label)?),
                    };
                    if row[id] > best.1 {
                        best = (choice, row[id]);
                    }
                }
                let answered = Answered {
                    index,
                    said: vec![letters.labels[best.0].clone()],
                    right: vec![best.0 == letters.right],
                };
                self.finish(answered, sink);
            }
            if self.done.items >= reported + ITEMS || self.done.items == order.len() {
                reported = self.done.items;
                self.report(watch)?;
            }
        }
        Ok(())
    }

    /// Logits after the prompts of these items, which are the longest first, `[items, vocab]`. Shorter ones are
    /// padded behind their end, where nothing of theirs looks.
    fn last_logits(&self, items: &[usize]) -> Vec<f32> {
        let device = self.gpt.device();
        let (rows, longest) = (items.len(), self.prompts[items[0]].len());
        let time = longest
            .next_multiple_of(LENGTH_STEP)
            .min(self.gpt.config().sequence_len);
        let (mut ids, mut last) = (Vec::with_capacity(rows * time), Vec::with_capacity(rows));
        for (row, &index) in items.iter().enumerate() {
            let prompt = &self.prompts[index];
            ids.extend(prompt.iter().map(|&id| id as i32));
            ids.resize((row + 1) * time, self.tokenizer.bos() as i32);
            last.push(prompt.len() as i32 - 1);
        }
        // Lengths only shrink: blocks of the last length would never be used again.
        device.trim();
        let graph = Graph::inference(device);
        let (ids, last) = (device.indices(&ids, [rows, time]), device.indices(&last, [rows]));
        let x = self.gpt.forward_at(&graph, &ids, &last, None);
        graph.logits(&x, &self.gpt.head()).download()
    }

    fn one_token(&self, label: &str) -> Result<usize, TaskError> {
        match self.tokenizer.encode_ordinary(label)[..] {
            [id] => Ok(id as usize),
            ref ids => Err(TaskError::Request(format!(
                "the letter {label:?} is {} tokens to this tokenizer and must be one; {} needs a tokenizer that knows it",
                ids.len(),
                self.task.name()
            ))),
        }
    }
}
