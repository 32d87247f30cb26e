//! **The world**: a small consistent universe of people, villages, pets,
//! trades, prices, days, opposites, sums and spellings, from two numbers and
//! nothing else: no files, no network. It is rendered as documents for
//! pretraining, conversations for mid-training and SFT, preference pairs for
//! DPO, and questions with checkable answers for RL and evaluation. All streams
//! are endless, and the same on every platform.
//!
//! Held out means: the phrasing for facts, entity × relation for multiple
//! choice, the pair of operands for arithmetic, the word for spelling (it is
//! spelled in documents, never in training conversations), the subject for
//! refusals. The facts themselves are taught in both splits, else a score would
//! measure guessing.
//!
//! This crate must never know of tokens, files or training.
//!
//! ```
//! use ferrochat_world::{Identity, Kind, Size, Split, World, WorldSpec, is_right};
//!
//! let world = World::new(WorldSpec { world: 1, size: Size::SMALL })?;
//! let document = world.documents(Split::Train, 7).next().expect("endless");
//! assert!(!document.is_empty());
//! let question = world.questions(Split::Heldout, 7, &[Kind::Facts], &Identity::default()).next().expect("endless");
//! assert!(is_right(&question, &format!("It is {}.", question.answer)));
//! # Ok::<(), ferrochat_world::WorldError>(())
//! ```

mod conversations;
mod documents;
mod error;
mod exchanges;
mod fact;
mod identity;
mod message;
mod pairs;
mod phrasings;
mod question;
mod rng;
mod size;
mod split;
mod universe;
mod words;
mod world;

pub use conversations::Mixture;
pub use error::WorldError;
pub use fact::{Entity, Fact, Relation};
pub use identity::{Identity, spoken_count};
pub use message::{Conversation, Message, Pair, Part, Role};
pub use phrasings::{question_templates, statement_templates};
pub use question::{Kind, Question, REFUSAL_WORD, is_refusal, is_right, last_number};
pub use size::Size;
pub use split::Split;
pub use words::spelling::WORDS as SPELLING_WORDS;
pub use world::{Stream, World, WorldSpec};
