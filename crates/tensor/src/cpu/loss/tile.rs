//! The arithmetic of a row of logits in the cache: soft cap, exponential, and the slope of the cap, in one pass.

use crate::cpu::elem::Elem;
use crate::cpu::isa::Isa;
use crate::cpu::math::{exp, max, sum_by, tanh};

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

/// `eˣ` for `|x| ≤ 87`: `2ⁿ·eʳ`, a polynomial of least relative error (3·10⁻⁹) for `r` within ±½·ln 2.
#[inline(always)]
fn exp_near<const FUSED: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = if FUSED {
        // The product is exact, and what `ln 2` has been rounded by is less than `n` can make large.
        n.mul_add(-std::f32::consts::LN_2, x)
    } else {
        x - n * 0.693_359_4 - n * -2.121_944_4e-4
    };
    let mut p = multiply_add::<FUSED>(1.381_46e-3, r, 8.368_717e-3);
    p = multiply_add::<FUSED>(p, r, 4.166_839e-2);
    p = multiply_add::<FUSED>(p, r, 1.666_652_1e-1);
    p = multiply_add::<FUSED>(p, r, 0.499_999_94);
    let y = multiply_add::<FUSED>(p, r * r, r) + 1.0;
    let scale = (shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits());
    y * f32::from_bits(scale)
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
        let inverse = 1.0 / cap;
        each(
            z,
            #[inline(always)]
            |z| {
                let t = tanh_near::<FUSED>(z * inverse);
                let e = exp_near::<FUSED>(cap * t);
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
                let r = 1.0 / (1.0 + exp_near::<FUSED>((z * double).clamp(-60.0, 60.0)));
                let e = exp_near::<FUSED>(multiply_add::<FUSED>(-2.0 * cap, r, cap));
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
    isa.vectorize(
        #[inline(always)]
        || {
            for (to, &from) in to.iter_mut().zip(from) {
                *to = T::from_f32(from);
            }
        },
    );
}

/// `g ·= factor`.
pub(super) fn rescale<T: Elem>(isa: Isa, g: &mut [T], factor: f32) {
    isa.vectorize(
        #[inline(always)]
        || g.iter_mut().for_each(|g| *g = T::from_f32(g.to_f32() * factor)),
    );
}
