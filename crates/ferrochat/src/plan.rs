//! The plan: everything that follows from the settings, as one value, before any work. Refusals,
//! `--dry-run`, the ETA and the report all speak from it. It reads no text and writes no file.

use anyhow::Result;
use ferrochat_data::Description;
use ferrochat_model::{Arch, Dials, Facts, GptConfig, Horizon, HorizonRequest, Rates, Schedule, StepCost};
use ferrochat_tensor::Device;
use serde::Serialize;

use crate::checkpoints::disk_bytes;
use crate::errors::{refuse, usage};
use crate::settings::Settings;

/// Characters per token of the reference's tokenizers on its data.
const CHARS_PER_TOKEN: f64 = 4.8;
/// Characters in one shard of the reference's data sets.
const CHARS_PER_SHARD: f64 = 250e6;
/// Bytes of a shard as it is downloaded.
const SHARD_BYTES: u64 = 100_000_000;
/// Best fit cuts documents to fill rows: about this many tokens are read for each that is trained on.
const BEST_FIT_READS: f64 = 1.35;
/// Validation tokens of an evaluation in the reference.
const MOST_EVAL_TOKENS: u64 = 80 << 19;
/// Spare shards, as the reference rounds "for safety".
const SPARE_SHARDS: f64 = 1.1;

/// What training will be.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Name of the run.
    pub run: String,
    /// Preset, if one was named.
    pub preset: Option<String>,
    /// Architecture.
    pub arch: Arch,
    /// Sizes and features of the model.
    pub model: GptConfig,
    /// Parameters by group.
    pub parameters: Parameters,
    /// Rows per forward and backward pass.
    pub device_batch_size: usize,
    /// Tokens per optimizer step.
    pub total_batch_size: usize,
    /// Forward and backward passes per optimizer step.
    pub grad_accum_steps: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Training tokens.
    pub tokens: u64,
    /// Validation tokens of each evaluation.
    pub eval_tokens: u64,
    /// Evaluations in the run.
    pub evaluations: u64,
    /// Tokens per parameter that the horizon counts.
    pub tokens_per_parameter: f64,
    /// To train on one token, by the reference's formula.
    pub flops_per_token: f64,
    /// For the whole run.
    pub total_flops: f64,
    /// Factor on all learning rates for this batch.
    pub lr_scale: f64,
    /// Muon's weight decay at the first step.
    pub weight_decay: f64,
    /// Where the text comes from.
    pub data: DataPlan,
    /// Most bytes of memory that tensors need at a time.
    pub memory_bytes: u64,
    /// One checkpoint.
    pub checkpoint_bytes: u64,
    /// Disk space for all of them that are there at a time.
    pub disk_bytes: u64,
    /// How long it will take, where a rate is known.
    pub time: Option<TimePlan>,
    #[serde(skip)]
    horizon: Horizon,
}

/// Parameters by group.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Parameters {
    /// Token embedding.
    pub embedding: usize,
    /// Value embeddings.
    pub value_embeddings: usize,
    /// Head.
    pub head: usize,
    /// Matrices of the blocks.
    pub matrices: usize,
    /// Scalars and their gates.
    pub scalars: usize,
    /// All.
    pub total: usize,
}

/// The text that a run needs.
#[derive(Clone, Debug, Serialize)]
pub struct DataPlan {
    /// What the user gave; none if only a preset's data set is known.
    pub source: Option<Description>,
    /// Data set of the reference that fits, for real runs.
    pub dataset: Option<&'static str>,
    /// Its shards that the training tokens need.
    pub shards: Option<u64>,
    /// Their size when downloaded.
    pub shard_bytes: Option<u64>,
    /// How the number of shards was found.
    pub shards_how: Option<String>,
}

/// Time and money.
#[derive(Clone, Debug, Serialize)]
pub struct TimePlan {
    /// Floating-point operations per second in training.
    pub flops_per_second: f64,
    /// Where that rate comes from.
    pub source: String,
    /// Training and evaluations.
    pub minutes: f64,
    /// Dollars, where a price is known.
    pub cost: Option<f64>,
}

