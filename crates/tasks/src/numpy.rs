//! The order in which the reference reads its data sets: `numpy.random.default_rng(seed).permutation(n)`. The first
//! so many items of a task are then the same as the reference's. This room must never know what is ordered.
//!
//! NumPy seeds PCG64 (O'Neill 2014, XSL-RR 128/64) through a pool of four words (its `SeedSequence`) and shuffles
//! from the end (Fisher and Yates), drawing places without bias by rejection.

/// Numbers `0..n` in the order of a seed.
///
/// # Panics
/// If there are 2³² or more.
pub(crate) fn permutation(seed: u32, n: usize) -> Vec<usize> {
    assert!(u32::try_from(n).is_ok(), "fewer than 2^32 items");
    let mut rng = Pcg64::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.at_most(i as u32) as usize);
    }
    order
}

/// Stirs a word and a running constant into well-mixed bits.
fn stir(value: u32, constant: &mut u32, multiplier: u32) -> u32 {
    let mixed = value ^ *constant;
    *constant = constant.wrapping_mul(multiplier);
    let mixed = mixed.wrapping_mul(*constant);
    mixed ^ mixed >> 16
}

/// Four words of 64 bits from a seed.
fn seed_words(seed: u32) -> [u64; 4] {
    let mut constant = 0x43B0_D7E5;
    let mut pool = [seed, 0, 0, 0].map(|word| stir(word, &mut constant, 0x931E_8875));
    for from in 0..4 {
        for to in (0..4).filter(|&to| to != from) {
            let stirred = stir(pool[from], &mut constant, 0x931E_8875);
            let mixed = 0xCA01_F9DD_u32.wrapping_mul(pool[to]);
            let mixed = mixed.wrapping_sub(0x4973_F715_u32.wrapping_mul(stirred));
            pool[to] = mixed ^ mixed >> 16;
        }
    }
    let mut constant = 0x8B51_F9DD;
    let mut half = |i: usize| u64::from(stir(pool[i % 4], &mut constant, 0x58F3_8DED));
    std::array::from_fn(|i| half(2 * i) | half(2 * i + 1) << 32)
}

struct Pcg64 {
    state: u128,
    increment: u128,
    /// The upper half of the last output, which is the next draw of 32 bits.
    kept: Option<u32>,
}

impl Pcg64 {
    fn new(seed: u32) -> Pcg64 {
        let words = seed_words(seed).map(u128::from);
        let mut rng = Pcg64 {
            state: 0,
            increment: (words[2] << 64 | words[3]) << 1 | 1,
            kept: None,
        };
        rng.step();
        rng.state = rng.state.wrapping_add(words[0] << 64 | words[1]);
        rng.step();
        rng
    }

    fn step(&mut self) {
        let product = self.state.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645);
        self.state = product.wrapping_add(self.increment);
    }

    fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let bits = self.next_u64();
        self.kept = Some((bits >> 32) as u32);
        bits as u32
    }

    /// A number from 0 to `most`, each equally likely: as many bits as `most` has, again until they are not above.
    fn at_most(&mut self, most: u32) -> u32 {
        let mask = u32::MAX >> most.leading_zeros();
        loop {
            let bits = self.next_u32() & mask;
            if bits <= most {
                return bits;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_numpys() {
        // From numpy 2: default_rng(seed).permutation(n).
        assert_eq!(permutation(42, 10), [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]);
        assert_eq!(
            permutation(42, 100)[..20],
            [
                59, 21, 56, 18, 33, 42, 50, 27, 92, 71, 2, 25, 24, 52, 81, 99, 51, 61, 4, 97
            ]
        );
        assert_eq!(permutation(42, 1), [0]);
        assert!(permutation(42, 0).is_empty());
    }

    #[test]
    fn every_number_comes_once() {
        let mut order = permutation(7, 5_000);
        assert_ne!(order, permutation(8, 5_000));
        order.sort_unstable();
        assert!(order.into_iter().eq(0..5_000));
    }
}
