//! Which operations are checked on which shapes.
//!
//! Shapes are odd on purpose: rows and columns beside the multiples of 8, 16, 64 and 128 that kernels are made
//! for, single rows, lengths that end in the middle of whatever a thread takes.

use super::case::Case;
use super::cases::{AttentionSizes, Cases, NllSizes};
use super::compare::{Check, Outcome, References, compare};
use super::network::NetworkCheck;
use super::procedure::{Procedure, Procedures};
use super::sampling::Logits;
use crate::device::Device;

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sizes {
    /// What a simulated device does within a minute.
    Small,
    /// What every test run does.
    Full,
    /// Beside that, sizes of real training, for hardware that is fast.
    Large,
}

/// Checks that belong together.
pub struct Group {
    /// The operation.
    pub name: &'static str,
    /// Makes the checks.
    pub checks: fn(Sizes) -> Vec<Box<dyn Check>>,
}

/// All checks there are, in the order in which a transformer is understood.
pub const GROUPS: &[Group] = &[
    group("elements", elements),
    group("elementwise", elementwise),
    group("embedding", embedding),
    group("norms", norms),
    group("rotary", rotary),
    group("gates", gates),
    group("matmul", matmul),
    group("linear", linear),
    group("attention", attention),
    group("weighted_nll", weighted_nll),
    group("adamw", adamw),
    group("muon", muon),
    group("decoding", decoding),
    group("sampling", sampling),
    group("network", network),
];

const fn group(name: &'static str, checks: fn(Sizes) -> Vec<Box<dyn Check>>) -> Group {
    Group { name, checks }
}

/// Runs every check of a size on a device and tells each outcome as it is known.
pub fn compare_all(device: &Device, references: &References, sizes: Sizes, tell: &mut impl FnMut(Outcome)) {
    for group in GROUPS {
        for check in (group.checks)(sizes) {
            tell(compare(&*check, device, references.of(&*check)));
        }
    }
}

fn boxed(cases: Vec<Case>, procedures: Vec<Procedure>) -> Vec<Box<dyn Check>> {
    let cases = cases.into_iter().map(|case| Box::new(case) as Box<dyn Check>);
    let procedures = procedures
        .into_iter()
        .map(|procedure| Box::new(procedure) as Box<dyn Check>);
    cases.chain(procedures).collect()
}

/// The shapes of a size: `Small` sees the first list, `Full` also the second, `Large` also the third.
fn chosen<T: Copy>(sizes: Sizes, small: &[T], full: &[T], large: &[T]) -> Vec<T> {
    let mut chosen = small.to_vec();
    if sizes >= Sizes::Full {
        chosen.extend(full);
    }
    if sizes >= Sizes::Large {
        chosen.extend(large);
    }
    chosen
}

fn elements(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut procedures = Procedures::new(40);
    for len in chosen(sizes, &[1, 7, 16, 1025, 10_007], &[300_007], &[20_000_003]) {
        procedures.conversions(len);
        procedures.fill(len);
        procedures.add_assign(len);
    }
    boxed(vec![], procedures.list)
}

fn elementwise(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut cases = Cases::new(27);
    let small = [(1, 1), (3, 5), (65, 129)];
    for (rows, cols) in chosen(sizes, &small, &[(63, 1024), (1, 100_003)], &[(2049, 3075)]) {
        cases.activations(rows, cols);
        cases.multiply(rows, cols);
        cases.mixes(rows, cols);
    }
    cases.multiply_shared(65, 63);
    boxed(cases.list, vec![])
}

fn embedding(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut cases = Cases::new(21);
    let small = [
        (1, 1, 1, 1),
        (3, 65, 7, 65),
        (2, 33, 300, 24),
        (1, 999, 1500, 17),
        // A token in thousands of positions.
        (1, 3003, 2, 40),
        (1, 3003, 2, 9),
    ];
    let full = [(2, 127, 300, 24), (1, 700, 3, 40)];
    for (batch, time, vocab, channels) in chosen(sizes, &small, &full, &[(8, 513, 8200, 768), (8, 512, 5, 256)]) {
        cases.embedding(batch, time, vocab, channels);
    }
    boxed(cases.list, vec![])
}

