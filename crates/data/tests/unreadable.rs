//! Shards that cannot be read: named, counted and left out, the same after every resume, or fatal where asked.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{open, start, tokens};
use ferrochat_data::{Batch, Corpus, CorpusOptions, DataError, Loader, LoaderConfig, LoaderState, Packing, Split};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Rows of each of the two row groups of a shard.
const GROUP: usize = 200;
/// Shards to learn from; one more is for validation.
const SHARDS: usize = 5;

fn shard(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("shard_{number}.parquet"))
}

/// Documents in row groups of at most `GROUP`.
fn write(path: &Path, column: &str, documents: &[Vec<u8>]) {
    let schema = format!("message schema {{ required binary {column} (UTF8); }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_dictionary_enabled(false).build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    for group in documents.chunks(GROUP) {
        let mut row_group = writer.next_row_group().unwrap();
        let values: Vec<ByteArray> = group.iter().map(|text| ByteArray::from(text.clone())).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, None, None)
            .unwrap();
        column.close().unwrap();
        row_group.close().unwrap();
    }
    writer.close().unwrap();
}

fn documents(number: usize) -> Vec<Vec<u8>> {
    let texts = common::texts(1000 * number, 2 * GROUP);
    texts.into_iter().map(String::into_bytes).collect()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..=SHARDS {
        write(&shard(folder.path(), number), "text", &documents(number));
    }
    folder
}

fn change(path: &Path, what: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    what(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A kind of damage: its name, what does it to a shard with these documents, how many documents remain, and a word
/// of what is said.
type Damage = (&'static str, fn(&Path, Vec<Vec<u8>>), usize, &'static str);

const DAMAGE: [Damage; 10] = [
    (
        "truncated",
        |path, _| change(path, |bytes| bytes.truncate(bytes.len() * 6 / 10)),
        0,
        "its footer",
    ),
    (
        "flipped bytes in the footer",
        |path, _| {
            change(path, |bytes| {
                let end = bytes.len() - 8;
                bytes[end - 300..end - 200].iter_mut().for_each(|byte| *byte ^= 0x5A);
            });
        },
        0,
        "its footer",
    ),
    (
        "flipped magic",
        |path, _| change(path, |bytes| *bytes.last_mut().unwrap() ^= 1),
        0,
        "its footer",
    ),
    (
        "flipped bytes in a page",
        |path, _| {
            let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
            let (begin, length) = reader.metadata().row_group(1).column(0).byte_range();
            change(path, |bytes| {
                let page = &mut bytes[begin as usize..(begin + length) as usize];
                for byte in page {
                    *byte ^= 0x5A;
                }
            });
        },
        GROUP,
        "row group 1",
    ),
    ("zero length", |path, _| fs::write(path, "").unwrap(), 0, "its footer"),
    (
        "not Parquet",
        |path, _| fs::write(path, "<html>no such file</html>".repeat(99)).unwrap(),
        0,
        "its footer",
    ),
    (
        "a link to nowhere",
        |path, _| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("gone", path).unwrap();
        },
        0,
        "cannot read",
    ),
    (
        "a link to itself",
        |path, _| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(path, path).unwrap();
        },
        0,
        "cannot read",
    ),
    (
        "wrong column",
        |path, documents| write(path, "content", &documents),
        0,
        "no column `text`, only content",
    ),
    (
        "invalid UTF-8",
        |path, mut documents| {
            documents[GROUP + 150].push(0xFF);
            write(path, "text", &documents);
        },
        GROUP + 128,
        "row group 1, row 150: it is not UTF-8",
    ),
];

fn config(threads: usize) -> LoaderConfig {
    LoaderConfig {
        threads,
        ..LoaderConfig::new(8, 200, Split::Train, Packing::BestFit)
    }
}

/// More than two passes over what is left.
fn batches(corpus: &Corpus, state: Option<LoaderState>, count: usize) -> Vec<Batch> {
    let mut loader = start(corpus, &config(2), state);
    (0..count).map(|_| loader.next_batch().unwrap()).collect()
}

const BATCHES: usize = 160;

