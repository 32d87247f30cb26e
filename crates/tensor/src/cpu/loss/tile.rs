//! The arithmetic of a row of logits in the cache: soft cap, exponential, and the slope of the cap, in one pass.

use std::f32::consts::LOG2_E;

use crate::cpu::elem::Elem;
use crate::cpu::isa::Isa;
use crate::cpu::math::{exp, max, sum_by, tanh};
use crate::cpu::matmul::{ViewMut, store_row};

/// Soft caps up to here keep `eˡ` and its sums inside the range of `f32`, whatever the largest logit.
const BOUND: f32 = 40.0;

/// What a stretch of a row adds to its total.
#[derive(Default)]
pub(super) struct Softened {
    /// `Σ eˡ⁻ᵖᵉᵃᵏ`.
    pub(super) sum: f32,
    pub(super) peak: f32,
}

/// Whether logits are so bounded that nothing need be taken off them.
pub(super) fn bounded(softcap: Option<f32>) -> bool {
    softcap.is_some_and(|cap| cap <= BOUND)
}

/// Makes `eˡ⁻ᵖᵉᵃᵏ·(1 − (l/cap)²)` of each `z`.
pub(super) fn soften(isa: Isa, z: &mut [f32], softcap: Option<f32>) -> Softened {
    let fused = isa != Isa::Portable;
    match softcap {
        Some(cap) if bounded(softcap) => Softened {
            sum: isa.vectorize(
                #[inline(always)]
                || {
                    if fused {
                        capped::<true>(z, cap)
                    } else {
                        capped::<false>(z, cap)
                    }
                },
            ),
            peak: 0.0,
        },
        _ => isa.vectorize(
            #[inline(always)]
            || by_peak(z, softcap),
        ),
    }
}

/// `a·b + c`, fused where the level can: the library's function is slow elsewhere.
#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `2^(x·factor)` for exponents within ±125: `2ⁿ·2ʳ`, a polynomial of least relative error (2·10⁻⁹) for `r` within ±½.
#[inline(always)]
fn exp2_near<const FUSED: bool>(x: f32, factor: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³
    let shifted = multiply_add::<FUSED>(x, factor, ROUND);
    let r = multiply_add::<FUSED>(x, factor, -(shifted - ROUND));
    let mut p = multiply_add::<FUSED>(1.535_336_2e-4, r, 1.339_887_4e-3);
    p = multiply_add::<FUSED>(p, r, 9.618_437e-3);
    p = multiply_add::<FUSED>(p, r, 5.550_332_5e-2);
    p = multiply_add::<FUSED>(p, r, 2.402_264_8e-1);
    p = multiply_add::<FUSED>(p, r, std::f32::consts::LN_2);
    p = multiply_add::<FUSED>(p, r, 1.0);
    // What is left of `n` in the lowest bits goes to the exponent. What is not a number stays so: those that the CPU makes have
    // zeros in the bits that this moves.
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `tanh u` for `|u| ≤ 1` by a polynomial of least relative error (5·10⁻⁸).
#[inline(always)]
fn tanh_near<const FUSED: bool>(u: f32) -> f32 {
    let s = u * u;
    let mut p = multiply_add::<FUSED>(1.041_022_5e-3, s, -6.203_378_6e-3);
    p = multiply_add::<FUSED>(p, s, 2.028_998e-2);
    p = multiply_add::<FUSED>(p, s, -5.345_703e-2);
    p = multiply_add::<FUSED>(p, s, 1.332_520_4e-1);
    p = multiply_add::<FUSED>(p, s, -3.333_284e-1);
    p = multiply_add::<FUSED>(p, s, 0.999_999_94);
    u * p
}

const LANES: usize = 16;

/// The bounded soft cap. Logits below it, as nearly all stretches have them, need neither a division nor a second
/// exponential.
#[inline(always)]
fn capped<const FUSED: bool>(z: &mut [f32], cap: f32) -> f32 {
    let mut largest = [0.0f32; LANES];
    let (whole, rest) = z.as_chunks::<LANES>();
    for z in whole {
        for (largest, z) in largest.iter_mut().zip(z) {
            *largest = if z.abs() > *largest { z.abs() } else { *largest };
        }
    }
    let inside = largest.iter().chain(rest).all(|z| z.abs() <= cap);
    if inside {
        let (inverse, exponent) = (1.0 / cap, cap * LOG2_E);
        each(
            z,
            #[inline(always)]
            |z| {
                let t = tanh_near::<FUSED>(z * inverse);
                let e = exp2_near::<FUSED>(t, exponent);
                (e, e * multiply_add::<FUSED>(-t, t, 1.0))
            },
        )
    } else {
        // `tanh u = 1 − 2r` and its slope `4r·(1 − r)` with `r = 1/(1 + e²ᵘ)`.
        let double = 2.0 / cap;
        each(
            z,
            #[inline(always)]
            |z| {
                let r = 1.0 / (1.0 + exp2_near::<FUSED>((z * double).clamp(-60.0, 60.0), LOG2_E));
                let e = exp2_near::<FUSED>(multiply_add::<FUSED>(-2.0 * cap, r, cap), LOG2_E);
                let four = 4.0 * r;
                (e, e * multiply_add::<FUSED>(-four, r, four))
            },
        )
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
                for nan in [f32::NAN, -f32::NAN, f32::INFINITY - f32::INFINITY] {
                    let mut z: [f32; 35] = std::array::from_fn(|i| size * (i as f32 - 17.0) / 17.0);
                    z[3] = nan;
                    assert!(soften(isa, &mut z, cap).sum.is_nan(), "{isa:?} {cap:?} {size}");
                    assert!(z[3].is_nan(), "{isa:?} {cap:?} {size}");
                }
            }
        }
    }
}
