//! Tasks whose answers are written. This room must never know how they are judged.

use ferrochat_chat::{Engine, Reply, ReplyOptions};
use ferrochat_model::Rng;

use super::{Run, Watch};
use crate::error::TaskError;

/// Replies between two looks at the watch. It does not depend on the batch, where that is smaller: the draws of a
/// measurement are the same for all of these.
const REPLIES: usize = 128;

impl Run<'_> {
    /// Replies to every item; `judge` gives the outcome of one.
    pub(super) fn write(
        &mut self,
        options: &ReplyOptions,
        watch: &mut Watch,
        judge: &mut dyn FnMut(usize, &[Reply]) -> f64,
    ) -> Result<(), TaskError> {
        let engine = Engine::new(self.gpt, self.tokenizer)?;
        let items = (REPLIES.max(options.batch) / options.samples.max(1)).max(1);
        let order = self.order.clone();
        self.report(watch)?;
        for (number, chunk) in order.chunks(items).enumerate() {
            let prompts: Vec<Vec<u32>> = chunk.iter().map(|&index| self.prompts[index].clone()).collect();
            let mut options = options.clone();
            // Rows are counted from 0 in each call: without a seed of its own a chunk would repeat the last one's draws.
            options.sampling.seed = Rng::derive(options.sampling.seed, "measure", number as u64).next_u64();
            let replies = engine.reply_all(&prompts, &options)?;
            for (&index, replies) in chunk.iter().zip(&replies) {
                self.outcomes.push(judge(index, replies));
            }
            self.report(watch)?;
        }
        Ok(())
    }
}
