//! Several sources in one shuffled order. This room must never know where they
//! come from or what is made of them.

use std::sync::Arc;

use ferrochat_chat::Conversation;
use sha2::{Digest, Sha256};

use super::permutation::Permutation;
use super::{ConversationSource, hex};
use crate::error::DataError;
use crate::rng::SplitMix64;

/// More than this in one pass are taken for a slip of the hand.
const MAX_CONVERSATIONS: u64 = 1 << 48;

/// Named sources, each seen a number of times in one pass, all shuffled together.
/// Each pass has another order; seed and pass fix it.
#[derive(Clone)]
pub struct Mixture {
    seed: u64,
    sources: Vec<Entry>,
    count: u64,
}

#[derive(Clone)]
struct Entry {
    name: String,
    source: Arc<dyn ConversationSource>,
    epochs: u64,
    /// Where its conversations end in the unshuffled order.
    end: u64,
}

/// Where a conversation of a mixture comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    source: usize,
    index: u64,
}

impl Mixture {
    /// A mixture of nothing yet.
    pub fn new(seed: u64) -> Self {
        Mixture {
            seed,
            sources: Vec::new(),
            count: 0,
        }
    }

    /// Adds a source that is seen `epochs` times in one pass.
    ///
    /// # Errors
    /// [`DataError::Conversations`] if it is empty, if it is to be seen 0 times,
    /// or if the mixture gets absurdly large.
    pub fn with(
        mut self,
        name: impl Into<String>,
        source: Arc<dyn ConversationSource>,
        epochs: u64,
    ) -> Result<Self, DataError> {
        let name = name.into();
        if source.count() == 0 {
            return Err(DataError::conversations(
                name,
                "there are none; give at least one, or leave them out of the mixture",
            ));
        }
        if epochs == 0 {
            return Err(DataError::conversations(
                name,
                "they are to be seen 0 times; say at least 1, or leave them out of the mixture",
            ));
        }
        let count = source.count().checked_mul(epochs);
        let end = count.and_then(|count| count.checked_add(self.count));
        let Some(end) = end.filter(|&end| end <= MAX_CONVERSATIONS) else {
            return Err(DataError::conversations(
                name,
                format!("they make the mixture larger than {MAX_CONVERSATIONS} conversations; choose fewer"),
            ));
        };
        self.count = end;
        self.sources.push(Entry {
            name,
            source,
            epochs,
            end,
        });
        Ok(self)
    }

    /// Conversations in one pass.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Name, conversations and epochs in a pass of each source.
    pub fn sources(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        let sources = self.sources.iter();
        sources.map(|entry| (entry.name.as_str(), entry.source.count(), entry.epochs))
    }

    /// The conversations of pass `pass` in their order.
    pub fn conversations(&self, pass: u64) -> impl Iterator<Item = Result<Conversation, DataError>> + '_ {
        let order = self.order(pass);
        (0..self.count).map(move |index| self.get(self.place(order.at(index))))
    }

    /// The order of a pass.
    pub(crate) fn order(&self, pass: u64) -> Permutation {
        // Two draws, so that no two passes of neighbouring seeds are the same.
        let seed = SplitMix64::new(SplitMix64::new(self.seed).next_u64() ^ pass).next_u64();
        // An empty mixture has an order, in which nothing is ever looked up.
        Permutation::new(self.count.max(1), seed)
    }

    /// What stands at `number` of the unshuffled order: each source as often as
    /// it is seen, one after the other.
    pub(crate) fn place(&self, number: u64) -> Place {
        let source = self.sources.partition_point(|entry| entry.end <= number);
        let begin = source.checked_sub(1).map_or(0, |before| self.sources[before].end);
        Place {
            source,
            index: (number - begin) % self.sources[source].source.count(),
        }
    }

    pub(crate) fn get(&self, place: Place) -> Result<Conversation, DataError> {
        self.sources[place.source].source.get(place.index)
    }

    /// The error of a conversation that cannot be rendered.
    pub(crate) fn fault(&self, place: Place, reason: impl std::fmt::Display) -> DataError {
        let name = self.sources[place.source].name.clone();
        DataError::conversations(name, format!("conversation {}: {reason}", place.index + 1))
    }

    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        for entry in &self.sources {
            let fingerprint = entry.source.fingerprint();
            hash.update((fingerprint.len() as u64).to_le_bytes());
            hash.update(fingerprint);
            hash.update(entry.source.count().to_le_bytes());
            hash.update(entry.epochs.to_le_bytes());
        }
        hex(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Generated;
    use super::*;
    use ferrochat_chat::Message;
    use std::collections::BTreeMap;

    fn source(name: &'static str, count: u64) -> Arc<dyn ConversationSource> {
        Arc::new(Generated::new(count, name, move |index| {
            Conversation::from(vec![Message::user(format!("{name} {index}"))])
        }))
    }

    fn texts(mixture: &Mixture, pass: u64) -> Vec<String> {
        let conversations = mixture.conversations(pass);
        conversations.map(|one| one.unwrap().messages[0].text()).collect()
    }

    fn mixture(seed: u64) -> Mixture {
        let mixture = Mixture::new(seed).with("talk", source("talk", 30), 1).unwrap();
        mixture.with("sums", source("sums", 7), 4).unwrap()
    }

    #[test]
    fn each_source_is_seen_as_often_as_it_should_be() {
        let mixture = mixture(42);
        assert_eq!(mixture.count(), 58);
        let mut seen = BTreeMap::new();
        for text in texts(&mixture, 0) {
            *seen.entry(text).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 37);
        for (text, count) in seen {
            assert_eq!(count, if text.starts_with("talk") { 1 } else { 4 }, "{text}");
        }
    }

    #[test]
    fn seed_and_pass_choose_the_order() {
        assert_eq!(texts(&mixture(1), 0), texts(&mixture(1), 0));
        let orders = [(1, 0), (1, 1), (2, 0), (0, 1), (0, 0)].map(|(seed, pass)| texts(&mixture(seed), pass));
        for (index, order) in orders.iter().enumerate() {
            assert!(!orders[..index].contains(order));
        }
    }

    #[test]
    fn nothing_to_see_is_refused() {
        let refusal = |count, epochs| {
            let mixed = Mixture::new(1).with("talk", source("talk", count), epochs);
            mixed.err().unwrap().to_string()
        };
        assert!(refusal(0, 1).contains("talk") && refusal(0, 1).contains("there are none"));
        assert!(refusal(1, 0).contains("0 times"));
        assert!(refusal(u64::MAX, 2).contains("larger than"));
        assert!(refusal(1 << 48, 2).contains("larger than"));
        assert_eq!(Mixture::new(1).conversations(0).count(), 0);
    }

    #[test]
    fn another_mixture_has_another_fingerprint() {
        let fingerprint = |seed, epochs| {
            let mixture = Mixture::new(seed).with("talk", source("talk", 3), epochs);
            mixture.unwrap().fingerprint()
        };
        assert_eq!(fingerprint(1, 1), fingerprint(1, 1));
        assert_ne!(fingerprint(1, 1), fingerprint(2, 1));
        assert_ne!(fingerprint(1, 1), fingerprint(1, 2));
    }
}
