//! Runs Python that a model wrote: each program in a fresh process that sees, reaches and outlives nothing.
//!
//! ```no_run
//! use ferrochat_tools::{Jail, Limits};
//! let jail = Jail::new(Limits::default())?;
//! let outcome = jail.run("print(6 * 7)", "")?;
//! assert!(outcome.passed() && outcome.stdout == "42\n");
//! # Ok::<(), ferrochat_tools::JailError>(())
//! ```
//!
//! The layers, from the outside in; `THREATS.md` says what each is there for:
//!
//! 1. the parent (`watch.rs`): wall clock, bounded output, kills and reaps;
//! 2. namespaces and a root of its own, where the kernel allows them (`enter.rs`): no network, no other processes,
//!    no files but Python's and one folder in memory;
//! 3. resource limits: memory, CPU, processes, file size, open files;
//! 4. Landlock (`rules.rs`): files once more, by path;
//! 5. seccomp (`filter.rs`): the system calls that a calculation needs and no others.
//!
//! This room must never know what a program is for: exercise, tool call or test.

#[cfg(target_os = "linux")]
mod enter;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod python;
#[cfg(target_os = "linux")]
mod root;
#[cfg(target_os = "linux")]
mod rules;
#[cfg(target_os = "linux")]
mod start;
#[cfg(target_os = "linux")]
mod system;
#[cfg(target_os = "linux")]
mod watch;

use std::fmt;
use std::io;
use std::time::Duration;

#[cfg(not(target_os = "linux"))]
use elsewhere::Inside;
#[cfg(target_os = "linux")]
use system::Inside;

/// What a program may use up. Each has a default that any exercise of HumanEval stays far below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time from start to end.
    pub wall: Duration,
    /// Time on a processor; counted in whole seconds, rounded up.
    pub cpu: Duration,
    /// Bytes of address space, Python itself included (which takes about 30 MiB).
    pub memory: u64,
    /// Bytes of all files in the program's folder.
    pub disk: u64,
    /// Files and folders in the program's folder.
    pub files: u64,
    /// Bytes on standard output, and the same again on standard error.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(5),
            cpu: Duration::from_secs(5),
            memory: 512 << 20,
            disk: 16 << 20,
            files: 256,
            output: 64 << 10,
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status; 0 is success.
    Exit(i32),
    /// By a signal that none of the limits explains, such as 11 for an invalid access to memory.
    Signal(i32),
    /// Killed at the limit of wall-clock or processor time.
    Timeout,
    /// Killed for writing more than [`Limits::output`].
    OutputLimit,
    /// Python found no more memory.
    MemoryLimit,
    /// Killed for files beyond [`Limits::disk`] or [`Limits::files`]. Only without namespaces: with them, writing
    /// fails and the program goes on.
    DiskLimit,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Timeout => f.write_str("out of time"),
            Self::OutputLimit => f.write_str("too much output"),
            Self::MemoryLimit => f.write_str("out of memory"),
            Self::DiskLimit => f.write_str("too much in files"),
        }
    }
}

/// What came of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What it wrote to standard output, at most [`Limits::output`] bytes; what is not UTF-8 is replaced.
    pub stdout: String,
    /// What it wrote to standard error, likewise.
    pub stderr: String,
    /// How it ended.
    pub ended: Ended,
    /// Processor seconds, Python's own start included.
    pub cpu_seconds: f64,
    /// Seconds from start to end.
    pub wall_seconds: f64,
}

impl Outcome {
    /// Whether the program ended by itself with success.
    pub fn passed(&self) -> bool {
        self.ended == Ended::Exit(0)
    }
}

/// Which protections a jail works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protections {
    /// User, mount, process, network, IPC, UTS and cgroup namespaces; else the reason why not.
    pub namespaces: Result<(), String>,
    /// Landlock; else the reason why not.
    pub landlock: Result<(), String>,
    /// The filter of system calls; else the reason why not.
    pub seccomp: Result<(), String>,
}

impl Protections {
    /// Whether nothing that [`Jail::new`] insists on is missing.
    pub fn sufficient(&self) -> bool {
        self.landlock.is_ok() && self.seccomp.is_ok()
    }
}

