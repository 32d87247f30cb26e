//! Tasks whose answers are written. This room must never know how they are judged.

use ferrochat_chat::{Batcher, Engine, Reply, ReplyOptions, Request, Stopped};

use super::{Run, Watch};
use crate::error::TaskError;

/// Tokens of each reply between two looks at the watch, where none ends.
const STEPS: usize = 16;

impl Run<'_> {
    /// Replies to every item; `judge` gives the outcome of one. What an item's replies draw depends on the seed and
    /// its number alone.
    pub(super) fn write(
        &mut self,
        options: &ReplyOptions,
        watch: &mut Watch,
        judge: &mut dyn FnMut(usize, &[Reply]) -> f64,
    ) -> Result<(), TaskError> {
        let engine = Engine::new(self.gpt, self.tokenizer)?;
        let samples = options.samples;
        let mut batcher = Batcher::new(&engine, options.batch);
        for &index in &self.order {
            batcher.submit(Request {
                prompt: self.prompts[index].clone(),
                samples,
                max_tokens: options.max_tokens,
                sampling: options.sampling,
                stream: (index * samples) as u64,
            })?;
        }
        let mut written: Vec<Vec<Reply>> = vec![Vec::new(); self.order.len()];
        self.report(watch)?;
        let (mut steps, mut reported) = (0, 0);
        while !batcher.is_idle() {
            for event in batcher.step() {
                let Some(reply) = event.reply else { continue };
                if reply.stopped == Stopped::Memory {
                    return Err(TaskError::Request(format!(
                        "memory ran out after {} tokens of an answer; ask for fewer tokens, or use a smaller batch",
                        reply.ids.len()
                    )));
                }
                // Requests are numbered as they were submitted.
                let number = event.id.0 as usize;
                written[number].push(reply);
                if written[number].len() == samples {
                    let replies = std::mem::take(&mut written[number]);
                    self.outcomes.push(judge(self.order[number], &replies));
                }
            }
            steps += 1;
            if self.outcomes.len() > reported || steps % STEPS == 0 {
                reported = self.outcomes.len();
                self.report(watch)?;
            }
        }
        Ok(())
    }
}
