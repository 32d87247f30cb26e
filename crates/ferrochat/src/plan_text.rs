//! The plan as people read it. Knows the plan's fields and how to lay them out.

use crate::format::{bytes, duration, flop_rate, push, short, thousands};
use crate::plan::Plan;

/// The table of `--dry-run`; `available` is what memory there is, in bytes.
pub fn table(plan: &Plan, available: Option<u64>) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        push(&mut text, format_args!("{name:<16}{value}\n"));
    };
    let (model, counts) = (&plan.model, &plan.parameters);
    row("run", plan.run.clone());
    if let Some(preset) = &plan.preset {
        row("preset", preset.clone());
    }
    row("architecture", plan.arch.to_string());
    row(
        "model",
        format!(
            "{} layers, width {}, {} heads of {}, {} key-value heads, windows {}",
            model.n_layer,
            model.n_embd,
            model.n_head,
            model.head_dim(),
            model.n_kv_head,
            model.window_pattern
        ),
    );
    row(
        "context",
        format!(
            "{} tokens, vocabulary {}",
            thousands(model.sequence_len as u64),
            thousands(model.vocab_size as u64)
        ),
    );
    row(
        "parameters",
        format!("{} ({})", thousands(counts.total as u64), short(counts.total as f64)),
    );
    for (name, count) in [
        ("embedding", counts.embedding),
        ("value embeds", counts.value_embeddings),
        ("matrices", counts.matrices),
        ("head", counts.head),
        ("scalars", counts.scalars),
    ] {
        if count > 0 {
            row(&format!("  {name}"), thousands(count as u64));
        }
    }
    row(
        "batch",
        format!(
            "{} tokens = {} rows × {} tokens × {} passes",
            thousands(plan.total_batch_size as u64),
            plan.device_batch_size,
            model.sequence_len,
            plan.grad_accum_steps
        ),
    );
    row("steps", thousands(plan.steps as u64));
    row(
        "tokens",
        format!(
            "{} ({}), {:.1} per parameter",
            thousands(plan.tokens),
            short(plan.tokens as f64),
            plan.tokens_per_parameter
        ),
    );
    row(
        "arithmetic",
        format!("{:.2e} FLOPs, {:.2e} per token", plan.total_flops, plan.flops_per_token),
    );
    row(
        "evaluations",
        format!("{} on {} tokens each", plan.evaluations, thousands(plan.eval_tokens)),
    );
    if let Some(source) = &plan.data.source {
        row("data", source.to_string());
    }
    if let (Some(dataset), Some(shards), Some(size)) = (plan.data.dataset, plan.data.shards, plan.data.shard_bytes) {
        row("shards", format!("{shards} of {dataset}, about {}", bytes(size)));
    }
    if let Some(how) = &plan.data.shards_how {
        row("", how.clone());
    }
    let here = available.map_or_else(String::new, |available| {
        format!(", {} available here", bytes(available))
    });
    row("memory", format!("{}{here}", bytes(plan.memory_bytes)));
    row(
        "disk",
        format!(
            "{} for each checkpoint, {} in all",
            bytes(plan.checkpoint_bytes),
            bytes(plan.disk_bytes)
        ),
    );
    if let Some(time) = &plan.time {
        row(
            "time",
            format!(
                "{} predicted at {} ({})",
                duration(time.minutes * 60.0),
                flop_rate(time.flops_per_second),
                time.source
            ),
        );
        if let Some(cost) = time.cost {
            row("cost", format!("${cost:.2} predicted"));
        }
    }
    text
}
