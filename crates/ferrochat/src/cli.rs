//! The command line: what can be typed, with help and examples. This room declares and never acts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

use crate::data_sets::{FetchArgs, InspectDataArgs, VerifyArgs};
use crate::dpo_settings::DpoFlags;
use crate::rl_settings::RlFlags;
use crate::settings::Flags;
use crate::tune_settings::TuneFlags;

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
    Speedrun(SpeedrunArgs),
    /// Train a tokenizer, or use one
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Train a model
    #[command(subcommand)]
    Train(TrainCommand),
    /// Talk to a model
    #[command(
        args_override_self = true,
        after_help = "Examples:
  ferrochat chat                                  with the newest model there is
  ferrochat chat --run spark -p \"What is 12 * 34?\"
  echo \"Who lives in Foxwell?\" | ferrochat chat --run spark --temperature 0
  ferrochat chat --run spark --jsonl < asked.jsonl > answered.jsonl

Without a terminal on stdin, all of stdin is one message.
--jsonl reads one conversation per line, {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}]}, and writes for \
each a line {\"content\": \"...\"} in the same order, 256 lines at a time; empty lines are passed over. A line that \
cannot be answered gets {\"error\": \"line 3: ...\"} in its place, the others are answered all the same, and the exit code is 1."
    )]
    Chat(ChatArgs),
    /// Serve a model: a chat page for the browser and an API for OpenAI clients
    #[command(
        args_override_self = true,
        after_help = "Examples:
  ferrochat serve                                 the newest model, on http://127.0.0.1:8000
  ferrochat serve --run spark --port 0            on any port that is free; it is printed
  ferrochat serve --host 0.0.0.0 --api-key \"$KEY\" for the whole network

  curl http://127.0.0.1:8000/v1/chat/completions \\
      -d '{\"messages\": [{\"role\": \"user\", \"content\": \"What is 12 * 34?\"}]}'

  from openai import OpenAI
  client = OpenAI(base_url=\"http://127.0.0.1:8000/v1\", api_key=\"none\")
  model = client.models.list().data[0].id
  talk = [{\"role\": \"user\", \"content\": \"What is 12 * 34?\"}]
  for chunk in client.chat.completions.create(model=model, messages=talk, stream=True):
      print(chunk.choices[0].delta.content or \"\", end=\"\")

Ctrl-C or SIGTERM ends it: answers in progress get five seconds. The exit code is then 0."
    )]
    Serve(ServeArgs),
    /// Fetch public data sets, look at data, or print what the world makes
    #[command(subcommand)]
    Data(DataCommand),
    /// Let a base model continue a text
    #[command(after_help = "Examples:
  ferrochat sample --run spark -p \"The baker\"
  ferrochat sample --run spark --temperature 0 --max-tokens 100 --json")]
    Sample(SampleArgs),
    /// Measure a model
    #[command(subcommand)]
    Eval(EvalCommand),
    /// List the runs of this machine, or show one
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Write report.md of a run: figures, curves, samples
    #[command(after_help = "Example:
  ferrochat report --run spark --output .")]
    Report(ReportArgs),
    /// Say what this machine offers and where files go
    Doctor(DoctorArgs),
    /// Check that a device computes what it should, and how fast: needs no files, no network, no model
    #[command(after_help = "Examples:
  ferrochat selftest                              the device that training would use
  ferrochat selftest --quick                      small sizes and few steps: a moment
  ferrochat selftest --only operations --only decoding --dtype f32
  ferrochat selftest --json > selftest.jsonl      a line per check, the last one a summary

Every operation is compared with a plain f64 implementation or the CPU, the model with stored numbers of the
reference, training and greedy decoding with the CPU. Exit code 1 if anything failed.")]
    Selftest(SelftestArgs),
}

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
    /// Print the plan (shapes, parameters, tokens, memory, disk, minutes, cost) and do nothing
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

/// `speedrun`
#[derive(Args, Debug)]
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
    #[arg(long, value_name = "LIST", requires = "tasks_dir")]
    pub tasks: Option<String>,
    /// Folder of the tasks' files
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
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
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

/// `tokenizer …`
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Train a tokenizer on the training part of the data
    #[command(after_help = "Examples:
  ferrochat tokenizer train --data shards/ --vocab-size 32768 --run d12
  ferrochat tokenizer train --data shakespeare.txt --tokenizer char --output chars.json")]
    Train(TokenizerTrainArgs),
    /// Text (the argument, or stdin) to ids
    #[command(after_help = "Examples:
  ferrochat tokenizer encode --run spark \"hello world\"
  ferrochat tokenizer encode --tokenizer cl100k_base.tiktoken --pattern cl100k --json < text")]
    Encode(crate::tokenizer::EncodeArgs),
    /// Ids (the arguments, or stdin) to text
    #[command(after_help = "Example:
  ferrochat tokenizer decode --run spark 104 101")]
    Decode(crate::tokenizer::DecodeArgs),
    /// How well it compresses, by kind of text, beside GPT-2 and GPT-4
    #[command(after_help = "Example:
  ferrochat tokenizer eval --run d12 --text notes.txt --gpt4 cl100k_base.tiktoken")]
    Eval(crate::tokenizer::EvalArgs),
    /// Where the borders of tokens lie, in colour or as a page
    #[command(after_help = "Examples:
  ferrochat tokenizer inspect --run spark \"hello world\"
  ferrochat tokenizer inspect --run spark --html tokens.html < text")]
    Inspect(crate::tokenizer::InspectArgs),
}

