//! Progress of downloads: a bar for all and one per file where there is a terminal, now and then a line where there
//! is none. Shows numbers and never asks where they come from.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ferrochat_data::hub::{Note, Plan, Remote, Watch};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::format;

/// Seconds between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The progress of one plan.
pub struct Shown {
    state: Mutex<State>,
    bars: Option<MultiProgress>,
}

struct State {
    whole: Option<ProgressBar>,
    files: HashMap<usize, ProgressBar>,
    /// Bytes to come, as far as is known.
    total: u64,
    came: u64,
    done: usize,
    count: usize,
    begun: Instant,
    line: Instant,
}

impl Shown {
    /// For the files that a plan misses.
    pub fn new(plan: &Plan) -> Shown {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        let whole = bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(plan.bytes_missing));
            bar.set_style(style(
                "{prefix} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta} {msg}",
            ));
            bar.set_prefix(plan.choice.set.name);
            bar
        });
        Shown {
            state: Mutex::new(State {
                whole,
                files: HashMap::new(),
                total: plan.bytes_missing,
                came: 0,
                done: 0,
                count: plan.missing.len(),
                begun: Instant::now(),
                line: Instant::now(),
            }),
            bars,
        }
    }

    /// Removes the bars.
    pub fn finish(&self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is constant")
        .progress_chars("=> ")
}

impl Watch for Shown {
    fn note(&self, file: usize, remote: &Remote, note: Note) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match note {
            Note::Begins { here } => {
                if let Some(bars) = &self.bars {
                    let bar = bars.add(ProgressBar::new(remote.bytes.unwrap_or(0)));
                    bar.set_style(style("  {wide_msg} {bar:16} {bytes}/{total_bytes} ETA {eta}"));
                    bar.set_message(remote.path.clone());
                    bar.set_position(here);
                    bar.reset_eta();
                    state.files.insert(file, bar);
                }
            }
            Note::Came(bytes) => {
                state.came += bytes;
                if let Some(bar) = state.files.get(&file) {
                    bar.inc(bytes);
                }
                if let Some(bar) = &state.whole {
                    bar.set_length(state.total.max(state.came));
                    bar.set_position(state.came);
                } else if state.line.elapsed() >= LINE_EVERY {
                    state.line = Instant::now();
                    let per_second = state.came as f64 / state.begun.elapsed().as_secs_f64();
                    let left = state.total.saturating_sub(state.came) as f64 / per_second.max(1.0);
                    eprintln!(
                        "{}/{} files, {} of {}, {}/s, ETA {}",
                        state.done,
                        state.count,
                        format::bytes(state.came),
                        format::bytes(state.total.max(state.came)),
                        format::bytes(per_second as u64),
                        format::duration(left)
                    );
                }
            }
            Note::Again { lost, reason } => {
                state.total += lost;
                if let Some(bar) = state.files.get(&file) {
                    bar.set_position(0);
                }
                self.say(&format!(
                    "{}: {reason}; {} are fetched again",
                    remote.path,
                    format::bytes(lost)
                ));
            }
            Note::Failed { reason, wait } => self.say(&format!(
                "{}: {reason}; next attempt in {:.1}s",
                remote.path,
                wait.as_secs_f64()
            )),
            Note::Waits => self.say(&format!("{}: another process is fetching it; waiting", remote.path)),
            Note::Done { .. } => {
                state.done += 1;
                if let Some(bar) = state.files.remove(&file) {
                    bar.finish_and_clear();
                }
                if let Some(bar) = &state.whole {
                    bar.set_message(format!("{}/{} files", state.done, state.count));
                }
            }
        }
    }
}
