//! Developer commands: `cargo xtask COMMAND`. One file per command; nothing here is part of the program.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod compare;
#[cfg(target_os = "linux")]
mod gpu;
#[cfg(target_os = "linux")]
mod kernels;
#[cfg(target_os = "linux")]
mod nvrtc;
mod pack;
mod parity;
#[cfg(target_os = "linux")]
mod resources;

/// A wrong argument: told in one sentence, exit code 2, as in the program itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of ferrochat")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[cfg(target_os = "linux")]
    Gpu(gpu::Args),
    #[cfg(target_os = "linux")]
    Kernels(kernels::Args),
    Pack(pack::Args),
    Parity(parity::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        #[cfg(target_os = "linux")]
        Command::Gpu(args) => gpu::run(&args),
        #[cfg(target_os = "linux")]
        Command::Kernels(args) => kernels::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Parity(args) => parity::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}
