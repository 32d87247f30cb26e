//! Reading `tokenizer.json`. Everything in it is checked before it is believed: what is allocated is
//! bounded by the size of the file, and each fault is reported with its place.

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{bpe_pre_tokenizer, character_pre_tokenizer};
use crate::bpe::Bpe;
use crate::byte_level::{alphabet, byte_of};
use crate::character::Characters;
use crate::error::Fault;
use crate::split::Splitter;
use crate::{SPECIAL_TOKENS, Tokenizer};

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    truncation: Value,
    #[serde(default)]
    padding: Value,
    #[serde(default)]
    normalizer: Value,
    added_tokens: Vec<AddedToken>,
    pre_tokenizer: Value,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    vocab: Vocab,
    merges: Option<Vec<Merge>>,
    unk_token: Option<String>,
    dropout: Option<f64>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
}

/// A merge as `["left", "right"]` or, as older files have it, `"left right"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Two(String, String),
    One(String),
}

impl Merge {
    fn halves(&self) -> Option<(&str, &str)> {
        match self {
            Self::Two(left, right) => Some((left, right)),
            Self::One(both) => both.split_once(' '),
        }
    }
}

/// The vocabulary as it is in the file, so that doubled keys are seen.
struct Vocab(Vec<(String, u32)>);

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
    /// The tokens by id, which must be 0, 1, 2, … once each.
    fn by_id(self) -> Result<Vec<String>, Fault> {
        let mut tokens = vec![None; self.0.len()];
        for (token, id) in self.0 {
            let place = || format!("model.vocab[{token:?}]");
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

/// The tokenizer that the text of a file describes.
pub(crate) fn read(text: &str) -> Result<Tokenizer, Fault> {
    let file: File = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Fault::new(place, error.to_string())
    })?;
    let unsupported = [
        ("truncation", &file.truncation),
        ("padding", &file.padding),
        ("normalizer", &file.normalizer),
    ];
    for (place, value) in unsupported {
        if !value.is_null() {
            return Err(Fault::new(place, "not supported: it must be null"));
        }
    }
    let tokenizer = match file.model.kind.as_str() {
        "BPE" => read_bpe(file.model, &file.pre_tokenizer)?,
        "WordLevel" => read_characters(file.model, &file.pre_tokenizer)?,
        other => {
            let problem = format!("{other:?} is not supported: it must be BPE or WordLevel");
            return Err(Fault::new("model.type", problem));
        }
    };
    check_special(&file.added_tokens, tokenizer.bos())?;
    Ok(tokenizer)
}

fn check_special(added: &[AddedToken], first: u32) -> Result<(), Fault> {
    if added.len() != SPECIAL_TOKENS.len() {
        let problem = format!("{} tokens where the 9 special tokens should be", added.len());
        return Err(Fault::new("added_tokens", problem));
    }
    for (index, (token, name)) in added.iter().zip(SPECIAL_TOKENS).enumerate() {
        let id = first + index as u32;
        if token.content != name || token.id != id {
            let problem = format!(
                "{:?} with id {} where {name:?} with id {id} should be",
                token.content, token.id
            );
            return Err(Fault::new(format!("added_tokens[{index}]"), problem));
        }
    }
    Ok(())
}

/// The splitter of a `pre_tokenizer` that is a Split by some pattern and then a ByteLevel that only spells.
fn splitter(pre_tokenizer: &Value) -> Result<Splitter, Fault> {
    let pattern = &pre_tokenizer["pretokenizers"][0]["pattern"]["Regex"];
    match pattern.as_str() {
        Some(pattern) if *pre_tokenizer == bpe_pre_tokenizer(pattern) => Splitter::new(pattern).map_err(|problem| {
            Fault::new(
                "pre_tokenizer.pretokenizers[0].pattern",
                format!("cannot be used: {problem}"),
            )
        }),
        _ => {
            let problem = "not supported: it must be a Split by a pattern, isolated, and then a ByteLevel \
                           without regex and prefix space";
            Err(Fault::new("pre_tokenizer", problem))
        }
    }
}

