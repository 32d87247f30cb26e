//! What the test says: a line for each thing checked, as text or JSON, and at the end one sentence. Knows nothing of devices.

use std::time::Instant;

use anyhow::{Result, bail};
use ferrochat_tensor::check::Part;
use serde::Serialize;
use serde_json::json;

use crate::format::duration;
use crate::output;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Within its tolerance.
    Ok,
    /// Not.
    Fail,
    /// A figure that nothing judges.
    Measured,
}

/// One thing that was checked or measured.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The part of the test.
    pub part: &'static str,
    /// What was checked: operation and shape where it is one.
    pub name: String,
    /// Element type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<&'static str>,
    /// How it went.
    pub verdict: Verdict,
    /// The largest error in proportion to its tolerance, and that tolerance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// The most that the error may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// The rest, for people.
    pub detail: String,
    /// Figures by name, for programs.
    #[serde(flatten)]
    pub figures: serde_json::Map<String, serde_json::Value>,
}

impl Line {
    /// A line about something that is right, or wrong if there are complaints.
    pub fn judged(
        part: &'static str,
        name: impl Into<String>,
        dtype: Option<&'static str>,
        complaints: &[String],
    ) -> Line {
        Line {
            part,
            name: name.into(),
            dtype,
            verdict: if complaints.is_empty() {
                Verdict::Ok
            } else {
                Verdict::Fail
            },
            error: None,
            tolerance: None,
            detail: complaints.join("; "),
            figures: serde_json::Map::new(),
        }
    }

    /// A line about several comparisons: what is nearest to its tolerance, or all that is wrong.
    pub fn of_parts(part: &'static str, name: impl Into<String>, dtype: Option<&'static str>, parts: &[Part]) -> Line {
        let wrong = parts.iter().filter_map(|part| Some((part, part.complaint.as_ref()?)));
        let complaints: Vec<String> = wrong.map(|(part, text)| format!("{} {text}", part.what)).collect();
        let mut line = Line::judged(part, name, dtype, &complaints);
        if let Some(worst) = worst(parts) {
            line.error = Some(worst.error).filter(|error| error.is_finite());
            line.tolerance = Some(worst.tolerance);
            if complaints.is_empty() {
                line.detail = format!("{}: {}", within(worst), worst.what);
            }
        }
        line
    }

    /// A figure without a judgement.
    pub fn measured(part: &'static str, name: impl Into<String>, dtype: Option<&'static str>, detail: String) -> Line {
        Line {
            verdict: Verdict::Measured,
            detail,
            ..Line::judged(part, name, dtype, &[])
        }
    }

    /// With a figure for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Line {
        self.figures.insert(name.to_owned(), json!(value));
        self
    }
}

/// The comparison nearest to its tolerance.
pub fn worst(parts: &[Part]) -> Option<&Part> {
    let ratio = |part: &Part| {
        if part.error == 0.0 {
            0.0
        } else {
            part.error / part.tolerance
        }
    };
    let wrong = |part: &Part| part.complaint.is_some();
    parts
        .iter()
        .max_by(|a, b| wrong(a).cmp(&wrong(b)).then(ratio(a).total_cmp(&ratio(b))))
}

/// "3.1e-7 of 1.1e-6".
pub fn within(part: &Part) -> String {
    if part.tolerance == 0.0 {
        "equal".to_owned()
    } else {
        format!("{:.1e} of {:.1e}", part.error, part.tolerance)
    }
}

/// Prints lines as they come and counts them.
pub struct Lines {
    json: bool,
    begun: Instant,
    part: &'static str,
    checked: usize,
    failed: Vec<String>,
}

impl Lines {
    /// No lines yet.
    pub fn new(json: bool) -> Lines {
        Lines {
            json,
            begun: Instant::now(),
            part: "",
            checked: 0,
            failed: Vec::new(),
        }
    }

    /// What is tested.
    pub fn begin(&self, subject: &str) -> Result<()> {
        if self.json {
            Ok(())
        } else {
            output::print(&format!("{subject}\n"))
        }
    }

    /// Counts checks that stand behind the next line.
    pub fn count(&mut self, checks: usize) {
        self.checked += checks;
    }

    /// True if each check is wanted by itself and not only what is worst of a group.
    pub fn wants_all(&self) -> bool {
        self.json
    }

    /// Prints a line; one that failed is remembered.
    pub fn push(&mut self, line: &Line) -> Result<()> {
        if line.verdict == Verdict::Fail {
            let dtype = line.dtype.map_or_else(String::new, |dtype| format!(" in {dtype}"));
            self.failed.push(format!("{} {}{dtype}", line.part, line.name));
        }
        if self.json {
            return output::print(&(serde_json::to_string(line)? + "\n"));
        }
        let mut text = String::new();
        if self.part != line.part {
            self.part = line.part;
            text = format!("\n{}\n", line.part);
        }
        let verdict = match line.verdict {
            Verdict::Ok => "ok",
            Verdict::Fail => "FAIL",
            Verdict::Measured => "",
        };
        let row = format!(
            "{verdict:<4}  {:<40}  {:<8}  {}",
            line.name,
            line.dtype.unwrap_or(""),
            line.detail
        );
        output::print(&(text + row.trim_end() + "\n"))
    }

    /// The last sentence.
    ///
    /// # Errors
    /// If anything failed: what.
    pub fn end(&self, subject: &str) -> Result<()> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (checked, failed) = (self.checked, self.failed.len());
        if self.json {
            let summary = json!({
                "part": "summary", "device": subject, "verdict": if failed == 0 { "ok" } else { "fail" },
                "checks": checked, "failed": self.failed, "seconds": seconds,
            });
            output::print(&format!("{summary}\n"))?;
        }
        if failed == 0 {
            if !self.json {
                let time = duration(seconds);
                output::print(&format!("\nAll {checked} checks passed on {subject} in {time}.\n"))?;
            }
            return Ok(());
        }
        bail!(
            "{failed} of {checked} checks failed on {subject}: {}{}",
            self.failed[..failed.min(5)].join(", "),
            if failed > 5 { " and others" } else { "" }
        )
    }
}

/// What a piece of work returns, or the sentence of its panic: a card that stops answering ends its own check only.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let error = payload
            .downcast_ref::<ferrochat_tensor::TensorError>()
            .map(ToString::to_string);
        format!("stopped: {}", text.or(error).unwrap_or_else(|| "no message".into()))
    })
}
