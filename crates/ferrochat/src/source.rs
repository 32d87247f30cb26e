//! The text of a run: the data the user names, or the world. This room turns settings into an open
//! corpus; it must never know of models.

use anyhow::Result;
use ferrochat_data::{Corpus, CorpusOptions, Kind, Packing};
use ferrochat_world::{Split, World, WorldSpec};

use crate::errors::usage;
use crate::settings::Settings;

/// Documents of the world that are written for a run: more than its usual run reads.
const WORLD_DOCUMENTS: usize = 60_000;
/// Which draws of them: they are part of the program, like a file that everybody has.
const WORLD_SEED: u64 = 1;

/// The world that the settings name.
///
/// # Errors
/// A size that does not exist, as usage.
pub fn world(settings: &Settings) -> Result<World> {
    let size = settings
        .world_size
        .parse()
        .map_err(|error| usage(format!("--world-size: {error}")))?;
    World::new(WorldSpec {
        world: settings.world,
        size,
    })
    .map_err(usage)
}

/// Opens the data that the settings name, or writes down the world. Of files it reads metadata only.
///
/// # Errors
/// Missing, empty or unreadable data, as usage.
pub fn open(settings: &Settings) -> Result<Corpus> {
    let Some(path) = &settings.data else {
        let world = world(settings)?;
        let name = format!("world {} ({})", settings.world, settings.world_size);
        let documents = world.documents(Split::Train, WORLD_SEED).take(WORLD_DOCUMENTS);
        return Corpus::from_documents(&name, documents).map_err(usage);
    };
    let options = CorpusOptions {
        text_field: settings.text_field.clone(),
        strict: settings.strict,
        ..CorpusOptions::default()
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
    matches!(corpus.describe().kind, Kind::Jsonl | Kind::Parquet | Kind::Made)
}
