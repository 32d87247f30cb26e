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
    again: Arc<AtomicBool>,
}

impl Interrupt {
    /// Begins to listen to Ctrl-C and SIGTERM.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn listen() -> Result<Interrupt> {
        Self::listen_to(&[SIGINT, SIGTERM])
    }

    /// Begins to listen to Ctrl-C alone, for work that has nothing to save.
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn listen_to_ctrl_c() -> Result<Interrupt> {
        Self::listen_to(&[SIGINT])
    }

    fn listen_to(signals: &[i32]) -> Result<Interrupt> {
        let signal = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        for &number in signals {
            let failed = "cannot listen for Ctrl-C";
            // The order matters: a signal ends the process if an earlier one has armed it.
            signal_hook::flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&again))
                .context(failed)?;
            signal_hook::flag::register(number, Arc::clone(&again)).context(failed)?;
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize).context(failed)?;
        }
        Ok(Interrupt { signal, again })
    }

    /// Begins anew, as if no signal had arrived.
    pub fn forget(&self) {
        self.again.store(false, Ordering::Relaxed);
        self.signal.store(0, Ordering::Relaxed);
    }

    /// The signal that asked for the end, if one did.
    pub fn requested(&self) -> Option<i32> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => Some(number as i32),
        }
    }
}
