//! Reading `tokenizer.json`. Everything in it is checked before it is believed: what is allocated is
//! bounded by the size of the file, and each fault is reported with its place.

use serde::Deserialize;
use serde_json::Value;

use super::{bpe_pre_tokenizer, character_pre_tokenizer};
use crate::character::Characters;
use crate::error::Fault;
use crate::spelled::{Names, Vocab, assemble};
use crate::split::Splitter;
use crate::{SPECIAL_TOKENS, Tokenizer};

/// The vocabulary's place in the file.
const VOCAB: &str = "model.vocab";

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

    let merges = model.merges.unwrap_or_default();
    let names = Names {
        vocab: VOCAB,
        merges: "model.merges",
        merge: &|k| format!("model.merges[{k}]"),
    };
    let spelled = model.vocab.by_id(VOCAB)?;
    let bpe = assemble(splitter, &spelled, merges.iter().map(Merge::halves), &names)?;
    Ok(Tokenizer::from_bpe(bpe))
}

fn read_characters(model: Model, pre_tokenizer: &Value) -> Result<Tokenizer, Fault> {
    if *pre_tokenizer != character_pre_tokenizer() {
        let problem = "not supported: with a WordLevel model it must be a Split at every character";
        return Err(Fault::new("pre_tokenizer", problem));
    }
    let mut sorted = Vec::new();
    for (id, token) in model.vocab.by_id(VOCAB)?.into_iter().enumerate() {
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
