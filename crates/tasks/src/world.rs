//! The world's kinds of questions as tasks. This room must never know how the world makes them.

use std::collections::HashSet;

use ferrochat_chat::{Conversation, Message, Part, Reply, Role};
use ferrochat_world::{self as world, Identity, Kind, Question, Split, World, is_refusal, is_right};

use crate::error::TaskError;
use crate::task::{Judging, Task};

/// Draws without a new question after which there are no more of them.
const PATIENCE: usize = 2_000;

/// Different questions of one kind.
pub struct WorldTask {
    kind: Kind,
    origin: String,
    items: Vec<(Question, Conversation)>,
}

impl WorldTask {
    /// The first `count` different questions of a seed; fewer where the world has no more (there are only so many
    /// ways to ask for a name).
    pub fn new(world: &World, kind: Kind, split: Split, seed: u64, identity: &Identity, count: usize) -> WorldTask {
        let mut items = Vec::with_capacity(count.min(1 << 16));
        let (mut seen, mut fruitless) = (HashSet::new(), 0);
        for number in 0.. {
            if items.len() == count || fruitless == PATIENCE {
                break;
            }
            let (question, answered) = world.answered(split, seed, &[kind], identity, number);
            if seen.insert(question.prompt.clone()) {
                items.push((question, conversation(answered)));
                fruitless = 0;
            } else {
                fruitless += 1;
            }
        }
        WorldTask {
            kind,
            origin: format!("world {}, {split} split, seed {seed}", world.spec().world),
            items,
        }
    }

    /// A task for each kind, in the order of the report.
    pub fn all(world: &World, split: Split, seed: u64, identity: &Identity, count: usize) -> Vec<WorldTask> {
        let new = |kind| WorldTask::new(world, kind, split, seed, identity, count);
        Kind::ALL.into_iter().map(new).collect()
    }

    /// What it asks.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Task for WorldTask {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn count(&self) -> usize {
        self.items.len()
    }

    fn chance(&self) -> f64 {
        self.kind.chance()
    }

    fn judging(&self) -> Judging {
        Judging::Generative
    }

    fn answered(&self, index: usize) -> Conversation {
        self.items[index].1.clone()
    }

    fn grade(&self, index: usize, reply: &Reply) -> Result<bool, TaskError> {
        Ok(is_right(&self.items[index].0, &reply.text))
    }

    fn falsely_refused(&self, reply: &Reply) -> Option<bool> {
        (self.kind != Kind::Refusal).then(|| is_refusal(&reply.text))
    }
}

/// The world's conversation as one that a model can read.
fn conversation(from: world::Conversation) -> Conversation {
    let messages = from.messages.into_iter().map(|message| Message {
        role: match message.role {
            world::Role::System => Role::System,
            world::Role::User => Role::User,
            world::Role::Assistant => Role::Assistant,
        },
        parts: message.parts.into_iter().map(part).collect(),
    });
    Conversation::from(messages.collect::<Vec<_>>())
}

fn part(from: world::Part) -> Part {
    match from {
        world::Part::Text(text) => Part::Text(text),
        world::Part::Python(text) => Part::Python(text),
        world::Part::PythonOutput(text) => Part::PythonOutput(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::reply;
    use ferrochat_world::WorldSpec;

    fn task(kind: Kind, count: usize) -> WorldTask {
        let world = World::new(WorldSpec::default()).unwrap();
        WorldTask::new(&world, kind, Split::Heldout, 3, &Identity::default(), count)
    }

    #[test]
    fn questions_differ_and_their_answers_are_right() {
        for kind in Kind::ALL {
            let task = task(kind, 60);
            assert!(task.count() > 20, "{kind}: {}", task.count());
            let mut prompts = HashSet::new();
            for index in 0..task.count() {
                let (prompt, answered) = (task.prompt(index), task.answered(index));
                answered.validate().unwrap();
                assert_eq!(prompt.messages[..], answered.messages[..1]);
                assert!(prompts.insert(prompt.messages[0].text()));
                let said = reply(answered.messages[1].parts.clone());
                assert!(task.grade(index, &said).unwrap(), "{answered:?}");
                assert_eq!(task.reward(index, &said).unwrap(), 1.0);
                assert_eq!(task.falsely_refused(&said), (kind != Kind::Refusal).then_some(false));
                let wrong = reply(vec![Part::Text("mumble".to_owned())]);
                assert!(!task.grade(index, &wrong).unwrap());
                assert_eq!(task.reward(index, &wrong).unwrap(), 0.0);
            }
        }
    }

    #[test]
    fn there_are_no_more_questions_than_the_world_can_ask() {
        let task = task(Kind::Identity, 1 << 20);
        assert!((20..10_000).contains(&task.count()), "{}", task.count());
        assert_eq!(self::task(Kind::Facts, 700).count(), 700);
    }

    #[test]
    fn refusing_what_should_be_answered_is_noticed() {
        let sorry = reply(vec![Part::Text("Sorry, I do not know that.".to_owned())]);
        assert_eq!(task(Kind::Facts, 1).falsely_refused(&sorry), Some(true));
        let refusal = task(Kind::Refusal, 1);
        assert_eq!(refusal.falsely_refused(&sorry), None);
        assert!(refusal.grade(0, &sorry).unwrap());
    }
}
