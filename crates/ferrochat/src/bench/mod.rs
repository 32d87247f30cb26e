//! `bench`: how fast this machine computes, beside what it could do at best.
//!
//! `gemm` times matrix products, `ops` every operation of a training step, `train` whole steps, `decode` tokens that are
//! written one by one. Every figure is a median with its spread, and beside it stands the ceiling that was measured in the
//! same run, between the repetitions: the multiply loop by itself, and reading memory.
//!
//! `loader` times the way from files to batches.
//!
//! Apart from `loader.rs` this room must never know a run, a data set or a tokenizer.

mod cache;
mod ceilings;
mod decode;
mod gemm;
mod lines;
mod loader;
mod ops;
mod samples;
mod shape;
mod timing;
mod tokens;
mod train;
mod trainer;

use anyhow::Result;

use crate::cli::BenchCommand;
use crate::home::Home;

/// `bench …`
///
/// # Errors
/// A flag that cannot be, or stdout cannot be written to.
pub fn command(home: &Home, command: &BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Gemm(args) => gemm::command(args),
        BenchCommand::Ops(args) => ops::command(args),
        BenchCommand::Train(args) => train::command(args),
        BenchCommand::Decode(args) => decode::command(args),
        BenchCommand::Loader(args) => loader::command(home, args),
    }
}