fn norms(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut cases = Cases::new(22);
    let small = [(1, 3), (3, 5), (17, 64), (65, 127), (3, 1025), (2, 2600)];
    let full = [(63, 64), (129, 65), (3, 4099), (7, 768), (5, 1280)];
    for (rows, cols) in chosen(sizes, &small, &full, &[(8200, 768), (4097, 2050)]) {
        cases.rms_norm(rows, cols);
        cases.rms_norm_of_small_rows(rows, cols);
        cases.layer_norm(rows, cols);
    }
    boxed(cases.list, vec![])
}

fn rotary(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut cases = Cases::new(24);
    let small = [
        (1, 1, 1, 2),
        (2, 65, 3, 12),
        (1, 33, 2, 64),
        (3, 17, 2, 128),
        (1, 7, 3, 32),
        (1, 5, 1, 512),
    ];
    for (batch, time, heads, head_dim) in chosen(sizes, &small, &[(1, 63, 2, 64)], &[(8, 513, 6, 128)]) {
        cases.rotary(batch, time, heads, head_dim);
    }
    let mut procedures = Procedures::new(41);
    for (time, heads, head_dim, starts) in [
        (1, 3, 12, &[3, 0, 5][..]),
        (4, 2, 64, &[0, 17]),
        (1, 2, 128, &[9]),
        (3, 1, 32, &[1, 2, 3, 40]),
    ] {
        procedures.rotary_at(time, heads, head_dim, starts);
    }
    boxed(cases.list, procedures.list)
}

fn gates(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut cases = Cases::new(28);
    let small = [
        (1, 1, 1, 1, 1),
        (33, 3, 12, 65, 12),
        (17, 2, 64, 128, 12),
        (7, 2, 128, 127, 127),
    ];
    let full = [(65, 2, 64, 128, 12)];
    for (time, kv_heads, head_dim, channels, gate) in chosen(sizes, &small, &full, &[(2049, 6, 128, 768, 12)]) {
        cases.value_gate(time, kv_heads, head_dim, channels, gate);
    }
    let small = [(1, 2, 1, 1), (3, 43, 65, 24), (5, 2, 33, 33)];
    for (batch, time, channels, gate) in chosen(sizes, &small, &[(2, 129, 127, 24)], &[(8, 513, 768, 24)]) {
        cases.smear(batch, time, channels, gate);
    }
    let mut procedures = Procedures::new(42);
    for (batch, time, channels) in [(3, 1, 33), (2, 5, 64), (1, 1, 7)] {
        procedures.smear_after(batch, time, channels);
    }
    boxed(cases.list, procedures.list)
}

fn matmul(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut procedures = Procedures::new(43);
    let small = [(1, 1, 1), (3, 5, 7), (33, 65, 34), (1, 65, 130)];
    let full = [
        (64, 64, 64),
        (63, 65, 127),
        (129, 63, 65),
        (1, 65, 300),
        (65, 1, 1030),
        (170, 270, 33),
    ];
    for (rows, cols, inner) in chosen(sizes, &small, &full, &[(770, 1030, 2049)]) {
        procedures.matmul(1, rows, cols, inner);
    }
    procedures.matmul(3, 33, 65, 34);
    for shape in chosen(
        sizes,
        &[[1, 17, 33], [3, 40, 33]],
        &[[1, 65, 130], [5, 130, 65]],
        &[[1, 770, 3072], [2, 3072, 770]],
    ) {
        procedures.gram(shape);
    }
    boxed(vec![], procedures.list)
}

fn linear(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut cases = Cases::new(23);
    let small = [
        (1, 1, 1),
        (2, 3, 5),
        (1, 64, 65),
        (33, 64, 66),
        (16, 128, 32),
        (65, 33, 17),
        (130, 17, 3),
        (7, 200, 33),
    ];
    let full = [
        (63, 64, 65),
        (64, 64, 64),
        (65, 127, 129),
        (129, 65, 63),
        (7, 1000, 33),
        (5, 33, 1025),
        (1030, 17, 3),
        (170, 260, 300),
    ];
    for (rows, inputs, outputs) in chosen(
        sizes,
        &small,
        &full,
        &[(4097, 770, 3072), (1, 768, 3072), (4096, 768, 768)],
    ) {
        cases.linear(rows, inputs, outputs);
    }
    cases.linear_shared(65, 63, 13);
    boxed(cases.list, vec![])
}

