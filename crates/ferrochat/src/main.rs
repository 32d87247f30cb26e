//! `ferrochat`: train your own ChatGPT from nothing. The program: from a command line to a plan, from
//! a plan to stages, from stages to a report. See `ARCHITECTURE.md` for the rooms around it.
//!
//! The main line: `cli` says what can be typed, `prepare` makes a `plan` of it and refuses what cannot
//! work, `stages` do the work, `record` and `metrics` remember it, `report` tells it.

mod about;
mod bench;
mod chat;
mod checkpoints;
mod cli;
mod compare;
mod core_eval;
mod data_sets;
mod device;
mod doctor;
mod dpo_settings;
mod errors;
mod eval;
mod eval_tasks;
mod evaluations;
mod exam;
mod format;
mod gpu;
mod home;
mod identity;
mod interrupt;
mod machine;
mod metrics;
mod model;
mod output;
mod plan;
mod plan_text;
mod plot;
mod prepare;
mod presets;
mod progress;
mod python;
mod record;
mod report;
mod rl_settings;
mod runs;
mod sample;
mod selftest;
mod serve;
mod settings;
mod source;
mod speedrun;
mod stages;
mod talks;
mod time_use;
mod tokenizer;
mod training;
mod tune_settings;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use crate::cli::{Cli, Command, DataCommand, EvalCommand, RunsCommand, TokenizerCommand, TrainCommand};
use crate::home::Home;

fn main() -> ExitCode {
    errors::install_panic_hook();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return errors::report_clap(&answer),
    };
    // The hook has already said what a panic has to say.
    match std::panic::catch_unwind(|| run(cli.command)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => errors::report(&error),
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(command: Command) -> Result<()> {
    let home = Home::from_environment()?;
    match command {
        Command::Speedrun(args) => speedrun::command(&home, &args),
        Command::Tokenizer(TokenizerCommand::Train(args)) => stages::tokenizer::train_command(&home, &args),
        Command::Tokenizer(TokenizerCommand::Encode(args)) => tokenizer::encode(&home, &args),
        Command::Tokenizer(TokenizerCommand::Decode(args)) => tokenizer::decode(&home, &args),
        Command::Tokenizer(TokenizerCommand::Eval(args)) => tokenizer::eval(&home, &args),
        Command::Tokenizer(TokenizerCommand::Inspect(args)) => tokenizer::inspect(&home, &args),
        Command::Train(TrainCommand::Base(args)) => stages::base::command(&home, &args),
        Command::Train(TrainCommand::Mid(args)) => stages::mid::command(&home, &args),
        Command::Train(TrainCommand::Sft(args)) => stages::sft::command(&home, &args),
        Command::Train(TrainCommand::Rl(args)) => stages::rl::command(&home, &args),
        Command::Train(TrainCommand::Dpo(args)) => stages::dpo::command(&home, &args),
        Command::Chat(args) => chat::command(&home, args),
        Command::Serve(args) => serve::command(&home, args),
        Command::Data(DataCommand::List { json }) => data_sets::list(&home, json),
        Command::Data(DataCommand::Fetch(args)) => data_sets::fetch(&home, &args),
        Command::Data(DataCommand::Inspect(args)) => data_sets::inspect(&home, &args),
        Command::Data(DataCommand::Verify(args)) => data_sets::verify(&home, &args),
        Command::Data(DataCommand::World(args)) => world::command(&args),
        Command::Data(DataCommand::Identity(args)) => identity::command(&home, &args),
        Command::Sample(args) => sample::command(&home, &args),
        Command::Eval(EvalCommand::Bpb(args)) => eval::bpb_command(&home, &args),
        Command::Eval(EvalCommand::Tasks(args)) => eval_tasks::command(&home, &args),
        Command::Eval(EvalCommand::Core(args)) => core_eval::command(&home, &args),
        Command::Eval(EvalCommand::Compare(args)) => compare::command(&home, &args),
        Command::Runs(RunsCommand::List { json }) => runs::list_command(&home, json),
        Command::Runs(RunsCommand::Show { name, json }) => runs::show_command(&home, &name, json),
        Command::Report(args) => report::command(&home, &args),
        Command::Doctor(args) => doctor::command(&home, &args),
        Command::Selftest(args) => selftest::command(&args),
        Command::Bench(command) => bench::command(&home, &command),
    }
}
