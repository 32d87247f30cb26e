//! `data …`: public data sets, files of one's own, the world, identity.

use clap::{Args, Subcommand};

use crate::data_sets::{FetchArgs, InspectDataArgs, VerifyArgs};

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
  ferrochat data fetch gsm8k --mirror /mnt/usb/task_data

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
