//! What lies at a path, where it is divided, and what its documents are.

// Clippy's allow-unwrap-in-tests does not reach helper functions.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{open, texts};
use ferrochat_data::{
    Corpus, CorpusOptions, DataError, Document, Kind, Packing, Split, TextDocuments, generator::small_text,
};
use parquet::basic::Compression;

fn all(corpus: &Corpus, split: Split) -> Vec<String> {
    let documents = corpus.one_pass(split).unwrap();
    documents.map(|document| document.unwrap().text).collect()
}

fn paragraphs() -> CorpusOptions {
    CorpusOptions {
        text_documents: TextDocuments::Paragraphs,
        ..CorpusOptions::default()
    }
}

fn refusal(path: &Path) -> String {
    let error = Corpus::open(path, CorpusOptions::default()).unwrap_err();
    error.to_string()
}

#[test]
fn a_text_file_is_divided_where_nanogpt_divides_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.txt");
    let text = small_text(4, 300_007);
    fs::write(&path, &text).unwrap();
    let corpus = open(&path);
    let cut = text.len() * 9 / 10;
    let train = all(&corpus, Split::Train);
    assert_eq!(train.concat(), text[..cut]);
    assert_eq!(all(&corpus, Split::Validation).concat(), text[cut..]);
    // Pieces end where a line begins, so that they tokenise as the whole does.
    assert!(train.len() > 3);
    assert!(train[..train.len() - 1].iter().all(|piece| piece.ends_with('\n')));
    assert_eq!(corpus.describe().kind, Kind::TextFile);
    assert_eq!(corpus.describe().bytes, text.len() as u64);
    assert_eq!(corpus.default_packing(), Packing::RandomWindows { seed: 0 });
    let begins: Vec<bool> = corpus
        .one_pass(Split::Train)
        .unwrap()
        .map(|document| document.unwrap().begins)
        .collect();
    assert!(begins[0] && !begins[1..].contains(&true));
}

#[test]
fn documents_in_memory_may_hold_anything() {
    let documents: Vec<String> = (0..50).map(|n| format!("{n} \"\n\n\u{1F980}\r\n")).collect();
    let corpus = Corpus::from_documents("made up", documents.iter().cloned()).unwrap();
    let both = [Split::Train, Split::Validation].map(|split| all(&corpus, split));
    assert!(both[1].len() >= 4, "{}", both[1].len());
    assert_eq!(both.concat(), documents);
    assert_eq!(corpus.default_packing(), Packing::BestFit);
    let other = Corpus::from_documents("made up", documents.iter().rev().cloned()).unwrap();
    assert_ne!(corpus.describe().fingerprint, other.describe().fingerprint);
}

#[test]
fn characters_are_never_divided() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.txt");
    for shift in 0..4 {
        let text = "x".repeat(shift) + &"\u{1F980}".repeat(50_000);
        fs::write(&path, &text).unwrap();
        let corpus = open(&path);
        let both = [Split::Train, Split::Validation].map(|split| all(&corpus, split).concat());
        assert_eq!(both.concat(), text);
        assert!(both[1].len() >= 20_000 - 3);
    }
}

#[test]
fn paragraphs_are_documents_and_the_split_falls_between_two() {
    let text = small_text(4, 200_000);
    let corpus = Corpus::from_text("memory", text.as_str(), paragraphs()).unwrap();
    let (train, validation) = (all(&corpus, Split::Train), all(&corpus, Split::Validation));
    let expected: Vec<&str> = text.trim_end().split("\n\n").collect();
    assert_eq!([&train[..], &validation[..]].concat(), expected);
    let share = validation.concat().len() as f64 / text.len() as f64;
    assert!((0.09..0.11).contains(&share), "{share}");
    assert_eq!(corpus.default_packing(), Packing::BestFit);
    // A paragraph longer than a piece comes in several.
    let long = format!("one\n\n{}\n\n \t\r\nlast\n", "word ".repeat(40_000));
    let corpus = Corpus::from_text("long", long.clone() + &"\n\nz".repeat(20_000), paragraphs());
    let documents: Vec<Document> = corpus
        .unwrap()
        .one_pass(Split::Train)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let last = documents.iter().position(|document| document.text == "last").unwrap();
    assert!(last > 3);
    let begins: Vec<bool> = documents[..=last].iter().map(|document| document.begins).collect();
    assert_eq!(begins[..3], [true, true, false]);
    assert!(begins[last]);
    let words: String = documents[1..last]
        .iter()
        .map(|document| document.text.as_str())
        .collect();
    assert_eq!(words, "word ".repeat(40_000).trim_end());
}

