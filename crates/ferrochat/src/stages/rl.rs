//! Reinforcement learning: the model practises what can be checked, a recipe to be read from top to bottom.
//!
//! Each step asks some questions, draws several replies to each, and makes those likelier that are worth more
//! than the mean. Everything follows from the seed and the step, so that a stage which goes on needs no more.

mod questions;
mod rollouts;

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use ferrochat_chat::ReplyOptions;
use ferrochat_model::{Gpt, GptConfig, Rng, Sampling};
use ferrochat_tasks::{
    Dataset, Judging, MeasureOptions, PassAtK, Task, TaskError, TaskSplit, WorldTask, measure_pass_at_k,
};
use ferrochat_tokenizer::Tokenizer;
use ferrochat_world::{Kind, Split};
use serde::Serialize;
use serde_json::{Value, json};

use super::after::{fading, part_of_rates, refuse_other_data, trim};
use crate::cli::RlArgs;
use crate::errors::{refuse, usage};
use crate::exam::{Exam, WORLD_SEED};
use crate::home::Home;
use crate::interrupt::Interrupt;
use crate::metrics::{self, Line};
use crate::rl_settings::RlSettings;
use crate::training::{Chain, Learned, Lesson, Moment, Order, Padded, Passes, is_due};
use crate::{data_sets, format, identity, output, presets, record, source};
use questions::{Asked, Questions};

/// The stages that RL begins from, where no flag says which.
pub const SOURCES: [&str; 2] = ["mid", "sft"];
/// Replies to each question in a measurement: k goes from 1 to this.
const MOST_K: usize = 8;
/// Tokens of a reply at most, where no flag says so and the context leaves room.
const REPLY_TOKENS: usize = 256;
/// Bytes of keys and values that replies may have which are written at once.
const CACHE_BYTES: usize = 1 << 30;

/// What the stage will be.
#[derive(Clone, Debug, Serialize)]
pub struct RlPlan {
    /// Name of the run.
    pub run: String,
    /// The stage whose model is the beginning.
    pub source: &'static str,
    /// What is practised.
    pub task: String,
    /// Where its questions come from.
    pub origin: String,
    /// Questions to practise on.
    pub questions: usize,
    /// Questions that are too long for the model.
    pub left_out: usize,
    /// The same for the same questions.
    pub fingerprint: String,
    /// Held-out questions that pass@k is measured on.
    pub eval_examples: usize,
    /// Questions per optimizer step.
    pub examples_per_step: usize,
    /// Replies to each.
    pub num_samples: usize,
    /// Tokens of a reply at most.
    pub max_new_tokens: usize,
    /// Replies per forward and backward pass.
    pub device_batch_size: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Replies in all.
    pub replies: u64,
}

/// `train rl`
///
/// # Errors
/// Anything refused, a failure, or an interrupt.
pub fn command(home: &Home, args: &RlArgs) -> Result<()> {
    let chain = Chain::open(home, "rl", &SOURCES, &args.stage)?;
    let run = chain.run.clone();
    let interrupt = Interrupt::listen()?;
    let go_on = format::shell_line(["ferrochat", "train", "rl", "--run", &run.name, "--resume"]);
    let _lock = (!args.plan.dry_run).then(|| record::lock(&run)).transpose()?;
    train(chain, args, &interrupt, &go_on)
}

/// The stage. The caller holds the run's lock and says which command line goes on after an interrupt.
///
/// # Errors
/// A task or a checkpoint that cannot be used, files that cannot be written, or an interrupt.
pub fn train(chain: Chain, args: &RlArgs, interrupt: &Interrupt, go_on: &str) -> Result<()> {
    let settings = match chain.saved()? {
        Some(saved) => RlSettings::resumed(&saved, &args.flags, &chain.run.name)?,
        None => RlSettings::new(&presets::practice(&chain.settings), &args.flags)?,
    };
    let [practised, measured] = tasks(&chain, &settings)?;
    let config = &chain.plan.model;
    let mut questions = Questions::of(practised, &chain.tokenizer)?;
    let max_new_tokens = reply_length(&settings, config, questions.longest())?;
    questions.keep_short(config.sequence_len, max_new_tokens)?;
    let order = order(&settings, &questions)?;
    let plan = plan(&chain, &settings, &questions, &*measured, &order, max_new_tokens);
    if args.plan.dry_run {
        return print_plan(&plan, args.plan.json);
    }
    refuse_other_data(&chain, &plan.fingerprint, "questions")?;

    let loaded = chain.load(
        &part_of_rates(&chain, settings.init_lr_frac),
        false,
        settings.save_every,
    )?;
    eprintln!(
        "rl: practising {} questions of {} ({}), {} replies to each of {} per step",
        format::thousands(plan.questions as u64),
        plan.task,
        plan.origin,
        plan.num_samples,
        plan.examples_per_step
    );
    let before = metrics::read(&chain.run.stage("rl"))?;
    let mut lesson = Practice {
        tokenizer: Arc::clone(&chain.tokenizer),
        exam: Exam::as_before(&chain)?,
        options: reply_options(&settings, config, max_new_tokens),
        first: loaded.resumed.is_some().then(|| first_measured(&before)).flatten(),
        last: None,
        padded: Padded::default(),
        settings,
        questions,
        measured,
        order,
    };
    let schedule = fading(plan.steps);
    let training = chain.start(loaded, schedule, &lesson.settings, &plan, args.plan.price_per_hour)?;
    training.run(&mut lesson, interrupt, go_on)
}

