//! Scores of CORE: from what the model says of each text to the metric. This room must never know how batches are made.

use std::ops::ControlFlow;
use std::time::Instant;

use ferrochat_chat::ChatError;
use ferrochat_model::Gpt;
use ferrochat_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use super::batch::{Reader, Reading, batches};
use super::bundle::CoreTask;
use super::item::CoreKind;
use super::spans::Piece;
use crate::error::TaskError;
use crate::estimate::Estimate;
use crate::outcomes::Outcomes;

/// Items whose texts are held at once; tokens need less than their texts.
const TEXTS: usize = 256;

/// How to score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreOptions {
    /// Positions that are computed at once, filling included; one item at least.
    pub batch_tokens: usize,
}

impl Default for CoreOptions {
    fn default() -> CoreOptions {
        CoreOptions { batch_tokens: 8192 }
    }
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoreProgress<'a> {
    /// Name of the task.
    pub task: &'a str,
    /// Items that are scored.
    pub done: usize,
    /// Items in all.
    pub count: usize,
    /// Share of the work that is done, by tokens.
    pub share: f64,
}

/// Looks at the progress and may stop ([`TaskError::Interrupted`]).
pub type CoreWatch<'a> = dyn FnMut(&CoreProgress) -> ControlFlow<()> + 'a;

/// What one item came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemScore {
    /// Its place in the task.
    pub item: usize,
    /// Mean negative log-likelihood of the scored tokens of each option, in nats; NaN of no tokens. One for language
    /// modelling.
    pub nll: Vec<f64>,
    /// The option with the least, the first of equals; none in language modelling.
    pub chosen: Option<usize>,
    /// Is it right?
    pub right: bool,
}

/// What a task came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoreScore {
    /// Name of the task.
    pub task: String,
    /// How it was scored.
    pub kind: CoreKind,
    /// Examples before each question.
    pub examples: usize,
    /// Share of items that are right.
    pub accuracy: f64,
    /// Standard error of the accuracy.
    pub standard_error: f64,
    /// The accuracy of guessing.
    pub chance: f64,
    /// Accuracy on the scale on which guessing is 0 and all right is 1.
    pub centered: f64,
    /// Items.
    pub count: usize,
    /// Tokens that the model read.
    pub tokens: usize,
    /// Language modelling items whose prompt ends inside a token of the whole text; they are scored from there on.
    pub cut_tokens: usize,
    /// Time that it took.
    pub seconds: f64,
    /// Item by item, in their order.
    #[serde(skip)]
    pub items: Vec<ItemScore>,
}

impl CoreScore {
    /// Which items are right.
    pub fn outcomes(&self) -> Outcomes {
        self.items.iter().map(|item| item.right).collect()
    }
}

/// Scores a model on a task.
///
/// # Errors
/// [`TaskError::Interrupted`] if `watch` breaks; [`TaskError::Chat`] if the tokenizer is another model's;
/// [`TaskError::Request`] for an empty continuation, or where there is no memory.
pub fn score_core(
    gpt: &Gpt,
    tokenizer: &Tokenizer,
    task: &CoreTask,
    options: CoreOptions,
    watch: &mut CoreWatch,
) -> Result<CoreScore, TaskError> {
    let begun = Instant::now();
    let spec = task.spec();
    let (model, own) = (gpt.config().vocab_size, tokenizer.vocab_size());
    if model != own {
        return Err(ChatError::Request(format!(
            "the model has a vocabulary of {model} and the tokenizer one of {own}; use the tokenizer that the model was \
             trained with"
        ))
        .into());
    }
    let mut look = |done: usize, share: f64| {
        let progress = CoreProgress {
            task: &spec.label,
            done,
            count: task.count(),
            share,
        };
        match watch(&progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(TaskError::Interrupted),
        }
    };
    look(0, 0.0)?;
    let (mut pieces, mut cut_tokens) = (Vec::with_capacity(task.count()), 0);
    for first in (0..task.count()).step_by(TEXTS) {
        let items = first..task.count().min(first + TEXTS);
        for (piece, clean) in encode(task, tokenizer, items) {
            let piece = piece?;
            cut_tokens += usize::from(!clean);
            pieces.push(piece);
        }
        look(0, 0.0)?;
    }

    let tokens = pieces.iter().map(Piece::tokens).sum();
    let greedy = spec.kind == CoreKind::LanguageModeling;
    let mut reader = Reader::new(gpt);
    let mut items = Vec::with_capacity(task.count());
    let mut read = 0;
    for batch in batches(&pieces, options.batch_tokens, model, greedy) {
        let batch: Vec<&Piece> = batch.iter().map(|&index| &pieces[index]).collect();
        let readings = reader.read(&batch, greedy).map_err(|error| {
            let item = batch[0].item;
            TaskError::Request(format!(
                "item {item} of {} and {} like it: {error}; --batch-tokens {} or less needs less",
                spec.label,
                batch.len() - 1,
                options.batch_tokens / 2
            ))
        })?;
        for (piece, readings) in batch.iter().zip(readings) {
            read += piece.tokens();
            items.push(judge(piece.item, task.gold(piece.item), &readings));
        }
        look(items.len(), read as f64 / tokens as f64)?;
    }
    items.sort_by_key(|item| item.item);
    let outcomes: Vec<f64> = items.iter().map(|item| f64::from(u8::from(item.right))).collect();
    let estimate = Estimate::of(&outcomes);
    Ok(CoreScore {
        task: spec.label.clone(),
        kind: spec.kind,
        examples: spec.examples,
        accuracy: estimate.value,
        standard_error: estimate.standard_error,
        chance: spec.chance,
        centered: estimate.centered(spec.chance).value,
        count: items.len(),
        tokens,
        cut_tokens,
        seconds: begun.elapsed().as_secs_f64(),
        items,
    })
}

