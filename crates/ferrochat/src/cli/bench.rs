//! `bench …`: how fast this machine computes.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::MachineArgs;

/// `bench …`
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Matrix products in every shape that training and decoding use, and large squares
    Gemm(BenchGemmArgs),
    /// Every operation of a training step, forward and backward
    Ops(BenchOpsArgs),
    /// Whole training steps: tokens per second, memory, where the time goes
    Train(BenchTrainArgs),
    /// Reading a prompt and writing tokens, for several batch sizes
    Decode(BenchDecodeArgs),
    /// From files to packed batches: reader, tokenizer and packer
    Loader(BenchLoaderArgs),
}

/// The model that is measured.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model")]
pub struct BenchModelArgs {
    /// Model of 2025-10 or 2026-07
    #[arg(long, value_name = "DATE", default_value = "2026-07")]
    pub arch: String,
    /// Layers [default: 6; decode: 12]
    #[arg(long, value_name = "N")]
    pub depth: Option<usize>,
    /// Width per layer: width = depth × this, rounded up to whole heads
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub aspect_ratio: usize,
    /// Channels per attention head [default: 64; decode: 128]
    #[arg(long, value_name = "N")]
    pub head_dim: Option<usize>,
    /// Attention windows, S short and L long, tiled over the layers [default: L; decode: the architecture's]
    #[arg(long, value_name = "LETTERS")]
    pub window_pattern: Option<String>,
    /// Context length in tokens [default: 512; decode: 2048]
    #[arg(long, value_name = "N")]
    pub max_seq_len: Option<usize>,
    /// Tokens of the vocabulary
    #[arg(long, value_name = "N", default_value_t = 32768)]
    pub vocab_size: usize,
}

/// What `bench gemm` can be confined to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GemmPart {
    /// Products with weights, forward and both gradients
    Training,
    /// Products of the optimizer
    Muon,
    /// 1024³, 2048³ and 4096³
    Square,
    /// Products with weights for 1 to 64 rows
    Decoding,
}

/// `bench gemm`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ferrochat bench gemm                            all shapes, bf16 (where the hardware has it) and f32
  ferrochat bench gemm --only square --dtype f32
  ferrochat bench gemm --depth 12 --rows 8192 --json > gemm.jsonl
  FERROCHAT_KERNEL=avx2 ferrochat bench gemm --only training

Weights are packed before, as after an optimizer step. Each line has the median, its spread and the ceiling that was \
measured between the repetitions: the multiply loop alone, or reading memory, whichever bounds the product.")]
pub struct BenchGemmArgs {
    /// Model.
    #[command(flatten)]
    pub model: BenchModelArgs,
    /// Tokens in a batch
    #[arg(long, value_name = "N", default_value_t = 16384)]
    pub rows: usize,
    /// Only these products (may be repeated)
    #[arg(long, value_name = "PART")]
    pub only: Vec<GemmPart>,
    /// Repetitions
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub samples: usize,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Print a line of JSON per product
    #[arg(long)]
    pub json: bool,
}

/// `bench ops`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ferrochat bench ops
  ferrochat bench ops --depth 4 --device-batch-size 8 --json > ops.jsonl

Times are those of all calls in a training step together. What an operation must do is counted in operations and in bytes \
if every operand travels from memory once; the percentage is of the greater of the two least times.")]
pub struct BenchOpsArgs {
    /// Model.
    #[command(flatten)]
    pub model: BenchModelArgs,
    /// Rows of a batch
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub device_batch_size: usize,
    /// Steps that are measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub samples: usize,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Print a line of JSON per operation
    #[arg(long)]
    pub json: bool,
}

/// `bench train`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ferrochat bench train
  ferrochat bench train --depth 6 --head-dim 64 --window-pattern L --max-seq-len 512 --vocab-size 32768 \\
      --device-batch-size 32 --json
  ferrochat bench train --depth 12 --device-batch-size 4 --steps 3 --threads 8
  ferrochat bench train --ids tokens.u16 --warmup 0 --steps 50 --losses --json | tail -1

With --json there is a line per step, and the last line has tokens_per_second, flops_per_second (counted as nanochat \
does), probe_flops_per_second (the multiply loop alone, looked at between the steps), peak_rss_bytes, and the share of \
each operation in the time.")]
pub struct BenchTrainArgs {
    /// Model.
    #[command(flatten)]
    pub model: BenchModelArgs,
    /// Rows of a batch
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub device_batch_size: usize,
    /// Steps that are measured
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub steps: usize,
    /// Steps before them
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub warmup: usize,
    /// Train on the ids of this file, 2 bytes each, lower byte first, instead of random ones
    #[arg(long, value_name = "FILE")]
    pub ids: Option<PathBuf>,
    /// Which random ids
    #[arg(long, value_name = "S", default_value_t = 1, conflicts_with = "ids")]
    pub seed: u64,
    /// Also print the loss before each step
    #[arg(long)]
    pub losses: bool,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Print a line of JSON per step, then one with everything
    #[arg(long)]
    pub json: bool,
}

/// `bench decode`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ferrochat bench decode
  ferrochat bench decode --depth 6 --head-dim 64 --batch 1,16 --json
  ferrochat bench decode --batch 1 --prompt-tokens 2000 --tokens 8 --dtype f32

Bytes per token are those of all weights and of the keys and values that are attended to. Of a prompt only what its last \
token's logits need is computed, and only that is counted: the head and most of the last layer see one position.")]
pub struct BenchDecodeArgs {
    /// Model.
    #[command(flatten)]
    pub model: BenchModelArgs,
    /// Rows that are written at a time
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,8,64")]
    pub batch: Vec<usize>,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub prompt_tokens: usize,
    /// Tokens per row in each repetition
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub tokens: usize,
    /// Repetitions
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub samples: usize,
    /// Machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Print a line of JSON per batch size
    #[arg(long)]
    pub json: bool,
}

/// `bench loader`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ferrochat bench loader --data shards/ --tokenizer ranks.tiktoken
  ferrochat bench loader --data shards/ --run d12 --threads 2 --json

Rates are of tokens that are read; shares are of processor time.")]
pub struct BenchLoaderArgs {
    /// Text file, folder of text, JSONL or Parquet shards
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Tokenizer.
    #[command(flatten)]
    pub tokenizer: crate::tokenizer::Chosen,
    /// Field of JSONL objects or column of Parquet shards that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub text_field: String,
    /// Tokenising threads; one more reads and one packs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Rows of a batch
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub device_batch_size: usize,
    /// Tokens of a row
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub max_seq_len: usize,
    /// Text to read, in MiB
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub megabytes: usize,
    /// Repetitions
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub samples: usize,
    /// Print a line of JSON
    #[arg(long)]
    pub json: bool,
}
