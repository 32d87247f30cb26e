//! `train …`: a stage alone.

use clap::{Args, Subcommand};

use super::{ComputeArgs, PlanArgs, RunArgs};
use crate::dpo_settings::DpoFlags;
use crate::rl_settings::RlFlags;
use crate::settings::Flags;
use crate::tune_settings::TuneFlags;

/// `train …`
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of them in a process")]
pub enum TrainCommand {
    /// Pretrain a base model on text
    #[command(
        args_override_self = true,
        after_help = "Examples:
  ferrochat train base --preset nanogpt-char --data shakespeare.txt
  ferrochat train base --depth 4 --max-seq-len 512 --device-batch-size 4 --total-batch-size 8192 \\
      --num-iterations 500 --data shards/
  ferrochat train base --run d4 --resume

Without --depth and --preset the preset is spark. -1 turns a periodic action off."
    )]
    Base(BaseArgs),
    /// Go on with conversations: their form, the calculator, multiple choice
    #[command(
        args_override_self = true,
        after_help = "Examples:
  ferrochat train mid --run spark
  ferrochat train mid --run d4 --conversations talks.jsonl --tasks gsm8k*4,mmlu*3 --tasks-dir tasks/
  ferrochat train mid --run d4 --recipe 2025-10 --conversations talks/

A conversation is {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}, ...]} or ShareGPT's \
{\"conversations\": [{\"from\": \"human\", \"value\": \"...\"}, ...]}, one per line."
    )]
    Mid(TuneArgs),
    /// Supervised fine-tuning: learn to answer, from the answers alone
    #[command(
        args_override_self = true,
        after_help = "Examples:
  ferrochat train sft --run spark
  ferrochat train sft --run d4 --recipe 2025-10 --conversations talks.jsonl --tasks arc-easy,gsm8k --tasks-dir tasks/
  ferrochat train sft --run notes --conversations my-chats.jsonl*3 --init-lr-frac 0.2

Begins from mid if the run has it, else from base."
    )]
    Sft(TuneArgs),
    /// Reinforcement learning: practise questions whose answers can be checked
    #[command(
        args_override_self = true,
        after_help = "Examples:
  ferrochat train rl --run spark
  ferrochat train rl --run spark --task arithmetic --num-iterations 100 --examples-per-step 8
  ferrochat train rl --run d20 --task gsm8k --tasks-dir tasks/

Each step draws --num-samples replies to each of --examples-per-step questions and makes those likelier that are worth \
more than the mean. Begins from sft if the run has it, else from mid. pass@k on held-out questions stands in metrics.jsonl."
    )]
    Rl(RlArgs),
    /// Learn from preferences (DPO): which of two replies is better
    #[command(
        args_override_self = true,
        after_help = "Examples:
  ferrochat train dpo --run spark
  ferrochat train dpo --run d4 --pairs preferences.jsonl --beta 0.1
  ferrochat train dpo --run spark --source-stage rl

A pair is {\"prompt\": \"...\", \"chosen\": \"...\", \"rejected\": \"...\"}, one per line; prompt and replies may also be lists of \
{\"role\", \"content\"}. Begins from sft if the run has it, else from mid."
    )]
    Dpo(DpoArgs),
}

/// Which run a stage goes on with.
#[derive(Args, Clone, Debug, Default)]
pub struct StageArgs {
    /// The run whose model is trained further [default: the run that was worked on last]
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// Begin from the model of this stage of the run [default: the latest stage that fits]
    #[arg(long, value_name = "STAGE")]
    pub source_stage: Option<String>,
    /// Go on with the interrupted stage (this is also what happens without the flag)
    #[arg(long, conflicts_with = "fresh")]
    pub resume: bool,
    /// Begin the stage again, and delete what it and the stages after it had
    #[arg(long)]
    pub fresh: bool,
    /// What computes.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Element type of activations: bf16 or f32 [default: that of the stage before, which FERROCHAT_DTYPE does not change]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<String>,
}

/// `train mid|sft`
#[derive(Args, Clone, Debug)]
pub struct TuneArgs {
    /// Settings of the stage.
    #[command(flatten)]
    pub flags: TuneFlags,
    /// Which run.
    #[command(flatten)]
    pub stage: StageArgs,
    /// Plan.
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// `train rl`
#[derive(Args, Clone, Debug)]
pub struct RlArgs {
    /// Settings of the stage.
    #[command(flatten)]
    pub flags: RlFlags,
    /// Which run.
    #[command(flatten)]
    pub stage: StageArgs,
    /// Plan.
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// `train dpo`
#[derive(Args, Clone, Debug)]
pub struct DpoArgs {
    /// Settings of the stage.
    #[command(flatten)]
    pub flags: DpoFlags,
    /// Which run.
    #[command(flatten)]
    pub stage: StageArgs,
    /// Plan.
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// `train base`
#[derive(Args, Debug)]
pub struct BaseArgs {
    /// Settings of model and training.
    #[command(flatten)]
    pub flags: Flags,
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
