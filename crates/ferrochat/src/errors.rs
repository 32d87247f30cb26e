//! How the program ends badly: the errors that decide an exit code, and the hook that keeps
//! panics away from users. This room must never know what a command does.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | failed |
//! | 2 | usage: a flag, a path or a combination that cannot work, refused before any work |
//! | 130, 143 | interrupted by Ctrl-C or SIGTERM, after a checkpoint |

use std::process::ExitCode;

use ferrochat_tensor::TensorError;

/// Something the user asked for cannot work; nothing has been done. Exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A signal ended the work after everything was saved. Exit code 128 + signal.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Interrupted {
    /// The signal's number.
    pub signal: i32,
    /// What was saved, and the line that goes on from there.
    pub message: String,
}

/// Returns a [`Usage`] error made of a format string.
macro_rules! refuse {
    ($($part:tt)*) => {
        return Err(anyhow::Error::new($crate::errors::Usage(format!($($part)*))))
    };
}
pub(crate) use refuse;

/// Marks an error of a library as one that the user's flags caused.
pub fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    // The alternate form of an `anyhow::Error` tells its causes too.
    anyhow::Error::new(Usage(format!("{error:#}")))
}

/// Prints an error as one line on stderr and says how the process ends.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // `ferrochat … | head`: the reader has what it wanted.
        return ExitCode::SUCCESS;
    }
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        eprintln!("{interrupted}");
        return ExitCode::from(128 + interrupted.signal as u8);
    }
    let code = if error.downcast_ref::<Usage>().is_some() { 2 } else { 1 };
    eprintln!("error: {}", one_line(&sentence(error)));
    ExitCode::from(code)
}

/// Help and version as asked for; a wrong command line as one line and exit code 2.
pub fn report_clap(answer: &clap::Error) -> ExitCode {
    if answer.exit_code() == 0 {
        // Whoever asked for help and closed the pipe does not want an error.
        let _ = answer.print();
        return ExitCode::SUCCESS;
    }
    let text = answer.to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).collect();
    if answer.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = answer.print();
    } else {
        let hint = match suggestion(answer) {
            Some(word) => format!("did you mean {word}?"),
            None => "try --help".to_owned(),
        };
        eprintln!("{}; {hint}", one_line(&first.join(" ")));
    }
    ExitCode::from(2)
}

/// What is there and looks like what was typed.
fn suggestion(answer: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue};
    let kinds = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    kinds.into_iter().find_map(|kind| match answer.get(kind)? {
        ContextValue::String(word) => Some(word.clone()),
        // Of subcommands clap names several, the likest last.
        ContextValue::Strings(words) => words.last().cloned(),
        _ => None,
    })
}

/// The error and its causes, each said once: library errors already name their source.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Makes every panic one sentence; `RUST_BACKTRACE=1` shows where it came from.
pub fn install_panic_hook() {
    let standard = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if ferrochat_data::panic_is_caught() {
            return;
        }
        if let Some(error) = panic.payload().downcast_ref::<TensorError>() {
            let remedy = match error {
                TensorError::OutOfMemory { .. } => "; a smaller --device-batch-size or --max-seq-len needs less",
                _ => "",
            };
            eprintln!("error: {error}{remedy}");
            return;
        }
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            standard(panic);
            return;
        }
        let what = panic
            .payload()
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.payload().downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let place = panic
            .location()
            .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        eprintln!(
            "error: this is a fault of ferrochat and not of yours ({}{place}); set RUST_BACKTRACE=1 and report it, saved checkpoints are intact",
            one_line(&what)
        );
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once_and_on_one_line() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "no such\nfile");
        let error = anyhow::Error::new(io).context("cannot read x");
        assert_eq!(one_line(&sentence(&error)), "cannot read x: no such file");
        let twice = anyhow::anyhow!("inner").context("outer: inner");
        assert_eq!(sentence(&twice), "outer: inner");
    }
}
