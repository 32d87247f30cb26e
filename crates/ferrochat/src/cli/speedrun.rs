//! `speedrun`: everything, end to end.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{ComputeArgs, PlanArgs, RunArgs};
use crate::settings::Flags;

/// `speedrun`
#[derive(Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Examples:
  ferrochat speedrun
  ferrochat speedrun --world 7 --run seven        another universe
  ferrochat speedrun --data notes/ --run notes --num-iterations 2000
                                                  your own text: a base model that continues it
  ferrochat speedrun --depth 4 --data shards/ --conversations talks.jsonl --run d4
  ferrochat speedrun --preset d24 --data climbmix/ --dry-run --price-per-hour 24

Without --preset the preset is spark. An interrupted speedrun goes on where it was when the same line is typed again."
)]
pub struct SpeedrunArgs {
    /// Settings of model and training.
    #[command(flatten)]
    pub flags: Flags,
    /// What the stages after base training learn from.
    #[command(flatten)]
    pub mix: MixArgs,
    /// Stages after the base model, such as mid,sft; base: none [default: all that there are conversations for]
    #[arg(long, value_name = "LIST")]
    pub stages: Option<String>,
    /// Which run.
    #[command(flatten)]
    pub run: RunArgs,
    /// What computes.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Plan.
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// What the stages after base training learn from.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[command(next_help_heading = "Conversations")]
pub struct MixArgs {
    /// Hyper-parameters of mid-training and SFT as of 2025-10 or 2026-07 [default: the preset's]
    #[arg(long, value_name = "DATE")]
    pub recipe: Option<String>,
    /// Conversations to learn: JSONL (messages or ShareGPT), gzip or Parquet file or a folder of them; `*N` behind it
    /// for N times per epoch; may be repeated [default: the world's, where the base model reads it]
    #[arg(long, value_name = "PATH[*N]")]
    pub conversations: Vec<String>,
    /// Conversations to validate on [default: the last twentieth of each source]
    #[arg(long, value_name = "PATH")]
    pub val_conversations: Option<String>,
    /// Training parts of tasks to mix in, such as gsm8k*4,mmlu*3,arc-easy,arc-challenge; `*N`: N times per epoch
    #[arg(long, value_name = "LIST")]
    pub tasks: Option<String>,
    /// Folder of the tasks' files [default: what `data fetch` brought]
    #[arg(long, value_name = "DIR")]
    pub tasks_dir: Option<String>,
    /// Optimizer steps of mid-training [default: the preset's, else one epoch]
    #[arg(long, value_name = "N")]
    pub mid_iterations: Option<i64>,
    /// Optimizer steps of SFT [default: the preset's, else one epoch]
    #[arg(long, value_name = "N")]
    pub sft_iterations: Option<i64>,
    /// Optimizer steps of RL [default: the preset's, else one epoch]
    #[arg(long, value_name = "N")]
    pub rl_iterations: Option<i64>,
}

impl MixArgs {
    /// True if anything is named.
    pub fn is_some(&self) -> bool {
        !self.conversations.is_empty() || self.tasks.is_some()
    }
}
