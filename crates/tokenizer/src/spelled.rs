//! A vocabulary and its merges as `tokenizer.json` and GPT-2's files have them, every byte spelled as a
//! printable character. All of it is checked before it is believed.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::bpe::Bpe;
use crate::byte_level::{alphabet, byte_of};
use crate::error::Fault;
use crate::split::Splitter;

/// The vocabulary as it is in the file, so that doubled keys are seen.
pub(crate) struct Vocab(Vec<(String, u32)>);

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocab;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a map from tokens to ids")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Vocab(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Vocab {
    /// The tokens by id, which must be 0, 1, 2, … once each. `name` is what the file calls the map.
    pub fn by_id(self, name: &str) -> Result<Vec<String>, Fault> {
        let mut tokens = vec![None; self.0.len()];
        for (token, id) in self.0 {
            let place = || format!("{name}[{token:?}]");
            match tokens.get_mut(id as usize) {
                None => {
                    let problem = format!("id {id} is too large: ids must not have gaps");
                    return Err(Fault::new(place(), problem));
                }
                Some(Some(other)) => {
                    let problem = format!("id {id} belongs to {other:?} already");
                    return Err(Fault::new(place(), problem));
                }
                Some(slot) => *slot = Some(token),
            }
        }
        Ok(tokens.into_iter().flatten().collect())
    }
}

/// What a file calls its parts, for the places of faults.
pub(crate) struct Names<'a> {
    pub vocab: &'a str,
    pub merges: &'a str,
    /// The place of one merge.
    pub merge: &'a dyn Fn(usize) -> String,
}

/// Puts a vocabulary together: `spelled` tokens by id, the first 256 of them the single bytes, and one merge
/// for each of the rest, in their order; `None` stands for a merge that is not two tokens.
pub(crate) fn assemble<'m>(
    splitter: Splitter,
    spelled: &[String],
    merges: impl ExactSizeIterator<Item = Option<(&'m str, &'m str)>>,
    names: &Names,
) -> Result<Bpe, Fault> {
    let alphabet = alphabet();
    let bytes_of =
        |spelled: &str| -> Option<Vec<u8>> { spelled.chars().map(|character| byte_of(&alphabet, character)).collect() };
    let mut tokens: Vec<Vec<u8>> = Vec::with_capacity(spelled.len());
    for (id, spelled) in spelled.iter().enumerate() {
        tokens.push(bytes_of(spelled).ok_or_else(|| {
            let place = format!("{}[{spelled:?}] (id {id})", names.vocab);
            Fault::new(place, "a character that no byte is spelled as")
        })?);
    }
    // Not by the crate's own hash: the keys come from a stranger.
    let ids: std::collections::HashMap<&[u8], u32> = tokens.iter().map(Vec::as_slice).zip(0..).collect();

    let mut byte_order = [0; 256];
    for (id, slot) in byte_order.iter_mut().enumerate() {
        // Doubled tokens are found below: then one of 256 single bytes is missing here or later.
        match tokens.get(id).map(Vec::as_slice) {
            Some(&[byte]) if ids[&[byte][..]] as usize == id => *slot = byte,
            _ => {
                let problem = format!("id {id} is not one of the 256 bytes, each of which must be there once");
                return Err(Fault::new(names.vocab, problem));
            }
        }
    }
    if merges.len() != tokens.len() - 256 {
        let problem = format!(
            "{} merges for {} tokens: each token after the 256 bytes must have one",
            merges.len(),
            tokens.len()
        );
        return Err(Fault::new(names.merges, problem));
    }
    let mut bpe = Bpe::new(splitter, &byte_order);
    for (k, (merge, token)) in merges.zip(&tokens[256..]).enumerate() {
        let place = || (names.merge)(k);
        let id_of = |spelled: &str| {
            let id = ids.get(&bytes_of(spelled)?[..]).copied()?;
            ((id as usize) < 256 + k).then_some(id)
        };
        let pair = merge
            .and_then(|(left, right)| Some((id_of(left)?, id_of(right)?)))
            .ok_or_else(|| Fault::new(place(), "its halves are not two tokens with smaller ids"))?;
        let (left, right) = (&tokens[pair.0 as usize], &tokens[pair.1 as usize]);
        if token.len() != left.len() + right.len() || !token.starts_with(left) || !token.ends_with(right) {
            let problem = format!("it does not make the token with id {}", 256 + k);
            return Err(Fault::new(place(), problem));
        }
        if !bpe.push(pair) {
            return Err(Fault::new(place(), "it makes a token that was there before"));
        }
    }
    Ok(bpe)
}
