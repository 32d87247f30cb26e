//! Training and decoding as a whole.

use std::time::Instant;

use anyhow::Result;
use ferrochat_model::{Decoder, Facts};
use ferrochat_tensor::{Choice, Device};

use super::ceilings::Ceilings;
use super::{PART, enough, seconds};
use crate::device::peak_flops;
use crate::errors::usage;
use crate::format::{flop_rate, thousands};
use crate::selftest::lines::{Line, Lines};
use crate::selftest::subject::Subject;
use crate::selftest::training::Run;

/// Tokens per second of the model that was trained above.
///
/// # Errors
/// Stdout cannot be written to.
pub fn run(device: &Device, subject: &Subject, ceilings: &Ceilings, lines: &mut Lines) -> Result<()> {
    let dtype = Some(device.compute_dtype().name());
    let config = subject.model();
    let batch = if subject.quick { 2 } else { 8 };
    let mut run = Run::new(device, &config, batch, 1000)?;
    let tokens = run.tokens() as f64;
    let rate = tokens / seconds(device, enough(subject), || drop(run.step()));
    let flops = rate * Facts::of(&config).map_err(usage)?.flops_per_token;
    let share = |peak: f64| format!("{:.1}%", 100.0 * flops / peak);
    let mfu = peak_flops(device).map_or_else(String::new, |peak| format!(", MFU {}", share(peak)));
    let detail = format!(
        "{} tokens/s, {}, {} of the measured products{mfu}",
        thousands(rate as u64),
        flop_rate(flops),
        share(ceilings.flops_per_second)
    );
    let name = format!("training, depth {}, {batch}×{}", config.n_layer, config.sequence_len);
    lines.push(&Line::measured(PART, name, dtype, detail).with("tokens_per_second", rate))?;

    for rows in if subject.quick { vec![2] } else { vec![1, 16] } {
        let rate = decode(run.model(), rows, if subject.quick { 8 } else { 128 })?;
        let name = format!("decoding, {rows} at a time");
        let detail = format!("{} tokens/s", thousands(rate as u64));
        lines.push(&Line::measured(PART, name, dtype, detail).with("tokens_per_second", rate))?;
    }
    Ok(())
}

/// Tokens per second of so many rows, the cache as full as it gets in `steps`; the best of two.
fn decode(gpt: &ferrochat_model::Gpt, rows: usize, steps: usize) -> Result<f64> {
    let mut best = 0.0f64;
    for _ in 0..2 {
        let mut decoder = Decoder::new(gpt);
        let prompt = decoder.prefill(&[&[1, 2, 3]])?;
        decoder.append(&prompt, &vec![0; rows])?;
        let greedy: Vec<Choice> = (0..rows).map(Choice::greedy).collect();
        let begun = Instant::now();
        let mut next = vec![1; rows];
        for _ in 0..steps {
            decoder.push(&next)?;
            next = decoder.choose(&greedy);
        }
        best = best.max((rows * steps) as f64 / begun.elapsed().as_secs_f64());
    }
    Ok(best)
}
