//! What a model may run while it writes: the calculator, and Python in a jail.
//!
//! A tool takes the text that the model wrote and gives text back, or nothing. What comes in is hostile by
//! assumption: every tool bounds its time and memory and touches nothing outside itself. What that rests on for
//! Python is written in `THREATS.md`.
//! This room must never know models, tokens or conversations.

mod calculator;
mod interpreter;
pub mod jail;
mod number;

pub use calculator::{LONGEST, calculate};
pub use interpreter::Interpreter;
pub use jail::{Ended, Jail, JailError, Limits, Outcome, Protections};