/// `tokenizer train`
#[derive(Args, Debug)]
pub struct TokenizerTrainArgs {
    /// Text file, folder of text, JSONL or Parquet shards [default: the world, made on the spot]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// bpe or char
    #[arg(long, value_name = "KIND", default_value = "bpe")]
    pub tokenizer: String,
    /// Number of ids, the nine special tokens included (BPE only)
    #[arg(long, value_name = "N", default_value_t = 32_768)]
    pub vocab_size: usize,
    /// Use at most this many characters of the data
    #[arg(long, value_name = "N", default_value_t = 2_000_000_000)]
    pub max_chars: u64,
    /// Use only the first characters of each document of JSONL and Parquet data
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub doc_cap: usize,
    /// Save into this run
    #[arg(long, value_name = "NAME", required_unless_present = "output")]
    pub run: Option<String>,
    /// Save to this file instead: tokenizer.json, or ranks where it ends in .tiktoken
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    pub output: Option<PathBuf>,
    /// Replace the tokenizer that is there
    #[arg(long)]
    pub fresh: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// A trained model.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// The run that made it
    #[arg(long, value_name = "NAME")]
    pub run: String,
    /// The stage that made it: base, mid, sft, rl or dpo
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<String>,
    /// Its checkpoint after this many steps [default: the latest]
    #[arg(long, value_name = "N")]
    pub step: Option<u64>,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// `sample`
#[derive(Args, Debug)]
pub struct SampleArgs {
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How the text begins
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    pub prompt: String,
    /// How many texts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub count: usize,
    /// Tokens to add
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_tokens: usize,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.8, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Sample among this many likeliest tokens; 0: among all
    #[arg(long, value_name = "K", default_value_t = 50)]
    pub top_k: usize,
    /// Equal seeds draw equal texts
    #[arg(long, value_name = "S", default_value_t = 42)]
    pub seed: u64,
    /// Print as JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// `chat`
#[derive(Args, Debug)]
pub struct ChatArgs {
    /// The run that made the model [default: the run that was worked on last]
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// The stage that made it: base, mid, sft, rl or dpo [default: sft, else mid, else base]
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<String>,
    /// Its checkpoint after this many steps of that stage [default: the latest]
    #[arg(long, value_name = "N")]
    pub step: Option<u64>,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Answer this message and end
    #[arg(short, long, value_name = "TEXT", conflicts_with = "jsonl")]
    pub prompt: Option<String>,
    /// Answer each line of stdin, a conversation as JSON, with a line of JSON
    #[arg(long)]
    pub jsonl: bool,
    /// System message; with --jsonl for conversations that have none of their own
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Tokens in an answer at most
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_tokens: usize,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.6, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Sample among this many likeliest tokens; 0: among all
    #[arg(long, value_name = "K", default_value_t = 50)]
    pub top_k: usize,
    /// Sample among the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f32>,
    /// Equal seeds draw equal answers
    #[arg(long, value_name = "S", default_value_t = 42)]
    pub seed: u64,
}

/// `serve`
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The run that made the model [default: the run that was worked on last]
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// The stage that made it: base, mid, sft, rl or dpo [default: sft, else mid, else base]
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<String>,
    /// Its checkpoint after this many steps of that stage [default: the latest]
    #[arg(long, value_name = "N")]
    pub step: Option<u64>,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Address to listen on; 0.0.0.0 or :: opens it to the network
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: String,
    /// Port to listen on; 0: any that is free
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub port: u16,
    /// Answer only to clients that send this key, as OpenAI's do
    #[arg(long, value_name = "KEY", env = "FERROCHAT_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// A name by which browsers may call this server, beside localhost and plain addresses; can be repeated
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Answers written at once; memory grows with it
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch: usize,
    /// Requests that may wait for their turn; further ones are refused with status 429
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_queue: usize,
}

/// `data …`
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the public data sets that have a name, and what of them is here
    List {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch public data sets: in parallel, going on where it stopped, every file checked
    #[command(after_help = "Examples:
  ferrochat data fetch climbmix --shards 240      the text of a d20 run
  ferrochat data fetch smoltalk mmlu gsm8k arc    conversations and tasks
  ferrochat data fetch mmlu:test humaneval core   what a model is measured on
  ferrochat data fetch gsm8k --mirror http://fileserver:8000/task_data

Interrupted anyhow, the same line goes on. HF_ENDPOINT names another hub, HF_TOKEN opens data sets with terms, HTTPS_PROXY \
and NO_PROXY are honoured, SSL_CERT_FILE names certificates to trust instead of the built-in ones.")]
    Fetch(FetchArgs),
    /// Say what a data set, file or folder holds: kind, records, columns, the first record
    #[command(after_help = "Examples:
  ferrochat data inspect gsm8k:test
  ferrochat data inspect shards/ --json")]
    Inspect(InspectDataArgs),
    /// Read files again: data sets against their checksums, others from end to end
    #[command(after_help = "Examples:
  ferrochat data verify                           everything that was fetched
  ferrochat data verify mmlu
  ferrochat data verify shards/")]
    Verify(VerifyArgs),
    /// The world: a small seeded universe that needs no files
    #[command(after_help = "Examples:
  ferrochat data world --docs --count 3
  ferrochat data world --conversations --world 2 --seed 7 --jsonl
  ferrochat data world --questions --split heldout --count 500 --jsonl > questions.jsonl")]
    World(WorldArgs),
    /// Conversations in which a model learns who it is: name, size, training and limits from a run's plan
    #[command(after_help = "Examples:
  ferrochat data identity --run d4 --count 1000 > identity.jsonl
  ferrochat data identity --run d4 --name Ada --persona \"a patient teacher\" > ada.jsonl
  ferrochat train sft --run d4 --conversations ada.jsonl*2 --identity-epochs 0")]
    Identity(IdentityArgs),
}

/// `data identity`
#[derive(Args, Debug)]
pub struct IdentityArgs {
    /// The run whose plan is told [default: the run that was worked on last]
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// What the model calls itself [default: as the run says]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What it says it is
    #[arg(long, value_name = "TEXT")]
    pub persona: Option<String>,
    /// Which draws
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How many conversations
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub count: u64,
}

/// `data world`
#[derive(Args, Debug)]
pub struct WorldArgs {
    /// What to print.
    #[command(flatten)]
    pub what: WorldWhat,
    /// train: what models learn from; heldout: what they are measured on
    #[arg(long, value_name = "SPLIT", default_value = "train")]
    pub split: String,
    /// Which universe
    #[arg(long, value_name = "W", default_value_t = 1)]
    pub world: u64,
    /// Its size: small, medium or full
    #[arg(long, value_name = "SIZE", default_value = "small")]
    pub size: String,
    /// Which draws from it
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub count: u64,
    /// Print as JSON, one object per line
    #[arg(long)]
    pub jsonl: bool,
}

/// What the world is printed as.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one flag each, of which exactly one is given"
)]
pub struct WorldWhat {
    /// Documents, for pretraining
    #[arg(long)]
    pub docs: bool,
    /// Conversations, for mid-training and fine-tuning
    #[arg(long)]
    pub conversations: bool,
    /// Preference pairs, for DPO
    #[arg(long)]
    pub pairs: bool,
    /// Questions with answers that can be checked
    #[arg(long)]
    pub questions: bool,
}

