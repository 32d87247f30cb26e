//! What the tests of this folder share: a toy tokenizer and writers of small
//! files of each kind.

#![allow(dead_code, clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use ferrochat_data::{Batch, Corpus, CorpusOptions, Encode, Loader, LoaderConfig, LoaderState};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// One id per character, its code point; BOS is 0.
pub struct Characters;

impl Encode for Characters {
    fn bos(&self) -> u32 {
        0
    }

    fn vocab_size(&self) -> usize {
        0x11_0000
    }

    fn encode_ordinary_into(&self, text: &str, ids: &mut Vec<u32>) {
        ids.extend(text.chars().map(u32::from));
    }

    fn fingerprint(&self) -> String {
        "characters".to_owned()
    }
}

pub fn open(path: &Path) -> Corpus {
    Corpus::open(path, CorpusOptions::default()).unwrap()
}

pub fn start(corpus: &Corpus, config: &LoaderConfig, state: Option<LoaderState>) -> Loader {
    Loader::start(corpus, Arc::new(Characters), config.clone(), state).unwrap()
}

/// Everything of a batch that training sees.
pub fn tokens(batch: &Batch) -> (Vec<u32>, Vec<i32>) {
    (batch.inputs.clone(), batch.targets.clone())
}

/// Writes a shard with one optional string column `text` beside an `id`.
pub fn write_parquet(path: &Path, groups: &[Vec<Option<String>>], compression: Compression) {
    let schema = "message schema { required binary id; optional binary text (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        // Small pages, so that skipping has pages to skip.
        .set_data_page_row_count_limit(50)
        .set_write_batch_size(10)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for group in groups {
        let mut row_group = writer.next_row_group().unwrap();
        let ids: Vec<ByteArray> = group.iter().map(|_| ByteArray::from("id")).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let values: Vec<ByteArray> = group
            .iter()
            .flatten()
            .map(|text| ByteArray::from(text.as_str()))
            .collect();
        let levels: Vec<i16> = group.iter().map(|text| i16::from(text.is_some())).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
        row_group.close().unwrap();
    }
    writer.close().unwrap();
}

/// Distinct texts of uneven length: `count` of them from number `first` on.
pub fn texts(first: usize, count: usize) -> Vec<String> {
    (first..first + count)
        .map(|n| format!("document {n} {}", "word ".repeat(n * 7919 % 23)))
        .collect()
}

pub fn write_jsonl(path: &Path, texts: &[String]) {
    let lines: Vec<String> = texts
        .iter()
        .map(|text| serde_json::json!({ "id": 1, "text": text }).to_string())
        .collect();
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// Three shards; the last is validation.
pub fn parquet_folder(folder: &Path) {
    for (index, compression) in [
        (0, Compression::ZSTD(parquet::basic::ZstdLevel::default())),
        (1, Compression::SNAPPY),
        (2, Compression::UNCOMPRESSED),
    ] {
        let groups: Vec<Vec<Option<String>>> = [300, 90, 200]
            .iter()
            .enumerate()
            .map(|(group, &rows)| {
                let texts = texts(1000 * index + 300 * group, rows);
                texts.into_iter().map(Some).collect()
            })
            .collect();
        write_parquet(&folder.join(format!("shard_{index}.parquet")), &groups, compression);
    }
}
