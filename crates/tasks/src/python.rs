//! The draws of Python's `random` module, by which the reference orders items and chooses examples. This room must
//! never know what is drawn.
//!
//! The generator is MT19937 (Matsumoto and Nishimura 1998), seeded by its authors' `init_by_array` with the one word of
//! a small integer. A number below n is so many of a word's upper bits as n has, drawn again until it is below n.

const WORDS: usize = 624;
/// How far the word lies that each word is mixed with.
const SHIFT: usize = 397;

/// `random.Random(seed)` for a seed of 32 bits.
pub(crate) struct PythonRandom {
    state: [u32; WORDS],
    next: usize,
}

impl PythonRandom {
    pub(crate) fn new(seed: u32) -> PythonRandom {
        let mut state = [0_u32; WORDS];
        state[0] = 19_650_218;
        for i in 1..WORDS {
            state[i] = spread(state[i - 1]).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        // The key has one word, so each round adds the same.
        let mut i = 1;
        for _ in 0..WORDS {
            state[i] = (state[i] ^ spread(state[i - 1]).wrapping_mul(1_664_525)).wrapping_add(seed);
            i = advance(&mut state, i);
        }
        for _ in 1..WORDS {
            state[i] = (state[i] ^ spread(state[i - 1]).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            i = advance(&mut state, i);
        }
        state[0] = 0x8000_0000;
        PythonRandom { state, next: WORDS }
    }

    /// `random.shuffle`
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let other = self.below(i + 1);
            items.swap(i, other);
        }
    }

    /// `random.random`: 53 bits of two words.
    pub(crate) fn unit(&mut self) -> f64 {
        let high = f64::from(self.word() >> 5);
        let low = f64::from(self.word() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `random.choice` of a list that is not empty.
    pub(crate) fn choice<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }

    /// `random.sample` of `range(n)`, of which there must be `k` at least.
    pub(crate) fn sample(&mut self, n: usize, k: usize) -> Vec<usize> {
        // Python tells apart where a list of what is left is smaller than a set of what was drawn: the draws differ.
        let mut set_size = 21;
        if k > 5 {
            let mut power = 1;
            while power < 3 * k {
                power *= 4;
            }
            set_size += power;
        }
        let mut drawn = Vec::with_capacity(k);
        if n <= set_size {
            let mut left: Vec<usize> = (0..n).collect();
            for _ in 0..k {
                let at = self.below(left.len());
                drawn.push(left.swap_remove(at));
            }
        } else {
            while drawn.len() < k {
                let number = self.below(n);
                if !drawn.contains(&number) {
                    drawn.push(number);
                }
            }
        }
        drawn
    }

    /// A number below `n`, which is at least 1 and below 2³².
    fn below(&mut self, n: usize) -> usize {
        let unused = u32::leading_zeros(n as u32);
        loop {
            let number = (self.word() >> unused) as usize;
            if number < n {
                return number;
            }
        }
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.twist();
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9D2C_5680;
        word ^= word << 15 & 0xEFC6_0000;
        word ^ word >> 18
    }

    fn twist(&mut self) {
        for i in 0..WORDS {
            let joined = self.state[i] & 0x8000_0000 | self.state[(i + 1) % WORDS] & 0x7FFF_FFFF;
            let odd = if joined & 1 == 1 { 0x9908_B0DF } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % WORDS] ^ joined >> 1 ^ odd;
        }
    }
}

fn spread(word: u32) -> u32 {
    word ^ word >> 30
}

/// The next place, the first word being a copy of the last where a round begins again.
fn advance(state: &mut [u32; WORDS], i: usize) -> usize {
    if i + 1 < WORDS {
        return i + 1;
    }
    state[0] = state[WORDS - 1];
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_pythons() {
        // [random.Random(seed).getrandbits(32) for _ in range(4)]
        for (seed, expected) in [
            (0, [3_626_764_237, 1_654_615_998, 3_255_389_356, 3_823_568_514]),
            (1234, [4_150_886_329, 3_342_196_574, 1_892_932_127, 501_869_158]),
            (1337, [2_653_228_291, 3_975_144_315, 2_290_358_181, 3_048_911_309]),
        ] {
            let mut random = PythonRandom::new(seed);
            assert_eq!([(); 4].map(|()| random.word()), expected, "{seed}");
        }
        // The state has been renewed three times by then.
        let mut random = PythonRandom::new(5);
        assert_eq!((0..2000).map(|_| random.word()).last(), Some(2_894_893_787));
    }

    #[test]
    fn the_order_is_pythons() {
        let mut items: Vec<u32> = (0..20).collect();
        PythonRandom::new(1337).shuffle(&mut items);
        assert_eq!(
            items,
            [13, 1, 2, 9, 7, 8, 0, 18, 3, 14, 4, 16, 12, 15, 6, 10, 5, 11, 17, 19]
        );
    }

    #[test]
    fn numbers_and_choices_are_pythons() {
        // r = random.Random(10_000_003); [r.random(), r.choice("abcdefg"), r.random(), r.choice(range(370_105))]
        let mut random = PythonRandom::new(10_000_003);
        let letters: Vec<char> = "abcdefg".chars().collect();
        let all: Vec<u32> = (0..370_105).collect();
        assert_eq!(random.unit(), 0.193_288_841_459_268_6);
        assert_eq!(*random.choice(&letters), 'b');
        assert_eq!(random.unit(), 0.402_541_603_746_807_7);
        assert_eq!(*random.choice(&all), 18_385);
    }

    #[test]
    fn samples_are_pythons_by_either_way() {
        // random.Random(seed).sample(range(n), k); lists of what is left up to n = 21 and 85, sets above.
        let cases: [(u32, usize, &[usize]); 8] = [
            (1234, 9, &[7, 1, 0]),
            (1234, 21, &[14, 3, 0]),
            (1235, 22, &[13, 17, 18]),
            (1236, 85, &[68, 61, 83, 33, 66, 42, 84, 13, 69, 51]),
            (1237, 86, &[19, 50, 39, 30, 29, 44, 64, 79, 45, 48]),
            (1234, 2116, &[1805, 478, 30, 371, 143, 343, 403, 1452, 969, 71]),
            (1, 5, &[1, 0, 4, 3, 2]),
            (1, 5, &[]),
        ];
        for (seed, n, expected) in cases {
            assert_eq!(
                PythonRandom::new(seed).sample(n, expected.len()),
                expected,
                "{seed} {n}"
            );
        }
    }
}
