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
//! 4. [`generator::small_text`] writes text for a first run without any data.
//!
//! Architecture Invariant: this crate knows nothing of training loops, models or
//! devices. A batch is two vectors of numbers and the state after them.
//!
//! Architecture Invariant: the sequence of batches depends on the data, the
//! tokenizer and the packing alone, never on the number of threads.

mod corpus;
mod discover;
mod documents;
mod encode;
mod error;
pub mod generator;
mod loader;
mod packing;
mod pipeline;
mod rng;
mod source;
mod state;

pub use corpus::{Corpus, CorpusOptions, Description, Kind, Split, TextDocuments};
pub use documents::{Document, Documents, Position};
pub use encode::Encode;
pub use error::DataError;
pub use loader::{Batch, Loader, LoaderConfig};
pub use packing::Packing;
pub use state::{Counters, LoaderState};
