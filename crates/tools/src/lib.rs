//! What a model may run while it writes: the calculator.
//!
//! A tool takes the text that the model wrote and gives text back, or nothing. What comes in is hostile by
//! assumption: every tool bounds its time and memory and touches nothing outside itself.
//! This room must never know models, tokens or conversations.

mod calculator;
mod number;

pub use calculator::{LONGEST, calculate};