/// The questions to practise and those to measure on.
fn tasks(chain: &Chain, settings: &RlSettings) -> Result<[Arc<dyn Task>; 2]> {
    let of_world = chain.settings.data.is_none();
    let usual = if of_world { "word_problem" } else { "gsm8k" };
    let name = settings.task.as_deref().unwrap_or(usual);
    let tasks = if let Ok(kind) = name.replace('-', "_").parse::<Kind>() {
        let world = source::world(&chain.settings)?;
        let identity = identity::of(&chain.settings, &chain.plan);
        let task = |split, seed, count| -> Arc<dyn Task> {
            Arc::new(WorldTask::new(&world, kind, split, seed, &identity, count))
        };
        [
            task(Split::Train, settings.seed, settings.num_questions),
            task(Split::Heldout, WORLD_SEED, settings.eval_examples),
        ]
    } else if let Ok(dataset) = name.parse::<Dataset>() {
        let folder = settings.tasks_dir.clone().map_or_else(data_sets::usual_folder, Ok)?;
        let open = |split| dataset.open(&folder, split).map_err(usage);
        [open(TaskSplit::Train)?, open(TaskSplit::Test)?]
    } else {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        refuse!(
            "--task {name:?} is unknown; it must be gsm8k, or of the world: {}",
            kinds.join(", ")
        )
    };
    if tasks.iter().any(|task| task.judging() != Judging::Generative) {
        refuse!("--task {name} has nothing to write, only a letter to choose; practise one whose answers are written");
    }
    if tasks.iter().any(|task| task.count() == 0) {
        refuse!("--task {name} has no questions; give another");
    }
    Ok(tasks)
}

/// Tokens of a reply at most.
fn reply_length(settings: &RlSettings, config: &GptConfig, longest_question: usize) -> Result<usize> {
    let context = config.sequence_len;
    let left = (context + 1).saturating_sub(longest_question).max(context / 2).max(1);
    let tokens = settings.max_new_tokens.unwrap_or(REPLY_TOKENS.min(left));
    if tokens > context {
        refuse!("--max-new-tokens {tokens} is longer than the model's context of {context} tokens; give less");
    }
    Ok(tokens)
}

fn order(settings: &RlSettings, questions: &Questions) -> Result<Order> {
    let count = questions.asked.len();
    if settings.examples_per_step > count {
        refuse!(
            "--examples-per-step {} is more than the {count} questions there are; give {count} or less",
            settings.examples_per_step
        );
    }
    Ok(Order::new(settings.seed, count, settings.examples_per_step))
}

fn plan(
    chain: &Chain,
    settings: &RlSettings,
    questions: &Questions,
    measured: &dyn Task,
    order: &Order,
    max_new_tokens: usize,
) -> RlPlan {
    let steps = usize::try_from(settings.num_iterations).unwrap_or(order.steps_per_epoch() * settings.epochs);
    RlPlan {
        run: chain.run.name.clone(),
        source: chain.source,
        task: questions.task.name().to_owned(),
        origin: questions.task.origin(),
        questions: questions.asked.len(),
        left_out: questions.left_out,
        fingerprint: questions.fingerprint(),
        eval_examples: measured.count().min(settings.eval_examples),
        examples_per_step: settings.examples_per_step,
        num_samples: settings.num_samples,
        max_new_tokens,
        device_batch_size: settings.rows_per_pass(),
        steps,
        replies: (steps * settings.examples_per_step * settings.num_samples) as u64,
    }
}

fn print_plan(plan: &RlPlan, as_json: bool) -> Result<()> {
    if as_json {
        return output::print_json(plan);
    }
    output::print(&format!(
        "run             {}\nstage           rl, from {}\ntask            {} ({})\nquestions       {}, {} left out as too long, {} held out\nbatch           {} questions × {} replies of at most {} tokens\nsteps           {}\nreplies         {}\n",
        plan.run,
        plan.source,
        plan.task,
        plan.origin,
        format::thousands(plan.questions as u64),
        plan.left_out,
        plan.eval_examples,
        plan.examples_per_step,
        plan.num_samples,
        plan.max_new_tokens,
        format::thousands(plan.steps as u64),
        format::thousands(plan.replies),
    ))
}

