//! The door to the world: endless numbered streams. Item `i` of a stream
//! depends on the seed and `i` alone, so a reader can go on from any number.
//! This room must never know what the items say.

use crate::conversations::{self, Mixture};
use crate::documents::Scribe;
use crate::error::WorldError;
use crate::exchanges::{self, Context, spelling};
use crate::fact::Fact;
use crate::identity::Identity;
use crate::message::{Conversation, Message, Pair, Role};
use crate::pairs;
use crate::question::{Kind, Question};
use crate::rng::Rng;
use crate::size::Size;
use crate::split::Split;
use crate::universe::Universe;

/// Which universe, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldSpec {
    /// Who lives where, who knows whom, what costs how much.
    pub world: u64,
    /// How many of each there are.
    pub size: Size,
}

impl Default for WorldSpec {
    fn default() -> Self {
        WorldSpec {
            world: 1,
            size: Size::SMALL,
        }
    }
}

/// One universe and all that can be said of it.
#[derive(Clone, Debug)]
pub struct World {
    spec: WorldSpec,
    universe: Universe,
    words: Vec<&'static str>,
}

/// Keeps the draws of the streams apart.
#[derive(Clone, Copy)]
enum Draw {
    Document = 1,
    Conversation,
    Pair,
    Question,
}

/// An endless stream; `nth` jumps without making what lies between.
pub struct Stream<F> {
    next: u64,
    item: F,
}

