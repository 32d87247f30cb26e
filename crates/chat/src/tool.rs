//! Tool calls that may take a while, on threads of their own, so that the model goes on with other replies. This room
//! must never know what a call is or who made it.

use std::fmt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Calls that run at once, at most: each may be a process of its own.
const AT_ONCE: usize = 4;

/// What runs the text of a tool call that is nothing for the calculator: its result, or nothing where there is none. It
/// may take seconds, and is called from several threads.
#[derive(Clone)]
pub struct Tool(Arc<Run>);

type Run = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Tool {
    /// A tool that does this.
    pub fn new(run: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Tool {
        Tool(Arc::new(run))
    }
}

/// The same tool, not one that does the same.
impl PartialEq for Tool {
    fn eq(&self, other: &Tool) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tool")
    }
}

/// A call and the number by which its result is known.
struct Call {
    number: u64,
    text: String,
}

/// Calls that are on their way. Threads begin with the first calls and end with it.
pub(crate) struct Calls {
    tool: Tool,
    made: u64,
    threads: usize,
    open: usize,
    line: Sender<Call>,
    work: Arc<Mutex<Receiver<Call>>>,
    done: Sender<(u64, Option<String>)>,
    results: Receiver<(u64, Option<String>)>,
}

impl Calls {
    pub(crate) fn new(tool: Tool) -> Calls {
        let ((line, work), (done, results)) = (mpsc::channel(), mpsc::channel());
        Calls {
            tool,
            made: 0,
            threads: 0,
            open: 0,
            line,
            work: Arc::new(Mutex::new(work)),
            done,
            results,
        }
    }

    /// Makes a call. Its number.
    pub(crate) fn make(&mut self, text: String) -> u64 {
        let number = self.made;
        self.made += 1;
        self.open += 1;
        if self.threads < self.open.min(AT_ONCE) {
            self.threads += 1;
            let (tool, work, done) = (self.tool.clone(), Arc::clone(&self.work), self.done.clone());
            thread::spawn(move || {
                loop {
                    let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Call { number, text }) = next else { return };
                    // A tool that panics has no result.
                    let run = std::panic::AssertUnwindSafe(|| (tool.0)(&text));
                    let result = std::panic::catch_unwind(run).unwrap_or(None);
                    if done.send((number, result)).is_err() {
                        return;
                    }
                }
            });
        }
        let call = Call { number, text };
        self.line.send(call).expect("the other end is held here, too");
        number
    }

    /// A result that is there, or comes in time.
    pub(crate) fn result(&mut self, patience: Duration) -> Option<(u64, Option<String>)> {
        let result = self.results.recv_timeout(patience).ok()?;
        self.open -= 1;
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    #[test]
    fn calls_run_beside_each_other_and_not_too_many() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (inside, peak) = (Arc::clone(&now), Arc::clone(&most));
        let mut calls = Calls::new(Tool::new(move |text| {
            peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
            inside.fetch_sub(1, Ordering::SeqCst);
            assert_ne!(text, "7", "seven panics");
            Some(text.repeat(2))
        }));
        assert_eq!(calls.result(Duration::ZERO), None);
        let numbers: Vec<u64> = (0..20).map(|i| calls.make(i.to_string())).collect();
        let start = Instant::now();
        let mut results = Vec::new();
        while results.len() < 20 && start.elapsed() < Duration::from_secs(20) {
            results.extend(calls.result(Duration::from_millis(500)));
        }
        results.sort();
        let expected = numbers.iter().map(|&n| (n, (n != 7).then(|| n.to_string().repeat(2))));
        assert_eq!(results, expected.collect::<Vec<_>>());
        let most = most.load(Ordering::SeqCst);
        assert!((2..=AT_ONCE).contains(&most), "{most}");
    }
}
