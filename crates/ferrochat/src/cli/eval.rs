//! `eval …`: measuring a model.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ferrochat_tasks::MeasureOptions;

use super::{ModelArgs, PythonArgs};

/// `eval …`
#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Bits per byte and perplexity on the validation part of the data
    #[command(after_help = "Example:
  ferrochat eval bpb --run spark --eval-tokens 100000 --json")]
    Bpb(BpbArgs),
    /// Questions in chat form: the world's, in phrasings and combinations that were never learned; ARC, MMLU, GSM8K,
    /// HumanEval, spelling
    #[command(
        after_help = "Examples:
  ferrochat eval tasks --run spark
  ferrochat eval tasks --run d4 --tasks gsm8k,arc-easy,mmlu --tasks-dir tasks/ --count 200
  ferrochat eval tasks --run spark --stage rl --tasks word_problem --count 1000 --json
  ferrochat eval tasks --run d20 --tasks chatcore
  ferrochat eval tasks --run d20 --tasks humaneval --samples 16 --k 1,8,16 --temperature 0.8 --dump replies.jsonl

ChatCORE is the mean over arc-easy, arc-challenge, mmlu, gsm8k, humaneval and, where it was asked, spellingbee, of scores on a \
scale from guessing (0) to all right (1). Answers are written greedily and have 512 tokens at most (the world's 96), as in \
the reference. Programs of HumanEval run in a jail; where this machine lacks a protection that it needs, they do not run.",
        visible_alias = "chat"
    )]
    Tasks(TasksArgs),
    /// CORE: 22 tasks of continuing text, for base models (DataComp-LM)
    #[command(after_help = "Examples:
  ferrochat eval core --run d12 --bundle eval_bundle/
  ferrochat eval core --run d12 --max-per-task 500 --csv d12.csv --compare openai-community-gpt2.csv
  ferrochat eval core --bundle eval_bundle/ --max-per-task 20 --dump-prompts prompts.jsonl

Items come in the reference's order and the examples of each are drawn from the items that are kept. A table is written \
in the reference's layout.")]
    Core(crate::core_eval::CoreArgs),
    /// What was measured of several models, side by side, with differences to the first
    #[command(after_help = "Examples:
  ferrochat eval compare d12                      the stages of a run
  ferrochat eval compare d12:sft d12:rl           two of them
  ferrochat eval compare d12:base:2000 d12:base:4000 --csv d12.csv

Nothing is measured: it shows what exams and `eval` found. Where it was kept which items were right, and both were asked \
as many, errors of differences are those of the items' own differences; others are marked.")]
    Compare(CompareArgs),
}

/// `eval compare`
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Models: a run for all its stages, or RUN:STAGE, or RUN:STAGE:STEP
    #[arg(required = true, value_name = "RUN[:STAGE[:STEP]]")]
    pub models: Vec<String>,
    /// Also write the table to this file, as comma-separated values
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// `eval tasks`
#[derive(Args, Debug)]
pub struct TasksArgs {
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Which: facts, multiple_choice, arithmetic, word_problem, spelling, identity, refusal (the world's); arc-easy,
    /// arc-challenge, mmlu, gsm8k, humaneval, spellingbee, simplespelling; world or chatcore for all of a kind
    /// [default: those the run learned from; else world if it read the world, else chatcore]
    #[arg(long, value_name = "LIST", visible_alias = "task")]
    pub tasks: Option<String>,
    /// Folder of the other tasks' files [default: as when the run learned from them, else what `data fetch` brought]
    #[arg(long, value_name = "DIR")]
    pub tasks_dir: Option<PathBuf>,
    /// Questions of each
    #[arg(long, value_name = "N", default_value_t = 500, visible_aliases = ["max-items", "max-problems"])]
    pub count: usize,
    /// Which of the world's questions; 1 are those asked after each stage
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Answers to each question; the score is pass@1, and pass@k is shown
    #[arg(long, value_name = "N", default_value_t = 1, visible_alias = "num-samples")]
    pub samples: usize,
    /// Show pass@k for these k [default: 1, 2, 4, 8 and so on up to --samples]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub k: Vec<usize>,
    /// Tokens in an answer at most [default: 512, of the world's 96]
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Sample among this many likeliest tokens; 0: among all
    #[arg(long, value_name = "K", default_value_t = 50)]
    pub top_k: usize,
    /// With --temperature: equal seeds draw equal answers
    #[arg(long, value_name = "S", default_value_t = MeasureOptions::default().seed)]
    pub sample_seed: u64,
    /// Answers written, or questions read, at once [default: 16, of the world's 128]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Tools.
    #[command(flatten)]
    pub python: PythonArgs,
    /// Write what was said to each question, and whether it is right, to this file, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub dump: Option<PathBuf>,
    /// Say on stderr where the time went, operation by operation
    #[arg(long)]
    pub profile: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// `eval bpb`
#[derive(Args, Debug)]
pub struct BpbArgs {
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Measure on this data [default: the data it was trained on]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Tokens to measure on [default: as in training]
    #[arg(long, value_name = "N")]
    pub eval_tokens: Option<u64>,
    /// Rows per forward pass [default: as in training]
    #[arg(long, value_name = "N")]
    pub device_batch_size: Option<usize>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}
