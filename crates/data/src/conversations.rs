//! Conversations to train on: where they are kept, how they are mixed, and the
//! batches made of them. What a conversation is and how a model reads it is the
//! business of `ferrochat-chat`.

mod file;
mod loader;
mod mixture;
mod parquet;
mod permutation;
mod rendering;

use std::ops::Range;
use std::sync::Arc;

use ferrochat_chat::Conversation;
use sha2::{Digest, Sha256};

use crate::error::DataError;

pub use file::open_conversations;
pub use loader::{ConversationLoader, ConversationLoaderConfig, Survey};
pub use mixture::Mixture;
pub(crate) use parquet::object;

/// Conversations by number, readable from several threads at once.
pub trait ConversationSource: Send + Sync {
    /// How many there are.
    fn count(&self) -> u64;

    /// Conversation `index`, which is below [`count`](Self::count).
    ///
    /// # Errors
    /// [`DataError`] naming the place, if it cannot be read (any more).
    fn get(&self, index: u64) -> Result<Conversation, DataError>;

    /// The same for the same conversations in the same order: a resumed run
    /// must have the same.
    fn fingerprint(&self) -> String;
}

/// Conversations kept in memory.
pub struct InMemory {
    conversations: Vec<Conversation>,
    fingerprint: String,
}

impl InMemory {
    /// Checks each of them. `name` says in messages where they come from.
    ///
    /// # Errors
    /// [`DataError::Conversations`] with the number, counted from 1, of the
    /// first that breaks the rules.
    pub fn new(name: &str, conversations: Vec<Conversation>) -> Result<Self, DataError> {
        let mut hash = Sha256::new();
        for (index, conversation) in conversations.iter().enumerate() {
            conversation.validate().map_err(|error| {
                let number = index + 1;
                DataError::conversations(name, format!("conversation {number}: {error}"))
            })?;
            hash.update(conversation.to_json());
            hash.update("\n");
        }
        Ok(InMemory {
            conversations,
            fingerprint: hex(hash),
        })
    }
}

impl ConversationSource for InMemory {
    fn count(&self) -> u64 {
        self.conversations.len() as u64
    }

    fn get(&self, index: u64) -> Result<Conversation, DataError> {
        Ok(self.conversations[index as usize].clone())
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

/// Conversations made when they are asked for.
pub struct Generated<F> {
    count: u64,
    fingerprint: String,
    make: F,
}

impl<F: Fn(u64) -> Conversation + Send + Sync> Generated<F> {
    /// `count` of them, number i made by `make(i)`; `fingerprint` must change
    /// when what `make` returns does.
    pub fn new(count: u64, fingerprint: impl Into<String>, make: F) -> Self {
        Generated {
            count,
            fingerprint: fingerprint.into(),
            make,
        }
    }
}

impl<F: Fn(u64) -> Conversation + Send + Sync> ConversationSource for Generated<F> {
    fn count(&self) -> u64 {
        self.count
    }

    fn get(&self, index: u64) -> Result<Conversation, DataError> {
        Ok((self.make)(index))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

/// Some of a source's conversations.
struct Part {
    source: Arc<dyn ConversationSource>,
    range: Range<u64>,
}

impl ConversationSource for Part {
    fn count(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn get(&self, index: u64) -> Result<Conversation, DataError> {
        self.source.get(self.range.start + index)
    }

    fn fingerprint(&self) -> String {
        format!("{}[{:?}]", self.source.fingerprint(), self.range)
    }
}

/// Training and validation parts of a source that has no validation file: its
/// last twentieth (at least one conversation) is held out.
///
/// # Errors
/// [`DataError::Conversations`] if there are fewer than two. `name` says where
/// they come from.
pub fn hold_out_last(
    name: &str,
    source: Arc<dyn ConversationSource>,
) -> Result<[Arc<dyn ConversationSource>; 2], DataError> {
    let count = source.count();
    if count < 2 {
        return Err(DataError::conversations(
            name,
            format!("there must be at least 2, to train on one and validate on the other, and there are {count}"),
        ));
    }
    let held_out = count - (count / 20).max(1);
    let training = Part {
        source: Arc::clone(&source),
        range: 0..held_out,
    };
    let validation = Part {
        source,
        range: held_out..count,
    };
    Ok([Arc::new(training), Arc::new(validation)])
}

/// The digest in hexadecimal.
pub(crate) fn hex(hash: Sha256) -> String {
    use std::fmt::Write as _;
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrochat_chat::Message;

    fn numbered(count: u64) -> Arc<dyn ConversationSource> {
        Arc::new(Generated::new(count, "numbered", |index| {
            Conversation::from(vec![Message::user(index.to_string())])
        }))
    }

    #[test]
    fn a_twentieth_but_at_least_one_is_held_out() {
        for (count, held_out) in [(2, 1), (19, 1), (39, 1), (40, 2), (1000, 50)] {
            let [training, validation] = hold_out_last("numbers", numbered(count)).unwrap();
            assert_eq!((training.count(), validation.count()), (count - held_out, held_out));
            let first = validation.get(0).unwrap().messages[0].text();
            assert_eq!(first, (count - held_out).to_string());
            assert_ne!(training.fingerprint(), validation.fingerprint());
        }
        for count in [0, 1] {
            let error = hold_out_last("numbers", numbered(count)).err().unwrap();
            assert!(error.to_string().contains("at least 2"), "{error}");
        }
    }

    #[test]
    fn a_broken_conversation_in_memory_is_named_by_its_number() {
        let right = Conversation::from(vec![Message::user("a"), Message::assistant("b")]);
        let wrong = Conversation::from(vec![Message::assistant("b")]);
        let error = InMemory::new("identity", vec![right, wrong]).err().unwrap().to_string();
        assert!(
            error.contains("identity") && error.contains("conversation 2: message 1 is from the assistant"),
            "{error}"
        );
    }
}
