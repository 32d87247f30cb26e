//! The first stage: from the training part of the data to `tokenizer/tokenizer.json`.
//! Knows text and tokenizers, never models.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use ferrochat_data::{Corpus, Documents, Split};
use ferrochat_tokenizer::{CharTrainer, Kind, Tokenizer, Trainer};
use serde_json::json;

use crate::cli::TokenizerTrainArgs;
use crate::errors::{refuse, usage};
use crate::home::{Home, RunFolder, check_writable};
use crate::interrupt::Interrupt;
use crate::output;
use crate::progress::Progress;
use crate::record::{StageRecord, State, lock};
use crate::settings::Settings;
use crate::source;

/// How to train a tokenizer.
pub struct Recipe {
    /// One id per character instead of BPE.
    pub characters: bool,
    /// Ids, the special ones included.
    pub vocab_size: usize,
    /// Take at most this many characters.
    pub max_chars: u64,
    /// Take at most this many characters of each document.
    pub doc_cap: usize,
}

impl Recipe {
    /// What a run's settings ask for.
    pub fn new(settings: &Settings) -> Recipe {
        Recipe {
            characters: settings.is_char(),
            vocab_size: settings.vocab_size(),
            max_chars: 2_000_000_000,
            doc_cap: 10_000,
        }
    }
}

/// Trains a tokenizer on the training part of a corpus.
///
/// # Errors
/// Data that cannot be read, no text in it, or an interrupt.
pub fn train(corpus: &Corpus, recipe: &Recipe, interrupt: Option<&Interrupt>) -> Result<Tokenizer> {
    let interrupted = || -> Result<()> {
        match interrupt.and_then(Interrupt::requested) {
            Some(signal) => Err(anyhow::Error::new(crate::errors::Interrupted {
                signal,
                message: format!(
                    "interrupted before the tokenizer was done; the same line begins it again: {}",
                    crate::record::command_line()
                ),
            })),
            None => Ok(()),
        }
    };
    let mut documents = corpus.one_pass(Split::Train).map_err(usage)?;
    if recipe.characters {
        let mut trainer = CharTrainer::new();
        for document in documents.by_ref() {
            interrupted()?;
            trainer.feed(&document?.text);
        }
        name_skipped(&documents);
        return Ok(trainer.finish()?);
    }
    // Running text is one document however long it is; only real documents are cut.
    let doc_cap = if source::has_documents(corpus) {
        recipe.doc_cap
    } else {
        usize::MAX
    };
    let mut trainer = Trainer::new(recipe.vocab_size)
        .map_err(usage)?
        .doc_cap(doc_cap)
        .max_chars(recipe.max_chars);
    let mut reading = Progress::new("tokenizer: reading", 100);
    let begun = Instant::now();
    for document in documents.by_ref() {
        interrupted()?;
        let document = document?;
        if !trainer.feed(&document.text) {
            break;
        }
        let done = part_read(corpus, &document.after, trainer.characters(), recipe.max_chars);
        let rate = trainer.characters() as f64 / begun.elapsed().as_secs_f64();
        let text = format!(
            "% read, {} characters/s{}",
            crate::format::short(rate),
            eta(begun, done)
        );
        reading.part((100.0 * done) as u64, &text);
    }
    reading.finish();
    name_skipped(&documents);
    let mut merging = Progress::new("tokenizer: merging", recipe.vocab_size as u64);
    let begun = Instant::now();
    let tokenizer = trainer.finish(&mut |done, most| {
        if done % 64 == 0 {
            let text = format!("merges learned{}", eta(begun, done as f64 / most as f64));
            merging.part(done as u64, &text);
        }
    })?;
    merging.finish();
    Ok(tokenizer)
}

fn name_skipped(documents: &Documents) {
    for skipped in documents.skipped() {
        eprintln!("tokenizer: {skipped}");
    }
}

/// How much of what will be read has been read, roughly: files are taken to be of one size.
fn part_read(corpus: &Corpus, after: &ferrochat_data::Position, characters: u64, most: u64) -> f64 {
    let described = corpus.describe();
    let of_files = match described.kind {
        // What a shard holds is compressed.
        ferrochat_data::Kind::Parquet => after.file as f64 / described.files.max(1) as f64,
        _ => characters as f64 / described.bytes.max(1) as f64,
    };
    of_files.max(characters as f64 / most.max(1) as f64).min(1.0)
}

/// ", ETA …" once there is something to go by.
fn eta(begun: Instant, done: f64) -> String {
    if done < 0.01 {
        return String::new();
    }
    let left = begun.elapsed().as_secs_f64() * (1.0 - done) / done;
    format!(", ETA {}", crate::format::duration(left))
}

/// The tokenizer of a run, and how many seconds it took if it was trained just now.
pub struct Obtained {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// None if it was trained before.
    pub seconds: Option<f64>,
}

/// The stage's work: trains the tokenizer of a run, unless it has one. Writes nothing.
///
/// # Errors
/// As [`train`].
pub fn obtain(
    existing: Option<Tokenizer>,
    corpus: &Corpus,
    settings: &Settings,
    interrupt: &Interrupt,
) -> Result<Obtained> {
    if let Some(tokenizer) = existing {
        return Ok(Obtained {
            tokenizer,
            seconds: None,
        });
    }
    let begun = Instant::now();
    let tokenizer = train(corpus, &Recipe::new(settings), Some(interrupt))?;
    Ok(Obtained {
        tokenizer,
        seconds: Some(begun.elapsed().as_secs_f64()),
    })
}

