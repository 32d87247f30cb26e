//! The first stage: from the training part of the data to `tokenizer/tokenizer.json`.
//! Knows text and tokenizers, never models.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use ferrochat_data::{Corpus, Split};
use ferrochat_tokenizer::{CharTrainer, Kind, Tokenizer, Trainer};
use serde_json::json;

use crate::cli::{TokenizerTrainArgs, TokenizerUseArgs};
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
    let documents = corpus.one_pass(Split::Train).map_err(usage)?;
    if recipe.characters {
        let mut trainer = CharTrainer::new();
        for document in documents {
            interrupted()?;
            trainer.feed(&document?.text);
        }
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
    let mut reading = Progress::new("tokenizer: reading", recipe.max_chars);
    for document in documents {
        interrupted()?;
        if !trainer.feed(&document?.text) {
            break;
        }
        reading.part(trainer.characters(), "characters read for the tokenizer");
    }
    reading.finish();
    let mut merging = Progress::new("tokenizer: merging", recipe.vocab_size as u64);
    let tokenizer = trainer.finish(&mut |done, _| merging.part(done as u64, "merges learned"))?;
    merging.finish();
    Ok(tokenizer)
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
        ..Default::default()
    };
    let settings = Settings::new(&flags)?;
    let run = args.run.as_deref().map(|name| home.run(name)).transpose()?;
    let file = match (&run, &args.output) {
        (Some(run), _) => run.tokenizer_file(),
        (None, Some(file)) => file.clone(),
        (None, None) => unreachable!("clap asks for one of the two"),
    };
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

/// `tokenizer encode`
///
/// # Errors
/// No such tokenizer, or characters that a character tokenizer lacks.
pub fn encode_command(home: &Home, args: &TokenizerUseArgs) -> Result<()> {
    let tokenizer = chosen(home, args)?;
    let text = input(args)?;
    if let Some((at, character)) = tokenizer.unknown_character(&text) {
        refuse!("the character {character:?} at byte {at} is not in this character vocabulary");
    }
    let ids = tokenizer.encode_ordinary(&text);
    if args.json {
        return output::print(&(serde_json::to_string(&ids)? + "\n"));
    }
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    output::print(&(ids.join(" ") + "\n"))
}

/// `tokenizer decode`
///
/// # Errors
/// No such tokenizer, or something that is not an id of it.
pub fn decode_command(home: &Home, args: &TokenizerUseArgs) -> Result<()> {
    let tokenizer = chosen(home, args)?;
    let text = input(args)?;
    let words = text
        .split(|c: char| c.is_whitespace() || ",[]".contains(c))
        .filter(|word| !word.is_empty());
    let mut ids = Vec::new();
    for word in words {
        match word.parse::<u32>() {
            Ok(id) if (id as usize) < tokenizer.vocab_size() => ids.push(id),
            _ => refuse!(
                "{word:?} is not an id; ids are numbers below {}",
                tokenizer.vocab_size()
            ),
        }
    }
    let text = tokenizer.decode(&ids);
    if args.json {
        return output::print(&(serde_json::to_string(&text)? + "\n"));
    }
    output::print(&(text + "\n"))
}

fn chosen(home: &Home, args: &TokenizerUseArgs) -> Result<Tokenizer> {
    let file: PathBuf = match (&args.run, &args.file) {
        (Some(name), _) => home.run(name)?.tokenizer_file(),
        (None, Some(file)) => file.clone(),
        (None, None) => unreachable!("clap asks for one of the two"),
    };
    load(&file)
}

fn input(args: &TokenizerUseArgs) -> Result<String> {
    if !args.input.is_empty() {
        return Ok(args.input.join(" "));
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("cannot read stdin")?;
    String::from_utf8(bytes).map_err(|error| {
        usage(format!(
            "stdin is not UTF-8 text: the byte at position {} is wrong",
            error.utf8_error().valid_up_to()
        ))
    })
}
