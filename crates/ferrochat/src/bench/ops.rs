//! `bench ops`: every operation of a training step, forward and backward, where it stands: with the operands and the
//! caches as training has them. Below them, attention over a KV cache.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;

use super::cache;
use super::ceilings::Ceilings;
use super::lines::Lines;
use super::shape::{self, TRAINING};
use super::timing::Timing;
use super::tokens::Tokens;
use super::trainer::Trainer;
use crate::cli::BenchOpsArgs;
use crate::device;
use crate::errors::refuse;

/// `bench ops`
///
/// # Errors
/// A flag that cannot be, or stdout cannot be written to.
pub fn command(args: &BenchOpsArgs) -> Result<()> {
    if args.samples == 0 || args.device_batch_size == 0 {
        refuse!("--samples and --device-batch-size must be at least 1");
    }
    let (arch, dials, config) = shape::model(&args.model, TRAINING)?;
    let device = device::open(&args.machine)?;
    let tokens = Tokens::random(config.vocab_size, 1);
    let all = args.samples + 1;
    let mut trainer = Trainer::new(&device, (arch, &dials, &config), args.device_batch_size, all, tokens)?;
    let mut ceilings = Ceilings::new(&device);
    // The first step takes memory from the system and the second has its gradients from the start.
    trainer.step(true);
    let mut timings: BTreeMap<&str, (u64, Timing)> = BTreeMap::new();
    let mut step = Timing::default();
    for _ in 0..args.samples {
        let look = ceilings.look();
        device.start_profile();
        let seconds = trainer.step(true).seconds;
        let uses = device.take_profile();
        step.flops = uses.iter().map(|used| used.cost.flops).sum();
        step.bytes = uses.iter().map(|used| used.cost.bytes).sum();
        step.push(seconds, look);
        for used in uses {
            let (_, timing) = timings
                .entry(used.name)
                .or_insert_with(|| (used.calls, Timing::new(used.cost.flops, used.cost.bytes)));
            timing.push(used.seconds, look);
        }
    }
    let mut lines = Lines::new("ops", args.json);
    let about = |calls: u64| {
        json!({
            "device": device.name(), "dtype": device.compute_dtype().name(), "calls": calls,
            "model": shape::describe(arch, &config), "rows": trainer.tokens_per_step(),
        })
    };
    let mut sorted: Vec<_> = timings.iter().collect();
    let seconds = |timing: &Timing| timing.seconds.median().unwrap_or(0.0);
    sorted.sort_by(|a, b| seconds(&b.1.1).total_cmp(&seconds(&a.1.1)));
    for (name, (calls, timing)) in sorted {
        let shown = if lines.is_json() {
            (*name).to_owned()
        } else {
            format!("{name} ×{calls}")
        };
        lines.push(&shown, about(*calls), timing)?;
    }
    lines.push("step", about(1), &step)?;
    cache::lines((&device, &config), args.samples, &mut ceilings, &mut lines)?;
    lines.finish(&format!(
        "{}\n{}; {} tokens per step; all calls of a step together\n",
        device.name(),
        shape::sentence(&config),
        trainer.tokens_per_step()
    ))
}
