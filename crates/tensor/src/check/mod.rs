//! The checks of a backend: every operation as a case that runs alike on any device, and what it may be off by.
//!
//! Tests of this crate and `ferrochat selftest` compare devices with these: the oracle says what is right, the
//! device under test is given the same numbers (rounded to its element type first), and each result and gradient
//! must agree within a [`tolerance`] that follows from the roundings on its way. So a backend that was
//! written on a machine without its hardware can be checked where the hardware is.
//!
//! * [`Case`] is a differentiable operation, [`Procedure`] one outside the tape (decoding, optimizers, conversions);
//!   both are a [`Check`].
//! * [`GROUPS`] lists all of them, [`compare`] runs one, [`compare_all`] all.
//! * [`Network`] is a training step that uses every fused operation, for tests of memory, cost and bits.
//!
//! This room must never know a concrete backend other than the two references.

#[cfg(test)]
mod broken;
mod case;
mod cases;
mod catalogue;
mod compare;
mod decoding;
mod elements;
mod measure;
mod network;
mod optimizer;
mod procedure;
mod random;
mod sampling;

pub use case::{Apply, Case, Input};
pub use cases::{ACTIVATIONS, AttentionSizes, Cases, NllSizes};
pub use catalogue::{GROUPS, Group, Sizes, compare_all};
pub use compare::{Allowance, Check, Outcome, Output, Part, References, compare, disagreements};
pub use measure::{norm, relative_error, rounded, tolerance, unit_roundoff};
pub use network::Network;
pub use procedure::{Procedure, Procedures, Rounding};
pub use random::Random;
pub use sampling::Logits;
