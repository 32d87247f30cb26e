//! The jail on Linux: what is worked out once, and one run.

use std::ffi::CString;
use std::time::{Duration, Instant};

use super::enter::Layer;
use super::python::Python;
use super::root::{Root, c_string};
use super::start::{NotStarted, start};
use super::watch::watch;
use super::{JailError, Limits, Outcome, Protections};

/// Takes the program's text from file 3 and leaves nothing of itself behind but `__main__`.
const BEGIN: &str = "\
import os as _os
with _os.fdopen(3, 'rb') as _text: _text = _text.read()
_text = compile(_text, '<program>', 'exec', dont_inherit=True)
del _os
exec(globals().pop('_text'))
";

/// A Python and the limits to run it with.
#[derive(Debug)]
pub(super) struct Inside {
    pub python: Python,
    pub root: Root,
    pub program: CString,
    pub arguments: Vec<CString>,
    pub limits: Limits,
    /// The kernel's own limits: resource and value.
    pub resources: Vec<(libc::c_int, u64)>,
}

impl Inside {
    pub(super) fn new(limits: Limits) -> Result<Self, JailError> {
        let python = Python::find()?;
        let program = c_string(&python.program);
        let mut arguments = vec![program.clone()];
        // Isolated, without site packages, bytecode files or environment; UTF-8 whatever the locale.
        let options = ["-I", "-S", "-B", "-E", "-X", "utf8", "-c", BEGIN];
        arguments.extend(options.map(|option| CString::new(option).expect("no zero")));
        let cpu = limits.cpu.as_secs() + u64::from(limits.cpu.subsec_nanos() > 0);
        let resources = [
            (libc::RLIMIT_AS, limits.memory),
            (libc::RLIMIT_DATA, limits.memory),
            (libc::RLIMIT_STACK, (8 << 20).min(limits.memory)),
            (libc::RLIMIT_CPU, cpu),
            (libc::RLIMIT_FSIZE, limits.disk),
            (libc::RLIMIT_NOFILE, 64),
            (libc::RLIMIT_NPROC, 1),
            (libc::RLIMIT_CORE, 0),
            (libc::RLIMIT_MEMLOCK, 0),
            (libc::RLIMIT_MSGQUEUE, 0),
            (libc::RLIMIT_SIGPENDING, 64),
            (libc::RLIMIT_NICE, 0),
            (libc::RLIMIT_RTPRIO, 0),
        ];
        Ok(Self {
            root: Root::of(&python),
            python,
            program,
            arguments,
            limits,
            resources: resources
                .map(|(resource, value)| (resource as libc::c_int, value))
                .into(),
        })
    }

    /// Finds out what works by starting an empty program: each layer that fails is left out at the next attempt.
    pub(super) fn probe(&self, namespaces: bool) -> Result<Protections, JailError> {
        let mut protections = Protections {
            namespaces: if namespaces {
                Ok(())
            } else {
                Err("they were not asked for".into())
            },
            landlock: Ok(()),
            seccomp: Ok(()),
        };
        loop {
            let failed = match self.attempt(&protections) {
                Ok(outcome) if outcome.passed() => return Ok(protections),
                Ok(outcome) => {
                    let last = outcome.stderr.lines().last().unwrap_or("no message");
                    let ended = outcome.ended;
                    // A root of its own that Python does not find its way in is no use.
                    let failed = std::io::Error::other(format!("{ended}, {last}"));
                    NotStarted {
                        layer: if protections.namespaces.is_ok() {
                            Layer::Namespaces
                        } else {
                            Layer::Process
                        },
                        step: "running an empty program",
                        source: failed,
                    }
                }
                Err(failed) => failed,
            };
            let why = Err(format!("{}: {}", failed.step, failed.source));
            let layer = match failed.layer {
                Layer::Namespaces => &mut protections.namespaces,
                Layer::Landlock => &mut protections.landlock,
                Layer::Seccomp => &mut protections.seccomp,
                Layer::Process => return Err(failed.into()),
            };
            if layer.is_err() {
                return Err(failed.into());
            }
            *layer = why;
        }
    }

    /// An empty program, with time enough for a busy machine.
    fn attempt(&self, protections: &Protections) -> Result<Outcome, NotStarted> {
        let limits = Limits {
            wall: Duration::from_mins(1),
            ..self.limits.clone()
        };
        self.run_within(protections, "", "", &limits)
    }

    pub(super) fn run(&self, protections: &Protections, code: &str, stdin: &str) -> Result<Outcome, JailError> {
        Ok(self.run_within(protections, code, stdin, &self.limits)?)
    }

    fn run_within(
        &self,
        protections: &Protections,
        code: &str,
        stdin: &str,
        limits: &Limits,
    ) -> Result<Outcome, NotStarted> {
        let process = |step| {
            move |source| NotStarted {
                layer: Layer::Process,
                step,
                source,
            }
        };
        // With a root of its own, the program's folder is in memory and goes with its last process.
        let folder = if protections.namespaces.is_ok() {
            None
        } else {
            let prefix = format!("jail-{}-", std::process::id());
            let made = tempfile::Builder::new().prefix(&prefix).tempdir();
            Some(made.map_err(process("making its folder"))?)
        };
        let folder = folder.as_ref().map(tempfile::TempDir::path);
        let begin = Instant::now();
        let started = start(self, protections, code, stdin, folder)?;
        watch(started, limits, folder, begin).map_err(process("watching it"))
    }
}
