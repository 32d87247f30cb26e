//! Measuring a model on a task. This room must never know what a task asks.

mod choosing;
mod writing;

use std::ops::ControlFlow;
use std::time::Instant;

use ferrochat_chat::{ReplyOptions, render_for_completion};
use ferrochat_model::{Gpt, Sampling};
use ferrochat_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::estimate::{Estimate, pass_at_k};
use crate::task::{Judging, Task};

/// How to measure. Tasks that are judged by letters need none but `max_problems` and `batch`.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasureOptions {
    /// Only the first so many items.
    pub max_problems: Option<usize>,
    /// Tokens of a reply at most.
    pub max_new_tokens: usize,
    /// 0: always the likeliest token.
    pub temperature: f32,
    /// Only so many of the likeliest tokens.
    pub top_k: Option<usize>,
    /// Replies to each item; its outcome is their mean.
    pub samples: usize,
    /// Items or replies that are computed at once.
    pub batch: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for MeasureOptions {
    /// The reference's: greedy, one sample, 512 new tokens.
    fn default() -> MeasureOptions {
        MeasureOptions {
            max_problems: None,
            max_new_tokens: 512,
            temperature: 0.0,
            top_k: Some(50),
            samples: 1,
            batch: 16,
            seed: 42,
        }
    }
}

/// How far a measurement is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress<'a> {
    /// Name of the task.
    pub task: &'a str,
    /// Items that are finished.
    pub done: usize,
    /// Items in all.
    pub count: usize,
    /// Mean outcome so far. Long questions come first, so it is not yet the score.
    pub score: f64,
}

/// Looks at the progress, several times a second as a rule, and may stop the measurement ([`TaskError::Interrupted`]).
pub type Watch<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + 'a;

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
    /// Share of items that are right.
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
}

impl TaskScore {
    /// The score with its standard error.
    pub fn estimate(&self) -> Estimate {
        Estimate {
            value: self.score,
            standard_error: self.standard_error,
        }
    }

