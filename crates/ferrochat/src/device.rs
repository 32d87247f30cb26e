//! From machine flags to a device, and how fast it trains. Knows devices and models as wholes only.

use std::time::{Duration, Instant};

use anyhow::Result;
use ferrochat_model::{Gpt, GptConfig, Optimizer, Pace, Rates};
use ferrochat_tensor::{CpuOptions, DType, Device, Graph};

use crate::cli::MachineArgs;
use crate::errors::{refuse, usage};

/// The device that the flags ask for.
///
/// # Errors
/// An element type or kernel that does not exist or this machine lacks.
pub fn open(args: &MachineArgs) -> Result<Device> {
    let dtype = match args.dtype.as_deref() {
        None => None,
        Some("bf16" | "bfloat16") => Some(DType::Bf16),
        Some("f32" | "fp32" | "float32") => Some(DType::F32),
        Some(other) => refuse!("--dtype {other:?} is unknown; it must be bf16 or f32"),
    };
    if args.threads.is_some_and(|threads| threads == 0 || threads > 4096) {
        refuse!("--threads must be from 1 to 4096");
    }
    let options = CpuOptions {
        threads: args.threads,
        dtype,
        kernel: None,
    };
    Device::cpu(&options).map_err(usage)
}

/// The element type of a device as `--dtype` takes it.
pub fn dtype_name(device: &Device) -> &'static str {
    match device.compute_dtype() {
        DType::Bf16 => "bf16",
        _ => "f32",
    }
}

/// Time that measuring may take.
const ENOUGH: Duration = Duration::from_millis(400);

/// Floating-point operations per second (by the model's own formula) in training a model like this
/// one, shrunk where a pass of the whole would take too long.
///
/// # Errors
/// The model cannot exist.
pub fn measure_rate(device: &Device, model: &GptConfig, batch: usize) -> Result<f64> {
    let config = shrunk(model);
    let batch = batch.clamp(1, 2048_usize.div_ceil(config.sequence_len));
    let gpt = Gpt::new(device, &config).map_err(usage)?;
    gpt.initialize(0);
    let mut optimizer = Optimizer::new(&gpt, &Rates::default());
    let pace = Pace {
        lr_multiplier: 0.0,
        momentum: 0.9,
        weight_decay: 0.0,
    };
    let graph = Graph::training(device);
    let tokens = batch * config.sequence_len;
    let shape = [batch, config.sequence_len];
    let ids: Vec<i32> = (0..tokens).map(|i| (i * 7919 % config.vocab_size) as i32).collect();
    let ids = device.indices(&ids, shape);
    let weights = device.master(shape);
    weights.fill(1.0 / tokens as f32);
    let mut pass = || {
        let begun = Instant::now();
        let nll = gpt.loss(&graph, &ids, &ids, &weights);
        graph.backward();
        optimizer.step(&pace);
        // Reading the loss waits for all work before it.
        nll.loss.download();
        begun.elapsed()
    };
    // The first pass warms caches and takes memory from the system.
    pass();
    let begun = Instant::now();
    let mut best = pass();
    while begun.elapsed() < ENOUGH {
        best = best.min(pass());
    }
    let facts = ferrochat_model::Facts::of(&config).map_err(usage)?;
    Ok(facts.flops_per_token * tokens as f64 / best.as_secs_f64())
}

/// The same shape of work at a size that takes a moment.
fn shrunk(model: &GptConfig) -> GptConfig {
    let head = model.head_dim();
    let heads = (512 / head.max(1)).clamp(1, model.n_head);
    let same_heads = model.n_kv_head == model.n_head || !heads.is_multiple_of(model.n_kv_head);
    GptConfig {
        sequence_len: model.sequence_len.min(512),
        vocab_size: model.vocab_size.min(4096),
        n_layer: model.n_layer.min(4),
        n_head: heads,
        n_kv_head: if same_heads { heads } else { model.n_kv_head },
        n_embd: heads * head,
        ..model.clone()
    }
}
