//! The text of a run: the data the user names, or a small text made on the spot. This room turns
//! settings into an open corpus; it must never know of models.

use std::path::Path;

use anyhow::Result;
use ferrochat_data::{Corpus, CorpusOptions, Kind, Packing, TextDocuments, generator};

use crate::errors::usage;

/// Length of the text made on the spot.
const GENERATED_BYTES: usize = 600_000;
/// Its seed: the text is part of the program, like a file that everybody has.
const GENERATED_SEED: u64 = 1;
/// What stands for its path.
pub const GENERATED_NAME: &str = "generated text";

/// Opens the data at `path`, or the text made on the spot. Reads metadata only.
///
/// # Errors
/// Missing, empty or unreadable data, as usage.
pub fn open(path: Option<&Path>, text_field: &str) -> Result<Corpus> {
    let options = CorpusOptions {
        text_field: text_field.to_owned(),
        text_documents: if path.is_none() {
            TextDocuments::Paragraphs
        } else {
            TextDocuments::Whole
        },
    };
    let Some(path) = path else {
        let text = generator::small_text(GENERATED_SEED, GENERATED_BYTES);
        return Corpus::from_text(GENERATED_NAME, text, options).map_err(usage);
    };
    Corpus::open(path, options).map_err(usage)
}

/// How rows are made of this corpus in a run with this seed.
pub fn packing(corpus: &Corpus, seed: u64) -> Packing {
    match corpus.default_packing() {
        Packing::RandomWindows { .. } => Packing::RandomWindows { seed },
        other => other,
    }
}

/// True where a document is a unit of its own (and not a file of running text).
pub fn has_documents(corpus: &Corpus) -> bool {
    matches!(corpus.describe().kind, Kind::Jsonl | Kind::Parquet) || corpus.describe().path == Path::new(GENERATED_NAME)
}
