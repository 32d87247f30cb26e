//! One multiply for two words, and a seed that nobody can guess: tables keyed by what strangers write stay
//! tables.

use std::hash::{BuildHasher, RandomState};

const ONE: u64 = 0x9E37_79B9_7F4A_7C15;
const TWO: u64 = 0xD6E8_FEB8_6659_FD93;

/// Both halves of the 128-bit product in one word.
#[inline(always)]
pub(crate) const fn fold(left: u64, right: u64) -> u64 {
    let product = left as u128 * right as u128;
    product as u64 ^ (product >> 64) as u64
}

/// A hash of two words under a seed. Good in its upper and its lower bits.
#[inline(always)]
pub(crate) const fn of_two(seed: u64, left: u64, right: u64) -> u64 {
    fold(left ^ seed ^ ONE, right ^ seed.rotate_left(32) ^ TWO).wrapping_mul(ONE)
}

/// A hash of any bytes under a seed.
#[inline]
pub(crate) fn of_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(ONE);
    let mut rest = bytes;
    while rest.len() > 16 {
        let (now, later) = rest.split_at(16);
        state = of_two(state, word(&now[..8]), word(&now[8..]));
        rest = later;
    }
    let (low, high) = rest.split_at(rest.len().min(8));
    of_two(state, word(low), word(high))
}

/// A seed for tables whose keys come from outside.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(ONE)
}

/// Up to 15 bytes and their number as one value; equal pieces have equal keys, and 0 is no piece's key.
pub(crate) type Key = [u64; 2];

/// The longest piece that has a [`Key`].
pub(crate) const KEY_BYTES: usize = 15;

const MASKS: [Key; 16] = {
    let mut masks = [[0; 2]; 16];
    let mut length = 0;
    while length < 16 {
        let mask = (1_u128 << (8 * length)) - 1;
        masks[length] = [mask as u64, (mask >> 64) as u64];
        length += 1;
    }
    masks
};

/// The key of `text[start..start + length]`, `length` being at most [`KEY_BYTES`].
#[inline(always)]
pub(crate) fn key(text: &[u8], start: usize, length: usize) -> Key {
    let mut end_of_text = [0; 16];
    let window = if let Some(window) = text.get(start..start + 16) {
        window
    } else {
        end_of_text[..length].copy_from_slice(&text[start..start + length]);
        &end_of_text
    };
    let low = u64::from_le_bytes(window[..8].try_into().expect("eight bytes"));
    let high = u64::from_le_bytes(window[8..].try_into().expect("eight bytes"));
    let mask = MASKS[length];
    [low & mask[0], (high & mask[1]) | (length as u64) << 56]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_tell_pieces_apart(one in "[a\0b]{1,15}", two in "[a\0b]{1,15}", after in "[a\0]{0,20}") {
            let text = format!("{one}{after}");
            let first = key(text.as_bytes(), 0, one.len());
            let text = format!("{after}{two}");
            let second = key(text.as_bytes(), after.len(), two.len());
            prop_assert_eq!(first == second, one == two);
            prop_assert!(first != [0, 0]);
        }
    }

    #[test]
    fn lengths_and_seeds_count() {
        assert_ne!(of_bytes(1, b"ab"), of_bytes(2, b"ab"));
        assert_ne!(of_bytes(1, b"ab"), of_bytes(1, b"ab\0"));
        assert_ne!(of_bytes(1, &[b'a'; 40]), of_bytes(1, &[b'a'; 41]));
    }
}
