//! What a task is. This room must never know models or files.

use std::sync::Arc;

use ferrochat_chat::{Conversation, Message, PartKind, Reply, Role};
use ferrochat_data::{ConversationSource, DataError};
use sha2::{Digest, Sha256};

use crate::error::TaskError;

/// How a task is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judging {
    /// The model writes a reply and [`Task::grade`] reads it.
    Generative,
    /// The model chooses: the label of [`Task::letters`] with the largest logit right after the prompt.
    Letters,
}

/// The choices of a multiple choice item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letters {
    /// What stands for each choice, in the order of the choices: usually `A` to `D`. Each must be one token.
    pub labels: Vec<String>,
    /// Which of them is right.
    pub right: usize,
}

/// Numbered questions of one kind, with right answers. Measured by [`measure`](crate::measure), rewarded in RL,
/// learned from as [`TaskConversations`].
pub trait Task: Send + Sync {
    /// As it stands in the report.
    fn name(&self) -> &str;

    /// Where the questions come from, for the report: a folder, or the world.
    fn origin(&self) -> String;

    /// Number of items.
    fn count(&self) -> usize;

    /// The score of guessing, between 0 and 1: none where the answer is written freely.
    fn chance(&self) -> f64 {
        0.0
    }

    /// How it is judged: by what is written, unless the task offers a choice.
    fn judging(&self) -> Judging {
        Judging::Generative
    }

    /// Item `index`, below [`count`](Self::count), with its right answer: the last message is the assistant's.
    fn answered(&self, index: usize) -> Conversation;

    /// Is this reply to item `index` right? It may take seconds, where a program has to be run.
    ///
    /// # Errors
    /// [`TaskError::Jail`] if a program cannot be run.
    fn grade(&self, index: usize, reply: &Reply) -> Result<bool, TaskError>;

    /// The choices of item `index`, for tasks judged by [`Judging::Letters`].
    fn letters(&self, _index: usize) -> Option<Letters> {
        None
    }

    /// Does this reply refuse something that should be answered? `None` where the question makes no sense.
    fn falsely_refused(&self, _reply: &Reply) -> Option<bool> {
        None
    }

    /// Item `index` without its answer: the last message is the user's.
    fn prompt(&self, index: usize) -> Conversation {
        let mut conversation = self.answered(index);
        conversation.messages.pop_if(|message| message.role == Role::Assistant);
        conversation
    }

    /// What a reply is worth in RL: 1 or 0.
    ///
    /// # Errors
    /// As [`grade`](Self::grade).
    fn reward(&self, index: usize, reply: &Reply) -> Result<f64, TaskError> {
        Ok(f64::from(u8::from(self.grade(index, reply)?)))
    }
}

/// A question and its answer in plain text.
pub(crate) fn exchange(question: &str, answer: &str) -> Conversation {
    Conversation::from(vec![Message::user(question), Message::assistant(answer)])
}

/// All that a reply says, marks spelled out, as its ids would decode. What is said before and after a tool call
/// does not run together.
pub(crate) fn transcript(reply: &Reply) -> String {
    let mut text = String::new();
    for part in &reply.parts {
        let around = match part.kind() {
            PartKind::Text => ["", ""],
            PartKind::Python => ["<|python_start|>", "<|python_end|>"],
            PartKind::PythonOutput => ["<|output_start|>", "<|output_end|>"],
        };
        text.push_str(around[0]);
        text.push_str(part.text());
        text.push_str(around[1]);
    }
    text
}

/// A task's items with their answers, as a source to train on.
pub struct TaskConversations {
    task: Arc<dyn Task>,
    fingerprint: String,
}

impl TaskConversations {
    /// Reads every item once, for the fingerprint.
    pub fn new(task: Arc<dyn Task>) -> TaskConversations {
        let mut hash = Sha256::new();
        for index in 0..task.count() {
            hash.update(task.answered(index).to_json());
            hash.update("\n");
        }
        let digest = hash.finalize();
        let hex: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        TaskConversations {
            task,
            fingerprint: hex.concat(),
        }
    }
}

impl ConversationSource for TaskConversations {
    fn count(&self) -> u64 {
        self.task.count() as u64
    }

    fn get(&self, index: u64) -> Result<Conversation, DataError> {
        Ok(self.task.answered(index as usize))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ferrochat_chat::{Part, Stopped};

    /// A reply of these parts, as an engine would have built it.
    pub(crate) fn reply(parts: Vec<Part>) -> Reply {
        let message = Message {
            role: Role::Assistant,
            parts,
        };
        Reply {
            ids: Vec::new(),
            mask: Vec::new(),
            text: message.text(),
            parts: message.parts,
            stopped: Stopped::Length,
        }
    }

    struct One(&'static str);

    impl Task for One {
        fn name(&self) -> &'static str {
            "one"
        }
        fn origin(&self) -> String {
            "here".to_owned()
        }
        fn count(&self) -> usize {
            1
        }
        fn chance(&self) -> f64 {
            0.0
        }
        fn judging(&self) -> Judging {
            Judging::Generative
        }
        fn answered(&self, _index: usize) -> Conversation {
            exchange("Say it.", self.0)
        }
        fn grade(&self, _index: usize, reply: &Reply) -> Result<bool, TaskError> {
            Ok(reply.text == self.0)
        }
    }

    #[test]
    fn a_task_is_a_source_of_conversations() {
        let source = |word| TaskConversations::new(Arc::new(One(word)));
        assert_eq!(source("so").count(), 1);
        assert_eq!(source("so").get(0).unwrap(), exchange("Say it.", "so"));
        assert_eq!(source("so").fingerprint(), source("so").fingerprint());
        assert_ne!(source("so").fingerprint(), source("no").fingerprint());
        assert_eq!(One("so").prompt(0).messages, [Message::user("Say it.")]);
    }

    #[test]
    fn a_transcript_keeps_what_stood_between() {
        let parts = vec![
            Part::Text("#### ".to_owned()),
            Part::Python("1+1".to_owned()),
            Part::PythonOutput("2".to_owned()),
            Part::Text("2".to_owned()),
        ];
        let expected = "#### <|python_start|>1+1<|python_end|><|output_start|>2<|output_end|>2";
        assert_eq!(transcript(&reply(parts)), expected);
    }
}