type Encoded = (Result<Piece, TaskError>, bool);

/// The tokens of some items, over all cores.
fn encode(task: &CoreTask, tokenizer: &Tokenizer, items: std::ops::Range<usize>) -> Vec<Encoded> {
    let (spec, bos) = (task.spec(), tokenizer.bos());
    let prompts: Vec<Vec<String>> = items.clone().map(|index| task.prompts(index)).collect();
    let texts: Vec<&String> = prompts.iter().flatten().collect();
    let mut encoded = tokenizer.encode_batch(&texts).into_iter();
    let mut piece = |(index, prompts): (usize, &Vec<String>)| {
        let tokens = encoded.by_ref().take(prompts.len());
        let texts = tokens.map(|ids| [vec![bos], ids].concat()).collect();
        let (piece, clean) = Piece::new(spec.kind, index, texts);
        if spec.kind == CoreKind::LanguageModeling && piece.span() == 0 {
            let fault = format!(
                "item {index} of {} (after the shuffle) has an empty continuation",
                spec.label
            );
            return (Err(TaskError::Request(fault)), clean);
        }
        (Ok(piece), clean)
    };
    items.zip(&prompts).map(&mut piece).collect()
}

/// The least mean wins, the first of equals; an option without a token of its own wins only where it is the first, by
/// the reference's rule.
fn judge(item: usize, gold: Option<usize>, readings: &[Reading]) -> ItemScore {
    let nll: Vec<f64> = readings.iter().map(Reading::mean).collect();
    let chosen = gold.map(|_| {
        let mut best = 0;
        for (option, &nats) in nll.iter().enumerate() {
            if nats < nll[best] {
                best = option;
            }
        }
        best
    });
    ItemScore {
        item,
        right: match gold {
            Some(gold) => chosen == Some(gold),
            None => readings.iter().all(|reading| reading.greedy),
        },
        nll,
        chosen,
    }
}

/// All tasks that were scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoreResults {
    /// In the order of the bundle.
    pub scores: Vec<CoreScore>,
}

impl CoreResults {
    /// The metric: the mean of the centered accuracies; `None` of no tasks.
    pub fn metric(&self) -> Option<Estimate> {
        let centered = self.scores.iter().map(|score| {
            let estimate = Estimate {
                value: score.accuracy,
                standard_error: score.standard_error,
            };
            estimate.centered(score.chance)
        });
        Estimate::mean(&centered.collect::<Vec<_>>())
    }

    /// The table as the reference writes it, columns of fixed width between commas.
    pub fn to_csv(&self) -> String {
        let line = |task: &str, accuracy: &str, centered: &str| format!("{task:<35}, {accuracy:<10}, {centered:<10}\n");
        let mut text = line("Task", "Accuracy", "Centered");
        for score in &self.scores {
            let (accuracy, centered) = (format!("{:.6}", score.accuracy), format!("{:.6}", score.centered));
            text.push_str(&line(&score.task, &accuracy, &centered));
        }
        let metric = self
            .metric()
            .map_or(String::new(), |metric| format!("{:.6}", metric.value));
        text.push_str(&line("CORE", "", &metric));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(nll: &[f32]) -> Reading {
        Reading {
            nll: nll.to_vec(),
            greedy: false,
        }
    }

    #[test]
    fn the_least_mean_wins_and_the_first_of_equals() {
        let chosen = |readings: &[Reading]| judge(0, Some(1), readings).chosen;
        assert_eq!(
            chosen(&[reading(&[2.0, 4.0]), reading(&[2.5]), reading(&[1.0, 4.0])]),
            Some(1)
        );
        assert_eq!(chosen(&[reading(&[3.0]), reading(&[]), reading(&[1.0])]), Some(2));
        assert_eq!(chosen(&[reading(&[]), reading(&[1.0])]), Some(0));
        assert!(judge(0, Some(1), &[reading(&[2.0]), reading(&[1.0])]).right);
        assert!(!judge(0, None, &[reading(&[0.1])]).right);
        assert!(
            judge(
                0,
                None,
                &[Reading {
                    greedy: true,
                    ..reading(&[9.0])
                }]
            )
            .right
        );
    }

    #[test]
    fn the_table_has_the_references_layout() {
        let score = |task: &str, accuracy, chance| CoreScore {
            task: task.to_owned(),
            kind: CoreKind::Schema,
            examples: 0,
            accuracy,
            standard_error: 0.03,
            chance,
            centered: crate::estimate::centered(accuracy, chance),
            count: 10,
            tokens: 100,
            cut_tokens: 0,
            seconds: 1.0,
            items: Vec::new(),
        };
        let results = CoreResults {
            scores: vec![score("copa", 0.6, 0.5), score("boolq", 0.552_294, 0.62)],
        };
        let expected = "Task                               , Accuracy  , Centered  \n\
                        copa                               , 0.600000  , 0.200000  \n\
                        boolq                              , 0.552294  , -0.178174 \n\
                        CORE                               ,           , 0.010913  \n";
        assert_eq!(results.to_csv(), expected);
        let error = results.metric().unwrap().standard_error;
        assert!((error - (0.06_f64.powi(2) + (0.03_f64 / 0.38).powi(2)).sqrt() / 2.0).abs() < 1e-12);
    }
}