fn read_bpe(model: Model, pre_tokenizer: &Value) -> Result<Tokenizer, Fault> {
    let splitter = splitter(pre_tokenizer)?;
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if affixes
        .iter()
        .any(|affix| affix.as_ref().is_some_and(|affix| !affix.is_empty()))
        || model.dropout.is_some_and(|dropout| dropout != 0.0)
        || model.byte_fallback
    {
        let problem = "dropout, prefix, suffix and byte fallback are not supported";
        return Err(Fault::new("model", problem));
    }

    let alphabet = alphabet();
    let mut tokens: Vec<Vec<u8>> = Vec::new();
    for (id, spelled) in model.vocab.by_id()?.into_iter().enumerate() {
        let bytes: Option<Vec<u8>> = spelled.chars().map(|character| byte_of(&alphabet, character)).collect();
        tokens.push(bytes.ok_or_else(|| {
            let place = format!("model.vocab[{spelled:?}] (id {id})");
            Fault::new(place, "a character that no byte is spelled as")
        })?);
    }
    let ids: FxHashMap<&[u8], u32> = tokens.iter().map(Vec::as_slice).zip(0..).collect();

    let mut byte_order = [0; 256];
    for (id, slot) in byte_order.iter_mut().enumerate() {
        // Doubled tokens are found below: then one of 256 single bytes is missing here or later.
        match tokens.get(id).map(Vec::as_slice) {
            Some(&[byte]) if ids[&[byte][..]] as usize == id => *slot = byte,
            _ => {
                let problem = format!("id {id} is not one of the 256 bytes, each of which must be there once");
                return Err(Fault::new("model.vocab", problem));
            }
        }
    }
    let merges = model.merges.unwrap_or_default();
    if merges.len() != tokens.len() - 256 {
        let problem = format!(
            "{} merges for {} tokens: each token after the 256 bytes must have one",
            merges.len(),
            tokens.len()
        );
        return Err(Fault::new("model.merges", problem));
    }
    let mut bpe = Bpe::new(splitter, &byte_order);
    for (k, (merge, token)) in merges.iter().zip(&tokens[256..]).enumerate() {
        let place = || format!("model.merges[{k}]");
        let id_of = |spelled: &str| {
            let bytes: Option<Vec<u8>> = spelled.chars().map(|character| byte_of(&alphabet, character)).collect();
            bytes
                .and_then(|bytes| ids.get(&bytes[..]).copied())
                .filter(|&id| (id as usize) < 256 + k)
        };
        let pair = merge
            .halves()
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
    drop(ids);
    Ok(Tokenizer::from_bpe(bpe))
}

fn read_characters(model: Model, pre_tokenizer: &Value) -> Result<Tokenizer, Fault> {
    if *pre_tokenizer != character_pre_tokenizer() {
        let problem = "not supported: with a WordLevel model it must be a Split at every character";
        return Err(Fault::new("pre_tokenizer", problem));
    }
    let mut sorted = Vec::new();
    for (id, token) in model.vocab.by_id()?.into_iter().enumerate() {
        let mut characters = token.chars();
        let (Some(character), None) = (characters.next(), characters.next()) else {
            let place = format!("model.vocab[{token:?}] (id {id})");
            return Err(Fault::new(place, "not a single character"));
        };
        sorted.push(character);
    }
    let characters = Characters::new(sorted).ok_or_else(|| {
        Fault::new(
            "model.vocab",
            "the characters must be sorted by code point, and at least one",
        )
    })?;
    let replacement = characters.replacement().to_string();
    if model.unk_token.as_ref() != Some(&replacement) {
        let problem = format!("it must be {replacement:?}, which stands for unknown characters here");
        return Err(Fault::new("model.unk_token", problem));
    }
    Ok(Tokenizer::from_characters(characters))
}
