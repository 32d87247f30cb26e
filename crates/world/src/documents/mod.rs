//! Documents for pretraining: portraits, village pages, market notices,
//! letters, quizzes, school books, riddles and stories. Every fact is told in
//! many of them. This room must never know of conversations.

mod games;
pub(crate) mod people;
mod places;
mod school;
pub(crate) mod stories;
mod talk;
mod template;

#[cfg(test)]
pub(crate) use games::LETTER_GAMES;

use crate::fact::{Entity, Relation};
use crate::phrasings::{self, Call};
use crate::rng::Rng;
use crate::split::Split;
use crate::universe::Universe;

/// Writes one document.
pub(crate) struct Scribe<'a> {
    pub(crate) universe: &'a Universe,
    pub(crate) words: &'a [&'static str],
    pub(crate) largest_operand: i64,
    pub(crate) split: Split,
    pub(crate) rng: Rng,
}

type Writer = fn(&mut Scribe<'_>) -> String;

impl Scribe<'_> {
    /// A sentence that states a fact, in a phrasing of the split.
    fn say(&mut self, entity: Entity, relation: Relation, call: Call) -> String {
        let templates = phrasings::phrases(relation);
        let template = *self.rng.choose(match self.split {
            Split::Train => templates.statements,
            Split::Heldout => templates.statements_heldout,
        });
        phrasings::fill(self.universe, template, entity, relation, call)
    }

    /// A question for a fact, in a phrasing of the split.
    fn ask(&mut self, entity: Entity, relation: Relation) -> String {
        let template = phrasings::draw_question(relation, self.split, &mut self.rng);
        phrasings::fill(self.universe, &template, entity, relation, Call::Name)
    }

    fn person(&mut self) -> usize {
        self.rng.below(self.universe.people.len())
    }

    fn place(&mut self) -> usize {
        self.rng.below(self.universe.places.len())
    }

    /// `n` different numbers below `limit`, or all of them.
    fn several(&mut self, n: usize, limit: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..limit).collect();
        self.rng.shuffle(&mut all);
        all.truncate(n);
        all
    }

    fn choose(&mut self, items: &[&'static str]) -> &'static str {
        items[self.rng.below(items.len())]
    }

    /// The document.
    pub(crate) fn write(mut self) -> String {
        const WRITERS: [(u32, Writer); 19] = [
            (22, people::portrait),
            (6, people::table),
            (4, people::pets),
            (15, talk::quiz),
            (10, talk::exam),
            (25, games::matching),
            (4, games::packing),
            (50, games::cupboard),
            (6, talk::letter),
            (4, talk::riddle),
            (9, places::village),
            (5, places::market),
            (3, places::trades),
            (5, school::animals),
            (3, school::days),
            (5, school::opposites),
            (9, school::spelling),
            (6, school::sums),
            (8, stories::story),
        ];
        let weights = WRITERS.map(|(weight, _)| weight);
        let (_, writer) = WRITERS[self.rng.weighted(&weights)];
        writer(&mut self)
    }
}