/// `eval …`
#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Bits per byte and perplexity on the validation part of the data
    #[command(after_help = "Example:
  ferrochat eval bpb --run spark --eval-tokens 100000 --json")]
    Bpb(BpbArgs),
    /// The world's questions, in phrasings and combinations that were never learned; GSM8K, ARC, MMLU
    #[command(after_help = "Examples:
  ferrochat eval tasks --run spark
  ferrochat eval tasks --run d4 --tasks gsm8k,arc-easy,mmlu --tasks-dir tasks/ --count 200
  ferrochat eval tasks --run spark --stage rl --tasks word_problem --count 1000 --json")]
    Tasks(TasksArgs),
    /// CORE: 22 tasks of continuing text, for base models (DataComp-LM)
    #[command(after_help = "Examples:
  ferrochat eval core --run d12 --bundle eval_bundle/
  ferrochat eval core --run d12 --max-per-task 500 --csv d12.csv --compare openai-community-gpt2.csv
  ferrochat eval core --bundle eval_bundle/ --max-per-task 20 --dump-prompts prompts.jsonl

Items come in the reference's order and the examples of each are drawn from the items that are kept. A table is written \
in the reference's layout.")]
    Core(crate::core_eval::CoreArgs),
}

/// `eval tasks`
#[derive(Args, Debug)]
pub struct TasksArgs {
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Which: the world's facts, multiple_choice, arithmetic, word_problem, spelling, identity, refusal; or gsm8k,
    /// arc-easy, arc-challenge, mmlu [default: those the run learned from, else all of the world's]
    #[arg(long, value_name = "LIST")]
    pub tasks: Option<String>,
    /// Folder of the other tasks' files [default: as when the run learned from them]
    #[arg(long, value_name = "DIR")]
    pub tasks_dir: Option<PathBuf>,
    /// Questions of each
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub count: usize,
    /// Which questions; 1 are those asked after each stage
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Tokens in an answer at most
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f32,
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
