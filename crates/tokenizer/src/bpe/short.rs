//! Merging a short piece: look for the lowest rank among its neighbours, merge, look again. Quadratic, and
//! quickest for words.

use super::Bpe;
use super::tables::NONE;

/// The longest piece merged this way, in bytes.
pub const SHORT: usize = 16;

/// Merges `piece`, of 1 to [`SHORT`] bytes, lowest rank first and leftmost first among equals. Returns the
/// ids and how many there are.
pub fn merge(bpe: &Bpe, piece: &[u8]) -> ([u32; SHORT], usize) {
    let length = piece.len();
    // A part lies where its first byte does; the bits of `parts` say where parts begin.
    let mut ids = [0; SHORT];
    let mut parts: u32 = (1 << length) - 1;
    // The rank of each part's merge with the part after it.
    let mut ranks = [NONE; SHORT];
    for at in 0..length {
        ids[at] = bpe.byte_ids[piece[at] as usize];
        if at > 0 {
            ranks[at - 1] = bpe.byte_pairs[usize::from(piece[at - 1]) << 8 | usize::from(piece[at])];
        }
    }
    loop {
        // Rank and place in one number: the least is the leftmost of the lowest.
        let mut least = u64::MAX;
        for (at, &rank) in ranks[..length].iter().enumerate() {
            least = least.min(u64::from(rank) << 8 | at as u64);
        }
        let (rank, at) = ((least >> 8) as u32, (least & 0xFF) as usize % SHORT);
        if rank == NONE {
            break;
        }
        let after = |at: usize| (parts >> (at + 1)).trailing_zeros() as usize + at + 1;
        let eaten = after(at);
        let next = after(eaten);
        let before = parts & ((1 << at) - 1);
        ids[at] = rank;
        ranks[eaten % SHORT] = NONE;
        ranks[at] = if next < length {
            bpe.pairs.get(rank, ids[next])
        } else {
            NONE
        };
        if before != 0 {
            let previous = before.ilog2() as usize;
            ranks[previous] = bpe.pairs.get(ids[previous], rank);
        }
        parts &= !(1 << eaten);
    }
    let mut count = 0;
    while parts != 0 {
        ids[count] = ids[parts.trailing_zeros() as usize];
        parts &= parts - 1;
        count += 1;
    }
    (ids, count)
}
