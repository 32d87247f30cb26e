//! Best-fit packing from Parquet to rows, against `fixtures/best_fit.json`.

// Clippy's allow-unwrap-in-tests does not reach helper functions.
#![allow(clippy::unwrap_used)]

mod common;

use ferrochat_data::{LoaderConfig, Packing, Split};
use parquet::basic::Compression;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    capacity: usize,
    groups: Vec<usize>,
    lengths: Vec<usize>,
    rows: Vec<Vec<(usize, usize)>>,
}

/// Document n holds this character over and over.
fn letter(n: usize) -> char {
    char::from_u32(0x4E00 + n as u32).unwrap()
}

#[test]
fn rows_are_those_of_the_independent_script() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/best_fit.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut documents = fixture.lengths.iter().enumerate();
    let groups: Vec<Vec<Option<String>>> = fixture
        .groups
        .iter()
        .map(|&size| {
            let group = documents.by_ref().take(size);
            group
                .map(|(n, &length)| Some(String::from(letter(n)).repeat(length - 1)))
                .collect()
        })
        .collect();
    let shard = |name: &str| folder.path().join(name);
    common::write_parquet(&shard("a.parquet"), &groups, Compression::SNAPPY);
    let validation = [vec![Some("validation".to_owned())]];
    common::write_parquet(&shard("b.parquet"), &validation, Compression::SNAPPY);

    let corpus = common::open(folder.path());
    let batch_size = 4;
    let sequence_len = fixture.capacity - 1;
    let config = LoaderConfig {
        threads: 2,
        ..LoaderConfig::new(batch_size, sequence_len, Split::Train, Packing::BestFit)
    };
    let mut loader = common::start(&corpus, &config, None);
    let (mut cuts, mut dropped) = (0, 0);
    for (index, rows) in fixture.rows.chunks(batch_size).enumerate() {
        let batch = loader.next_batch().unwrap();
        for (row, pieces) in rows.iter().enumerate() {
            let mut expected = Vec::new();
            for &(n, taken) in pieces {
                expected.push(0);
                expected.extend(std::iter::repeat_n(u32::from(letter(n)), taken - 1));
                cuts += usize::from(taken < fixture.lengths[n]);
                dropped += fixture.lengths[n] - taken;
            }
            let part = row * sequence_len..(row + 1) * sequence_len;
            let targets: Vec<u32> = batch.targets[part.clone()]
                .iter()
                .map(|&id| u32::try_from(id).unwrap())
                .collect();
            assert_eq!(batch.inputs[part], expected[..sequence_len], "batch {index}, row {row}");
            assert_eq!(targets, expected[1..], "batch {index}, row {row}");
        }
        assert_eq!(batch.state.counters().tokens_dropped, dropped as u64);
    }
    assert!(cuts > 100, "the fixture cuts only {cuts} documents");
}
