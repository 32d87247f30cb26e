//! `chat`: a talk in the terminal, or over stdin and stdout.

use clap::Args;

use super::{PythonArgs, TalkArgs};

/// `chat`
#[derive(Args, Debug)]
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
pub struct ChatArgs {
    /// Model.
    #[command(flatten)]
    pub model: TalkArgs,
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
    /// Tools.
    #[command(flatten)]
    pub python: PythonArgs,
}
