//! Supervised fine-tuning: the model learns to answer, by the answers alone. The recipe is [`tune`]'s;
//! here stands what is particular to it.

use anyhow::Result;

use super::tune;
use crate::cli::TuneArgs;
use crate::home::Home;

/// Stages whose models it can begin from, the latest that is there.
pub const SOURCES: [&str; 2] = ["base", "mid"];

/// `train sft`
///
/// # Errors
/// Anything refused, a failure, or an interrupt.
pub fn command(home: &Home, args: &TuneArgs) -> Result<()> {
    tune::command(home, "sft", &SOURCES, args)
}
