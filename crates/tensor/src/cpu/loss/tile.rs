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

/// `eˣ` for `|x| ≤ 87`, as [`exp`] with fused steps.
#[inline(always)]
fn exp_near<const FUSED: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FUSED>(n, -0.693_359_4, x);
    let r = multiply_add::<FUSED>(n, 2.121_944_4e-4, r);
    let mut p = multiply_add::<FUSED>(1.987_569_1e-4, r, 1.398_2e-3);
    p = multiply_add::<FUSED>(p, r, 8.333_452e-3);
    p = multiply_add::<FUSED>(p, r, 4.166_579_6e-2);
    p = multiply_add::<FUSED>(p, r, 1.666_666_5e-1);
    p = multiply_add::<FUSED>(p, r, 0.5);
    let y = multiply_add::<FUSED>(p, r * r, r) + 1.0;
    let scale = (shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits());
    y * f32::from_bits(scale)
}

const LANES: usize = 16;

/// `tanh u = 1 − 2r` and its slope `4r·(1 − r)` with `r = 1/(1 + e²ᵘ)`: two exponentials and one division for all.
#[inline(always)]
fn capped<const FUSED: bool>(z: &mut [f32], cap: f32) -> f32 {
    let double = 2.0 / cap;
    let one = |z: f32| {
        let r = 1.0 / (1.0 + exp_near::<FUSED>((z * double).clamp(-60.0, 60.0)));
        let e = exp_near::<FUSED>(multiply_add::<FUSED>(-2.0 * cap, r, cap));
        let four = 4.0 * r;
        (e, e * multiply_add::<FUSED>(-four, r, four))
    };
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
