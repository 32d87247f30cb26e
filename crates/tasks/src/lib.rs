//! What a model is measured on, and the measuring.
//!
//! A [`Task`] is numbered questions with right answers: the world's kinds ([`WorldTask`]), or a public data set
//! ([`Dataset::open`]).
//! [`measure`] asks a model and says what share is right and how sure that is; [`measure_pass_at_k`] asks
//! several times; [`TaskConversations`] makes of the same items a source of conversations to train on; RL asks
//! [`Task::prompt`] and [`Task::reward`].
//!
//! | module | one job |
//! | --- | --- |
//! | `task` | what a task is |
//! | `world` | the world's kinds of questions |
//! | `dataset`, `numpy` | public data sets: where their files lie, and the reference's order of items |
//! | `choice`, `gsm8k`, `humaneval`, `spelling` | how their items are asked and judged |
//! | `core`, `python` | CORE: tasks of continuing text, scored by likelihood, and the draws of their examples |
//! | `spec` | lists of tasks in flags |
//! | `measure` | asking a model: written answers in one batch, letters in one forward pass |
//! | `estimate`, `outcomes`, `score` | means, standard errors, differences item by item, pass@k, ChatCORE |
//!
//! This room must never know optimizers or HTTP.
//!
//! ```no_run
//! # fn example(gpt: &ferrochat_model::Gpt, tokenizer: &ferrochat_tokenizer::Tokenizer) -> Result<(), Box<dyn std::error::Error>> {
//! use std::ops::ControlFlow;
//! use ferrochat_tasks::{ChatCore, FalseRefusals, MeasureOptions, WorldTask, measure};
//! use ferrochat_world::{Identity, Split, World, WorldSpec};
//!
//! let world = World::new(WorldSpec::default())?;
//! let options = MeasureOptions { max_new_tokens: 96, batch: 64, ..MeasureOptions::default() };
//! let mut scores = Vec::new();
//! for task in WorldTask::all(&world, Split::Heldout, 7, &Identity::default(), 500) {
//!     let score = measure(gpt, tokenizer, &task, &options, &mut |_| ControlFlow::Continue(()))?;
//!     println!("{}: {:.1}% ± {:.1}", score.task, 100.0 * score.score, 100.0 * score.standard_error);
//!     scores.push(score);
//! }
//! println!("{:?} refused what they should answer", FalseRefusals::share(&scores));
//! println!("ChatCORE {:?}", ChatCore::of_world(&scores));
//! # Ok(())
//! # }
//! ```

mod choice;
mod core;
mod dataset;
mod error;
mod estimate;
mod gsm8k;
mod humaneval;
mod measure;
mod numpy;
mod outcomes;
mod python;
mod score;
mod spec;
mod spelling;
mod task;
mod world;

pub use core::{
    CoreBundle, CoreKind, CoreOptions, CoreProgress, CoreResults, CoreScore, CoreSpec, CoreTask, CoreWatch, ItemScore,
    score_core,
};
pub use dataset::{Dataset, TaskSplit};
pub use error::TaskError;
pub use estimate::{Estimate, centered, pass_at_k};
pub use measure::{Answered, MeasureOptions, Progress, Sink, Watch, measure, measure_each, measure_pass_at_k};
pub use outcomes::Outcomes;
pub use score::{ChatCore, FalseRefusals, PassAtK, TaskScore};
pub use spec::TaskSpec;
pub use task::{Judging, Letters, Task, TaskConversations};
pub use world::WorldTask;
