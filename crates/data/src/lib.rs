//! Where text comes from: a file, a folder, JSONL or Parquet shards, to packed
//! batches of token ids made ahead on other threads.
//!
//! The main line reads from top to bottom:
//!
//! 1. [`Corpus::open`] looks at a path, decides what it is and where training
//!    ends and validation begins. It reads metadata only.
//! 2. [`Corpus::documents`] walks the documents of one [`Split`], each with the
//!    exact [`Position`] after it.
//! 3. [`Loader::start`] tokenises and packs them ([`Packing`]) on its own
//!    threads; [`Loader::next_batch`] hands out batches, each with the
//!    [`LoaderState`] from which the next one can be made again.
//!
//! Conversations go a road of their own to the same batches:
//!
//! 1. [`open_conversations`] reads and checks a file or folder of them; others
//!    are [`InMemory`] or [`Generated`].
//! 2. A [`Mixture`] shuffles several sources, each as often as it is to be seen.
//! 3. [`ConversationLoader`] renders and packs them ([`ConversationPacking`])
//!    on its own threads, with the mask of what is learned as targets.
//!
//! Public data sets by name come from the [`hub`].
//!
//! A file that cannot be read is [`Skipped`], named in every later [`LoaderState`], unless
//! [`CorpusOptions::strict`] says that none may be.
//!
//! Preference pairs are read whole by [`open_pairs`].
//!
//! For a first run without any data, [`generator::small_text`] writes text.
//!
//! Architecture Invariant: this crate knows nothing of training loops, models or
//! devices. A batch is two vectors of numbers and the state after them.
//!
//! Architecture Invariant: the sequence of batches depends on the data, the
//! tokenizer and the packing alone, never on the number of threads.

mod ahead;
mod conversations;
mod corpus;
mod discover;
mod documents;
mod encode;
mod error;
mod fingerprint;
pub mod generator;
pub mod hub;
mod loader;
mod look;
mod packing;
mod pairs;
mod pipeline;
mod records;
mod rng;
mod skipped;
mod source;
mod state;
mod token;

pub use conversations::{
    ConversationLoader, ConversationLoaderConfig, ConversationSource, Generated, InMemory, Mixture, Survey,
    hold_out_last, open_conversations,
};
pub use corpus::{Corpus, CorpusOptions, Description, Kind, Split, TextDocuments};
pub use documents::{Document, Documents, Position};
pub use encode::Encode;
pub use error::DataError;
pub use loader::{Batch, Loader, LoaderConfig};
pub use look::{FileFacts, files_below, look, read_through};
pub use packing::{ConversationPacking, Packing};
pub use pairs::{PairFile, PreferencePair, open_pairs};
pub use records::read_records;
pub use skipped::Skipped;
pub use source::panic_is_caught;
pub use state::{Counters, LoaderState};