impl<T, F: Fn(u64) -> T> Iterator for Stream<F> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.nth(0)
    }

    fn nth(&mut self, n: usize) -> Option<T> {
        let number = self.next.wrapping_add(n as u64);
        self.next = number.wrapping_add(1);
        Some((self.item)(number))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl World {
    /// Builds the universe. Refuses sizes that the word lists cannot fill.
    pub fn new(spec: WorldSpec) -> Result<Self, WorldError> {
        spec.size.check()?;
        Ok(World {
            spec,
            universe: Universe::new(spec.world, spec.size),
            words: spelling::words(spec.size, &mut Rng::new(&[0x0077_6f72_6473, spec.world])),
        })
    }

    /// What it was built from.
    pub fn spec(&self) -> WorldSpec {
        self.spec
    }

    /// Every fact.
    pub fn facts(&self) -> &[Fact] {
        &self.universe.facts
    }

    /// The name of what a fact is about.
    pub fn name(&self, fact: &Fact) -> &str {
        self.universe.name(fact.entity)
    }

    /// Is a fact kept for held-out multiple choice?
    pub fn choice_is_heldout(&self, fact: &Fact) -> bool {
        self.universe.choice_is_heldout(fact)
    }

    fn rng(&self, draw: Draw, split: Split, seed: u64, number: u64) -> Rng {
        Rng::new(&[self.spec.world, draw as u64, split as u64, seed, number])
    }

    fn context<'a>(&'a self, split: Split, identity: &'a Identity) -> Context<'a> {
        Context {
            universe: &self.universe,
            words: &self.words,
            size: self.spec.size,
            split,
            identity,
        }
    }

    /// Document `number` of a seed.
    pub fn document(&self, split: Split, seed: u64, number: u64) -> String {
        Scribe {
            universe: &self.universe,
            words: &self.words,
            largest_operand: self.spec.size.largest_operand,
            split,
            rng: self.rng(Draw::Document, split, seed, number),
        }
        .write()
    }

    /// Endless documents for pretraining.
    pub fn documents(&self, split: Split, seed: u64) -> Stream<impl Fn(u64) -> String> {
        Stream {
            next: 0,
            item: move |number| self.document(split, seed, number),
        }
    }

    /// Conversation `number` of a seed, of a mixture of kinds.
    pub fn conversation(
        &self,
        split: Split,
        seed: u64,
        identity: &Identity,
        mixture: &Mixture,
        number: u64,
    ) -> Conversation {
        let mut rng = self.rng(Draw::Conversation, split, seed, number);
        conversations::conversation(self.context(split, identity), mixture, &mut rng)
    }

    /// Endless conversations of the default mixture.
    pub fn conversations<'a>(
        &'a self,
        split: Split,
        seed: u64,
        identity: &'a Identity,
    ) -> Stream<impl Fn(u64) -> Conversation + 'a> {
        Stream {
            next: 0,
            item: move |number| self.conversation(split, seed, identity, &Mixture::default(), number),
        }
    }

    /// Pair `number` of a seed.
    pub fn pair(&self, split: Split, seed: u64, identity: &Identity, number: u64) -> Pair {
        pairs::pair(
            self.context(split, identity),
            &mut self.rng(Draw::Pair, split, seed, number),
        )
    }

    /// Endless preference pairs.
    pub fn pairs<'a>(&'a self, split: Split, seed: u64, identity: &'a Identity) -> Stream<impl Fn(u64) -> Pair + 'a> {
        Stream {
            next: 0,
            item: move |number| self.pair(split, seed, identity, number),
        }
    }

    /// Question `number` of a seed; the kinds take turns, no kind means all.
    pub fn question(&self, split: Split, seed: u64, kinds: &[Kind], identity: &Identity, number: u64) -> Question {
        self.answered(split, seed, kinds, identity, number).0
    }

    /// [`World::question`], asked and answered as the world would: the same question, right.
    pub fn answered(
        &self,
        split: Split,
        seed: u64,
        kinds: &[Kind],
        identity: &Identity,
        number: u64,
    ) -> (Question, Conversation) {
        let kinds = if kinds.is_empty() { &Kind::ALL[..] } else { kinds };
        let kind = kinds[(number % kinds.len() as u64) as usize];
        let mut rng = self.rng(Draw::Question, split, seed, number);
        let exchange = exchanges::exchange(self.context(split, identity), kind, false, &mut rng);
        let messages = vec![
            Message::plain(Role::User, exchange.question.prompt.clone()),
            Message {
                role: Role::Assistant,
                parts: exchange.reply,
            },
        ];
        (exchange.question, Conversation { messages })
    }

    /// Endless questions. They may repeat; who wants different ones keeps a set.
    pub fn questions<'a>(
        &'a self,
        split: Split,
        seed: u64,
        kinds: &'a [Kind],
        identity: &'a Identity,
    ) -> Stream<impl Fn(u64) -> Question + 'a> {
        Stream {
            next: 0,
            item: move |number| self.question(split, seed, kinds, identity, number),
        }
    }

    /// What the world holds, in one sentence, for the opening of a chat.
    pub fn summary(&self) -> String {
        let u = &self.universe;
        format!(
            "I know {} people with their pets in {} villages, {} trades, the prices of {} things, {} animals, \
             the days and the opposites; I can spell and do sums.",
            u.people.len(),
            u.places.len(),
            u.trades.len(),
            u.goods.len(),
            u.animals.len()
        )
    }

    /// Five questions to try, none of which was in the training data.
    pub fn suggestions(&self, seed: u64, identity: &Identity) -> Vec<Question> {
        [
            Kind::Facts,
            Kind::Facts,
            Kind::Arithmetic,
            Kind::Spelling,
            Kind::Identity,
        ]
        .iter()
        .zip(0..)
        .map(|(&kind, number)| self.question(Split::Heldout, seed, &[kind], identity, number))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use crate::documents::LETTER_GAMES;
    use crate::fact::Relation;
    use crate::phrasings::{self, Call, question_templates, statement_templates};

    /// Runs of one, two or three sentences of a text, in small letters and
    /// without the mark at their end.
    fn runs(text: &str) -> Vec<String> {
        let mut runs = Vec::new();
        for line in text.to_lowercase().split(['\n', '"']) {
            let line = line
                .trim_start_matches("question: ")
                .trim_start_matches("answer: ")
                .trim_start_matches("- ");
            let sentences: Vec<&str> = line.split_inclusive(['.', '!', '?']).map(str::trim).collect();
            for from in 0..sentences.len() {
                for to in from + 1..=sentences.len().min(from + 3) {
                    let run = sentences[from..to].join(" ");
                    runs.push(run.trim_end_matches(['.', '!', '?', ',']).to_string());
                }
            }
        }
        runs
    }

    /// Every fact in every phrasing of a split, filled in.
    fn phrased(world: &World, split: Split) -> HashMap<String, Relation> {
        let mut all = HashMap::new();
        for fact in world.facts() {
            let mut templates = question_templates(fact.relation, split);
            templates.extend(
                statement_templates(fact.relation, split)
                    .iter()
                    .map(ToString::to_string),
            );
            for template in templates {
                for call in [Call::Name, Call::Pronoun] {
                    let text = phrasings::fill(&world.universe, &template, fact.entity, fact.relation, call);
                    all.insert(
                        text.to_lowercase().trim_end_matches(['.', '!', '?']).to_string(),
                        fact.relation,
                    );
                }
            }
        }
        all
    }

    #[test]
    fn each_split_speaks_in_its_own_phrasings() {
        let world = World::new(WorldSpec::default()).unwrap();
        let identity = Identity::default();
        for (own, other) in [(Split::Train, Split::Heldout), (Split::Heldout, Split::Train)] {
            let (mine, theirs) = (phrased(&world, own), phrased(&world, other));
            let both: Vec<&String> = mine.keys().filter(|text| theirs.contains_key(*text)).collect();
            assert!(both.is_empty(), "{both:?}");
            let mut found = 0;
            let mut check = |text: &str| {
                for run in runs(text) {
                    assert!(
                        !theirs.contains_key(&run),
                        "the {own} split says {run:?} of {:?}",
                        theirs[&run]
                    );
                    found += usize::from(mine.contains_key(&run));
                }
            };
            for document in world.documents(own, 1).take(4000) {
                // Letter games ask as multiple choice does, in the words of training.
                let game = LETTER_GAMES.iter().any(|opening| document.starts_with(opening));
                if !(game && own == Split::Heldout) {
                    check(&document);
                }
            }
            for conversation in world.conversations(own, 1, &identity).take(4000) {
                // Replies and the questions of multiple choice are the same in both splits.
                for message in conversation.messages.iter().filter(|m| m.role == Role::User) {
                    if !message.said().starts_with("Multiple Choice") {
                        check(&message.said());
                    }
                }
            }
            for question in world.questions(own, 1, &[Kind::Facts], &identity).take(4000) {
                check(&question.prompt);
            }
            assert!(found > 10_000, "{found}");
        }
    }
}
