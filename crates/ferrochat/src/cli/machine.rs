//! `doctor` and `selftest`: questions about this machine.

use clap::Args;

use super::MachineArgs;

/// `doctor`
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// `selftest`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ferrochat selftest                              the device that training would use
  ferrochat selftest --quick                      small sizes and few steps: a moment
  ferrochat selftest --only operations --only decoding --dtype f32
  ferrochat selftest --json > selftest.jsonl      a line per check, the last one a summary

Every operation is compared with a plain f64 implementation or the CPU, the model with stored numbers of the
reference, training and greedy decoding with the CPU. Exit code 1 if anything failed.")]
pub struct SelftestArgs {
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Small sizes and few steps
    #[arg(long)]
    pub quick: bool,
    /// Only this part (may be repeated)
    #[arg(long, value_name = "PART")]
    pub only: Vec<crate::selftest::Part>,
    /// Print a line of JSON per check
    #[arg(long)]
    pub json: bool,
}
