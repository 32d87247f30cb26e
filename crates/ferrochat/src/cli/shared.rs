//! Arguments that several commands take: a run, a trained model, a machine, a plan.

use clap::Args;

/// Which run, and whether to begin it again.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Name of the run, a folder below ferrochat/runs [default: the preset's name, else d and the depth]
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// Go on with the interrupted run of this name, with the settings it was started with (this is
    /// also what happens without the flag)
    #[arg(long, conflicts_with = "fresh")]
    pub resume: bool,
    /// Begin again, and delete what the run of this name had
    #[arg(long)]
    pub fresh: bool,
}

/// What computes, and with how many hands.
#[derive(Args, Clone, Debug, Default)]
pub struct ComputeArgs {
    /// cpu; cuda for a GPU, cuda:N for the GPU of that number; auto for a GPU where there is one [default: auto]
    #[arg(long, value_name = "DEVICE", env = "FERROCHAT_DEVICE", hide_env_values = true)]
    pub device: Option<String>,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Settings of the machine that change no result, or only its rounding.
#[derive(Args, Clone, Debug, Default)]
pub struct MachineArgs {
    /// What computes.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Element type of activations: bf16 or f32 [default: FERROCHAT_DTYPE, else bf16 where the hardware has it]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<String>,
}

impl MachineArgs {
    /// Those of a command that takes the element type from elsewhere.
    pub fn of(compute: &ComputeArgs) -> MachineArgs {
        MachineArgs {
            compute: compute.clone(),
            dtype: None,
        }
    }
}

/// What a plan is told and how it is shown.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// Print the plan (shapes, parameters, tokens, memory, disk, minutes, cost; of a speedrun every stage) and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: as JSON
    #[arg(long)]
    pub json: bool,
    /// Price of this machine per hour in dollars, for the cost in plan and report
    #[arg(long, value_name = "DOLLARS", allow_negative_numbers = true)]
    pub price_per_hour: Option<f64>,
    /// Plan for a machine that does this many TFLOP/s in training, instead of measuring this one
    /// (eight H100 at 50% MFU: 3956)
    #[arg(long, value_name = "TFLOPS", allow_negative_numbers = true)]
    pub assume_tflops: Option<f64>,
}

/// What a model may run.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct PythonArgs {
    /// Let the model run Python: what stands in a tool call and is nothing for the calculator runs in a jail, without
    /// network or files, for 3 seconds and in 256 MiB at most
    #[arg(long)]
    pub python: bool,
    /// Run Python that the model writes even where this machine lacks a protection that the jail needs: it may then do
    /// whatever you may do
    #[arg(long)]
    pub unsafe_python: bool,
}

/// Which of a run's models.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckpointArgs {
    /// The stage that made it: base, mid, sft, rl or dpo [default: base where text is continued; where questions are
    /// answered sft, else mid, else base]
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<String>,
    /// Its checkpoint after this many steps of that stage [default: the latest]
    #[arg(long, value_name = "N")]
    pub step: Option<u64>,
}

/// A trained model.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// The run that made the model
    #[arg(long, value_name = "NAME")]
    pub run: String,
    /// Which of its models.
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
}

impl ModelArgs {
    /// The latest model of a run.
    pub fn latest(run: &str, compute: &ComputeArgs) -> ModelArgs {
        ModelArgs {
            run: run.to_owned(),
            checkpoint: CheckpointArgs::default(),
            machine: MachineArgs::of(compute),
        }
    }
}

/// A model to talk to.
#[derive(Args, Clone, Debug)]
pub struct TalkArgs {
    /// The run that made the model [default: the run that was worked on last]
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// Which of its models.
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
}
