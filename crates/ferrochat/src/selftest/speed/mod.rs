//! Short timings, each beside its ceiling: what copies and products reach on this very device, and by its data sheet.
//!
//! An operation moves bytes and multiplies; neither can be faster than the device's plain copies and products, so the larger of
//! the two times is the least it could take, and the percentage is that time over the measured one.

mod ceilings;
mod operations;
mod whole;

use std::time::{Duration, Instant};

use anyhow::Result;
use ferrochat_tensor::Device;

use super::lines::{Line, Lines, guarded};
use super::subject::Subject;
use ceilings::Ceilings;

const PART: &str = "speed";

/// Ceilings, operations, training, decoding, in each element type.
///
/// # Errors
/// A device cannot be opened or stdout written to.
pub fn run(subject: &Subject, lines: &mut Lines) -> Result<()> {
    for dtype in subject.dtypes() {
        let device = subject.device(dtype)?;
        let name = dtype.name();
        let measured = guarded(|| Ceilings::measure(&device, subject));
        let ceilings = match measured {
            Ok(ceilings) => ceilings,
            Err(sentence) => {
                lines.count(1);
                lines.push(&Line::judged(PART, "ceilings", Some(name), &[sentence]))?;
                continue;
            }
        };
        ceilings.tell(&device, lines)?;
        for result in [
            guarded(|| operations::run(&device, subject, &ceilings, lines)),
            guarded(|| whole::run(&device, subject, &ceilings, lines)),
        ] {
            match result {
                Ok(done) => done?,
                Err(sentence) => lines.push(&Line::judged(PART, "timings", Some(name), &[sentence]))?,
            }
        }
    }
    Ok(())
}

/// Seconds of one call, when many follow each other: the best of three runs that last `enough` each.
fn seconds(device: &Device, enough: Duration, mut call: impl FnMut()) -> f64 {
    // The first call compiles, warms caches and takes memory from the system.
    call();
    device.synchronize();
    let mut timed = |calls: u32| {
        let begun = Instant::now();
        (0..calls).for_each(|_| call());
        device.synchronize();
        begun.elapsed()
    };
    let mut calls = 1;
    let mut taken = timed(calls);
    while taken < enough / 4 && calls < 1 << 16 {
        calls *= 2;
        taken = timed(calls);
    }
    let calls = (f64::from(calls) * enough.as_secs_f64() / taken.as_secs_f64().max(1e-9)).clamp(1.0, 65_536.0) as u32;
    let best = (0..3).map(|_| timed(calls)).min().unwrap_or(taken);
    best.as_secs_f64() / f64::from(calls)
}

/// How long a timing lasts.
fn enough(subject: &Subject) -> Duration {
    Duration::from_millis(if subject.quick { 10 } else { 100 })
}

/// Bytes per second for people.
fn byte_rate(rate: f64) -> String {
    if rate >= 1e12 {
        format!("{:.2} TB/s", rate / 1e12)
    } else {
        format!("{:.1} GB/s", rate / 1e9)
    }
}

/// Microseconds or milliseconds for people.
fn short_time(seconds: f64) -> String {
    match seconds * 1e6 {
        us if us < 1000.0 => format!("{us:.1} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}
