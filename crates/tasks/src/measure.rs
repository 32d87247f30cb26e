//! Measuring a model on a task. This room must never know what a task asks.

mod choosing;
mod writing;

use std::ops::ControlFlow;
use std::time::Instant;

use ferrochat_chat::{Engine, ReplyOptions, Tool, render_for_completion};
use ferrochat_model::{Gpt, Sampling};
use ferrochat_tokenizer::Tokenizer;

use crate::error::TaskError;
use crate::estimate::{Estimate, pass_at_k};
use crate::score::{FalseRefusals, PassAtK, TaskScore};
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
    /// Replies to each item; the score is pass@1, the mean of them all.
    pub samples: usize,
    /// Items or replies that are computed at once.
    pub batch: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// For tool calls that are nothing for the calculator.
    pub tool: Option<Tool>,
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
            tool: None,
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
    /// Share of replies so far that are right. Long questions come first, so it is not yet the score.
    pub score: f64,
}

/// Looks at the progress, several times a second as a rule, and may stop the measurement ([`TaskError::Interrupted`]).
pub type Watch<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + 'a;

/// What came of an item.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its number.
    pub index: usize,
    /// What the model said: its replies with tool calls spelled out, or the label that it chose.
    pub said: Vec<String>,
    /// Which of them are right.
    pub right: Vec<bool>,
}

/// Gets every item as soon as it is judged, in any order.
pub type Sink<'a> = dyn FnMut(Answered) + 'a;

/// Measures a model on a task.
///
/// # Errors
/// [`TaskError::Interrupted`] if `watch` breaks; [`TaskError::Chat`] or [`TaskError::Request`] for impossible
/// options, a task without items, or a tokenizer to which a letter is not one token; [`TaskError::Jail`] if a program
/// cannot be run.
pub fn measure(
    gpt: &Gpt,
    tokenizer: &Tokenizer,
    task: &dyn Task,
    options: &MeasureOptions,
    watch: &mut Watch,
) -> Result<TaskScore, TaskError> {
    measure_each(gpt, tokenizer, task, options, watch, &mut |_| {})
}

/// As [`measure`], and `sink` gets what came of each item.
///
/// # Errors
/// As [`measure`].
pub fn measure_each(
    gpt: &Gpt,
    tokenizer: &Tokenizer,
    task: &dyn Task,
    options: &MeasureOptions,
    watch: &mut Watch,
    sink: &mut Sink,
) -> Result<TaskScore, TaskError> {
    let start = Instant::now();
    let mut run = Run::new(gpt, tokenizer, task, options)?;
    let samples = match task.judging() {
        Judging::Letters => {
            run.choose(options.batch, watch, sink)?;
            1
        }
        Judging::Generative => {
            let engine = Engine::new(gpt, tokenizer)?.with_tool(options.tool.clone());
            run.write(&engine, &reply_options(options), watch, sink)?;
            options.samples
        }
    };
    // In the order of the items, so that sums have the same bits however the items came.
    let right: Vec<usize> = run.right.iter().map(|right| right.unwrap_or(0)).collect();
    let pass = |k| {
        let outcomes = right.iter().map(|&right| pass_at_k(samples, right, k));
        Estimate::of(&outcomes.collect::<Vec<_>>())
    };
    let pass_at_k: Vec<Estimate> = (1..=samples).map(pass).collect();
    Ok(TaskScore {
        task: task.name().to_owned(),
        score: pass_at_k[0].value,
        standard_error: pass_at_k[0].standard_error,
        count: run.prompts.len(),
        chance: task.chance(),
        seconds: start.elapsed().as_secs_f64(),
        cut: run.cut,
        false_refusals: (run.refusals.replies > 0).then_some(run.refusals),
        samples,
        pass_at_k: if samples > 1 { pass_at_k } else { Vec::new() },
        items: right.iter().filter(|_| samples == 1).map(|&right| right > 0).collect(),
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
    if task.judging() == Judging::Letters {
        return Err(TaskError::Request(format!(
            "{} is answered by choosing a letter, of which there is one answer only; measure pass@k on a task whose \
             answers are written, such as gsm8k",
            task.name()
        )));
    }
    let score = measure(gpt, tokenizer, task, options, watch)?;
    Ok(PassAtK {
        pass: match score.samples {
            1 => vec![score.estimate()],
            _ => score.pass_at_k,
        },
        task: score.task,
        count: score.count,
        samples: score.samples,
        seconds: score.seconds,
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
    /// How many replies to each item are right, of those that are finished.
    right: Vec<Option<usize>>,
    refusals: FalseRefusals,
    done: Done,
}

/// Of the finished items.
#[derive(Clone, Copy, Default)]
struct Done {
    items: usize,
    replies: usize,
    right: usize,
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
            right: vec![None; count],
            refusals: FalseRefusals::default(),
            done: Done::default(),
        })
    }

    /// An item is finished.
    fn finish(&mut self, answered: Answered, sink: &mut Sink) {
        let right = answered.right.iter().filter(|&&right| right).count();
        self.right[answered.index] = Some(right);
        self.done.items += 1;
        self.done.replies += answered.right.len();
        self.done.right += right;
        sink(answered);
    }

    fn report(&self, watch: &mut Watch) -> Result<(), TaskError> {
        let progress = Progress {
            task: self.task.name(),
            done: self.done.items,
            count: self.prompts.len(),
            score: self.done.right as f64 / self.done.replies.max(1) as f64,
        };
        match watch(&progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(TaskError::Interrupted),
        }
    }
}