fn attention(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let all = usize::MAX;
    let mut cases = Cases::new(25);
    let small = [
        (2, 7, 6, 2, 12, all),
        (1, 35, 2, 1, 32, all),
        (1, 33, 2, 2, 64, all),
        (2, 19, 4, 1, 64, 7),
        (1, 33, 2, 1, 128, all),
        (1, 131, 2, 1, 16, all),
        (1, 131, 2, 1, 16, 66),
        (1, 66, 1, 1, 32, 1),
        (1, 21, 2, 1, 140, 9),
    ];
    let full = [
        (1, 65, 4, 1, 12, 13),
        (2, 63, 2, 2, 64, all),
        (1, 64, 4, 2, 64, 32),
        (1, 129, 2, 1, 64, 64),
        (1, 127, 2, 2, 128, all),
        (1, 130, 3, 1, 128, 1),
        (1, 257, 2, 1, 16, 100),
        (1, 200, 2, 1, 32, 70),
        (2, 33, 2, 1, 7, 5),
    ];
    let large = [
        (2, 2048, 6, 6, 128, all),
        (1, 2049, 6, 2, 128, 512),
        (4, 512, 4, 4, 64, all),
        (3, 515, 4, 1, 64, 128),
        (2, 515, 8, 2, 32, 255),
    ];
    for (batch, time, heads, kv_heads, head_dim, window) in chosen(sizes, &small, &full, &large) {
        cases.attention(AttentionSizes {
            batch,
            time,
            heads,
            kv_heads,
            head_dim,
            window,
        });
    }
    cases.attention_to_itself(if sizes == Sizes::Small { 17 } else { 65 }, 12);
    boxed(cases.list, vec![])
}

fn weighted_nll(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut cases = Cases::new(29);
    let small = [
        (1, 1, 3, 5, 5),
        (3, 7, 13, 19, 32),
        (1, 33, 32, 127, 127),
        (2, 9, 16, 1000, 1024),
        // Several chunks, the last one short, on any device that holds fewer rows of logits.
        (1, 4133, 2, 6, 8),
    ];
    let full = [
        (2, 65, 64, 129, 192),
        (1, 129, 65, 127, 127),
        (5, 63, 33, 1000, 1024),
        (1, 4133, 8, 300, 304),
        // More words than a part of the vocabulary and a block of it, and rows of several tiles.
        (1, 141, 20, 3500, 3590),
    ];
    for softcap in [None, Some(15.0)] {
        let large = [(8, 513, 256, 8190, 8192), (1, 4100, 64, 32_768, 32_768)];
        for (batch, time, channels, vocab, padded_vocab) in chosen(sizes, &small, &full, &large) {
            cases.nll(NllSizes {
                batch,
                time,
                channels,
                vocab,
                padded_vocab,
                softcap,
            });
        }
    }
    let mut procedures = Procedures::new(44);
    for (rows, channels, vocab, padded) in
        chosen(sizes, &[(9, 33, 65, 80), (70, 16, 33, 33)], &[(130, 64, 500, 512)], &[])
    {
        procedures.nll_without_gradients(rows, channels, vocab, padded);
    }
    boxed(cases.list, procedures.list)
}

/// Shapes of parameters: one row, one column, square, tall, wide.
fn parameters(sizes: Sizes) -> Vec<[usize; 2]> {
    let small = [
        [1, 1],
        [3, 5],
        [1, 300],
        [300, 1],
        [33, 33],
        [65, 129],
        [70, 33],
        [40, 136],
        [136, 40],
        [1030, 2],
    ];
    let full = [[64, 64], [129, 63], [257, 100], [33, 1025]];
    chosen(sizes, &small, &full, &[[768, 3072], [3072, 768], [1025, 1025]])
}

