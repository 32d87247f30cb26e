//! Whether training and decoding give back what they take.

use anyhow::Result;
use ferrochat_model::{GenerateOptions, Sampling, generate};
use ferrochat_tensor::{DType, Device, MemoryUse};

use super::lines::{Line, Lines, guarded};
use super::subject::Subject;
use super::training::Run;
use crate::format::bytes;

const PART: &str = "memory";

/// Free device memory may change by this much: the driver keeps some for itself, other programs come and go.
const SLACK: usize = 32 << 20;

/// Steps, decoding, the end of everything.
///
/// # Errors
/// A device cannot be opened or stdout written to.
pub fn run(subject: &Subject, lines: &mut Lines) -> Result<()> {
    for dtype in subject.dtypes() {
        let device = subject.device(dtype)?;
        lines.count(1);
        let result = guarded(|| leaks(subject, &device));
        let name = "memory after 2 and after more steps";
        lines.push(&match result {
            Ok(complaints) => judged(name, dtype, &device, &complaints?),
            Err(sentence) => Line::judged(PART, name, Some(dtype.name()), &[sentence]),
        })?;
    }
    Ok(())
}

fn judged(name: &str, dtype: DType, device: &Device, complaints: &[String]) -> Line {
    let mut line = Line::judged(PART, name, Some(dtype.name()), complaints);
    if complaints.is_empty() {
        let usage = device.memory_use();
        line.detail = format!("equal; at most {}, all of it given back", bytes(usage.peak as u64));
    }
    line
}

/// What is larger than it was.
fn growth(what: &str, before: MemoryUse, after: MemoryUse) -> Vec<String> {
    let figures = [
        ("memory in use", before.live, after.live),
        ("memory at peak", before.peak, after.peak),
        ("memory held from the system", before.reserved, after.reserved),
    ];
    let grown = figures.into_iter().filter(|(_, before, after)| after > before);
    grown
        .map(|(name, before, after)| format!("{name} grew from {before} to {after} bytes in {what}"))
        .collect()
}

fn leaks(subject: &Subject, device: &Device) -> Result<Vec<String>> {
    let (batch, steps) = if subject.quick { (2, 4) } else { (4, 8) };
    let config = subject.model();
    let mut complaints = Vec::new();
    let taken = |device: &Device| usize::MAX / 2 - device.available_bytes().unwrap_or(0);
    {
        let mut run = Run::new(device, &config, batch, steps)?;
        let mut train = |steps: usize| (0..steps).for_each(|_| drop(run.step()));
        train(2);
        device.synchronize();
        let (before, free_before) = (device.memory_use(), taken(device));
        train(steps);
        device.synchronize();
        let after = device.memory_use();
        complaints.extend(growth("training", before, after));
        if taken(device) > free_before + SLACK {
            let lost = bytes((taken(device) - free_before) as u64);
            complaints.push(format!(
                "the device has {lost} less free than before (unless another program took it)"
            ));
        }

        let options = GenerateOptions {
            samples: 3,
            max_tokens: 8,
            sampling: Sampling::default(),
            stop: Vec::new(),
        };
        let prompt = [1, 2, 3, 4, 5];
        generate(run.model(), &prompt, &options)?;
        let before = device.memory_use();
        for _ in 0..3 {
            generate(run.model(), &prompt, &options)?;
        }
        let after = device.memory_use();
        complaints.extend(growth("decoding", before, after));
    }
    device.synchronize();
    device.trim();
    let end = device.memory_use();
    if (end.live, end.reserved) != (0, 0) {
        complaints.push(format!(
            "{} bytes are in use and {} held after everything was dropped",
            end.live, end.reserved
        ));
    }
    Ok(complaints)
}
