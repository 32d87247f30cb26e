//! `sample`: a base model continues a text.

use clap::Args;

use super::TalkArgs;

/// `sample`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ferrochat sample --run spark -p \"The baker\"
  ferrochat sample --run spark --temperature 0 --max-tokens 100 --json")]
pub struct SampleArgs {
    /// Model.
    #[command(flatten)]
    pub model: TalkArgs,
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
