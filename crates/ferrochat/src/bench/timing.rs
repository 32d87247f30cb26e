//! One thing measured several times beside the ceilings, and the line that tells of it.

use serde_json::{Map, Value, json};

use super::ceilings::{Bound, Look};
use super::samples::Samples;
use crate::format::flop_rate;

/// Measurements of one thing that always costs the same.
#[derive(Clone, Debug, Default)]
pub struct Timing {
    /// Operations each time.
    pub flops: f64,
    /// Bytes moved each time, if every operand travelled from memory once.
    pub bytes: f64,
    /// Time taken.
    pub seconds: Samples,
    flops_ceiling: Samples,
    bytes_ceiling: Samples,
    percent: Samples,
    bound: Option<Bound>,
}

impl Timing {
    /// Nothing measured yet.
    pub fn new(flops: f64, bytes: f64) -> Timing {
        Timing {
            flops,
            bytes,
            ..Timing::default()
        }
    }

    /// One more time, beside what was seen just before.
    pub fn push(&mut self, seconds: f64, look: Look) {
        self.seconds.push(seconds);
        if let Some(rate) = look.flops {
            self.flops_ceiling.push(rate);
        }
        if let Some(rate) = look.bytes {
            self.bytes_ceiling.push(rate);
        }
        if let Some((least, bound)) = look.least_seconds(self.flops, self.bytes) {
            self.percent.push(100.0 * least / seconds);
            self.bound = Some(bound);
        }
    }

    /// Of what the ceiling that bounds it allows, the median over all looks.
    pub fn percent(&self) -> Option<f64> {
        self.percent.median()
    }

    /// The same for one of `parts` equal parts.
    pub fn divided(&self, parts: usize) -> Timing {
        let parts = parts as f64;
        Timing {
            flops: self.flops / parts,
            bytes: self.bytes / parts,
            seconds: self.seconds.scaled(1.0 / parts),
            ..self.clone()
        }
    }

    /// Adds the figures to a line of JSON.
    pub fn write(&self, line: &mut Map<String, Value>) {
        let rate = |amount: f64| self.seconds.median().map(|seconds| amount / seconds);
        let figures = json!({
            "seconds": self.seconds.json(),
            "flops": self.flops,
            "bytes": self.bytes,
            "flops_per_second": rate(self.flops),
            "bytes_per_second": rate(self.bytes),
            "probe_flops_per_second": self.flops_ceiling.median(),
            "read_bytes_per_second": self.bytes_ceiling.median(),
            "bound": self.bound.map(Bound::name),
            "percent": self.percent(),
        });
        if let Value::Object(figures) = figures {
            line.extend(figures);
        }
    }

    /// Cells of a table: median time, quartiles, rate, ceiling, percentage.
    pub fn cells(&self) -> [String; 5] {
        let quantile = |share| self.seconds.quantile(share).map_or_else(String::new, time);
        let seconds = self.seconds.median().unwrap_or(f64::NAN);
        let (rate, ceiling) = match self.bound {
            Some(Bound::Memory) => (
                byte_rate(self.bytes / seconds),
                self.bytes_ceiling.median().map(byte_rate),
            ),
            _ => (
                flop_rate(self.flops / seconds),
                self.flops_ceiling.median().map(flop_rate),
            ),
        };
        [
            quantile(0.5),
            format!("{}–{}", quantile(0.25), quantile(0.75)),
            rate,
            ceiling.unwrap_or_else(|| "unknown".to_owned()),
            self.percent()
                .map_or_else(String::new, |percent| format!("{percent:.0}%")),
        ]
    }
}

/// "1.23 s", "4.56 ms", "7.89 µs".
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.2} µs", s * 1e6),
    }
}

/// "12.3 GB/s".
pub fn byte_rate(per_second: f64) -> String {
    format!("{:.1} GB/s", per_second / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentage_is_of_the_ceiling_beside_each_measurement() {
        let mut timing = Timing::new(100.0, 1.0);
        // The machine is four times faster the second time, and so is what is measured.
        for (seconds, rate) in [(2.0, 100.0), (0.5, 400.0)] {
            let look = Look {
                flops: Some(rate),
                bytes: Some(1000.0),
            };
            timing.push(seconds, look);
        }
        assert_eq!(timing.percent(), Some(50.0));
        let mut line = Map::new();
        timing.write(&mut line);
        assert_eq!(line["bound"], "compute");
        assert_eq!(line["flops_per_second"], 80.0);
        assert_eq!(line["seconds"]["samples"], 2);
    }

    #[test]
    fn times_read_well() {
        assert_eq!(time(2.5), "2.50 s");
        assert_eq!(time(0.0025), "2.50 ms");
        assert_eq!(time(2.5e-6), "2.50 µs");
        assert_eq!(byte_rate(12.34e9), "12.3 GB/s");
    }
}