impl fmt::Display for Protections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("namespaces", &self.namespaces),
            ("Landlock", &self.landlock),
            ("seccomp", &self.seccomp),
        ];
        for (at, (name, state)) in parts.into_iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            match state {
                Ok(()) => write!(f, "{comma}{name}")?,
                Err(why) => write!(f, "{comma}no {name} ({why})")?,
            }
        }
        Ok(())
    }
}

/// Why a program was not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JailError {
    /// The kernel lacks a protection that the jail insists on.
    #[error(
        "Python is not run because this kernel gives no protection by {name}: {why}; --unsafe-python runs it all the same"
    )]
    Unprotected {
        /// The missing protection.
        name: &'static str,
        /// What the kernel said.
        why: String,
    },
    /// There is no jail for this operating system.
    #[error("Python that a model wrote is run on Linux only, because the jail is made of what its kernel offers")]
    OtherSystem,
    /// No Python was found, or it did not say where it lies.
    #[error("python3 cannot be used: {0}; it has to be Python 3 in the PATH")]
    NoPython(String),
    /// A step of setting up the process failed; no line of the program was run.
    #[error("the jail could not be set up, because {step} failed: {source}")]
    Setup {
        /// The step.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A limit that cannot be kept.
    #[error("{0}")]
    Limits(&'static str),
}

/// A way to run Python programs that keeps them from everything else. Several threads may run programs at a time.
#[derive(Debug)]
pub struct Jail {
    inside: Inside,
    protections: Protections,
}

impl Jail {
    /// Looks for `python3` in the PATH and for what this kernel offers, by running an empty program. Namespaces are
    /// used where they are to be had; without Landlock or seccomp there is no jail.
    ///
    /// # Errors
    /// Names the protection that is missing, or what is wrong with Python or the limits.
    pub fn new(limits: Limits) -> Result<Self, JailError> {
        Self::with(limits, true)?.insist()
    }

    /// As [`Jail::new`], but without namespaces even where the kernel has them: what runs in many containers.
    pub fn without_namespaces(limits: Limits) -> Result<Self, JailError> {
        Self::with(limits, false)?.insist()
    }

    /// As [`Jail::new`], but makes do with whatever protection there is, none included. For `--unsafe-python`.
    pub fn without_protection(limits: Limits) -> Result<Self, JailError> {
        Self::with(limits, true)
    }

    /// What this jail is made of.
    pub fn protections(&self) -> &Protections {
        &self.protections
    }

    /// Runs a program with this text as its standard input, and waits for its end. What it does or how it ends is no
    /// error.
    pub fn run(&self, code: &str, stdin: &str) -> Result<Outcome, JailError> {
        self.inside.run(&self.protections, code, stdin)
    }

    fn with(limits: Limits, namespaces: bool) -> Result<Self, JailError> {
        if limits.wall.is_zero() || limits.cpu.is_zero() || limits.output == 0 {
            return Err(JailError::Limits(
                "a program that may take no time or write nothing cannot be run: raise the limits of wall, cpu and output above 0",
            ));
        }
        let inside = Inside::new(limits)?;
        let protections = inside.probe(namespaces)?;
        Ok(Self { inside, protections })
    }

    fn insist(self) -> Result<Self, JailError> {
        let missing = |name, state: &Result<(), String>| match state {
            Ok(()) => Ok(()),
            Err(why) => Err(JailError::Unprotected { name, why: why.clone() }),
        };
        missing("Landlock", &self.protections.landlock)?;
        missing("seccomp", &self.protections.seccomp)?;
        Ok(self)
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    //! Systems without a jail: everything is refused in a sentence.

    use super::{JailError, Limits, Outcome, Protections};

    #[derive(Debug)]
    pub(super) enum Inside {}

    impl Inside {
        pub(super) fn new(_: Limits) -> Result<Self, JailError> {
            Err(JailError::OtherSystem)
        }

        pub(super) fn probe(&self, _: bool) -> Result<Protections, JailError> {
            match *self {}
        }

        pub(super) fn run(&self, _: &Protections, _: &str, _: &str) -> Result<Outcome, JailError> {
            match *self {}
        }
    }
}
