//! Public data sets by name, brought onto this machine: which there are, what they consist of, and downloads that
//! end with files whose checksums match, however often they are interrupted. This room must never know what is
//! trained or measured with the files.
//!
//! 1. [`DataSet::named`] finds an entry of the [`catalogue`](DataSet::ALL); a [`Choice`] may narrow it to one split.
//! 2. [`Hub::plan`] asks the hub (or a mirror) for the files, their lengths and checksums, and says what is missing.
//! 3. [`Hub::fetch`] downloads what is missing on several threads.
//! 4. [`verify()`] reads everything again.
//!
//! Beside the files of a folder lies `.hub/` with a receipt for each (length, sha256, where it came from), parts of
//! downloads under way, and locks. A file appears under its own name only when it is whole.

mod catalogue;
mod client;
mod error;
mod fetch;
mod file;
mod folder;
mod listing;
mod receipt;
mod retry;
mod unpack;
mod verify;

pub use catalogue::{Choice, DataSet, Files, Table};
pub use client::HubSettings;
pub use error::HubError;
pub use fetch::{FetchOptions, Fetched, Hub, Plan, Silent, Watch};
pub use file::Note;
pub use listing::Remote;
pub use receipt::Receipt;
pub use retry::Retry;
pub use verify::{State, Verdict, verify};
