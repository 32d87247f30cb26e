//! What RL and DPO share, the stages after SFT: rates that fall to nothing, data that must be the same
//! when a stage goes on, memory of many shapes. Knows neither of them.

use anyhow::Result;
use ferrochat_model::{Gpt, Rates, Schedule};

use crate::errors::refuse;
use crate::training::Chain;

/// Rates that fall in a line from the first step on, momentum as it is, no decay.
pub fn fading(steps: usize) -> Schedule {
    Schedule {
        warmup_steps: 0,
        warmdown_ratio: 1.0,
        final_lr_frac: 0.0,
        momentum: [0.95; 3],
        momentum_warmup_steps: 0,
        ..Schedule::pretraining(steps, 0.0)
    }
}

/// A part of the rates that base training had with its batch, those of the smear too.
pub fn part_of_rates(chain: &Chain, part: f64) -> Rates {
    let rates = chain.plan.rates(&chain.settings);
    Rates {
        smear: rates.smear * part,
        ..rates.scaled(part)
    }
}

/// Refuses to go on with other data than the stage was begun with. `what` they are, for the sentence.
///
/// # Errors
/// As usage.
pub fn refuse_other_data(chain: &Chain, fingerprint: &str, what: &str) -> Result<()> {
    let begun = chain
        .record
        .as_ref()
        .map(|record| &record.details["plan"]["fingerprint"]);
    if begun.is_some_and(|begun| begun != fingerprint) {
        refuse!(
            "the {what} are not those that {} of the run {:?} was begun with; bring them back, or give --fresh to begin it again",
            chain.stage,
            chain.run.name
        );
    }
    Ok(())
}

/// Batches of many shapes leave memory behind that nobody asks for again.
pub fn trim(gpt: &Gpt) {
    let memory = gpt.device().memory_use();
    if memory.reserved > 2 * memory.peak {
        gpt.device().trim();
    }
}