/// The stage's result: writes a tokenizer that was trained just now into the run. The caller holds its lock.
///
/// # Errors
/// Files that cannot be written.
pub fn keep(
    run: &RunFolder,
    tokenizer: &Tokenizer,
    seconds: Option<f64>,
    corpus: &Corpus,
    settings: &Settings,
) -> Result<()> {
    let Some(seconds) = seconds else {
        return Ok(());
    };
    save(run, tokenizer, corpus, settings, seconds)?;
    eprintln!(
        "tokenizer: {} of {} ids trained on {} in {}",
        kind_name(tokenizer),
        tokenizer.vocab_size(),
        corpus.describe(),
        crate::format::duration(seconds)
    );
    Ok(())
}

fn save(run: &RunFolder, tokenizer: &Tokenizer, corpus: &Corpus, settings: &Settings, seconds: f64) -> Result<()> {
    let folder = run.stage("tokenizer");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let details = json!({
        "kind": kind_name(tokenizer),
        "vocab_size": tokenizer.vocab_size(),
        "fingerprint": tokenizer.fingerprint(),
        "data": corpus.describe(),
        "bytes_per_token": bytes_per_token(corpus, tokenizer)?,
    });
    let mut record = StageRecord::begin("tokenizer", settings, details);
    record.seconds = seconds;
    record.save(&folder, State::Begun)?;
    tokenizer.save(&run.tokenizer_file())?;
    record.save(&folder, State::Finished)
}

/// Bytes per token on the beginning of the validation part: how well the text compresses.
pub fn bytes_per_token(corpus: &Corpus, tokenizer: &Tokenizer) -> Result<f64> {
    const ENOUGH: usize = 200_000;
    let (mut bytes, mut tokens) = (0, 0);
    let mut ids = Vec::new();
    for document in corpus.one_pass(Split::Validation)? {
        let text = document?.text;
        ids.clear();
        tokenizer.encode_ordinary_into(&text, &mut ids);
        bytes += text.len();
        tokens += ids.len();
        if bytes > ENOUGH {
            break;
        }
    }
    Ok(bytes as f64 / tokens.max(1) as f64)
}

/// Reads a tokenizer; a missing or damaged file is the user's to mend.
///
/// # Errors
/// One sentence with the file.
pub fn load(file: &Path) -> Result<Tokenizer> {
    Tokenizer::load(file).map_err(usage)
}

/// "bpe" or "char".
pub fn kind_name(tokenizer: &Tokenizer) -> &'static str {
    match tokenizer.kind() {
        Kind::Bpe => "bpe",
        Kind::Character => "char",
    }
}

/// `tokenizer train`
///
/// # Errors
/// Wrong flags, unreadable data, files that cannot be written.
pub fn train_command(home: &Home, args: &TokenizerTrainArgs) -> Result<()> {
    let flags = crate::settings::Flags {
        data: args.data.clone(),
        tokenizer: Some(args.tokenizer.clone()),
        vocab_size: Some(args.vocab_size),
        strict: args.strict.then_some(true),
        ..Default::default()
    };
    let settings = Settings::new(&flags)?;
    let run = args.run.as_deref().map(|name| home.run(name)).transpose()?;
    let file = match (&run, &args.output) {
        (Some(run), _) => run.tokenizer_file(),
        (None, Some(file)) => file.clone(),
        (None, None) => unreachable!("clap asks for one of the two"),
    };
    let ranks = file.extension().is_some_and(|extension| extension == "tiktoken");
    if ranks && settings.is_char() {
        refuse!("a character vocabulary has no ranks to write to a .tiktoken file; call it .json");
    }
    if file.exists() && !args.fresh {
        refuse!("{} exists; --fresh replaces it", file.display());
    }
    if let Some(run) = &run
        && run.stage("base").join("stage.json").exists()
    {
        refuse!(
            "the run {:?} has a model that was trained with its tokenizer; give another --run",
            run.name
        );
    }
    let corpus = source::open(&settings)?;
    check_writable(
        file.parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
        1 << 24,
    )?;

    let recipe = Recipe {
        max_chars: args.max_chars,
        doc_cap: args.doc_cap,
        ..Recipe::new(&settings)
    };
    let _lock = run.as_ref().map(lock).transpose()?;
    let begun = Instant::now();
    let tokenizer = train(&corpus, &recipe, None)?;
    let seconds = begun.elapsed().as_secs_f64();
    match &run {
        Some(run) => save(run, &tokenizer, &corpus, &settings, seconds)?,
        None if ranks => {
            let ranks = tokenizer.to_tiktoken();
            let ranks = ranks.context("a character vocabulary has no ranks")?;
            std::fs::write(&file, ranks).with_context(|| format!("cannot write {}", file.display()))?;
        }
        None => tokenizer.save(&file)?,
    }
    if args.json {
        return output::print_json(&json!({
            "file": file,
            "kind": kind_name(&tokenizer),
            "vocab_size": tokenizer.vocab_size(),
            "fingerprint": tokenizer.fingerprint(),
            "bytes_per_token": bytes_per_token(&corpus, &tokenizer)?,
            "seconds": seconds,
        }));
    }
    output::print(&format!(
        "{} of {} ids, {:.2} bytes per token, trained in {}: {}\n",
        kind_name(&tokenizer),
        tokenizer.vocab_size(),
        bytes_per_token(&corpus, &tokenizer)?,
        crate::format::duration(seconds),
        file.display()
    ))
}
