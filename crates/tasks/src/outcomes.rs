//! Which items a model got right, and how two models differ on the same ones. This room must never know what was asked.

use serde::{Deserialize, Serialize};

use crate::estimate::Estimate;

/// `1` for each item that was right and `0` for each that was not, in the order of the items; empty where that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outcomes(String);

impl Outcomes {
    /// Is nothing known?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By how much the share of right items is above that of `first`, with the standard error of the items' own differences:
    /// what is hard for both is no part of it. `None` where the items are not as many, or not known.
    ///
    /// Of different items the estimate is still right, for their differences have then the sum of both variances.
    pub fn above(&self, first: &Outcomes) -> Option<Estimate> {
        if self.is_empty() || self.0.len() != first.0.len() {
            return None;
        }
        let pairs = self.0.bytes().zip(first.0.bytes());
        let differences: Vec<f64> = pairs.map(|(own, other)| f64::from(own) - f64::from(other)).collect();
        Some(Estimate::of(&differences))
    }
}

impl FromIterator<bool> for Outcomes {
    fn from_iter<I: IntoIterator<Item = bool>>(items: I) -> Outcomes {
        Outcomes(items.into_iter().map(|right| if right { '1' } else { '0' }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(text: &str) -> Outcomes {
        text.chars().map(|item| item == '1').collect()
    }

    #[test]
    fn what_both_find_hard_is_no_part_of_the_error() {
        let (first, own) = (outcomes("1100110011"), outcomes("1110110011"));
        let paired = own.above(&first).unwrap();
        // One item of ten: a deviation of √(0.1 · 0.9 · 10/9) over √10.
        assert!(
            (paired.value - 0.1).abs() < 1e-12 && (paired.standard_error - 0.1).abs() < 1e-12,
            "{paired:?}"
        );
        assert_eq!(
            own.above(&own).unwrap(),
            Estimate {
                value: 0.0,
                standard_error: 0.0
            }
        );
        assert_eq!(own.above(&outcomes("11")), None);
        assert_eq!(outcomes("").above(&outcomes("")), None);
    }
}
