//! Merging a short piece: look for the lowest rank among its neighbours, merge, look again. Quadratic, and
//! quickest for words.

use super::Bpe;
use super::tables::NONE;

/// The longest piece merged this way, in bytes.
pub const SHORT: usize = 16;

/// Merges `piece`, of at most [`SHORT`] bytes, lowest rank first and leftmost first among equals. Returns
/// the ids and how many there are.
pub fn merge(bpe: &Bpe, piece: &[u8]) -> ([u32; SHORT], usize) {
    let mut ids = [0; SHORT];
    // The rank of each part's merge with the part after it.
    let mut ranks = [NONE; SHORT];
    let mut parts = piece.len();
    for (id, &byte) in ids.iter_mut().zip(piece) {
        *id = bpe.byte_ids[byte as usize];
    }
    for at in 1..parts {
        ranks[at - 1] = bpe.pairs.get(ids[at - 1], ids[at]);
    }
    loop {
        let (mut rank, mut at) = (NONE, 0);
        for (here, &other) in ranks[..parts].iter().enumerate() {
            if other < rank {
                (rank, at) = (other, here);
            }
        }
        if rank == NONE {
            return (ids, parts);
        }
        parts -= 1;
        ids[at] = rank;
        ids.copy_within(at + 2..=parts, at + 1);
        ranks.copy_within(at + 1..=parts, at);
        ranks[parts] = NONE;
        if at + 1 < parts {
            ranks[at] = bpe.pairs.get(rank, ids[at + 1]);
        }
        if at > 0 {
            ranks[at - 1] = bpe.pairs.get(ids[at - 1], rank);
        }
    }
}
