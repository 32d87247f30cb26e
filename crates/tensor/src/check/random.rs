//! Seeded values for checks: the same on every machine.

/// A small generator (Steele et al. 2014, SplitMix64).
pub struct Random(u64);

impl Random {
    /// A generator for a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Of either sign, with a magnitude in [0.1, 1.1): never zero and never so near to it that a
    /// finite difference steps over the kink of a ReLU. Exact in `f32`.
    pub fn value(&mut self) -> f32 {
        let bits = self.bits();
        let magnitude = 0.1 + (bits >> 40) as f32 / (1u64 << 24) as f32;
        if bits & 1 == 0 { magnitude } else { -magnitude }
    }

    /// Many of them, times `scale`.
    pub fn values(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| self.value() * scale).collect()
    }

    /// An index below `bound`.
    pub fn index(&mut self, bound: usize) -> i32 {
        (self.bits() % bound as u64) as i32
    }

    /// Many of them.
    pub fn indices(&mut self, len: usize, bound: usize) -> Vec<i32> {
        (0..len).map(|_| self.index(bound)).collect()
    }
}