impl Plan {
    /// Plans a run with a tokenizer of `vocab_size` ids.
    ///
    /// # Errors
    /// Settings that cannot work together, as usage.
    pub fn new(
        run: &str,
        settings: &Settings,
        vocab_size: usize,
        device: &Device,
        source: Option<Description>,
    ) -> Result<Plan> {
        let arch: Arch = settings.arch.parse().map_err(usage)?;
        let dials = dials(settings, vocab_size);
        let model = GptConfig::from_depth(arch, settings.depth, &dials);
        refuse_odd_width(settings, arch)?;
        model.validate().map_err(usage)?;
        let facts = Facts::of(&model).map_err(usage)?;
        let horizon = horizon(settings, arch, &model, &dials)?;
        if horizon.steps == 0 {
            refuse!(
                "{} training tokens are less than one batch of {}; give a smaller --total-batch-size or a larger --target-param-data-ratio",
                horizon.target_tokens,
                horizon.batch_tokens
            );
        }
        let micro_batch = settings.device_batch_size * settings.max_seq_len;
        let grad_accum_steps = horizon.batch_tokens / micro_batch;
        let step = StepCost::dry_run(device, &model, settings.device_batch_size, grad_accum_steps).map_err(usage)?;
        let counts = facts.parameters;
        let tokens = horizon.tokens() as u64;
        let checkpoint_bytes = checkpoint_bytes(&facts);
        Ok(Plan {
            run: run.to_owned(),
            preset: settings.preset.clone(),
            arch,
            parameters: Parameters {
                embedding: counts.wte,
                value_embeddings: counts.value_embeds,
                head: counts.lm_head,
                matrices: counts.matrices,
                scalars: counts.scalars,
                total: counts.total,
            },
            device_batch_size: settings.device_batch_size,
            total_batch_size: horizon.batch_tokens,
            grad_accum_steps,
            steps: horizon.steps,
            tokens,
            eval_tokens: settings
                .eval_tokens
                .unwrap_or((tokens / 20).clamp(1 << 14, MOST_EVAL_TOKENS)),
            evaluations: 1 + u64::try_from(settings.eval_every).map_or(0, |every| horizon.steps as u64 / every.max(1)),
            tokens_per_parameter: tokens as f64 / horizon.scaling_parameters as f64,
            flops_per_token: facts.flops_per_token,
            total_flops: facts.flops_per_token * tokens as f64,
            lr_scale: horizon.lr_scale,
            weight_decay: weight_decay(settings, &horizon),
            data: DataPlan::new(source, arch, settings, tokens),
            memory_bytes: step.peak_bytes as u64,
            checkpoint_bytes,
            disk_bytes: disk_bytes(checkpoint_bytes, horizon.steps, settings.save_every),
            time: None,
            model,
            horizon,
        })
    }

    /// Adds how long it takes at a rate.
    pub fn set_rate(&mut self, flops_per_second: f64, source: String, price_per_hour: Option<f64>) {
        // A forward pass is a third of a training pass.
        let evaluated = (self.evaluations * self.eval_tokens) as f64 / 3.0;
        let minutes = (self.total_flops + evaluated * self.flops_per_token) / flops_per_second / 60.0;
        self.time = Some(TimePlan {
            flops_per_second,
            source,
            minutes,
            cost: price_per_hour.map(|price| price * minutes / 60.0),
        });
    }

    /// The optimizer's rates.
    pub fn rates(&self, settings: &Settings) -> Rates {
        Rates {
            unembedding: settings.unembedding_lr,
            embedding: settings.embedding_lr,
            scalar: settings.scalar_lr,
            matrix: settings.matrix_lr,
            ..Rates::default()
        }
        .scaled(self.horizon.lr_scale)
    }

    /// How rates, momentum and decay change over the run.
    pub fn schedule(&self, settings: &Settings) -> Schedule {
        Schedule {
            warmup_steps: settings.warmup_steps,
            warmdown_ratio: settings.warmdown_ratio,
            final_lr_frac: settings.final_lr_frac,
            momentum_warmup_steps: settings.momentum_warmup_steps,
            ..Schedule::pretraining(self.steps, self.weight_decay)
        }
    }

    /// Refuses a run that the memory of the device cannot hold.
    ///
    /// # Errors
    /// One sentence, as usage.
    pub fn refuse_too_much_memory(&self, device: &Device) -> Result<()> {
        let Some(available) = available_memory(device) else {
            return Ok(());
        };
        if self.memory_bytes > available {
            refuse!(
                "training needs {} of memory and {} are available; a smaller --device-batch-size (now {}), --max-seq-len or --depth needs less",
                crate::format::bytes(self.memory_bytes),
                crate::format::bytes(available),
                self.device_batch_size
            );
        }
        Ok(())
    }
}

/// Bytes that tensors of a device may still take: its own memory, or the machine's.
pub fn available_memory(device: &Device) -> Option<u64> {
    let own = device.available_bytes().map(|bytes| bytes as u64);
    own.or_else(crate::machine::available_memory)
}