#[test]
fn a_run_goes_on_without_an_unreadable_shard_and_so_does_one_that_is_resumed() {
    for (name, damage, left, word) in DAMAGE {
        for number in [0, 2, SHARDS - 1] {
            let context = format!("{name}, shard {number}");
            let damaged = folder();
            let path = shard(damaged.path(), number);
            damage(&path, documents(number));
            let corpus = open(damaged.path());
            let whole = batches(&corpus, None, BATCHES);
            let state = &whole.last().unwrap().state;
            assert!(state.position().epoch > 1, "{context}: {:?}", state.position());
            let [skipped] = state.skipped() else {
                panic!("{context}: {:?}", state.skipped());
            };
            assert_eq!(skipped.name, format!("shard_{number}.parquet"));
            assert!(skipped.reason.contains(word), "{context}: {}", skipped.reason);
            assert_eq!(skipped.is_partly_read(), left > 0);

            // The rows are those of data that end there.
            let healthy = folder();
            let path = shard(healthy.path(), number);
            if left == 0 {
                fs::remove_file(path).unwrap();
            } else {
                write(&path, "text", &documents(number)[..left]);
            }
            let expected = batches(&open(healthy.path()), None, BATCHES);
            for (batch, expected) in whole.iter().zip(&expected) {
                assert_eq!(tokens(batch), tokens(expected), "{context}");
            }

            for stop in [0, 3, 40, 90, 140] {
                let state = LoaderState::from_bytes(&whole[stop].state.to_bytes()).unwrap();
                let resumed = batches(&corpus, Some(state), 15);
                for (batch, expected) in resumed.iter().zip(&whole[stop + 1..]) {
                    assert_eq!(tokens(batch), tokens(expected), "{context}, {stop}");
                    assert_eq!(batch.state, expected.state, "{context}, {stop}");
                }
            }
        }
    }
}

#[test]
fn strict_means_that_the_first_unreadable_shard_ends_the_run() {
    for (name, damage, _, word) in DAMAGE {
        for number in [0, 3] {
            let folder = folder();
            damage(&shard(folder.path(), number), documents(number));
            let options = CorpusOptions {
                strict: true,
                ..CorpusOptions::default()
            };
            let read = |options| -> Result<(), DataError> {
                let corpus = Corpus::open(folder.path(), options)?;
                let mut loader = Loader::start(&corpus, Arc::new(common::Characters), config(2), None)?;
                for _ in 0..BATCHES {
                    loader.next_batch()?;
                }
                Ok(())
            };
            let error = read(options).unwrap_err().to_string();
            let shard = format!("shard_{number}.parquet");
            assert!(error.contains(&shard) && error.contains(word), "{name}: {error}");
            read(CorpusOptions::default()).unwrap();
        }
    }
}

#[test]
fn a_shard_that_vanishes_or_is_forbidden_is_skipped_and_not_asked_for_again() {
    let folder = folder();
    let corpus = open(folder.path());
    let taken = shard(folder.path(), 1);
    let bytes = fs::read(&taken).unwrap();
    fs::remove_file(&taken).unwrap();
    let whole = batches(&corpus, None, BATCHES);
    let state = &whole.last().unwrap().state;
    assert!(
        state.skipped()[0].reason.contains("shard_1.parquet"),
        "{:?}",
        state.skipped()
    );
    // It is back, but this run has gone on without it.
    fs::write(&taken, bytes).unwrap();
    let resumed = batches(&corpus, Some(whole[99].state.clone()), 30);
    for (batch, expected) in resumed.iter().zip(&whole[100..]) {
        assert_eq!((tokens(batch), &batch.state), (tokens(expected), &expected.state));
    }
    // Strictness comes too late for it.
    let options = CorpusOptions {
        strict: true,
        ..CorpusOptions::default()
    };
    let strict = Corpus::open(folder.path(), options).unwrap();
    let state = Some(whole[99].state.clone());
    let error = Loader::start(&strict, Arc::new(common::Characters), config(1), state).err();
    let error = error.unwrap().to_string();
    assert!(error.contains("gone on without shard_1.parquet"), "{error}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&taken, fs::Permissions::from_mode(0o000)).unwrap();
        // Nothing is forbidden to root.
        if File::open(&taken).is_err() {
            let state = batches(&open(folder.path()), None, 60).pop().unwrap().state;
            assert!(
                state.skipped()[0].reason.contains("cannot read"),
                "{:?}",
                state.skipped()
            );
        }
    }
}

