//! `selftest`: whether a device computes what it should on this very machine, and how near it comes to what it could do.
//!
//! Self-contained: fixtures are part of the program; no network, no files, no toolchain. The device is compared with the
//! oracle and the CPU, part by part: `operations`, `fixtures`, `training`, `decoding`, `memory`, then `speed`.
//! Whatever fails is named with operation, shape, element type, error and tolerance.
//!
//! This room must never know a run, a data set or a tokenizer.

mod decoding;
mod fixtures;
mod lines;
mod memory;
mod operations;
mod source;
mod speed;
mod subject;
mod training;

use anyhow::Result;
use clap::ValueEnum;

use crate::cli::SelftestArgs;
use lines::Lines;
use subject::Subject;

/// Parts of the test, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// Every operation, forward and backward, beside the oracle or the CPU
    Operations,
    /// Model, optimizers and ten steps beside stored numbers of the reference
    Fixtures,
    /// A small model's training beside the CPU's
    Training,
    /// Greedy decoding with a KV cache beside the CPU's
    Decoding,
    /// Whether steps and decoding give back what they take
    Memory,
    /// Copies, products, operations, training and decoding per second
    Speed,
}

/// `selftest`
///
/// # Errors
/// The device cannot be opened, or a check failed.
pub fn command(args: &SelftestArgs) -> Result<()> {
    let subject = Subject::open(&args.machine, args.quick)?;
    let mut lines = Lines::new(args.json);
    lines.begin(&subject.describe())?;
    let wanted = |part: Part| args.only.is_empty() || args.only.contains(&part);
    if wanted(Part::Operations) {
        operations::run(&subject, &mut lines)?;
    }
    if wanted(Part::Fixtures) {
        fixtures::run(&subject, &mut lines)?;
    }
    if wanted(Part::Training) || wanted(Part::Decoding) {
        // Decoding needs a model that has learned something.
        let trained = training::run(&subject, wanted(Part::Training), &mut lines)?;
        if wanted(Part::Decoding) {
            decoding::run(&subject, &trained, &mut lines)?;
        }
    }
    if wanted(Part::Memory) {
        memory::run(&subject, &mut lines)?;
    }
    if wanted(Part::Speed) {
        speed::run(&subject, &mut lines)?;
    }
    lines.end(&subject.name())
}
