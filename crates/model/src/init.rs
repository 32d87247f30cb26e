//! Starting weights: each parameter draws from its own random stream, in blocks, so that neither the order
//! of the parameters nor the number of threads changes a bit.

use std::num::NonZero;

use crate::rng::Rng;

/// The distribution of a parameter's starting values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All the same.
    Constant(f64),
    /// From the first value of a vector to the last in equal steps.
    Ramp {
        /// First value.
        first: f64,
        /// Last value (not reached by a vector of one).
        last: f64,
    },
    /// N(0, std²).
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform between two bounds.
    Uniform {
        /// Lower bound.
        low: f64,
        /// Upper bound.
        high: f64,
    },
}

/// Values drawn from one stream.
const BLOCK: usize = 1 << 16;

impl Init {
    /// Uniform with mean 0 and the given bound.
    pub fn symmetric(bound: f64) -> Init {
        Init::Uniform {
            low: -bound,
            high: bound,
        }
    }

    /// The 2025-10 rule for a matrix `[out, in]` (arXiv 2310.17813).
    pub fn by_fan([fan_out, fan_in]: [usize; 2]) -> Init {
        let (fan_out, fan_in) = (fan_out as f64, fan_in as f64);
        Init::Normal {
            std: (fan_out / fan_in).sqrt().min(1.0) / fan_in.sqrt(),
        }
    }

    /// The `len` starting values of the parameter `name`.
    pub fn values(self, seed: u64, name: &str, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        match self {
            Init::Zeros => {}
            Init::Constant(value) => values.fill(value as f32),
            Init::Ramp { first, last } => {
                let steps = len.saturating_sub(1).max(1) as f64;
                for (i, value) in values.iter_mut().enumerate() {
                    *value = (first + (last - first) * i as f64 / steps) as f32;
                }
            }
            Init::Normal { .. } | Init::Uniform { .. } => self.draw(seed, name, &mut values),
        }
        values
    }

    fn draw(self, seed: u64, name: &str, values: &mut [f32]) {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let blocks = values.len().div_ceil(BLOCK);
        let blocks_per_thread = blocks.div_ceil(threads).max(1);
        let fill = |first_block: usize, part: &mut [f32]| {
            for (i, block) in part.chunks_mut(BLOCK).enumerate() {
                self.fill_block(&mut Rng::derive(seed, name, (first_block + i) as u64), block);
            }
        };
        if blocks == 1 {
            return fill(0, values);
        }
        std::thread::scope(|scope| {
            for (i, part) in values.chunks_mut(blocks_per_thread * BLOCK).enumerate() {
                let fill = &fill;
                scope.spawn(move || fill(i * blocks_per_thread, part));
            }
        });
    }

    fn fill_block(self, rng: &mut Rng, block: &mut [f32]) {
        match self {
            Init::Normal { std } => {
                for pair in block.chunks_mut(2) {
                    let (a, b) = rng.normal_pair();
                    pair[0] = (std * a) as f32;
                    if let Some(second) = pair.get_mut(1) {
                        *second = (std * b) as f32;
                    }
                }
            }
            Init::Uniform { low, high } => {
                for value in block {
                    *value = (low + (high - low) * rng.uniform()) as f32;
                }
            }
            Init::Zeros | Init::Constant(_) | Init::Ramp { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_depend_on_the_length_asked_for() {
        let init = Init::Normal { std: 2.0 };
        let long = init.values(3, "x", 3 * BLOCK + 17);
        assert_eq!(init.values(3, "x", 1000), long[..1000]);
        assert_eq!(init.values(3, "x", BLOCK + 2), long[..BLOCK + 2]);
        assert_ne!(init.values(3, "y", 4), long[..4]);
        assert_ne!(long[..4], long[BLOCK..BLOCK + 4]);
    }

    #[test]
    fn a_ramp_of_one_is_its_first_value() {
        let ramp = Init::Ramp {
            first: 1.15,
            last: 1.05,
        };
        assert_eq!(ramp.values(0, "", 1), [1.15]);
        assert_eq!(ramp.values(0, "", 3), [1.15, 1.1, 1.05]);
    }
}
