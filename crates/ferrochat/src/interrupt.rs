//! Ctrl-C and SIGTERM: the first asks the loop to stop after its step, the second ends the process
//! at once. This room must never know what is being interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Remembers the signal that arrived.
#[derive(Clone, Debug)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn listen() -> Result<Interrupt> {
        let signal = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM] {
            let failed = "cannot listen for Ctrl-C";
            // The order matters: a signal ends the process if an earlier one has armed it.
            signal_hook::flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&again))
                .context(failed)?;
            signal_hook::flag::register(number, Arc::clone(&again)).context(failed)?;
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize).context(failed)?;
        }
        Ok(Interrupt { signal })
    }

    /// The signal that asked for the end, if one did.
    pub fn requested(&self) -> Option<i32> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => Some(number as i32),
        }
    }
}
