//! The questions that are practised and those to measure on: a task's prompts as ids, as many as fit into
//! the model's context. Knows no training.

use std::sync::Arc;

use anyhow::Result;
use ferrochat_chat::render_for_completion;
use ferrochat_tasks::Task;
use ferrochat_tokenizer::Tokenizer;

use crate::errors::{refuse, usage};

/// A question.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its number in the task.
    pub index: usize,
    /// Its ids, up to where the reply begins.
    pub prompt: Vec<u32>,
}

/// Questions of a task.
pub struct Questions {
    /// The task.
    pub task: Arc<dyn Task>,
    /// Its questions, in its order.
    pub asked: Vec<Asked>,
    /// How many were left out for being too long.
    pub left_out: usize,
}

impl Questions {
    /// All questions of a task.
    ///
    /// # Errors
    /// A question that breaks the rules of conversations.
    pub fn of(task: Arc<dyn Task>, tokenizer: &Tokenizer) -> Result<Questions> {
        let asked = (0..task.count()).map(|index| {
            let prompt = render_for_completion(&task.prompt(index), tokenizer, usize::MAX).map_err(usage)?;
            Ok(Asked { index, prompt })
        });
        Ok(Questions {
            asked: asked.collect::<Result<_>>()?,
            task,
            left_out: 0,
        })
    }

    /// Tokens of the longest question.
    pub fn longest(&self) -> usize {
        self.asked.iter().map(|asked| asked.prompt.len()).max().unwrap_or(0)
    }

    /// Leaves out questions which with a reply of `reply` tokens are longer than a model can learn from that
    /// reads `context` tokens.
    ///
    /// # Errors
    /// None is left.
    pub fn keep_short(&mut self, context: usize, reply: usize) -> Result<()> {
        let before = self.asked.len();
        // The last token of a reply is read by nobody.
        self.asked.retain(|asked| asked.prompt.len() + reply <= context + 1);
        self.left_out += before - self.asked.len();
        if self.asked.is_empty() {
            refuse!(
                "none of the {before} questions of {} leaves room for {reply} tokens in a context of {context}; give a smaller --max-new-tokens",
                self.task.name()
            );
        }
        Ok(())
    }

    /// The same for the same questions in the same order.
    pub fn fingerprint(&self) -> String {
        // FNV-1a over the ids.
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        for asked in &self.asked {
            for byte in asked.prompt.iter().flat_map(|id| id.to_le_bytes()).chain([0xFF]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
            }
        }
        format!("{hash:016x}")
    }
}
