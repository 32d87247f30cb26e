//! Every operation forward and backward, on odd shapes, beside the oracle (or the CPU where that would take too long).

use std::time::Instant;

use anyhow::Result;
use ferrochat_tensor::check::{Check, GROUPS, Outcome, Part, References, Sizes, compare};
use ferrochat_tensor::{DType, Device};

use super::lines::{Line, Lines, guarded, within, worst};
use super::subject::Subject;
use crate::format::duration;
use crate::progress::Progress;

const PART: &str = "operations";

/// All groups in all element types.
///
/// # Errors
/// A device cannot be opened or stdout written to.
pub fn run(subject: &Subject, lines: &mut Lines) -> Result<()> {
    let sizes = match (subject.quick, subject.is_gpu()) {
        (true, _) => Sizes::Small,
        (false, false) => Sizes::Full,
        (false, true) => Sizes::Large,
    };
    let references = References::new(subject.reference_kernel()).map_err(crate::errors::usage)?;
    for dtype in subject.dtypes() {
        let mut device = subject.device(dtype)?;
        for group in GROUPS {
            let begun = Instant::now();
            let checks = (group.checks)(sizes);
            let mut progress = Progress::new(group.name, checks.len() as u64);
            let mut parts: Vec<Part> = Vec::new();
            let mut failed = 0;
            for (done, check) in checks.iter().enumerate() {
                progress.part(done as u64, check.name());
                let outcome = outcome(&**check, &device, &references, dtype);
                progress.finish();
                if !outcome.passed() {
                    failed += 1;
                }
                if lines.wants_all() || !outcome.passed() {
                    lines.push(&line(&outcome))?;
                }
                if outcome.parts.is_empty() {
                    // A panic may have left the device in any state.
                    device = subject.device(dtype)?;
                }
                parts.extend(outcome.parts);
            }
            lines.count(checks.len());
            if !lines.wants_all() && failed == 0 {
                lines.push(&summary(group.name, dtype, checks.len(), &parts, begun))?;
            }
        }
    }
    Ok(())
}

/// A check's outcome; one without parts if it did not come to an end.
fn outcome(check: &dyn Check, device: &Device, references: &References, dtype: DType) -> Outcome {
    guarded(|| compare(check, device, references.of(check))).unwrap_or_else(|sentence| Outcome {
        op: check.op(),
        name: format!("{} {sentence}", check.name()),
        dtype,
        parts: Vec::new(),
        repeats: false,
    })
}

fn line(outcome: &Outcome) -> Line {
    let mut line = Line::of_parts(PART, &*outcome.name, Some(outcome.dtype.name()), &outcome.parts);
    if !outcome.repeats {
        let otherwise = "other bits when it ran a second time".to_owned();
        line = Line::judged(
            PART,
            &*outcome.name,
            Some(outcome.dtype.name()),
            &[line.detail, otherwise],
        );
    }
    line
}

fn summary(group: &str, dtype: DType, checks: usize, parts: &[Part], begun: Instant) -> Line {
    let mut line = Line::of_parts(PART, group, Some(dtype.name()), parts);
    let nearest = worst(parts).map(within).unwrap_or_default();
    let time = duration(begun.elapsed().as_secs_f64());
    line.detail = format!("{checks} checks, {} results, {time}; nearest {nearest}", parts.len());
    line
}
