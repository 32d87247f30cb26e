//! Conversations: what they are, how a model reads them, and how it answers.
//!
//! | module | one job |
//! | --- | --- |
//! | `conversation`, `json` | roles, messages, parts, and the two common ways to write them down |
//! | `render` | conversations to ids with the mask of what is learned, and prompts |
//! | `engine`, `batcher`, `turn` | replies: many at once, each with its tool loop and its end |
//! | `tool` | tool calls that take a while, on threads of their own |
//! | `utf8` | bytes to text as they come, never half a character |
//! | `text` | texts to be continued, for models that were taught no conversation |
//! | `safety` | the hook that keeps listed phrases out |
//!
//! Training, evaluation, the terminal and the server all talk through here.
//! This room must never know data sets, HTTP or training.
//!
//! ```no_run
//! # fn example(gpt: &ferrochat_model::Gpt, tokenizer: &ferrochat_tokenizer::Tokenizer) -> Result<(), ferrochat_chat::ChatError> {
//! use ferrochat_chat::{Conversation, Engine, Message, ReplyOptions, prompt};
//!
//! let mut conversation = Conversation::from(vec![Message::user("What is 12 * 34?")]);
//! let engine = Engine::new(gpt, tokenizer)?;
//! let ids = prompt(&conversation, tokenizer, 1024)?;
//! let reply = engine.reply(&ids, &ReplyOptions::default())?.remove(0);
//! println!("{}", reply.text);
//! conversation.messages.push(reply.into_message());
//! # Ok(())
//! # }
//! ```

mod batcher;
mod conversation;
mod engine;
mod json;
mod likelihood;
mod render;
mod safety;
mod text;
mod tool;
mod turn;
mod utf8;

pub use batcher::{Batcher, Event, Request, RequestId};
pub use conversation::{Conversation, Message, Part, PartKind, Role};
pub use engine::{Engine, Replies, ReplyOptions};
pub use likelihood::Likelihood;
pub use render::{Rendered, prompt, render, render_for_completion};
pub use safety::{REFUSAL, SafetyFilter};
pub use text::TextStart;
pub use tool::Tool;
pub use turn::{Delta, Reply, Stopped};
pub use utf8::Utf8Stream;

/// Why a conversation cannot be read or answered; one sentence with what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// A conversation that is malformed, against the rules, or too long.
    #[error("{0}")]
    Conversation(String),
    /// A model and a tokenizer that do not belong together, or an impossible request.
    #[error("{0}")]
    Request(String),
    /// The model refused.
    #[error(transparent)]
    Generate(#[from] ferrochat_model::GenerateError),
}
