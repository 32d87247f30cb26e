//! The arithmetic of a row of logits in the cache: soft cap, exponential, and the slope of the cap, in one pass.

use std::f32::consts::{LN_2, LOG2_E};
use std::ops::RangeInclusive;

use crate::cpu::elem::Elem;
use crate::cpu::isa::Isa;
use crate::cpu::math::{exp, max, sum_by, tanh};
use crate::cpu::matmul::{ViewMut, store_row};

/// Soft caps up to here keep `eˡ` and its sums inside the range of `f32`, whatever the largest logit, and from here on the
/// coefficients of their polynomial, which have the cap's tenth power.
const BOUNDS: RangeInclusive<f32> = 1e-3..=40.0;

/// What a stretch of a row adds to its total.
#[derive(Default)]
pub(super) struct Softened {
    /// `Σ eˡ⁻ᵖᵉᵃᵏ`.
    pub(super) sum: f32,
    pub(super) peak: f32,
}

/// Whether logits are so bounded that nothing need be taken off them.
pub(super) fn bounded(softcap: Option<f32>) -> bool {
    softcap.is_some_and(|cap| BOUNDS.contains(&cap))
}

/// How logits are softened.
pub(super) enum Softener {
    Bounded(SoftCap),
    /// Below the largest of a stretch, after a soft cap or none.
    ByPeak(Option<f32>),
}

impl Softener {
    pub(super) fn new(softcap: Option<f32>) -> Self {
        match softcap {
            Some(cap) if bounded(softcap) => Self::Bounded(SoftCap::new(cap)),
            _ => Self::ByPeak(softcap),
        }
    }

    /// Makes `eˡ⁻ᵖᵉᵃᵏ·(1 − (l/cap)²)` of each `z`. To be called where loops are compiled for the level.
    #[inline(always)]
    pub(super) fn soften(&self, isa: Isa, z: &mut [f32]) -> Softened {
        let sum = match self {
            Self::Bounded(cap) if isa == Isa::Portable => cap.soften::<false>(z),
            Self::Bounded(cap) => cap.soften::<true>(z),
            Self::ByPeak(softcap) => return by_peak(z, *softcap),
        };
        Softened { sum, peak: 0.0 }
    }
}