fn adamw(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut procedures = Procedures::new(45);
    for shape in parameters(sizes) {
        procedures.adamw(shape);
    }
    procedures.adamw_change([7, 13]);
    boxed(vec![], procedures.list)
}

fn muon(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut procedures = Procedures::new(46);
    for shape in parameters(sizes) {
        procedures.nesterov(shape);
        procedures.equilibrate_rows(shape);
        procedures.normalize(shape);
        procedures.normuon(shape);
        procedures.cautious_update(shape);
    }
    procedures.zeros([3, 5]);
    procedures.zeros([5, 3]);
    boxed(vec![], procedures.list)
}

/// Positions per sequence; query heads, kv heads and their size; window; capacity; starts.
type Cached = (usize, [usize; 3], usize, usize, &'static [usize]);

fn decoding(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let all = usize::MAX;
    let mut procedures = Procedures::new(47);
    let small: [Cached; 8] = [
        (1, [4, 2, 12], all, 8, &[0, 7, 3]),
        (1, [2, 1, 64], all, 40, &[33, 0]),
        (1, [2, 2, 128], 5, 32, &[30, 2]),
        (5, [4, 1, 32], all, 48, &[7, 12, 40]),
        (7, [2, 1, 64], 9, 32, &[20, 0]),
        (1, [4, 1, 32], 0, 16, &[5, 9]),
        (1, [2, 1, 16], all, 300, &[291, 64, 127]),
        (2, [2, 1, 140], 270, 520, &[517, 3]),
    ];
    let full: [Cached; 4] = [
        (1, [6, 6, 128], all, 256, &[200, 255, 0, 64]),
        (1, [6, 2, 64], 100, 512, &[300, 99, 100, 101, 511]),
        (33, [4, 2, 32], all, 128, &[0, 95, 64]),
        (17, [3, 1, 128], 20, 64, &[40, 1]),
    ];
    let large: [Cached; 2] = [
        (1, [12, 4, 128], all, 4096, &[4095, 2000, 17, 1023]),
        (300, [6, 6, 128], 512, 2048, &[1700, 0, 700]),
    ];
    for (time, heads, window, capacity, starts) in chosen(sizes, &small, &full, &large) {
        procedures.attention_cached(time, heads, window, capacity, starts);
    }
    for (time, capacity, cols, starts) in [
        (2, 9, 5, &[0, 7, 3][..]),
        (1, 8, 64, &[7, 0]),
        (3, 16, 130, &[4, 13, 0]),
    ] {
        procedures.cache_write(time, capacity, cols, starts);
    }
    for (capacities, positions, cols) in [([4, 7], 3, 6), ([8, 16], 8, 64), ([33, 12], 12, 7)] {
        procedures.copy_rows(capacities, positions, cols);
    }
    for (batch, time, cols) in [(3, 4, 5), (1, 1, 1), (4, 9, 128)] {
        procedures.select_positions(batch, time, cols);
    }
    let small = [(7, 13, 19, 32), (1, 64, 129, 192), (3, 65, 127, 127)];
    for (rows, channels, vocab, padded) in chosen(sizes, &small, &[(33, 128, 1000, 1024)], &[(16, 768, 32_768, 32_768)])
    {
        procedures.logits(rows, channels, vocab, padded);
    }
    boxed(vec![], procedures.list)
}

fn sampling(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let mut procedures = Procedures::new(48);
    let small = [(1, 1), (2, 33), (3, 1000), (1, 1025), (2, 5003)];
    for (rows, vocab) in chosen(sizes, &small, &[(9, 8192), (1, 32_768)], &[(64, 32_768), (3, 151_643)]) {
        for kind in [Logits::Smooth, Logits::Ties, Logits::Sparse, Logits::Nothing] {
            procedures.choose(rows, vocab, kind);
        }
    }
    boxed(vec![], procedures.list)
}

fn network(sizes: Sizes) -> Vec<Box<dyn Check>> {
    let shapes = chosen(sizes, &[(2, 9)], &[(3, 37)], &[(4, 130)]);
    shapes
        .into_iter()
        .map(|(batch, time)| Box::new(NetworkCheck::new(batch, time)) as Box<dyn Check>)
        .collect()
}