fn reply_options(settings: &RlSettings, config: &GptConfig, max_tokens: usize) -> ReplyOptions {
    // What is written at once changes no bit, only memory and speed.
    let bytes_per_reply = 8 * config.n_layer * config.kv_dim() * (config.sequence_len + max_tokens);
    ReplyOptions {
        samples: settings.num_samples,
        max_tokens,
        sampling: Sampling {
            temperature: settings.temperature as f32,
            top_k: (settings.top_k > 0).then_some(settings.top_k),
            top_p: None,
            seed: settings.seed,
        },
        batch: (CACHE_BYTES / bytes_per_reply.max(1)).clamp(settings.num_samples, 256.max(settings.num_samples)),
    }
}

/// What the first measurement of this stage found, at an earlier start.
fn first_measured(lines: &[Line]) -> Option<Vec<f64>> {
    let measured = lines.iter().map(|line| &line.pass_at_k);
    measured.filter(|shares| !shares.is_empty()).map(Clone::clone).next()
}

/// Practising questions of a task.
struct Practice {
    settings: RlSettings,
    tokenizer: Arc<Tokenizer>,
    questions: Questions,
    measured: Arc<dyn Task>,
    order: Order,
    options: ReplyOptions,
    padded: Padded,
    first: Option<Vec<f64>>,
    last: Option<PassAtK>,
    exam: Exam,
}

impl Lesson for Practice {
    fn learn(&mut self, gpt: &Gpt, step: usize, passes: &mut Passes, line: &mut Line) -> Result<Learned> {
        let asked: Vec<&Asked> = self
            .order
            .at(step)
            .iter()
            .map(|&at| &self.questions.asked[at])
            .collect();
        self.options.sampling.seed = Rng::derive(self.settings.seed, "replies", step as u64).next_u64();
        let groups = rollouts::roll_out(gpt, &self.tokenizer, &*self.questions.task, &asked, &self.options)?;
        let rows = self.settings.rows_per_pass();
        let loss = rollouts::learn(gpt, passes, &mut self.padded, &groups, rows);

        let replies = || groups.iter().flatten();
        let count = replies().count() as f64;
        line.reward = Some(replies().map(|reply| reply.reward).sum::<f64>() / count);
        line.reply_tokens = Some(replies().map(|reply| reply.reply_tokens as f64).sum::<f64>() / count);
        let tokens = replies().map(|reply| reply.ids.len()).sum();
        trim(gpt);
        Ok(Learned { loss, tokens })
    }

    fn measure(&mut self, at: &Moment, line: &mut Line) -> Result<bool> {
        if !is_due(self.settings.eval_every, at.step) && !at.last {
            return Ok(true);
        }
        let options = MeasureOptions {
            max_problems: Some(self.settings.eval_examples),
            max_new_tokens: self.options.max_tokens,
            temperature: 1.0,
            top_k: self.options.sampling.top_k,
            samples: MOST_K,
            batch: self.options.batch,
            // Always the same, so that two measurements differ by the model alone.
            seed: self.settings.seed,
            ..MeasureOptions::default()
        };
        let mut watch = |_: &ferrochat_tasks::Progress| match at.interrupt.requested() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        };
        let found = match measure_pass_at_k(at.gpt, &self.tokenizer, &*self.measured, &options, &mut watch) {
            Err(TaskError::Interrupted) => return Ok(false),
            found => found?,
        };
        line.pass_at_k = found.pass.iter().map(|share| share.value).collect();
        let [one, most] = [0, found.pass.len() - 1].map(|at| 100.0 * found.pass[at].value);
        at.progress.line(&format!(
            "step {}: pass@1 {one:.1}% ± {:.1}, pass@{MOST_K} {most:.1}% of {} held-out questions",
            at.step,
            100.0 * found.pass[0].standard_error,
            found.count
        ));
        self.first.get_or_insert_with(|| line.pass_at_k.clone());
        self.last = Some(found);
        trim(at.gpt);
        Ok(true)
    }

    fn examine(&mut self, gpt: &Gpt, interrupt: &Interrupt) -> Result<bool> {
        self.exam.sit(gpt, &self.tokenizer, interrupt)
    }

    fn position(&self) -> Vec<u8> {
        Vec::new()
    }

    fn findings(&self) -> Vec<(&'static str, Value)> {
        let mut findings = self.exam.findings();
        if let Some(last) = &self.last {
            findings.push(("pass_at_k", json!({"before": self.first, "after": last})));
        }
        findings
    }
}
