//! Mid-training: the base model meets conversations, so that it knows their form, the calculator and
//! multiple choice. The recipe is [`tune`]'s; here stands what is particular to it.

use anyhow::Result;

use super::tune;
use crate::cli::TuneArgs;
use crate::home::Home;

/// Stages whose models it can begin from.
pub const SOURCES: [&str; 1] = ["base"];

/// `train mid`
///
/// # Errors
/// Anything refused, a failure, or an interrupt.
pub fn command(home: &Home, args: &TuneArgs) -> Result<()> {
    tune::command(home, "mid", &SOURCES, args)
}
