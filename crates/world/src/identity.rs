//! What a model knows about itself: a value that comes from outside, from the
//! run's plan. This room must never know how it is asked about.

use serde::{Deserialize, Serialize};

/// The facts that identity conversations are made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What the model is called.
    pub name: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Tokens of pretraining.
    pub tokens: u64,
    /// What those tokens were: "about my villages".
    pub read: String,
    /// Layers of the transformer.
    pub depth: usize,
    /// What the model is, as a noun phrase: "a small and cheerful language model".
    pub persona: String,
    /// What it cannot do, each as a sentence: "I cannot look things up.".
    pub limits: Vec<String>,
}

impl Default for Identity {
    /// Spark, as the quick run of `speedrun` makes it.
    fn default() -> Self {
        Identity {
            name: "Spark".into(),
            parameters: 1_548_470,
            tokens: 1_638_400,
            read: "about my villages".into(),
            depth: 6,
            persona: "a small and cheerful language model".into(),
            limits: vec![
                "I only know a few villages and their people.".into(),
                "I cannot look things up.".into(),
                "I make mistakes.".into(),
            ],
        }
    }
}

/// A count as one says it: `1.6 million`, `561 million`, `11.2 billion`,
/// `730 thousand`: three digits at most, rounded to the nearest.
pub fn spoken_count(n: u64) -> String {
    let units: [(u128, &str); 4] = [
        (1_000_000_000_000, "trillion"),
        (1_000_000_000, "billion"),
        (1_000_000, "million"),
        (1_000, "thousand"),
    ];
    let n = u128::from(n);
    for (unit, name) in units {
        // From 999.5 of the smaller unit on, the larger one is the nearest.
        if n * 10_000 >= unit * 9_995 {
            let tenths = (n * 10 + unit / 2) / unit;
            return if tenths >= 1000 {
                format!("{} {name}", (n + unit / 2) / unit)
            } else if tenths % 10 == 0 {
                format!("{} {name}", tenths / 10)
            } else {
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            };
        }
    }
    n.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_spoken_with_three_digits() {
        for (n, spoken) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1 thousand"),
            (1_600_000, "1.6 million"),
            (560_988_160, "561 million"),
            (11_219_763_200, "11.2 billion"),
            (999_960_000, "1 billion"),
            (99_960, "100 thousand"),
            (2_000_000, "2 million"),
        ] {
            assert_eq!(spoken_count(n), spoken);
        }
    }
}
