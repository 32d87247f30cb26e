//! Attention of one query per sequence over a KV cache, as in decoding: bound by reading the keys and values.
//!
//! A batch of decoding shows it among everything else (`bench decode`); here it stands alone, with more caches than the processor's own hold.

use std::time::Instant;

use anyhow::Result;
use ferrochat_model::GptConfig;
use ferrochat_tensor::{Device, Graph, Tensor};
use serde_json::json;

use super::ceilings::Ceilings;
use super::lines::Lines;
use super::timing::Timing;

/// Bytes of keys and values that a sample goes through at least.
const LEAST: usize = 96 << 20;
/// Caches at most, where a model is small.
const MOST: usize = 1024;
/// Sequences.
const BATCHES: [usize; 3] = [1, 8, 64];

/// Measures the model's heads, and as many query heads on fewer kv heads, at the last position of its context.
///
/// # Errors
/// Stdout cannot be written to.
pub fn lines(
    (device, config): (&Device, &GptConfig),
    samples: usize,
    ceilings: &mut Ceilings<'_>,
    lines: &mut Lines,
) -> Result<()> {
    let heads = config.n_head;
    let grouped = [4, 3, 2].into_iter().find(|&group| heads.is_multiple_of(group));
    for batch in BATCHES {
        let grouped = grouped.map(|group| heads / group);
        for kv_heads in [Some(config.n_kv_head), grouped].into_iter().flatten() {
            let shape = [batch, config.sequence_len, kv_heads, config.head_dim()];
            let timing = measure(device, shape, heads, samples, ceilings);
            let about = json!({
                "device": device.name(), "dtype": device.compute_dtype().name(), "batch": batch, "heads": heads,
                "kv_heads": kv_heads, "head_dim": config.head_dim(), "positions": config.sequence_len,
            });
            lines.push(
                &format!("one query, batch {batch}, {heads}/{kv_heads} heads"),
                about,
                &timing,
            )?;
        }
    }
    Ok(())
}

/// Keys `[batch, positions, kv heads, channels]`, all of them seen.
fn measure(device: &Device, shape: [usize; 4], heads: usize, samples: usize, ceilings: &mut Ceilings<'_>) -> Timing {
    let [batch, positions, _, channels] = shape;
    let elements: usize = shape.iter().product();
    let bytes = 2 * elements * device.compute_dtype().bytes();
    let filled = |shape: [usize; 4]| {
        let tensor = device.activation(shape);
        tensor.fill(0.5);
        tensor
    };
    let caches: Vec<(Tensor, Tensor)> = (0..LEAST.div_ceil(bytes).min(MOST))
        .map(|_| (filled(shape), filled(shape)))
        .collect();
    let query = filled([batch, 1, heads, channels]);
    let last = i32::try_from(positions - 1).expect("positions are counted in i32");
    let starts = device.indices(&vec![last; batch], [batch]);
    let graph = Graph::inference(device);
    let once = || {
        let begun = Instant::now();
        for (k, v) in &caches {
            graph.attention_cached(&query, k, v, usize::MAX, &starts);
        }
        device.synchronize();
        begun.elapsed().as_secs_f64() / caches.len() as f64
    };
    once();
    let mut timing = Timing::new((4 * batch * heads * positions * channels) as f64, bytes as f64);
    for _ in 0..samples {
        let look = ceilings.look();
        timing.push(once(), look);
    }
    timing
}
