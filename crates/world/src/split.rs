//! The two sides of everything the world makes. This room must never know what
//! holds them apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::WorldError;

/// What a model learns from, and what it is measured on. The facts are the
/// same; the ways to ask for them, the entity × relation of multiple choice,
/// the pairs of operands, the words asked for in spelling and the subjects of
/// refusals never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What the model learns from.
    Train,
    /// What it is measured on, never learned from.
    Heldout,
}

impl FromStr for Split {
    type Err = WorldError;

    fn from_str(name: &str) -> Result<Self, WorldError> {
        match name {
            "train" => Ok(Split::Train),
            "heldout" => Ok(Split::Heldout),
            _ => Err(WorldError::SplitName(name.to_string())),
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "train",
            Split::Heldout => "heldout",
        })
    }
}
