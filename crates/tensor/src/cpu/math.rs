//! Scalar functions without branches or calls, so that loops over them vectorise, and sums in
//! a fixed order. The same bits on every instruction set.
//!
//! Must never know an operation.

#[cfg(target_arch = "x86_64")]
mod avx512;

use super::elem::Elem;
use super::isa::Isa;

/// `eˣ` within 2 ulp (Cephes); 0 below −87.3, so that masked scores of −∞ vanish, and e⁸⁸ above 88.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding it rounds to an integer, which the low bits then hold
    let clamped = x.clamp(-87.3, 88.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // 2ⁿ, −126 ≤ n ≤ 127, put together from its exponent.
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let scaled = y * f32::from_bits(exponent << 23);
    if x < -87.3 { 0.0 } else { scaled }
}

/// Hyperbolic tangent within 4 ulp: a rational function on ±7.9, ±1 beyond.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let x = x.clamp(-7.905_311, 7.905_311);
    let s = x * x;
    let mut p = -2.760_768_5e-16;
    p = p * s + 2.000_188e-13;
    p = p * s + -8.604_672e-11;
    p = p * s + 5.122_297e-8;
    p = p * s + 1.485_722_4e-5;
    p = p * s + 6.372_619_3e-4;
    p = p * s + 4.893_525e-3;
    let mut q = 1.198_258_4e-6;
    q = q * s + 1.185_347_1e-4;
    q = q * s + 2.268_434_6e-3;
    q = q * s + 4.893_525e-3;
    x * p / q
}

/// `1/(1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

const LANES: usize = 16;

/// Sums the lanes as a tree.
#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `Σ f(i)` over `0..len` in sixteen interleaved partial sums.
#[inline(always)]
pub(crate) fn sum_by(len: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = len - len % LANES;
    let mut i = 0;
    while i < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(i + lane);
        }
        i += LANES;
    }
    for (lane, sum) in lanes[..len - whole].iter_mut().enumerate() {
        *sum += f(whole + lane);
    }
    total(lanes)
}

/// `Σ a·b`, with the instructions of `isa`.
#[inline(always)]
pub(crate) fn dot<A: Elem, B: Elem>(isa: Isa, a: &[A], b: &[B]) -> f32 {
    let len = a.len().min(b.len());
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        // SAFETY: a level in use is one that the CPU has, and this one has those instructions.
        return unsafe { avx512::dot(a.as_ptr(), b.as_ptr(), len) };
    }
    let _ = isa;
    let ((a, last_a), (b, last_b)) = (a[..len].as_chunks::<LANES>(), b[..len].as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane].to_f32() * b[lane].to_f32();
        }
    }
    for (sum, (a, b)) in lanes.iter_mut().zip(last_a.iter().zip(last_b)) {
        *sum += a.to_f32() * b.to_f32();
    }
    total(lanes)
}

/// The largest element, −∞ for none.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] {
                chunk[lane]
            } else {
                lanes[lane]
            };
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        lanes[lane] = lanes[lane].max(value);
    }
    lanes.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b))
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, range: std::ops::Range<i32>, step: f32) -> f64 {
        range
            .map(|i| {
                let x = i as f32 * step;
                let want = exact(x as f64);
                ((f(x) as f64 - want) / want.abs().max(1e-37)).abs()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn functions_are_accurate_to_some_ulp() {
        assert!(worst(exp, f64::exp, -87_000..88_000, 1e-3) < 3e-7);
        assert!(worst(tanh, f64::tanh, -120_000..120_000, 1e-4 + 1e-9) < 6e-7);
        assert!(worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -20_000..20_000, 1e-3) < 5e-7);
    }

    #[test]
    fn limits_are_sane() {
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(sigmoid(-200.0) < 1e-38);
        assert_eq!(sigmoid(200.0), 1.0);
        assert!((tanh(50.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn sums_reach_every_element() {
        for len in 0..70 {
            let x: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let ones = vec![1.0f32; len];
            assert_eq!(dot(Isa::Portable, &x, &ones), (len * len.saturating_sub(1) / 2) as f32);
            assert_eq!(max(&x), x.last().copied().unwrap_or(f32::NEG_INFINITY));
        }
    }

    #[test]
    fn a_dot_product_has_the_same_bits_on_every_level() {
        for len in 0..200 {
            let x: Vec<f32> = (0..len).map(|i| (i as f32 * 0.7).sin() - 0.2).collect();
            let y: Vec<bf16> = (0..len).map(|i| bf16::from_f32((i as f32 * 1.3).cos())).collect();
            for isa in Isa::supported() {
                let dots = |isa| [dot(isa, &x, &x), dot(isa, &x, &y), dot(isa, &y, &y)].map(f32::to_bits);
                assert_eq!(dots(isa), dots(Isa::Portable), "{len}, {}", isa.name());
            }
        }
    }
}
