//! One global packer, however many ranks take its rows: the ranks' rows together are those of one rank, and a run
//! may go on with another number of them.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use common::{open, start, texts, write_parquet};
use ferrochat_data::{Corpus, LoaderConfig, LoaderState, Packing, Split};
use parquet::basic::Compression;

const LENGTH: usize = 24;
const ROWS: usize = 2;
const PACKINGS: [Packing; 3] = [Packing::BestFit, Packing::Stream, Packing::RandomWindows { seed: 5 }];

type Row = (Vec<u32>, Vec<i32>);

/// Rows of inputs and targets of `steps` steps of `world` ranks, in the global order, and the state after them,
/// which must be the same for all ranks.
fn run(
    corpus: &Corpus,
    (packing, split): (Packing, Split),
    world: usize,
    steps: usize,
    from: Option<&LoaderState>,
) -> (Vec<Row>, LoaderState) {
    let mut all = vec![(Vec::new(), Vec::new()); steps * world * ROWS];
    let mut states = Vec::new();
    for rank in 0..world {
        let config = LoaderConfig {
            ranks: (rank, world),
            threads: 1 + rank % 3,
            ..LoaderConfig::new(ROWS, LENGTH, split, packing)
        };
        let mut loader = start(corpus, &config, from.cloned());
        for step in 0..steps {
            let batch = loader.next_batch().unwrap();
            for row in 0..ROWS {
                let part = row * LENGTH..(row + 1) * LENGTH;
                let place = step * world * ROWS + row * world + rank;
                all[place] = (batch.inputs[part.clone()].to_vec(), batch.targets[part].to_vec());
            }
            if step + 1 == steps {
                states.push(batch.state);
            }
        }
    }
    assert!(
        states.iter().all(|state| *state == states[0]),
        "{packing}, {split}, {world} ranks"
    );
    (all, states.swap_remove(0))
}

#[test]
fn more_ranks_than_row_groups_share_the_rows_of_one() {
    let folder = tempfile::tempdir().unwrap();
    // One row group to learn from, two to validate on.
    let group = |first, count| texts(first, count).into_iter().map(Some).collect();
    write_parquet(&folder.path().join("a.parquet"), &[group(0, 400)], Compression::SNAPPY);
    let validation = [group(400, 150), group(550, 90)];
    write_parquet(&folder.path().join("b.parquet"), &validation, Compression::SNAPPY);
    let corpus = open(folder.path());
    for packing in PACKINGS {
        for split in [Split::Train, Split::Validation] {
            let what = (packing, split);
            let (alone, end) = run(&corpus, what, 1, 240, None);
            for world in [2, 3, 5, 8] {
                let (shared, state) = run(&corpus, what, world, 240 / world, None);
                assert_eq!(shared, alone, "{packing}, {split}, {world} ranks");
                assert_eq!(state, end, "{packing}, {split}, {world} ranks");
            }
        }
    }
}

#[test]
fn a_run_goes_on_with_any_other_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    common::parquet_folder(folder.path());
    let corpus = open(folder.path());
    for packing in PACKINGS {
        let what = (packing, Split::Train);
        let (alone, end) = run(&corpus, what, 1, 120, None);
        let (mut rows, mut state) = (Vec::new(), None);
        // 12 + 30 + 24 + 8 + 46 blocks of rows.
        for (world, steps) in [(3, 4), (5, 6), (8, 3), (1, 8), (2, 23)] {
            let (more, after) = run(&corpus, what, world, steps, state.as_ref());
            rows.extend(more);
            state = Some(LoaderState::from_bytes(&after.to_bytes()).unwrap());
        }
        assert_eq!(rows, alone, "{packing}");
        assert_eq!(state, Some(end), "{packing}");
    }
}
