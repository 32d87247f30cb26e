//! What measurements come to: scores of tasks, and the one figure of a chat model. This room must never know how
//! anything was measured.

use serde::{Deserialize, Serialize};

use crate::estimate::Estimate;
use crate::outcomes::Outcomes;

/// Replies that refused what should be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FalseRefusals {
    /// Replies that refused.
    pub refused: usize,
    /// Replies in all.
    pub replies: usize,
}

impl FalseRefusals {
    /// The share over several tasks; `None` where none of them knows refusals.
    pub fn share(scores: &[TaskScore]) -> Option<Estimate> {
        let counted = scores.iter().filter_map(|score| score.false_refusals);
        let (refused, replies) = counted.fold((0, 0), |sum, one| (sum.0 + one.refused, sum.1 + one.replies));
        let mut outcomes = vec![0.0; replies];
        outcomes[..refused].fill(1.0);
        (replies > 0).then(|| Estimate::of(&outcomes))
    }
}

/// What a task came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskScore {
    /// Name of the task.
    pub task: String,
    /// Share of items that are right; of several replies to each, pass@1.
    pub score: f64,
    /// Standard error of the score.
    pub standard_error: f64,
    /// Items.
    pub count: usize,
    /// The score of guessing.
    pub chance: f64,
    /// Time that it took.
    pub seconds: f64,
    /// Items of which the model read only the beginning, for they are longer than its context.
    pub cut: usize,
    /// Refusals among the replies, for tasks that should be answered.
    pub false_refusals: Option<FalseRefusals>,
    /// Replies to each item.
    #[serde(default = "one")]
    pub samples: usize,
    /// pass@1, pass@2, … up to the number of samples, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass_at_k: Vec<Estimate>,
    /// Item by item, where there is one reply to each.
    #[serde(default, skip_serializing_if = "Outcomes::is_empty")]
    pub items: Outcomes,
}

fn one() -> usize {
    1
}

impl TaskScore {
    /// The score with its standard error.
    pub fn estimate(&self) -> Estimate {
        Estimate {
            value: self.score,
            standard_error: self.standard_error,
        }
    }

    /// The score on the scale on which guessing is 0 and all right is 1.
    pub fn centered(&self) -> Estimate {
        self.estimate().centered(self.chance)
    }
}

/// pass@k of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassAtK {
    /// Name of the task.
    pub task: String,
    /// pass@1, pass@2, … up to the number of samples.
    pub pass: Vec<Estimate>,
    /// Items.
    pub count: usize,
    /// Replies to each item.
    pub samples: usize,
    /// Time that it took.
    pub seconds: f64,
}

/// One figure for several tasks: the mean of their centered scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChatCore {
    /// The figure, where enough was measured.
    #[serde(flatten)]
    pub estimate: Option<Estimate>,
    /// The tasks that it is the mean of.
    pub tasks: Vec<String>,
    /// The tasks without which there is no figure.
    pub missing: Vec<String>,
}

impl ChatCore {
    /// The tasks of ChatCORE in the order of the reference, which counted the last for a time only (October 2025 to
    /// July 2026): it is in the mean where it was measured, and not missed where it was not.
    pub const TASKS: [&str; 6] = ["ARC-Easy", "ARC-Challenge", "MMLU", "GSM8K", "HumanEval", "SpellingBee"];

    /// ChatCORE of these scores, among which others may be; `None` where there is none of its tasks.
    pub fn of(scores: &[TaskScore]) -> Option<ChatCore> {
        ChatCore::over(&Self::TASKS, &Self::TASKS[..5], scores)
    }

    /// The same of the kinds of the world's questions.
    pub fn of_world(scores: &[TaskScore]) -> Option<ChatCore> {
        let kinds = ferrochat_world::Kind::ALL.map(ferrochat_world::Kind::name);
        ChatCore::over(&kinds, &kinds, scores)
    }

    fn over(all: &[&str], needed: &[&str], scores: &[TaskScore]) -> Option<ChatCore> {
        let score = |name: &&str| scores.iter().find(|score| score.task == *name);
        let found: Vec<&TaskScore> = all.iter().filter_map(score).collect();
        let missing: Vec<String> = needed
            .iter()
            .filter(|name| score(name).is_none())
            .map(ToString::to_string)
            .collect();
        let centered: Vec<Estimate> = found.iter().map(|score| score.centered()).collect();
        (!found.is_empty()).then(|| ChatCore {
            estimate: Estimate::mean(&centered).filter(|_| missing.is_empty()),
            tasks: found.iter().map(|score| score.task.clone()).collect(),
            missing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(task: &str, score: f64, chance: f64) -> TaskScore {
        TaskScore {
            task: task.to_owned(),
            score,
            standard_error: 0.0,
            count: 10,
            chance,
            seconds: 0.0,
            cut: 0,
            false_refusals: None,
            samples: 1,
            pass_at_k: Vec::new(),
            items: Outcomes::default(),
        }
    }

    /// The published card of the $100 run (nanochat, October 2025).
    fn card() -> Vec<TaskScore> {
        vec![
            score("ARC-Challenge", 0.2807, 0.25),
            score("ARC-Easy", 0.3876, 0.25),
            score("GSM8K", 0.0455, 0.0),
            score("HumanEval", 0.0854, 0.0),
            score("MMLU", 0.3151, 0.25),
        ]
    }

    #[test]
    fn the_published_card_has_its_figure() {
        let core = ChatCore::of(&card()).unwrap();
        assert!((core.estimate.unwrap().value - 0.0884).abs() < 5e-5, "{core:?}");
        assert_eq!(core.tasks, ChatCore::TASKS[..5]);
        let mut with_others = card();
        with_others.extend([score("SpellingBee", 1.0, 0.0), score("facts", 1.0, 0.0)]);
        let six = ChatCore::of(&with_others).unwrap();
        assert!((six.estimate.unwrap().value - (5.0 * core.estimate.unwrap().value + 1.0) / 6.0).abs() < 1e-12);
        assert_eq!(six.tasks.len(), 6);
    }

    #[test]
    fn a_part_of_the_tasks_says_what_is_missing() {
        let core = ChatCore::of(&card()[1..4]).unwrap();
        assert_eq!(core.estimate, None);
        assert_eq!(core.missing, ["ARC-Challenge", "MMLU"]);
        let json = serde_json::to_value(&core).unwrap();
        assert!(json.get("value").is_none(), "{json}");
        assert_eq!(ChatCore::of(&[score("facts", 1.0, 0.0)]), None);
        let kinds = ferrochat_world::Kind::ALL.map(|kind| score(kind.name(), 0.5, 0.0));
        assert_eq!(ChatCore::of_world(&kinds).unwrap().estimate.unwrap().value, 0.5);
        assert_eq!(
            ChatCore::of_world(&kinds[1..]).unwrap().missing,
            [kinds[0].task.clone()]
        );
    }

    #[test]
    fn scores_of_older_records_are_read() {
        let old = r#"{"task":"GSM8K","score":0.5,"standard_error":0.1,"count":4,"chance":0.0,"seconds":1.0,"cut":0,"false_refusals":null}"#;
        let score: TaskScore = serde_json::from_str(old).unwrap();
        assert_eq!((score.samples, score.pass_at_k.len()), (1, 0));
    }
}
