//! Random numbers that are the same on every platform, for any number of threads.
//!
//! xoshiro256++ (Blackman & Vigna 2021) seeded by splitmix64; normal deviates by Box–Muller with
//! a logarithm and a cosine that do not come from the platform's C library.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

/// One step of splitmix64: advances `state` and returns well-mixed bits.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Rng {
        let mut state = seed;
        Rng(std::array::from_fn(|_| splitmix64(&mut state)))
    }

    /// The stream of a seed, a name and a number: independent of all other names and numbers, so that what
    /// one consumer draws does not depend on the order in which the others come.
    pub fn derive(seed: u64, name: &str, number: u64) -> Rng {
        let mut state = seed;
        let mut mixed = splitmix64(&mut state);
        for byte in name.bytes() {
            // FNV-1a, then mixed below.
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        state = mixed ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03);
        Rng(std::array::from_fn(|_| splitmix64(&mut state)))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform on [0, 1), 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Two independent standard normal deviates.
    pub fn normal_pair(&mut self) -> (f64, f64) {
        // 1 − u is in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform());
        (radius * cos, radius * sin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_xoshiro256_plus_plus() {
        // First outputs for the state 1, 2, 3, 4, from the authors' C code.
        let mut rng = Rng([1, 2, 3, 4]);
        let first: [u64; 4] = std::array::from_fn(|_| rng.next_u64());
        assert_eq!(
            first,
            [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]
        );
    }

    #[test]
    fn streams_differ_by_name_number_and_seed() {
        let first = |seed, name, number| Rng::derive(seed, name, number).next_u64();
        let all = [
            first(1, "a", 0),
            first(2, "a", 0),
            first(1, "b", 0),
            first(1, "a", 1),
            first(1, "ab", 0),
        ];
        for (i, x) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|y| x != y));
        }
        assert_eq!(first(1, "a", 0), all[0]);
    }

    #[test]
    fn normal_deviates_have_mean_0_and_deviation_1() {
        let mut rng = Rng::new(7);
        let n = 100_000;
        let (mut sum, mut squares, mut product) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let (a, b) = rng.normal_pair();
            sum += a + b;
            squares += a * a + b * b;
            product += a * b;
        }
        let count = f64::from(2 * n);
        assert!((sum / count).abs() < 0.01);
        assert!((squares / count - 1.0).abs() < 0.02);
        assert!((product / f64::from(n)).abs() < 0.015);
    }
}
