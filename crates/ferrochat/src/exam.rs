//! What a model is examined on after each stage: always the same questions, so that stages can be compared. How
//! questions are graded is the tasks crate's business.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use ferrochat_chat::{Conversation, Engine, Message, ReplyOptions, prompt};
use ferrochat_model::{Gpt, Sampling};
use ferrochat_tasks::{
    ChatCore, Dataset, FalseRefusals, Judging, MeasureOptions, Progress as Watched, Task, TaskError, TaskScore,
    TaskSpec, TaskSplit, WorldTask, measure,
};
use ferrochat_tokenizer::Tokenizer;
use ferrochat_world::Split;
use serde::Serialize;
use serde_json::{Value, json};

use crate::about::About;
use crate::errors::usage;
use crate::home::RunFolder;
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::record::StageRecord;
use crate::settings::Settings;
use crate::training::Chain;
use crate::{format, identity, source};

/// Which draws of the world's questions the program asks after each stage.
pub const WORLD_SEED: u64 = 1;
/// Tokens of an answer to a question of the world.
const WORLD_TOKENS: usize = 96;
/// Tokens of an answer to a question of a data set, as the reference has it.
const DATASET_TOKENS: usize = 512;
/// Answers written at once.
const BATCH: usize = 128;

/// Tasks, and what they came to.
pub struct Exam {
    tasks: Vec<Asked>,
    asked: Vec<String>,
    scores: Vec<TaskScore>,
    dialogues: Vec<Dialogue>,
}

/// A task and how it is asked.
pub struct Asked {
    /// The task.
    pub task: Arc<dyn Task>,
    /// How.
    pub options: MeasureOptions,
    /// Where the files of a data set are; none for the world's tasks.
    folder: Option<PathBuf>,
    /// Which of the world's questions.
    seed: u64,
    /// Items that were wanted; a data set may have fewer.
    count: usize,
}

impl Asked {
    /// One of the world's kinds.
    pub fn of_world(task: WorldTask, seed: u64, count: usize) -> Asked {
        Asked {
            task: Arc::new(task),
            options: MeasureOptions {
                max_new_tokens: WORLD_TOKENS,
                batch: BATCH,
                ..MeasureOptions::default()
            },
            folder: None,
            seed,
            count,
        }
    }

    /// The first `count` items of a data set that lies in a folder.
    pub fn of_data_set(task: Arc<dyn Task>, folder: &Path, count: usize) -> Asked {
        let options = MeasureOptions {
            max_problems: Some(count),
            max_new_tokens: DATASET_TOKENS,
            ..MeasureOptions::default()
        };
        Asked {
            task,
            options,
            folder: Some(folder.to_owned()),
            seed: 0,
            count,
        }
    }

    /// The flags of `eval tasks` that ask the same.
    pub fn flags(&self) -> Vec<String> {
        let mut flags = vec!["--tasks".to_owned(), self.task.name().to_owned()];
        let mut flag = |name: &str, value: String| flags.extend([name.to_owned(), value]);
        flag("--count", self.count.to_string());
        match &self.folder {
            Some(folder) => flag("--tasks-dir", folder.display().to_string()),
            None => flag("--seed", self.seed.to_string()),
        }
        // Said though it be the usual: that may change, and a line is to measure the same for good. Tasks whose answer is a
        // letter have no use for it, and stand beside others in one line.
        flag("--max-new-tokens", self.options.max_new_tokens.to_string());
        if self.options.temperature > 0.0 {
            flag("--temperature", self.options.temperature.to_string());
            flag("--sample-seed", self.options.seed.to_string());
        }
        let usual = MeasureOptions::default();
        if self.options.samples != usual.samples {
            flag("--samples", self.options.samples.to_string());
        }
        if self.options.top_k != usual.top_k {
            flag("--top-k", self.options.top_k.unwrap_or(0).to_string());
        }
        if self.options.tool.is_some() {
            flags.push("--python".to_owned());
        }
        flags
    }

    fn usual_tokens(&self) -> usize {
        if self.folder.is_none() {
            WORLD_TOKENS
        } else {
            DATASET_TOKENS
        }
    }

    /// What is asked otherwise than after each stage.
    pub fn variant(&self) -> String {
        let mut words = Vec::new();
        if self.folder.is_none() && self.seed != WORLD_SEED {
            words.push(format!("seed {}", self.seed));
        }
        if self.task.judging() == Judging::Generative {
            if self.options.temperature > 0.0 {
                words.push(format!("temperature {}", self.options.temperature));
                if self.options.top_k != MeasureOptions::default().top_k {
                    words.push(format!("top-k {}", self.options.top_k.unwrap_or(0)));
                }
            }
            if self.options.tool.is_some() {
                words.push("with Python".to_owned());
            }
            if self.options.max_new_tokens != self.usual_tokens() {
                words.push(format!("{} tokens", self.options.max_new_tokens));
            }
        }
        words.join("; ")
    }

    /// The score for the record.
    fn told(&self, score: &TaskScore) -> Value {
        let mut told = json!(score);
        told["flags"] = json!(self.flags());
        told["variant"] = json!(self.variant());
        told
    }
}

/// A question and what the model said.
#[derive(Clone, Debug, Serialize)]
struct Dialogue {
    prompt: String,
    reply: String,
}

