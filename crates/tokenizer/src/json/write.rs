//! Writing `tokenizer.json`. The same tokenizer always gives the same bytes: its fingerprint is their hash.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{bpe_pre_tokenizer, byte_level, character_pre_tokenizer};
use crate::bpe::Bpe;
use crate::byte_level::alphabet;
use crate::character::Characters;
use crate::tokenizer::Vocabulary;
use crate::{SPECIAL_TOKENS, Tokenizer};

/// The fields in the order in which Hugging Face writes them.
#[derive(Serialize)]
struct File {
    version: &'static str,
    truncation: Option<()>,
    padding: Option<()>,
    added_tokens: Vec<AddedToken>,
    normalizer: Option<()>,
    pre_tokenizer: Value,
    post_processor: Option<()>,
    decoder: Value,
    model: Model,
}

#[derive(Serialize)]
#[allow(clippy::struct_excessive_bools)] // the format's, not ours
struct AddedToken {
    id: u32,
    content: &'static str,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Model {
    #[serde(rename = "BPE")]
    Bpe {
        dropout: Option<f32>,
        unk_token: Option<String>,
        continuing_subword_prefix: Option<String>,
        end_of_word_suffix: Option<String>,
        fuse_unk: bool,
        byte_fallback: bool,
        ignore_merges: bool,
        vocab: Vocab,
        merges: Vec<(String, String)>,
    },
    WordLevel {
        vocab: Vocab,
        unk_token: String,
    },
}

/// Spelled tokens, written as a map to their positions, in that order.
struct Vocab(Vec<String>);

impl Serialize for Vocab {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().zip(0_u32..))
    }
}

/// The text of the file.
pub(crate) fn write(tokenizer: &Tokenizer) -> String {
    let (pre_tokenizer, decoder, model) = match &tokenizer.vocabulary {
        Vocabulary::Bpe(bpe) => (
            bpe_pre_tokenizer(bpe.splitter.oniguruma()),
            byte_level(),
            bpe_model(tokenizer, bpe),
        ),
        Vocabulary::Characters(characters) => (
            character_pre_tokenizer(),
            json!({"type": "Fuse"}),
            character_model(characters),
        ),
    };
    let added_tokens = SPECIAL_TOKENS.iter().zip(tokenizer.bos()..);
    let file = File {
        version: "1.0",
        truncation: None,
        padding: None,
        added_tokens: added_tokens
            .map(|(content, id)| AddedToken {
                id,
                content,
                single_word: false,
                lstrip: false,
                rstrip: false,
                normalized: false,
                special: true,
            })
            .collect(),
        normalizer: None,
        pre_tokenizer,
        post_processor: None,
        decoder,
        model,
    };
    serde_json::to_string_pretty(&file).expect("maps with string keys serialise") + "\n"
}

fn bpe_model(tokenizer: &Tokenizer, bpe: &Bpe) -> Model {
    let alphabet = alphabet();
    let spelled = |id| -> String {
        let bytes = tokenizer.token_bytes(id).iter();
        bytes.map(|&byte| alphabet[byte as usize]).collect()
    };
    Model::Bpe {
        dropout: None,
        unk_token: None,
        continuing_subword_prefix: None,
        end_of_word_suffix: None,
        fuse_unk: false,
        byte_fallback: false,
        // A piece that is one token becomes that token, as in tiktoken.
        ignore_merges: true,
        vocab: Vocab((0..tokenizer.bos()).map(spelled).collect()),
        merges: bpe
            .merges
            .iter()
            .map(|&(left, right)| (spelled(left), spelled(right)))
            .collect(),
    }
}

fn character_model(characters: &Characters) -> Model {
    Model::WordLevel {
        vocab: Vocab(characters.sorted.iter().map(char::to_string).collect()),
        unk_token: characters.replacement().to_string(),
    }
}