/// `a·b + c`, fused where the level can: the library's function is slow elsewhere.
#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `2ʸ` within ±125: `2ⁿ·2ʳ`, for `r` within ±½ a polynomial with the value and the slope of `2ʳ` at 0 and else of
/// least relative error (1.1·10⁻⁷). What is not a number may become one.
#[inline(always)]
fn exp2_near<const FUSED: bool>(y: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³
    let shifted = y + ROUND;
    let r = y - (shifted - ROUND);
    let mut p = multiply_add::<FUSED>(1.330_058_6e-3, r, 9.669_686e-3);
    p = multiply_add::<FUSED>(p, r, 5.550_558_5e-2);
    p = multiply_add::<FUSED>(p, r, 2.402_228_3e-1);
    p = multiply_add::<FUSED>(p, r, LN_2);
    p = multiply_add::<FUSED>(p, r, 1.0);
    // What is left of `n` in the lowest bits goes to the exponent.
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

const LANES: usize = 16;

/// A bounded soft cap.
pub(super) struct SoftCap {
    cap: f32,
    /// Logits up to here are near: the bits of the magnitude, by which what is not a number is beyond everything.
    near: u32,
    /// `l·log₂e = z·p(z²)` for them, the highest power first.
    capped: [f32; 6],
    /// `1/(cap·log₂e)`
    inverse: f32,
}

impl SoftCap {
    /// `tanh u = u·p(u²)` for `|u| ≤ ¾`, of least relative error (3·10⁻⁸), the highest power first.
    const TANH: [f64; 6] = [
        -4.716_257_099_062_204e-3,
        1.958_290_860_056_877e-2,
        -5.334_442_853_927_612e-2,
        1.332_540_661_096_573e-1,
        -3.333_295_881_748_199_5e-1,
        1.0,
    ];

    fn new(cap: f32) -> Self {
        let wide = f64::from(cap);
        let mut factor = std::f64::consts::LOG2_E;
        let mut capped = [0.0; 6];
        for (to, tanh) in capped.iter_mut().zip(Self::TANH).rev() {
            *to = (tanh * factor) as f32;
            factor /= wide * wide;
        }
        Self {
            cap,
            near: (0.75 * cap).to_bits(),
            capped,
            inverse: (1.0 / (wide * std::f64::consts::LOG2_E)) as f32,
        }
    }

    /// Replaces each `z` by `eˡ·(1 − (l/cap)²)`; the sum of `eˡ`.
    ///
    /// Where all logits are near, as in nearly all stretches, that needs neither a division nor a second exponential.
    #[inline(always)]
    fn soften<const FUSED: bool>(&self, z: &mut [f32]) -> f32 {
        let mut largest = [0u32; LANES];
        let (whole, rest) = z.as_chunks::<LANES>();
        for z in whole {
            for (largest, z) in largest.iter_mut().zip(z) {
                *largest = z.abs().to_bits().max(*largest);
            }
        }
        let mut largest = largest.into_iter().chain(rest.iter().map(|z| z.abs().to_bits()));
        if largest.all(|z| z <= self.near) {
            let ([first, others @ ..], inverse) = (self.capped, self.inverse);
            each(
                z,
                #[inline(always)]
                |z| {
                    let s = z * z;
                    let p = others.into_iter().fold(first, |p, c| multiply_add::<FUSED>(p, s, c));
                    let y = z * p;
                    let (e, t) = (exp2_near::<FUSED>(y), y * inverse);
                    (e, e * multiply_add::<FUSED>(-t, t, 1.0))
                },
            )
        } else {
            // `tanh u = 1 − 2r` and its slope `4r·(1 − r)` with `r = 1/(1 + e²ᵘ)`.
            let (double, powers) = (2.0 / self.cap * LOG2_E, self.cap * LOG2_E);
            each(
                z,
                #[inline(always)]
                |z| {
                    let r = 1.0 / (1.0 + exp2_near::<FUSED>((z * double).clamp(-86.0, 86.0)));
                    let e = exp2_near::<FUSED>(multiply_add::<FUSED>(-2.0 * powers, r, powers));
                    let e = if z.is_nan() { z } else { e };
                    let four = 4.0 * r;
                    (e, e * multiply_add::<FUSED>(-four, r, four))
                },
            )
        }
    }
}

/// Replaces each `z` by the second of what `one` makes of it; the sum of the first.
#[inline(always)]
fn each(z: &mut [f32], one: impl Fn(f32) -> (f32, f32)) -> f32 {
    let mut sums = [0.0; LANES];
    let (whole, rest) = z.as_chunks_mut::<LANES>();
    for z in whole {
        for (z, sum) in z.iter_mut().zip(&mut sums) {
            let (e, g) = one(*z);
            *sum += e;
            *z = g;
        }
    }
    for (z, sum) in rest.iter_mut().zip(&mut sums) {
        let (e, g) = one(*z);
        *sum += e;
        *z = g;
    }
    sum_by(LANES, |i| sums[i])
}

/// The same below the largest logit of the stretch.
#[inline(always)]
fn by_peak(z: &mut [f32], softcap: Option<f32>) -> Softened {
    if let Some(cap) = softcap {
        for z in z.iter_mut() {
            *z = cap * tanh(*z / cap);
        }
    }
    let peak = max(z);
    let sum = sum_by(z.len(), |i| exp(z[i] - peak));
    match softcap {
        None => z.iter_mut().for_each(|z| *z = exp(*z - peak)),
        Some(cap) => z.iter_mut().for_each(|z| {
            let t = *z / cap;
            *z = exp(*z - peak) * (1.0 - t * t);
        }),
    }
    Softened { sum, peak }
}

/// Stores in the compute type.
pub(super) fn round<T: Elem>(isa: Isa, from: &[f32], to: &mut [T]) {
    let cols = to.len();
    store_row(isa, from, &mut T::matrix_mut(ViewMut::row_major(to, 1, cols)));
}

/// `g ·= factor`.
pub(super) fn rescale<T: Elem>(isa: Isa, g: &mut [T], factor: f32) {
    isa.vectorize(
        #[inline(always)]
        || g.iter_mut().for_each(|g| *g = T::from_f32(g.to_f32() * factor)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_stays_so() {
        for isa in Isa::supported() {
            for (cap, size) in [(Some(15.0), 1.0), (Some(15.0), 100.0), (None, 1.0)] {
                // A card's NaN has all bits set.
                let of_a_card = f32::from_bits(0x7fff_ffff);
                for nan in [f32::NAN, -f32::NAN, f32::INFINITY - f32::INFINITY, of_a_card] {
                    let mut z: [f32; 35] = std::array::from_fn(|i| size * (i as f32 - 17.0) / 17.0);
                    z[3] = nan;
                    let sum = isa.vectorize(|| Softener::new(cap).soften(isa, &mut z)).sum;
                    assert!(sum.is_nan(), "{isa:?} {cap:?} {size}");
                    assert!(z[3].is_nan(), "{isa:?} {cap:?} {size}");
                }
            }
        }
    }

    #[test]
    fn tiny_caps_are_no_fault() {
        for isa in Isa::supported() {
            for cap in [1e-30, 1e-6, 1e-4, 0.99e-3] {
                let mut z: [f32; 35] = std::array::from_fn(|i| cap * (i as f32 - 17.0) / 9.0);
                let slopes = z.map(|z| 1.0 - (z / cap).tanh().powi(2));
                let softened = isa.vectorize(|| Softener::new(Some(cap)).soften(isa, &mut z));
                assert!(
                    (softened.sum / 35.0 - 1.0).abs() < 3e-3,
                    "{isa:?} {cap}: {}",
                    softened.sum
                );
                for (z, slope) in z.into_iter().zip(slopes) {
                    assert!((z - slope).abs() < 3e-3, "{isa:?} {cap}: {z} {slope}");
                }
            }
        }
    }

    #[test]
    fn softened_as_in_double_precision() {
        for isa in Isa::supported() {
            for cap in [1e-3, 1.0, 15.0, 30.0, 40.0] {
                // Near only, both, and beyond the cap.
                for size in [0.01, 0.5, 0.74, 1.5, 5.0] {
                    for len in [1, 64, 100, 384] {
                        let z = |i: usize| {
                            cap * size * (i as f32 * 0.7).sin() * if i.is_multiple_of(7) { 1.0 } else { 0.3 }
                        };
                        let mut found: Vec<f32> = (0..len).map(z).collect();
                        let softened = isa.vectorize(|| Softener::new(Some(cap)).soften(isa, &mut found));
                        let allowed = 2e-7 * (2.0 + f64::from(cap * size.min(1.0)));
                        let mut total = 0.0;
                        for (i, found) in found.into_iter().enumerate() {
                            let t = (f64::from(z(i)) / f64::from(cap)).tanh();
                            let e = (f64::from(cap) * t - f64::from(softened.peak)).exp();
                            total += e;
                            let error = (f64::from(found) / e - (1.0 - t * t)).abs();
                            assert!(error < allowed, "{isa:?} {cap} {size} {i}: {error:e}");
                        }
                        let error = (f64::from(softened.sum) / total - 1.0).abs();
                        assert!(error < allowed, "{isa:?} {cap} {size} {len}: {error:e}");
                    }
                }
            }
        }
    }
}