    /// ChatCORE: the mean of the centered scores; `None` of no scores.
    pub fn chat_core(scores: &[TaskScore]) -> Option<Estimate> {
        let centered = scores.iter().map(|score| score.estimate().centered(score.chance));
        Estimate::mean(&centered.collect::<Vec<_>>())
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

/// Measures a model on a task.
///
/// # Errors
/// [`TaskError::Interrupted`] if `watch` breaks; [`TaskError::Chat`] or [`TaskError::Request`] for impossible
/// options, a task without items, or a tokenizer to which a letter is not one token.
pub fn measure(
    gpt: &Gpt,
    tokenizer: &Tokenizer,
    task: &dyn Task,
    options: &MeasureOptions,
    watch: &mut Watch,
) -> Result<TaskScore, TaskError> {
    let start = Instant::now();
    let mut run = Run::new(gpt, tokenizer, task, options)?;
    let mut refusals = None;
    match task.judging() {
        Judging::Letters => run.choose(options.batch, watch)?,
        Judging::Generative => {
            let replies = reply_options(options);
            run.write(&replies, watch, &mut |index, replies| {
                let rewards = replies.iter().map(|reply| task.reward(index, reply));
                let reward = rewards.sum::<f64>() / replies.len() as f64;
                for refused in replies.iter().filter_map(|reply| task.falsely_refused(reply)) {
                    let counts: &mut FalseRefusals = refusals.get_or_insert_default();
                    counts.refused += usize::from(refused);
                    counts.replies += 1;
                }
                reward
            })?;
        }
    }
    let estimate = Estimate::of(&run.outcomes);
    Ok(TaskScore {
        task: task.name().to_owned(),
        score: estimate.value,
        standard_error: estimate.standard_error,
        count: run.prompts.len(),
        chance: task.chance(),
        seconds: start.elapsed().as_secs_f64(),
        cut: run.cut,
        false_refusals: refusals,
    })
}

/// Measures pass@k for k from 1 to `options.samples`, of which there are 8 in the reference, at temperature 1.
///
/// # Errors
/// As [`measure`], and [`TaskError::Request`] for a task in which nothing is written.
pub fn measure_pass_at_k(
    gpt: &Gpt,
    tokenizer: &Tokenizer,
    task: &dyn Task,
    options: &MeasureOptions,
    watch: &mut Watch,
) -> Result<PassAtK, TaskError> {
    let start = Instant::now();
    if task.judging() == Judging::Letters {
        return Err(TaskError::Request(format!(
            "{} is answered by choosing a letter, of which there is one answer only; measure pass@k on a task whose \
             answers are written, such as gsm8k",
            task.name()
        )));
    }
    let mut run = Run::new(gpt, tokenizer, task, options)?;
    let mut right = Vec::with_capacity(run.prompts.len());
    run.write(&reply_options(options), watch, &mut |index, replies| {
        let passed = replies.iter().filter(|reply| task.grade(index, reply)).count();
        right.push(passed);
        passed as f64 / replies.len() as f64
    })?;
    let samples = options.samples;
    let estimate = |k| {
        let outcomes = right.iter().map(|&passed| pass_at_k(samples, passed, k));
        Estimate::of(&outcomes.collect::<Vec<_>>())
    };
    Ok(PassAtK {
        task: task.name().to_owned(),
        pass: (1..=samples).map(estimate).collect(),
        count: run.prompts.len(),
        samples,
        seconds: start.elapsed().as_secs_f64(),
    })
}

fn reply_options(options: &MeasureOptions) -> ReplyOptions {
    ReplyOptions {
        samples: options.samples,
        max_tokens: options.max_new_tokens,
        sampling: Sampling {
            temperature: options.temperature,
            top_k: options.top_k,
            seed: options.seed,
            ..Sampling::default()
        },
        batch: options.batch,
    }
}

/// A measurement that is going on.
struct Run<'a> {
    gpt: &'a Gpt,
    tokenizer: &'a Tokenizer,
    task: &'a dyn Task,
    prompts: Vec<Vec<u32>>,
    /// The items, longest prompt first: what takes most memory and time shows at once.
    order: Vec<usize>,
    cut: usize,
    /// Of the finished items.
    outcomes: Vec<f64>,
}

impl<'a> Run<'a> {
    fn new(
        gpt: &'a Gpt,
        tokenizer: &'a Tokenizer,
        task: &'a dyn Task,
        options: &MeasureOptions,
    ) -> Result<Run<'a>, TaskError> {
        let count = task.count().min(options.max_problems.unwrap_or(usize::MAX));
        let refuse = |sentence: String| Err(TaskError::Request(sentence));
        if count == 0 {
            return refuse(format!(
                "{} has no problems to measure on; choose at least 1",
                task.name()
            ));
        }
        if options.batch == 0 {
            return refuse("nothing can be measured in batches of 0; use 1 or more".to_owned());
        }
        let (context, mut cut) = (gpt.config().sequence_len, 0);
        let mut prompts = Vec::with_capacity(count);
        for index in 0..count {
            let mut ids = render_for_completion(&task.prompt(index), tokenizer, usize::MAX)?;
            if ids.len() > context {
                cut += 1;
                let primer = ids.pop().expect("a prompt ends with the mark of the assistant");
                ids.truncate(context - 1);
                ids.push(primer);
            }
            prompts.push(ids);
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(prompts[index].len()));
        Ok(Run {
            gpt,
            tokenizer,
            task,
            prompts,
            order,
            cut,
            outcomes: Vec::with_capacity(count),
        })
    }

    fn report(&self, watch: &mut Watch) -> Result<(), TaskError> {
        let progress = Progress {
            task: self.task.name(),
            done: self.outcomes.len(),
            count: self.prompts.len(),
            score: Estimate::of(&self.outcomes).value,
        };
        match watch(&progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(TaskError::Interrupted),
        }
    }
}