#[test]
fn several_are_counted_and_more_than_half_are_too_many() {
    let folder = folder();
    for number in [1, 3] {
        fs::write(shard(folder.path(), number), "").unwrap();
    }
    let state = batches(&open(folder.path()), None, BATCHES).pop().unwrap().state;
    let names: Vec<&str> = state.skipped().iter().map(|skipped| skipped.name.as_str()).collect();
    assert_eq!(names, ["shard_1.parquet", "shard_3.parquet"]);

    fs::write(shard(folder.path(), 4), "").unwrap();
    let corpus = open(folder.path());
    let mut loader = start(&corpus, &config(1), None);
    let error = (0..BATCHES).find_map(|_| loader.next_batch().err()).unwrap();
    assert!(
        matches!(
            error,
            DataError::Unreadable {
                unreadable: 3,
                files: 5,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("3 of the 5 files") && error.to_string().contains("shard_1"),
        "{error}"
    );

    for number in [0, 2] {
        fs::write(shard(folder.path(), number), "").unwrap();
    }
    let error = Corpus::open(folder.path(), CorpusOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("shard_0.parquet"), "{error}");
}

#[test]
fn what_a_model_is_measured_on_and_a_lone_file_must_be_whole() {
    let folder = folder();
    let (_, damage, ..) = DAMAGE[3];
    damage(&shard(folder.path(), SHARDS), documents(SHARDS));
    let corpus = open(folder.path());
    let config = LoaderConfig {
        split: Split::Validation,
        ..config(1)
    };
    let mut loader = start(&corpus, &config, None);
    let error = (0..BATCHES)
        .find_map(|_| loader.next_batch().err())
        .unwrap()
        .to_string();
    assert!(
        error.contains("shard_5.parquet") && error.contains("row group 1"),
        "{error}"
    );

    let corpus = open(&shard(folder.path(), SHARDS));
    let mut loader = start(&corpus, &self::config(1), None);
    let error = (0..BATCHES)
        .find_map(|_| loader.next_batch().err())
        .unwrap()
        .to_string();
    assert!(
        error.contains("shard_5.parquet") && error.contains("row group 1"),
        "{error}"
    );
}

#[test]
fn a_changed_shard_is_not_taken_for_the_old_one() {
    let folder = folder();
    let corpus = open(folder.path());
    let whole = batches(&corpus, None, BATCHES);
    let state = |at: usize| Some(whole[at].state.clone());
    // One letter, in the same length.
    change(&shard(folder.path(), 0), |bytes| {
        let at = bytes.windows(8).position(|window| window == b"document").unwrap();
        bytes[at] = b'D';
    });
    // A run that begins to read notices it at once.
    let error = Loader::start(&open(folder.path()), Arc::new(common::Characters), config(1), state(10)).err();
    let error = error.unwrap().to_string();
    assert!(error.contains("another data set"), "{error}");
    // So does one whose shard changes under its hands, when it comes back to it.
    let mut loader = start(&corpus, &config(1), state(10));
    let error = (0..BATCHES).find_map(|_| loader.next_batch().err()).unwrap();
    assert!(
        matches!(&error, DataError::Changed { path } if path.ends_with("shard_0.parquet")),
        "{error}"
    );
}

#[test]
fn a_file_of_a_folder_of_text_is_skipped_from_where_it_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..8 {
        let mut text = common::texts(100 * number, 60).join("\n").into_bytes();
        if number == 3 {
            text.extend([0xE9, 0xFF]);
        }
        fs::write(folder.path().join(format!("{number}.txt")), text).unwrap();
        let lines = common::texts(100 * number, 60);
        fs::create_dir_all(folder.path().join("lines")).unwrap();
        let path = folder.path().join(format!("lines/{number}.jsonl"));
        common::write_jsonl(&path, &lines);
        if number == 3 {
            let text = fs::read_to_string(&path).unwrap().replacen("{\"id\":1", "{\"id\":", 2);
            fs::write(&path, text).unwrap();
        }
    }
    let lines = folder.path().join("lines");
    for (path, name, word) in [
        (lines.as_path(), "3.jsonl", "line 1"),
        (folder.path(), "3.txt", "UTF-8"),
    ] {
        let corpus = open(path);
        let config = LoaderConfig::new(4, 40, Split::Train, Packing::Stream);
        let mut loader = start(&corpus, &config, None);
        let whole: Vec<Batch> = (0..400).map(|_| loader.next_batch().unwrap()).collect();
        let state = &whole[399].state;
        assert!(state.position().epoch > 1);
        assert_eq!(state.skipped().len(), 1);
        assert_eq!(state.skipped()[0].name, name);
        assert!(state.skipped()[0].reason.contains(word), "{}", state.skipped()[0]);
        for stop in [5, 70, 200] {
            let mut resumed = start(&corpus, &config, Some(whole[stop].state.clone()));
            for expected in &whole[stop + 1..stop + 100] {
                let batch = resumed.next_batch().unwrap();
                assert_eq!(
                    (tokens(&batch), &batch.state),
                    (tokens(expected), &expected.state),
                    "{stop}"
                );
            }
        }
        // All of it, where its text is read for a tokenizer.
        let mut documents = corpus.one_pass(Split::Train).unwrap();
        assert!(documents.by_ref().all(|document| document.is_ok()));
        assert_eq!(documents.skipped().len(), 1);
        fs::remove_dir_all(&lines).ok();
    }
}
