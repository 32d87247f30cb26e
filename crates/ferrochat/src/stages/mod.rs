//! The stages of a run, each a file that reads top to bottom like a recipe.

mod after;
pub mod base;
pub mod dpo;
pub mod mid;
pub mod rl;
pub mod sft;
pub mod tokenizer;
pub mod tune;
