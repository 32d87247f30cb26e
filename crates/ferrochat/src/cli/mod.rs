//! The command line: what can be typed, with help and examples. This room declares and never acts.
//! One file per family of commands holds their arguments and their help; here is what `ferrochat --help` shows.

mod bench;
mod chat;
mod data;
mod eval;
mod machine;
mod runs;
mod sample;
mod serve;
mod shared;
mod speedrun;
mod tokenizer;
mod train;

use clap::{Parser, Subcommand};

pub use bench::{
    BenchCommand, BenchDecodeArgs, BenchGemmArgs, BenchLoaderArgs, BenchModelArgs, BenchOpsArgs, BenchTrainArgs,
    GemmPart,
};
pub use chat::ChatArgs;
pub use data::{DataCommand, IdentityArgs, WorldArgs};
pub use eval::{BpbArgs, CompareArgs, EvalCommand, TasksArgs};
pub use machine::{DoctorArgs, SelftestArgs};
pub use runs::{ReportArgs, RunsCommand};
pub use sample::SampleArgs;
pub use serve::ServeArgs;
pub use shared::{CheckpointArgs, ComputeArgs, MachineArgs, ModelArgs, PlanArgs, PythonArgs, RunArgs, TalkArgs};
pub use speedrun::{MixArgs, SpeedrunArgs};
pub use tokenizer::{TokenizerCommand, TokenizerTrainArgs};
pub use train::{BaseArgs, DpoArgs, RlArgs, StageArgs, TrainCommand, TuneArgs};

/// Train your own ChatGPT from nothing, in one binary, on whatever machine you have.
#[derive(Debug, Parser)]
#[command(
    name = "ferrochat",
    version,
    propagate_version = true,
    after_help = "Examples:
  ferrochat speedrun                              everything, on an invented world; then talk to it
  ferrochat speedrun --data shakespeare.txt       the same on your own text
  ferrochat speedrun --preset d20 --arch 2025-10 --dry-run
                                                  what a real run takes, before anything happens
  ferrochat chat                                  talk to the newest model
  ferrochat serve                                 the same in a browser, and as an API
  ferrochat sample --run spark -p \"The baker\"     let a trained model write

Runs live in the XDG data folder under ferrochat/runs; FERROCHAT_HOME moves everything.
Exit codes: 0 done, 1 failed, 2 usage, 130/143 interrupted after a checkpoint."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything, end to end: tokenizer, base, mid, SFT, RL, DPO, report, then a talk
    Speedrun(SpeedrunArgs),
    /// Train a tokenizer, or use one
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Train a model
    #[command(subcommand)]
    Train(TrainCommand),
    /// Talk to a model
    Chat(ChatArgs),
    /// Serve a model: a chat page for the browser and an API for OpenAI clients
    Serve(ServeArgs),
    /// Fetch public data sets, look at data, or print what the world makes
    #[command(subcommand)]
    Data(DataCommand),
    /// Let a base model continue a text
    Sample(SampleArgs),
    /// Measure a model
    #[command(subcommand)]
    Eval(EvalCommand),
    /// List the runs of this machine, or show one
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Write report.md of a run: figures, curves, samples
    Report(ReportArgs),
    /// Say what this machine offers and where files go
    Doctor(DoctorArgs),
    /// Check that a device computes what it should, and how fast: needs no files, no network, no model
    Selftest(SelftestArgs),
    /// Measure how fast this machine computes, beside its own ceilings: products, operations, training, decoding
    #[command(subcommand)]
    Bench(BenchCommand),
}
