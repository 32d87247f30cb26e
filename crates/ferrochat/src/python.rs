//! Python that a model writes: from flags to what runs it. What keeps it from doing harm is the tools crate's business.

use std::sync::Arc;

use anyhow::Result;
use ferrochat_chat::Tool;
use ferrochat_tasks::Dataset;
use ferrochat_tools::{Interpreter, Jail, JailError, Protections};

use crate::cli::PythonArgs;
use crate::errors::{refuse, usage};

/// The tool of a talk, where `--python` asks for one.
///
/// # Errors
/// A protection that this machine lacks, or no Python, as usage.
pub fn tool(args: PythonArgs) -> Result<Option<Tool>> {
    if !args.python {
        return Ok(None);
    }
    let python = Interpreter::new(args.unsafe_python).map_err(refused)?;
    if args.unsafe_python {
        warn(python.protections());
    }
    Ok(Some(Tool::new(move |code| python.run(code))))
}

/// The same for a command in which nothing else runs Python.
///
/// # Errors
/// As [`tool`]; and `--unsafe-python` alone.
pub fn tool_only(args: PythonArgs) -> Result<Option<Tool>> {
    if args.unsafe_python && !args.python {
        refuse!("--unsafe-python alone does nothing here; give --python, too, and the model may run Python");
    }
    tool(args)
}

/// What runs the programs of HumanEval.
///
/// # Errors
/// As [`tool`].
pub fn jail(args: PythonArgs) -> Result<Arc<Jail>> {
    let jail = Dataset::jail(args.unsafe_python).map_err(usage)?;
    if args.unsafe_python && !args.python {
        warn(jail.protections());
    }
    Ok(jail)
}

fn warn(protections: &Protections) {
    if protections.sufficient() {
        eprintln!("note: this machine has every protection that is needed; --unsafe-python changes nothing");
    } else {
        eprintln!(
            "WARNING: --unsafe-python: programs that the model writes run here with no more protection than this: {protections}. \
             They may read, change and send whatever you may."
        );
    }
}

fn refused(error: JailError) -> anyhow::Error {
    usage(error)
}
