//! `serve`: the page and the API.

use clap::Args;

use super::{PythonArgs, TalkArgs};

/// `serve`
#[derive(Args, Debug)]
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
  # a base model (--stage base) goes on with a text:
  print(client.completions.create(model=model, prompt=\"The baker\", max_tokens=64).choices[0].text)

n, stop, seed, top_p, logprobs and usage in streams are OpenAI's, top_k is taken too; what would change an answer and is
not there is refused.
Beside them: /v1/models, /health, and counters for Prometheus at /metrics.
Ctrl-C or SIGTERM ends it: answers in progress get five seconds. The exit code is then 0."
)]
pub struct ServeArgs {
    /// Model.
    #[command(flatten)]
    pub model: TalkArgs,
    /// Address to listen on; 0.0.0.0 or :: opens it to the network
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: String,
    /// Port to listen on; 0: any that is free
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub port: u16,
    /// Answer under /v1/ only to clients that send this key, as OpenAI's do; the page, /health and /metrics need none
    #[arg(long, value_name = "KEY", env = "FERROCHAT_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// A name by which browsers, or a Prometheus, may call this server, beside localhost and plain addresses; can be
    /// repeated
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Answers written at once; memory grows with it
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch: usize,
    /// Requests that may wait for their turn; further ones are refused with status 429
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_queue: usize,
    /// Tools.
    #[command(flatten)]
    pub python: PythonArgs,
}