#[test]
fn shards_end_with_the_validation_shard() {
    let folder = tempfile::tempdir().unwrap();
    common::parquet_folder(folder.path());
    fs::write(folder.path().join("README.md"), "not data").unwrap();
    fs::write(folder.path().join("shard_3.parquet.tmp"), "unfinished").unwrap();
    let corpus = open(folder.path());
    assert_eq!((corpus.describe().kind, corpus.describe().files), (Kind::Parquet, 3));
    let shard = |index: usize| {
        [(0, 300), (300, 90), (600, 200)]
            .iter()
            .flat_map(|&(first, rows)| texts(1000 * index + first, rows))
            .collect::<Vec<_>>()
    };
    assert_eq!(all(&corpus, Split::Train), [shard(0), shard(1)].concat());
    assert_eq!(all(&corpus, Split::Validation), shard(2));
    // A lone shard gives its last rows, in the middle of a row group.
    let corpus = open(&folder.path().join("shard_1.parquet"));
    assert_eq!(all(&corpus, Split::Train), shard(1)[..531]);
    assert_eq!(all(&corpus, Split::Validation), shard(1)[531..]);
    assert_eq!(corpus.default_packing(), Packing::BestFit);
}

#[test]
fn rows_without_text_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let some = |text: &str| Some(text.to_owned());
    let groups = [
        vec![None, some("a"), None, some(""), some("b")],
        vec![None; 200],
        vec![some("c"), None],
    ];
    common::write_parquet(&path, &groups, Compression::SNAPPY);
    fs::copy(&path, folder.path().join("b.parquet")).unwrap();
    assert_eq!(all(&open(folder.path()), Split::Train), ["a", "", "b", "c"]);
    common::write_parquet(&path, &[vec![None; 9]], Compression::SNAPPY);
    let error = open(folder.path()).one_pass(Split::Train).unwrap().next().unwrap();
    assert!(matches!(error, Err(DataError::NoDocuments { .. })));
}

#[test]
fn jsonl_is_read_line_by_line_and_divided_between_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    let texts = texts(0, 500);
    common::write_jsonl(&path, &texts);
    let corpus = open(&path);
    let (train, validation) = (all(&corpus, Split::Train), all(&corpus, Split::Validation));
    assert!((45..55).contains(&validation.len()), "{}", validation.len());
    assert_eq!([train, validation].concat(), texts);
    fs::copy(&path, folder.path().join("z.jsonl")).unwrap();
    let corpus = open(folder.path());
    assert_eq!(all(&corpus, Split::Train), texts);
    assert_eq!(all(&corpus, Split::Validation), texts);
    let options = CorpusOptions {
        text_field: "body".into(),
        ..CorpusOptions::default()
    };
    let other = folder.path().join("other.jsonl");
    fs::write(&other, "{\"body\":\"x\"}\n\n{\"body\":\"y\"}\n".repeat(50)).unwrap();
    let corpus = Corpus::open(&other, options).unwrap();
    assert_eq!(all(&corpus, Split::Train)[..3], ["x", "y", "x"]);
}

#[test]
fn a_folder_of_text_is_sorted_by_path_and_divided_between_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("b/c")).unwrap();
    for (name, bytes) in [("b/c/x.md", 400), ("a.txt", 500), ("z.txt", 100), (".hidden.txt", 99)] {
        let letter = name.rsplit('/').next().unwrap().get(..1).unwrap();
        fs::write(folder.path().join(name), letter.repeat(bytes)).unwrap();
    }
    let corpus = open(folder.path());
    assert_eq!((corpus.describe().kind, corpus.describe().files), (Kind::TextFolder, 3));
    assert_eq!(all(&corpus, Split::Train), ["a".repeat(500), "x".repeat(400)]);
    assert_eq!(all(&corpus, Split::Validation), ["z".repeat(100)]);
    assert_eq!(corpus.default_packing(), Packing::Stream);
    // No file is the right size: the last one is divided inside.
    fs::write(folder.path().join("z.txt"), "z".repeat(9_100)).unwrap();
    let corpus = open(folder.path());
    assert_eq!(all(&corpus, Split::Validation), ["z".repeat(1000)]);
}

