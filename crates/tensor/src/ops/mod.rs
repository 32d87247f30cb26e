//! Operations: one file each with shapes, mathematics, gradient rule, tape record and cost.
//!
//! An operation checks shapes, takes output memory, launches a kernel through the seam and
//! records what its gradient needs. It never looks at elements.

pub mod activation;
pub(crate) mod attention;
mod cache;
pub(crate) mod choose;
pub(crate) mod embedding;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub mod mix;
pub(crate) mod multiply;
pub mod nll;
pub mod optimizer;
pub(crate) mod rms_norm;
pub mod rotary;
pub(crate) mod smear;
pub(crate) mod value_gate;
