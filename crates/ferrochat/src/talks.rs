//! Conversations to learn and to validate on: what the settings name, mixed. This room turns settings into
//! mixtures; it must never know of models or training.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use ferrochat_chat::{Conversation, Message, Part, Role};
use ferrochat_data::{ConversationSource, Generated, Mixture, hold_out_last, open_conversations};
use ferrochat_tasks::{Dataset, TaskConversations, TaskSpec, TaskSplit};
use ferrochat_world::{self as world, Identity, Kind, Split, World, WorldSpec};

use crate::errors::{refuse, usage};
use crate::identity;
use crate::plan::Plan;
use crate::settings::Settings;
use crate::source;
use crate::tune_settings::TuneSettings;

/// Conversations of the world in one pass: more than any run reads.
const WORLD_CONVERSATIONS: u64 = 1 << 20;
/// Those to validate on.
const WORLD_VALIDATION: u64 = 2048;
/// Different conversations about the model itself in one pass.
const IDENTITY_CONVERSATIONS: u64 = 1000;

/// What to learn, and what to validate on.
pub struct Talks {
    /// Learned.
    pub train: Mixture,
    /// Measured on.
    pub validation: Mixture,
    /// Whether an epoch has an end that can be reached.
    pub endless: bool,
}

impl Talks {
    /// Opens everything that the settings name; without any it is the world that the base model read.
    ///
    /// # Errors
    /// Files that cannot be read or break the rules, as usage; nothing named and no world read.
    pub fn open(stage: &str, base: &Settings, plan: &Plan, tune: &TuneSettings) -> Result<Talks> {
        let identity = identity::of(base, plan);
        let mut talks = Talks {
            train: Mixture::new(tune.seed),
            validation: Mixture::new(tune.seed),
            endless: false,
        };
        let named = !tune.conversations.is_empty() || tune.tasks.is_some();
        if !named {
            if base.data.is_some() {
                refuse!(
                    "{stage} needs conversations: give --conversations FILE, or --tasks LIST; the base model read {}, which has none",
                    base.data.as_deref().unwrap_or(Path::new("")).display()
                );
            }
            let world = Arc::new(source::world(base)?);
            // The stages see different draws.
            let seed = tune.seed.wrapping_mul(2).wrapping_add(u64::from(stage == "sft"));
            let train = of_world(
                &world,
                Split::Train,
                seed,
                &identity,
                &world::Mixture::default(),
                WORLD_CONVERSATIONS,
            );
            let held_out = of_world(
                &world,
                Split::Heldout,
                1,
                &identity,
                &world::Mixture::default(),
                WORLD_VALIDATION,
            );
            talks.add("world", train, held_out, 1)?;
            talks.endless = true;
            return Ok(talks);
        }
        for spec in &tune.conversations {
            let (path, epochs) = path_and_epochs(spec)?;
            let opened = open_conversations(Path::new(path)).map_err(usage)?;
            if tune.val_conversations.is_some() {
                talks.train = talks.train.with(path, opened, epochs).map_err(usage)?;
            } else {
                let [train, validation] = hold_out_last(path, opened).map_err(usage)?;
                talks.add(path, train, validation, epochs)?;
            }
        }
        if let Some(path) = &tune.val_conversations {
            let opened = open_conversations(Path::new(path)).map_err(usage)?;
            talks.validation = talks.validation.with(path, opened, 1).map_err(usage)?;
        }
        if let (Some(list), Some(folder)) = (&tune.tasks, &tune.tasks_dir) {
            for spec in TaskSpec::list(list).map_err(usage)? {
                let open = |split| Dataset::open(spec.dataset, Path::new(folder), split).map_err(usage);
                let [train, test] = [open(TaskSplit::Train)?, open(TaskSplit::Test)?];
                let name = train.name().to_owned();
                let [train, test] = [train, test].map(|task| Arc::new(TaskConversations::new(task)));
                talks.add(&name, train, test, spec.epochs)?;
            }
        }
        if tune.identity_epochs > 0 {
            let world = Arc::new(World::new(WorldSpec::default()).map_err(usage)?);
            let only = world::Mixture::only(Kind::Identity);
            let source = of_world(
                &world,
                Split::Train,
                tune.seed,
                &identity,
                &only,
                IDENTITY_CONVERSATIONS,
            );
            talks.train = talks
                .train
                .with("identity", source, tune.identity_epochs)
                .map_err(usage)?;
        }
        Ok(talks)
    }

    fn add(
        &mut self,
        name: &str,
        train: Arc<dyn ConversationSource>,
        validation: Arc<dyn ConversationSource>,
        epochs: u64,
    ) -> Result<()> {
        self.train = std::mem::replace(&mut self.train, Mixture::new(0))
            .with(name, train, epochs)
            .map_err(usage)?;
        self.validation = std::mem::replace(&mut self.validation, Mixture::new(0))
            .with(name, validation, 1)
            .map_err(usage)?;
        Ok(())
    }

    /// Names and numbers, for messages.
    pub fn describe(&self) -> String {
        let sources = self.train.sources().map(|(name, count, epochs)| {
            let times = if epochs > 1 {
                format!(" × {epochs}")
            } else {
                String::new()
            };
            let count = if self.endless {
                String::new()
            } else {
                format!(" ({count}{times})")
            };
            format!("{name}{count}")
        });
        sources.collect::<Vec<_>>().join(", ")
    }
}

/// Numbered conversations of a world.
pub fn of_world(
    world: &Arc<World>,
    split: Split,
    seed: u64,
    identity: &Identity,
    mixture: &world::Mixture,
    count: u64,
) -> Arc<dyn ConversationSource> {
    let fingerprint = format!("{:?} {split:?} {seed} {identity:?} {mixture:?}", world.spec());
    let (world, identity, mixture) = (Arc::clone(world), identity.clone(), *mixture);
    Arc::new(Generated::new(count, fingerprint, move |number| {
        converted(world.conversation(split, seed, &identity, &mixture, number))
    }))
}

/// The same conversation as the chat crate writes it. The world knows no other crate.
pub fn converted(conversation: world::Conversation) -> Conversation {
    let part = |part| match part {
        world::Part::Text(text) => Part::Text(text),
        world::Part::Python(text) => Part::Python(text),
        world::Part::PythonOutput(text) => Part::PythonOutput(text),
    };
    let message = |message: world::Message| Message {
        role: match message.role {
            world::Role::System => Role::System,
            world::Role::User => Role::User,
            world::Role::Assistant => Role::Assistant,
        },
        parts: message.parts.into_iter().map(part).collect(),
    };
    Conversation::from(conversation.messages.into_iter().map(message).collect::<Vec<_>>())
}

/// `PATH*N`
fn path_and_epochs(spec: &str) -> Result<(&str, u64)> {
    let Some((path, times)) = spec.rsplit_once('*').filter(|_| !Path::new(spec).exists()) else {
        return Ok((spec, 1));
    };
    match times.parse() {
        Ok(epochs @ 1..=10_000) => Ok((path, epochs)),
        _ => refuse!("--conversations {spec:?}: behind the * must stand how often they are seen, from 1 to 10000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_stand_behind_a_star() {
        assert_eq!(path_and_epochs("a/b.jsonl").unwrap(), ("a/b.jsonl", 1));
        assert_eq!(path_and_epochs("a/b.jsonl*3").unwrap(), ("a/b.jsonl", 3));
        for bad in ["a*0", "a*x", "a*"] {
            assert!(path_and_epochs(bad).is_err(), "{bad}");
        }
    }
}