fn dials(settings: &Settings, vocab_size: usize) -> Dials {
    Dials {
        sequence_len: settings.max_seq_len,
        vocab_size,
        head_dim: settings.head_dim,
        aspect_ratio: settings.aspect_ratio,
        window_pattern: settings.window_pattern.clone(),
        n_kv_head: settings.n_kv_head,
        n_embd: settings.n_embd,
    }
}

/// A width given by hand must be whole heads of the size asked for, not of a size nearby.
fn refuse_odd_width(settings: &Settings, arch: Arch) -> Result<()> {
    let head = settings.head_dim;
    let width = match (settings.n_embd, arch) {
        (Some(width), _) => width,
        (None, Arch::V2025_10) => settings.depth * settings.aspect_ratio,
        (None, Arch::V2026_07) => return Ok(()),
    };
    if !width.is_multiple_of(head) && (settings.n_embd.is_some() || !width.is_multiple_of(width.div_ceil(head))) {
        let below = (width / head * head).max(head);
        refuse!(
            "a width of {width} is not divisible into heads of {head} channels; give --n-embd {below} or {}, or another --head-dim",
            width.div_ceil(head) * head
        );
    }
    Ok(())
}

fn horizon(settings: &Settings, arch: Arch, model: &GptConfig, dials: &Dials) -> Result<Horizon> {
    let micro_batch = settings.device_batch_size * settings.max_seq_len;
    let mut request = HorizonRequest {
        tokens_per_parameter: settings.target_param_data_ratio,
        batch_tokens: usize::try_from(settings.total_batch_size).ok(),
        steps: usize::try_from(settings.num_iterations).ok(),
    };
    if let Some(total) = request.batch_tokens
        && !total.is_multiple_of(micro_batch)
    {
        let nearest = ((total as f64 / micro_batch as f64).round() as usize).max(1) * micro_batch;
        refuse!(
            "--total-batch-size {total} is not divisible by --device-batch-size {} × --max-seq-len {} = {micro_batch}; the nearest right value is {nearest}",
            settings.device_batch_size,
            settings.max_seq_len
        );
    }
    let horizon = Horizon::derive(arch, model, dials, &request).map_err(usage)?;
    if horizon.batch_tokens.is_multiple_of(micro_batch) {
        return Ok(horizon);
    }
    // The formula's batch is a power of two; ours must hold whole micro-batches.
    request.batch_tokens = Some(horizon.batch_tokens.next_multiple_of(micro_batch));
    Horizon::derive(arch, model, dials, &request).map_err(usage)
}

/// The formula's decay, moved as far as the user moved its constant.
fn weight_decay(settings: &Settings, horizon: &Horizon) -> f64 {
    horizon.weight_decay * settings.weight_decay / Settings::default().weight_decay
}

/// Parameters and optimizer state in f32: two moments under AdamW, one momentum under Muon.
fn checkpoint_bytes(facts: &Facts) -> u64 {
    let counts = facts.parameters;
    let adamw = (counts.total - counts.matrices) as u64;
    4 * (counts.total as u64 + 2 * adamw + counts.matrices as u64) + (1 << 20)
}

impl DataPlan {
    fn new(source: Option<Description>, arch: Arch, settings: &Settings, tokens: u64) -> DataPlan {
        let real = settings.preset.as_deref().is_some_and(|name| name.starts_with('d'));
        if !real {
            return DataPlan {
                source,
                dataset: None,
                shards: None,
                shard_bytes: None,
                shards_how: None,
            };
        }
        let (dataset, most, reads) = match arch {
            Arch::V2025_10 => ("karpathy/fineweb-edu-100b-shuffle", 1823, 1.0),
            Arch::V2026_07 => ("karpathy/climbmix-400b-shuffle", 6543, BEST_FIT_READS),
        };
        let least = tokens as f64 * CHARS_PER_TOKEN / CHARS_PER_SHARD * reads;
        let shards = ((least * SPARE_SHARDS / 10.0).ceil() as u64 * 10).min(most);
        let cut = if reads > 1.0 {
            format!(" × {reads} read per token kept by best fit")
        } else {
            String::new()
        };
        DataPlan {
            source,
            dataset: Some(dataset),
            shards: Some(shards),
            shard_bytes: Some(shards * SHARD_BYTES),
            shards_how: Some(format!(
                "{} tokens × {CHARS_PER_TOKEN} characters{cut} / {} characters per shard = {:.0}, and a tenth to spare, in tens",
                crate::format::short(tokens as f64),
                crate::format::short(CHARS_PER_SHARD),
                least.ceil()
            )),
        }
    }
}
