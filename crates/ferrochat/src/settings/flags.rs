//! What may be typed of a base model and its training. A flag that is absent says nothing: its value is the preset's or the
//! usual one.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::layers::finite;
use crate::data_sets;

/// The flags of model and training. Names and meanings are the reference's where it has them.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[command(next_help_heading = "Model and training")]
pub struct Flags {
    /// A named set of settings: spark, nanogpt-char, d12, d20, d24, d26 or d32; other flags change it
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Text file, folder of text, JSONL or Parquet shards [default: the world, made on the spot]
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Without --data: which invented universe to learn
    #[arg(long, value_name = "W", conflicts_with = "data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world: Option<u64>,
    /// Without --data: how large it is: small, medium or full
    #[arg(long, value_name = "SIZE", conflicts_with = "data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world_size: Option<String>,
    /// What the model calls itself [default: the preset's name, else the run's]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it says it is, as in \"a small and cheerful language model\"
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persona: Option<String>,
    /// Field of JSONL objects or column of Parquet shards that holds the text
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
    /// End where a file of --data cannot be read, instead of naming it and going on without it
    #[arg(long, num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// Model of 2025-10 or 2026-07
    #[arg(long, value_name = "DATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Layers; width, heads, batch, rates and steps follow from it
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// Width per layer: width = depth × this, rounded up to whole heads
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<usize>,
    /// Channels of a head
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Width, instead of depth × aspect ratio
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_embd: Option<usize>,
    /// Key and value heads [default: as many as heads]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_kv_head: Option<usize>,
    /// Context length in tokens
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seq_len: Option<usize>,
    /// Attention window of each layer, tiled: L is full, S a quarter of the context
    #[arg(long, value_name = "PATTERN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_pattern: Option<String>,
    /// Ids of the tokenizer, special tokens included (BPE only)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocab_size: Option<usize>,
    /// Kind of tokenizer: bpe or char
    #[arg(long, value_name = "KIND")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Optimizer steps [-1: from --target-param-data-ratio]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_iterations: Option<i64>,
    /// Training tokens per parameter
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_param_data_ratio: Option<f64>,
    /// Rows per forward and backward pass; smaller needs less memory
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_batch_size: Option<usize>,
    /// Tokens per optimizer step [-1: from the number of training tokens]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_batch_size: Option<i64>,
    /// Learning rate of the embedding
    #[arg(long, value_name = "LR", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_lr: Option<f64>,
    /// Learning rate of the head
    #[arg(long, value_name = "LR", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unembedding_lr: Option<f64>,
    /// Learning rate of the matrices (Muon)
    #[arg(long, value_name = "LR", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
    /// Learning rate of the scalars
    #[arg(long, value_name = "LR", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scalar_lr: Option<f64>,
    /// Weight decay of the matrices (Muon)
    #[arg(long, value_name = "WD", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Steps over which the rates rise
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<usize>,
    /// Steps over which Muon's momentum rises
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum_warmup_steps: Option<usize>,
    /// Part of the steps over which the rates fall
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmdown_ratio: Option<f64>,
    /// Rates at the end, as a part of the full ones
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = finite)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_lr_frac: Option<f64>,
    /// Measure bits per byte on validation data every N steps
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<i64>,
    /// Tokens to measure on [default: a twentieth of the training tokens, 42 million at most]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_tokens: Option<u64>,
    /// Questions of each kind to ask after each stage of a run on the world; 0: none
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exam_questions: Option<usize>,
    /// Let the model write every N steps
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_every: Option<i64>,
    /// Keep a checkpoint every N steps (one is made every five minutes and at the end in any case)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_every: Option<i64>,
    /// Element type of activations: bf16 or f32 [default: FERROCHAT_DTYPE, else bf16 where the hardware has it]
    #[arg(long, value_name = "TYPE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Seed of the starting weights and of random windows
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Flags {
    /// Data are remembered by a path that means the same from any folder.
    pub(super) fn with_absolute_data(&self) -> Result<Flags> {
        let mut flags = self.clone();
        if let Some(path) = &self.data {
            flags.data = Some(data_sets::resolve("data", path)?);
        }
        Ok(flags)
    }
}
