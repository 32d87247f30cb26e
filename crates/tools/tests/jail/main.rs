//! Escapes from the jail, each tried with namespaces and without: what must not happen, and that nothing is left
//! behind. Programs print `HELD` for every attempt that was refused and `ESCAPED` for one that was not.
#![cfg(target_os = "linux")]
// The lint's exception for tests does not reach the functions beside them.
#![allow(clippy::unwrap_used)]

mod bombs;
mod calls;
mod files;
mod honest;
mod network;
mod processes;
mod world;
