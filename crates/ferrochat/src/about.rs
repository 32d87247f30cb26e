//! What can be said of a model to somebody who meets it: its name and size, what it knows, five things to
//! ask. For the terminal and the web page alike.

use anyhow::Result;

use crate::identity;
use crate::model::Trained;
use crate::plan::Plan;
use crate::settings::Settings;
use crate::{format, source};

/// Which five questions of the world.
const SEED: u64 = 7;
/// For a model that learned from real text.
const USUAL: [&str; 5] = [
    "Who are you?",
    "What is 12 * 34?",
    "Write a short story about a lighthouse.",
    "What is the capital of France?",
    "Give me three tips for learning to cook.",
];

/// An introduction.
pub struct About {
    /// Name, size, how it was made: one line.
    pub title: String,
    /// What it knows, in a sentence or two.
    pub summary: String,
    /// Things to ask.
    pub suggestions: Vec<String>,
}

impl About {
    /// Of a run's model.
    ///
    /// # Errors
    /// Its settings no longer make a plan.
    pub fn of(run: &str, trained: &Trained) -> Result<About> {
        let settings = &trained.settings;
        let device = trained.gpt.device();
        let plan = Plan::new(run, settings, trained.tokenizer.vocab_size(), device, None)?;
        let identity = identity::of(settings, &plan);
        let title = format!(
            "{}: {} parameters, run {run:?} after {} steps of {}",
            identity.name,
            format::short(plan.parameters.total as f64),
            format::thousands(trained.step),
            trained.stage
        );
        let summary = if trained.stage == "base" {
            "This model continues text and has not been taught to chat.".to_owned()
        } else if settings.data.is_none() {
            source::world(settings)?.summary()
        } else {
            let read = settings.data.as_ref().and_then(|path| path.file_name());
            let read = read.map_or_else(String::new, |name| format!(" from {}", name.to_string_lossy()));
            format!("I learned{read} and from conversations; I make mistakes.")
        };
        Ok(About {
            title,
            summary,
            suggestions: About::questions(settings, &plan)?,
        })
    }

    /// Five questions that a model of these settings should be able to answer.
    ///
    /// # Errors
    /// A world that cannot be.
    pub fn questions(settings: &Settings, plan: &Plan) -> Result<Vec<String>> {
        if settings.data.is_some() {
            return Ok(USUAL.map(str::to_owned).into());
        }
        let questions = source::world(settings)?.suggestions(SEED, &identity::of(settings, plan));
        Ok(questions.into_iter().map(|question| question.prompt).collect())
    }
}
