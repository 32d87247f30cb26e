//! When to try again. Knows time, never what is tried.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::error::{Fault, HubError};

/// How patient a download is.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Attempts in a row that bring nothing new.
    pub attempts: u32,
    /// The first wait; each further one is twice as long.
    pub first: Duration,
    /// The longest wait that is chosen here.
    pub longest: Duration,
    /// The longest wait that a server may ask for.
    pub asked: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            attempts: 8,
            first: Duration::from_millis(500),
            longest: Duration::from_mins(1),
            asked: Duration::from_mins(10),
        }
    }
}

/// Attempts at a server that cannot be reached, and downloads of a file that comes spoilt.
const FEW: u32 = 3;

/// The attempts at one thing.
pub(super) struct Attempts {
    retry: Retry,
    failed: u32,
    unreachable: u32,
    spoilt: u32,
}

impl Attempts {
    pub(super) fn new(retry: Retry) -> Attempts {
        Attempts {
            retry,
            failed: 0,
            unreachable: 0,
            spoilt: 0,
        }
    }

    /// Something new came: patience begins anew.
    pub(super) fn advanced(&mut self) {
        self.failed = 0;
        // Who was reached once is probably away for a while only.
        self.unreachable = 0;
    }

    /// How long to wait after this fault; `Err` with the reason if it is no use.
    pub(super) fn after(&mut self, fault: Fault) -> Result<Duration, Result<String, HubError>> {
        self.failed += 1;
        let (reason, asked) = match fault {
            Fault::Here(error) => return Err(Err(error)),
            Fault::Final(reason) => return Err(Ok(reason)),
            Fault::Passing(reason, asked) => (reason, asked),
            Fault::Unreachable(reason) => {
                self.unreachable += 1;
                if self.unreachable >= FEW {
                    return Err(Ok(reason));
                }
                (reason, None)
            }
            Fault::Spoilt(reason) => {
                self.spoilt += 1;
                if self.spoilt >= FEW {
                    return Err(Ok(format!("{reason}, {FEW} times")));
                }
                (reason, None)
            }
        };
        if self.failed >= self.retry.attempts {
            return Err(Ok(format!("{reason} (attempt {} of as many)", self.failed)));
        }
        if let Some(asked) = asked {
            if asked > self.retry.asked {
                return Err(Ok(format!(
                    "{reason}, which asks to wait {} minutes; try again then, or set HF_TOKEN for a higher limit",
                    asked.as_secs().div_ceil(60)
                )));
            }
            // Those who wait together should not come back together.
            return Ok(asked + self.retry.first.mul_f64(chance()));
        }
        let wait = self.retry.first * 2_u32.saturating_pow(self.failed.min(16) - 1);
        Ok(wait.min(self.retry.longest).mul_f64(0.5 + 0.5 * chance()))
    }
}

/// A number from 0 to 1, another one each time.
fn chance() -> f64 {
    let bits = RandomState::new().hash_one(Instant::now());
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Waits, unless somebody asks for the end.
pub(super) fn sleep(wait: Duration, stop: &AtomicBool) -> Result<(), HubError> {
    let end = Instant::now() + wait;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(HubError::Interrupted);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// `Retry-After`: seconds or a date.
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    Some(then.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let mut attempts = Attempts::new(Retry::default());
        let mut waits = Vec::new();
        let reason = loop {
            match attempts.after(Fault::passing("503")) {
                Ok(wait) => waits.push(wait.as_millis()),
                Err(reason) => break reason.unwrap(),
            }
        };
        assert_eq!(waits.len(), 7);
        for (i, wait) in waits.iter().enumerate() {
            let whole = 500 << i;
            assert!((whole / 2..=whole).contains(wait), "{waits:?}");
        }
        assert!(reason.starts_with("503"), "{reason}");
    }

    #[test]
    fn a_server_may_ask_for_time_but_not_for_hours() {
        let mut attempts = Attempts::new(Retry::default());
        let wait = attempts.after(Fault::Passing("429".into(), Some(Duration::from_secs(7))));
        assert!((7.0..7.6).contains(&wait.unwrap().as_secs_f64()));
        let hours = attempts.after(Fault::Passing("429".into(), Some(Duration::from_hours(2))));
        assert!(hours.unwrap_err().unwrap().contains("120 minutes"));
        assert_eq!(retry_after(" 12 "), Some(Duration::from_secs(12)));
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }

    #[test]
    fn progress_gives_new_patience_and_spoilt_files_none() {
        let mut attempts = Attempts::new(Retry::default());
        for _ in 0..50 {
            assert!(attempts.after(Fault::passing("cut")).is_ok());
            attempts.advanced();
        }
        for expected in [true, true, false] {
            assert_eq!(attempts.after(Fault::Spoilt("bad".into())).is_ok(), expected);
            attempts.advanced();
        }
    }
}
