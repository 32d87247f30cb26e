//! `runs …` and `report`: what there is, and what it says.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `runs …`
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// One line per run
    List {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Settings, checkpoints and last figures of a run
    Show {
        /// Name of the run
        name: String,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
}

/// `report`
#[derive(Args, Debug)]
#[command(after_help = "Example:
  ferrochat report --run spark --output .")]
pub struct ReportArgs {
    /// Name of the run
    #[arg(long, value_name = "NAME")]
    pub run: String,
    /// Also copy it to this folder
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Price of this machine per hour in dollars
    #[arg(long, value_name = "DOLLARS", allow_negative_numbers = true)]
    pub price_per_hour: Option<f64>,
}
