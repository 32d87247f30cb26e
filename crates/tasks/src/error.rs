//! Why a task cannot be opened or measured, each in one sentence. This room must
//! never know who shows it.

use ferrochat_chat::ChatError;
use ferrochat_data::DataError;
use ferrochat_tools::JailError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A file of a task cannot be read, or does not hold what it should.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model cannot answer.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// Programs of a model cannot be run.
    #[error(transparent)]
    Jail(#[from] JailError),
    /// A folder without the task that was asked for, or a split that the task does not have.
    #[error("{0}")]
    Missing(String),
    /// A list of tasks that cannot be understood, or options that make no sense.
    #[error("{0}")]
    Request(String),
    /// The watcher said stop.
    #[error("the measurement was interrupted")]
    Interrupted,
}
