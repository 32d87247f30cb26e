//! Lists of tasks as they are written in flags: `gsm8k*4,mmlu*3,arc-easy`. This room must never know files.

use crate::dataset::Dataset;
use crate::error::TaskError;

/// A data set and how often it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// Which.
    pub dataset: Dataset,
    /// Passes over it in one pass over the mixture; 1 unless said.
    pub epochs: u64,
}

impl TaskSpec {
    /// Reads a list: names, separated by commas, each with `*` and a number where it is seen more than once.
    ///
    /// # Errors
    /// [`TaskError::Request`] for an unknown name, one that occurs twice, a number that is none, or an empty list.
    pub fn list(text: &str) -> Result<Vec<TaskSpec>, TaskError> {
        let mut specs: Vec<TaskSpec> = Vec::new();
        for entry in text.split(',').map(str::trim) {
            if entry.is_empty() {
                return Err(TaskError::Request(format!(
                    "the list of tasks {text:?} has an empty place; write for example gsm8k*4,arc-easy"
                )));
            }
            let (name, epochs) = match entry.split_once('*') {
                None => (entry, Some(1)),
                Some((name, number)) => (name.trim(), number.trim().parse().ok().filter(|&epochs| epochs > 0)),
            };
            let dataset: Dataset = name.parse()?;
            let Some(epochs) = epochs else {
                return Err(TaskError::Request(format!(
                    "{entry:?} does not say how often {dataset} is seen; write a whole number from 1 behind the *"
                )));
            };
            if specs.iter().any(|spec| spec.dataset == dataset) {
                return Err(TaskError::Request(format!(
                    "{dataset} is listed twice in {text:?}; to see it twice write {}*2",
                    name.to_lowercase()
                )));
            }
            specs.push(TaskSpec { dataset, epochs });
        }
        Ok(specs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_names_with_numbers() {
        let spec = |dataset, epochs| TaskSpec { dataset, epochs };
        assert_eq!(
            TaskSpec::list("gsm8k*4, MMLU * 3,arc-easy,ARC-Challenge").unwrap(),
            [
                spec(Dataset::Gsm8k, 4),
                spec(Dataset::Mmlu, 3),
                spec(Dataset::ArcEasy, 1),
                spec(Dataset::ArcChallenge, 1)
            ]
        );
        for (text, expected) in [
            ("", "empty place"),
            ("gsm8k,", "empty place"),
            ("gsm8k*0", "whole number"),
            ("gsm8k*", "whole number"),
            ("gsm8k*1.5", "whole number"),
            (
                "gsm",
                "there is no task \"gsm\"; known are arc-easy, arc-challenge, mmlu, gsm8k, humaneval, spellingbee, simplespelling",
            ),
            ("gsm8k,GSM8K", "listed twice"),
        ] {
            let error = TaskSpec::list(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
