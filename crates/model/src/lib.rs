//! The GPT: its architecture, optimizer, schedules, checkpoints, and generation with a KV cache.
//!
//! * [`GptConfig`] says what a model looks like; [`GptConfig::from_depth`] makes one from the depth alone.
//! * [`Gpt`] declares every parameter once and computes the loss. `gpt.rs` is the file to read first.
//! * [`Optimizer`] updates parameters (AdamW and Muon), [`Schedule`] and [`Horizon`] say how fast and how long.
//! * [`check`] compares a device with stored numbers of the reference.
//! * [`checkpoint`] saves and resumes a run, [`Generator`] and [`Decoder`] continue prompts with a [`KvCache`].
//!
//! This room must never know data sets, conversations or HTTP, and `gpt.rs` no concrete device.
//!
//! A training step:
//!
//! ```no_run
//! use ferrochat_model::{Arch, Dials, Gpt, GptConfig, Optimizer, Rates, Schedule};
//! use ferrochat_tensor::{CpuOptions, Device, Graph};
//!
//! let device = Device::cpu(&CpuOptions::default())?;
//! let config = GptConfig::from_depth(Arch::V2026_07, 4, &Dials::default());
//! let gpt = Gpt::new(&device, &config)?;
//! gpt.initialize(42);
//! let mut optimizer = Optimizer::new(&gpt, &Rates::default());
//! let schedule = Schedule::pretraining(1000, 0.28);
//! let graph = Graph::training(&device);
//! # let ids: Vec<i32> = vec![0; 9];
//! let inputs = device.indices(&ids[..8], [1, 8]);
//! let targets = device.indices(&ids[1..], [1, 8]);
//! let weights = device.master_tensor(&[1.0 / 8.0; 8], [1, 8]);
//! for step in 0..schedule.steps {
//!     let loss = gpt.loss(&graph, &inputs, &targets, &weights).loss;
//!     graph.backward();
//!     optimizer.step(&schedule.at(step));
//!     println!("{step}: {}", loss.download()[0]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arch;
mod cache;
pub mod check;
pub mod checkpoint;
mod config;
mod declare;
mod decoder;
mod facts;
mod generate;
mod gpt;
mod horizon;
mod init;
pub mod optim;
mod rng;
mod sample;
mod schedule;

pub use arch::{Arch, Dials, UnknownArch};
pub use cache::KvCache;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use config::{ConfigError, GptConfig, InitScheme};
pub use declare::Declaration;
pub use decoder::{Decoder, GenerateError, Prompts};
pub use facts::{Facts, ParameterCounts, StepCost};
pub use generate::{GenerateOptions, Generator, generate};
pub use gpt::Gpt;
pub use horizon::{Horizon, HorizonRequest, REFERENCE_BATCH};
pub use init::Init;
pub use optim::{Optimizer, Rates};
pub use rng::Rng;
pub use sample::{Sampler, Sampling};
// What a sampler makes of its settings.
pub use ferrochat_tensor::Choice;
pub use schedule::{Pace, Schedule};
