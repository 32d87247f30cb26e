//! The stages of a run, each a file that reads top to bottom like a recipe.

pub mod base;
pub mod mid;
pub mod sft;
pub mod tokenizer;
pub mod tune;