impl Exam {
    /// Of the world's questions, where the base model read the world: `exam_questions` of each kind.
    ///
    /// # Errors
    /// A world that cannot be.
    pub fn of_run(settings: &Settings, plan: &Plan) -> Result<Exam> {
        let mut tasks = Vec::new();
        if settings.data.is_none() && settings.exam_questions > 0 {
            let world = source::world(settings)?;
            let identity = identity::of(settings, plan);
            let all = WorldTask::all(&world, Split::Heldout, WORLD_SEED, &identity, settings.exam_questions);
            tasks.extend(
                all.into_iter()
                    .map(|task| Asked::of_world(task, WORLD_SEED, settings.exam_questions)),
            );
        }
        Ok(Exam {
            asked: About::questions(settings, plan)?,
            tasks,
            scores: Vec::new(),
            dialogues: Vec::new(),
        })
    }

    /// The same that mid-training or SFT of this run was examined on.
    ///
    /// # Errors
    /// Tasks that can no longer be opened.
    pub fn as_before(chain: &Chain) -> Result<Exam> {
        let mut exam = Exam::of_run(&chain.settings, &chain.plan)?;
        if let Some((list, folder)) = mixed_in(&chain.run)? {
            exam.add(&list, Path::new(&folder), chain.settings.exam_questions)?;
        }
        Ok(exam)
    }

    /// Adds the test parts of data sets, such as `gsm8k*4,arc-easy`: the first `count` items of each.
    ///
    /// # Errors
    /// A list that cannot be read, or files that are not there, as usage.
    pub fn add(&mut self, list: &str, folder: &Path, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        for spec in TaskSpec::list(list).map_err(usage)? {
            let task = Dataset::open(spec.dataset, folder, TaskSplit::Test).map_err(usage)?;
            self.tasks.push(Asked::of_data_set(task, folder, count));
        }
        Ok(())
    }

    /// Asks everything; false if an interrupt came first.
    ///
    /// # Errors
    /// A model that cannot answer.
    pub fn sit(&mut self, gpt: &Gpt, tokenizer: &Tokenizer, interrupt: &Interrupt) -> Result<bool> {
        self.scores.clear();
        for Asked { task, options, .. } in &self.tasks {
            let mut progress = Progress::new(task.name(), task.count() as u64);
            let mut watch = |at: &Watched| {
                progress.part(at.done as u64, task.name());
                if interrupt.requested().is_some() {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            };
            let measured = measure(gpt, tokenizer, task.as_ref(), options, &mut watch);
            progress.finish();
            match measured {
                Ok(score) => {
                    eprintln!("{}", line(&score));
                    self.scores.push(score);
                }
                Err(TaskError::Interrupted) => return Ok(false),
                Err(error) => return Err(anyhow::Error::new(error)),
            }
        }
        self.dialogues = dialogues(gpt, tokenizer, &self.asked)?;
        Ok(true)
    }

    /// For the record: scores, the share of false refusals, answers to the questions that a chat opens with.
    pub fn findings(&self) -> Vec<(&'static str, Value)> {
        let mut findings = Vec::new();
        if !self.scores.is_empty() {
            let told = self
                .tasks
                .iter()
                .zip(&self.scores)
                .map(|(task, score)| task.told(score));
            findings.push(("tasks", told.collect()));
        }
        if let Some(share) = FalseRefusals::share(&self.scores) {
            findings.push(("false_refusals", json!(share)));
        }
        for core in [ChatCore::of(&self.scores), ChatCore::of_world(&self.scores)]
            .into_iter()
            .flatten()
        {
            if let Some(estimate) = core.estimate {
                findings.push(("chat_core", json!(estimate)));
            }
        }
        if !self.dialogues.is_empty() {
            findings.push(("dialogues", json!(self.dialogues)));
        }
        findings
    }
}

/// The tasks that SFT or mid-training of a run learned from, and where their files are.
///
/// # Errors
/// A record that cannot be read.
pub fn mixed_in(run: &RunFolder) -> Result<Option<(String, String)>> {
    for stage in ["sft", "mid"] {
        let Some(record) = StageRecord::load(&run.stage(stage))? else {
            continue;
        };
        let said = |name: &str| record.details["settings"][name].as_str().map(str::to_owned);
        if let (Some(list), Some(folder)) = (said("tasks"), said("tasks_dir")) {
            return Ok(Some((list, folder)));
        }
    }
    Ok(None)
}

/// A score for people.
pub fn line(score: &TaskScore) -> String {
    format!(
        "{:<18}{:>6.1}% ± {:.1} of {}, chance {:.0}%, {}",
        score.task,
        100.0 * score.score,
        100.0 * score.standard_error,
        score.count,
        100.0 * score.chance,
        format::duration(score.seconds)
    )
}

/// Greedy answers, tool calls left out.
fn dialogues(gpt: &Gpt, tokenizer: &Tokenizer, asked: &[String]) -> Result<Vec<Dialogue>> {
    let context = gpt.config().sequence_len;
    // A tiny context may be too short for a question.
    let (asked, prompts): (Vec<&String>, Vec<Vec<u32>>) = asked
        .iter()
        .filter_map(|question| {
            let conversation = Conversation::from(vec![Message::user(question)]);
            Some((question, prompt(&conversation, tokenizer, context).ok()?))
        })
        .unzip();
    let options = ReplyOptions {
        max_tokens: WORLD_TOKENS,
        sampling: Sampling {
            temperature: 0.0,
            ..Sampling::default()
        },
        ..ReplyOptions::default()
    };
    let replies = Engine::new(gpt, tokenizer)?.reply_all(&prompts, &options)?;
    let texts = replies.into_iter().map(|mut samples| samples.remove(0).text);
    Ok(asked
        .into_iter()
        .zip(texts)
        .map(|(question, text)| Dialogue {
            prompt: question.clone(),
            reply: text.trim().to_owned(),
        })
        .collect())
}