#[test]
fn documents_go_on_after_any_position_and_over_epochs() {
    let folder = tempfile::tempdir().unwrap();
    common::parquet_folder(folder.path());
    let corpus = open(folder.path());
    let from = corpus.begin(Split::Train);
    let documents: Vec<Document> = corpus
        .documents(Split::Train, from)
        .unwrap()
        .take(1500)
        .map(Result::unwrap)
        .collect();
    assert_eq!(documents[1180].text, documents[0].text);
    assert_eq!((documents[1179].after.epoch, documents[1180].after.epoch), (0, 1));
    for index in (0..1400).step_by(37) {
        let next = corpus.documents(Split::Train, documents[index].after).unwrap().next();
        assert_eq!(next.unwrap().unwrap().text, documents[index + 1].text, "{index}");
    }
    let outside = corpus.begin(Split::Validation);
    let mut outside_train = outside;
    outside_train.row = 1;
    let refused = corpus.documents(Split::Train, outside_train).err().unwrap();
    assert!(matches!(refused, DataError::State(_)), "{refused}");
}

#[test]
fn what_cannot_be_data_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(refusal(&path("nowhere")).contains("does not exist"));
    fs::create_dir(path("empty")).unwrap();
    assert!(refusal(&path("empty")).contains("it holds no files"));
    fs::write(path("empty/a.bin"), [0, 1]).unwrap();
    assert!(refusal(&path("empty")).contains("found only .bin"));
    fs::write(path("empty.txt"), "").unwrap();
    assert!(refusal(&path("empty.txt")).contains("0 bytes"));
    fs::write(path("a.json"), "{}").unwrap();
    assert!(refusal(&path("a.json")).contains("JSONL"));
    fs::write(path("a.gz"), "x").unwrap();
    assert!(refusal(&path("a.gz")).contains("unpack"));
    fs::write(path("picture"), [0xff, 0xd8, 0, 0]).unwrap();
    assert!(refusal(&path("picture")).contains("not UTF-8"));
    fs::write(path("a.parquet"), "not a shard at all").unwrap();
    assert!(refusal(&path("a.parquet")).contains("footer"));
    common::write_parquet(&path("b.parquet"), &[vec![Some("x".into())]], Compression::SNAPPY);
    let options = CorpusOptions {
        text_field: "content".into(),
        ..CorpusOptions::default()
    };
    let error = Corpus::open(&path("b.parquet"), options).unwrap_err();
    assert!(error.to_string().contains("only id, text"), "{error}");
    // One row cannot be divided: training has it, validation has nothing.
    let error = open(&path("b.parquet")).one_pass(Split::Validation).err().unwrap();
    assert!(error.to_string().contains("validation part"), "{error}");
    fs::write(path("no-ending"), "just text").unwrap();
    assert_eq!(open(&path("no-ending")).describe().kind, Kind::TextFile);
}

#[test]
fn damage_is_named_with_its_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let first_error = |name: &str| {
        let documents = open(&folder.path().join(name)).one_pass(Split::Train).unwrap();
        let error = documents.into_iter().find_map(Result::err).expect(name);
        error.to_string()
    };
    let mut lines = vec!["{\"text\": \"fine\"}"; 40];
    lines[16] = "{\"text\": ";
    fs::write(folder.path().join("a.jsonl"), lines.join("\n")).unwrap();
    let error = first_error("a.jsonl");
    assert!(error.contains("a.jsonl") && error.contains("line 17"), "{error}");
    let mut bytes = vec![b'x'; 5000];
    bytes[4321] = 0xff;
    fs::write(folder.path().join("a.txt"), bytes).unwrap();
    let error = first_error("a.txt");
    assert!(error.contains("a.txt") && error.contains("byte 4321"), "{error}");
}

/// Whatever a shard holds, reading it ends in documents or in an error.
#[test]
fn a_shard_with_any_byte_changed_never_panics_past_us() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let group: Vec<_> = texts(0, 150).into_iter().map(Some).collect();
    let compression = Compression::ZSTD(parquet::basic::ZstdLevel::default());
    common::write_parquet(&path, &[group], compression);
    let good = fs::read(&path).unwrap();
    let mut errors = 0;
    for index in (0..good.len()).step_by(3) {
        let mut bad = good.clone();
        bad[index] ^= 0x55;
        fs::write(&path, bad).unwrap();
        let Ok(corpus) = Corpus::open(&path, CorpusOptions::default()) else {
            errors += 1;
            continue;
        };
        let Ok(documents) = corpus.one_pass(Split::Train) else {
            errors += 1;
            continue;
        };
        errors += usize::from(documents.take(1000).any(|document| document.is_err()));
    }
    assert!(errors > 50, "only {errors} of the changes were noticed");
}
