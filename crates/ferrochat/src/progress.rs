//! Progress of long work on stderr: a bar where there is a terminal, now and then a line where there
//! is none. This room shows numbers and never asks where they come from.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::format;

/// Seconds between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What a step of training shows.
#[derive(Clone, Copy, Debug)]
pub struct StepFigures {
    /// Steps done.
    pub done: u64,
    /// Smoothed loss in nats per token.
    pub loss: f64,
    /// Training tokens per second.
    pub tokens_per_second: f64,
    /// Floating-point operations per second.
    pub flops_per_second: f64,
    /// The same as a part of what the hardware's maker promises, where that is known.
    pub mfu: Option<f64>,
    /// The same as a part of the peak that was measured.
    pub of_peak: Option<f64>,
    /// Seconds until the end.
    pub eta: f64,
}

/// Progress of one piece of work.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    last_line: Option<Instant>,
}

impl Progress {
    /// Work of `total` parts; `label` names it.
    pub fn new(label: &str, total: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {msg}")
                .expect("the template is constant")
                .progress_chars("=> ");
            bar.set_style(style);
            bar.set_prefix(label.to_owned());
            bar
        });
        Progress {
            bar,
            total,
            last_line: None,
        }
    }

    /// After a step of training.
    pub fn step(&mut self, figures: &StepFigures) {
        let due = self.due();
        let Some(text) = due.then(|| describe(figures)) else {
            return;
        };
        if let Some(bar) = &self.bar {
            bar.set_position(figures.done);
            bar.set_message(text);
        } else {
            eprintln!("step {}/{} {text}", figures.done, self.total);
        }
    }

    /// After `done` of the parts of other work.
    pub fn part(&mut self, done: u64, text: &str) {
        if self.bar.is_none() && self.last_line.is_none() {
            // Work that is soon done needs no line.
            self.last_line = Some(Instant::now());
        }
        if !self.due() {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(text.to_owned());
        } else {
            eprintln!("{done}/{} {text}", self.total);
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// A bar may be redrawn ten times a second, lines come rarely.
    fn due(&mut self) -> bool {
        let every = if self.bar.is_some() {
            Duration::from_millis(100)
        } else {
            LINE_EVERY
        };
        let now = Instant::now();
        let due = self.last_line.is_none_or(|last| now - last >= every);
        if due {
            self.last_line = Some(now);
        }
        due
    }
}

fn describe(figures: &StepFigures) -> String {
    let speed = match (figures.mfu, figures.of_peak) {
        (Some(mfu), _) => format!("MFU {:.1}%", 100.0 * mfu),
        (None, of_peak) => {
            let share = of_peak.map_or_else(String::new, |share| format!(" ({:.0}% of peak)", 100.0 * share));
            format::flop_rate(figures.flops_per_second) + &share
        }
    };
    format!(
        "loss {:.4}  {} tokens/s  {speed}  ETA {}",
        figures.loss,
        format::thousands(figures.tokens_per_second as u64),
        format::duration(figures.eta)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_told_beside_what_is_possible() {
        let figures = StepFigures {
            done: 1,
            loss: 2.0,
            tokens_per_second: 1000.0,
            flops_per_second: 5e9,
            mfu: None,
            of_peak: None,
            eta: 60.0,
        };
        let told = |mfu, of_peak| {
            describe(&StepFigures {
                mfu,
                of_peak,
                ..figures
            })
        };
        assert!(told(None, None).contains("tokens/s  5.0 GFLOP/s  ETA"));
        assert!(told(None, Some(0.5)).contains("5.0 GFLOP/s (50% of peak)"));
        assert!(told(Some(0.412), None).contains("  MFU 41.2%  "));
    }
}
