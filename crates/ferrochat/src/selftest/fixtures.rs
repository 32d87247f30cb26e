//! The model, the optimizers and ten steps of training beside stored numbers of the reference.

use anyhow::Result;
use ferrochat_model::check::PARITIES;

use super::lines::{Line, Lines, guarded};
use super::subject::Subject;

const PART: &str = "fixtures";

/// All fixtures in all element types.
///
/// # Errors
/// A device cannot be opened or stdout written to.
pub fn run(subject: &Subject, lines: &mut Lines) -> Result<()> {
    for dtype in subject.dtypes() {
        for parity in &PARITIES {
            let device = subject.device(dtype)?;
            let dtype = Some(dtype.name());
            lines.count(1);
            lines.push(&match guarded(|| (parity.run)(&device)) {
                Ok(parts) => Line::of_parts(PART, parity.name, dtype, &parts),
                Err(sentence) => Line::judged(PART, parity.name, dtype, &[sentence]),
            })?;
        }
    }
    Ok(())
}
