//! Numbers that behave and print as Python's `int` and `float`, integers up to 127 bits.
//!
//! Knows arithmetic only; what an expression looks like is `calculator.rs`'s business.

use std::fmt;

/// A value of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Int(i128),
    Float(f64),
}

use Number::{Float, Int};

/// What a binary operator does with two integers, `None` where that fails, and with two floats otherwise.
fn combine(
    a: Number,
    b: Number,
    ints: fn(i128, i128) -> Option<i128>,
    floats: fn(f64, f64) -> Option<f64>,
) -> Option<Number> {
    match (a, b) {
        (Int(a), Int(b)) => ints(a, b).map(Int),
        (a, b) => floats(a.to_f64(), b.to_f64()).map(Float),
    }
}

impl Number {
    pub(crate) fn plus(self, other: Number) -> Option<Number> {
        combine(self, other, i128::checked_add, |a, b| Some(a + b))
    }

    pub(crate) fn minus(self, other: Number) -> Option<Number> {
        combine(self, other, i128::checked_sub, |a, b| Some(a - b))
    }

    pub(crate) fn times(self, other: Number) -> Option<Number> {
        combine(self, other, i128::checked_mul, |a, b| Some(a * b))
    }

    /// `/`: always a float; nothing for a division by zero.
    pub(crate) fn divided_by(self, other: Number) -> Option<Number> {
        match (self, other) {
            (Int(_), Int(0)) => None,
            (Int(a), Int(b)) => Some(Float(ratio(a, b))),
            (a, b) => {
                let divisor = b.to_f64();
                (divisor != 0.0).then(|| Float(a.to_f64() / divisor))
            }
        }
    }

    /// `//`: rounded towards minus infinity; nothing for a division by zero.
    pub(crate) fn floor_divided_by(self, other: Number) -> Option<Number> {
        let ints = |a: i128, b: i128| {
            let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
            Some(quotient - i128::from(rest != 0 && (rest < 0) != (b < 0)))
        };
        combine(self, other, ints, |a, b| (b != 0.0).then(|| floor_divide(a, b)))
    }

    pub(crate) fn negated(self) -> Option<Number> {
        match self {
            Int(a) => a.checked_neg().map(Int),
            Float(a) => Some(Float(-a)),
        }
    }

    fn to_f64(self) -> f64 {
        match self {
            Int(a) => a as f64,
            Float(a) => a,
        }
    }
}

/// `a / b` rounded once to the nearest float. Rounding both sides first would round three times.
fn ratio(a: i128, b: i128) -> f64 {
    let (mut rest, divisor) = (a.unsigned_abs(), b.unsigned_abs());
    let mut quotient = rest / divisor;
    rest %= divisor;
    // 55 bits and one that says whether anything follows are enough to round to 53.
    let mut scale = 0;
    while quotient >> 55 == 0 && (quotient != 0 || rest != 0) {
        let carries = rest >= divisor - rest;
        rest = if carries { rest - (divisor - rest) } else { rest * 2 };
        quotient = quotient * 2 + u128::from(carries);
        scale += 1;
    }
    let magnitude = (quotient | u128::from(rest != 0)) as f64 * f64::powi(0.5, scale);
    if (a < 0) == (b < 0) { magnitude } else { -magnitude }
}

/// Python's float `//`, by way of the exact remainder: `floor(a / b)` can be off by one after rounding.
fn floor_divide(a: f64, b: f64) -> f64 {
    let rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return 0.0_f64.copysign(a / b);
    }
    let floor = quotient.floor();
    if quotient - floor > 0.5 { floor + 1.0 } else { floor }
}

/// The shortest digits that read back as `x`, as `d.ddde±x`. Of two that are equally near, Python takes the even
/// one and Rust the higher one.
fn shortest(x: f64) -> String {
    let rust = format!("{x:e}");
    let digits = rust
        .bytes()
        .take_while(|&b| b != b'e')
        .filter(u8::is_ascii_digit)
        .count();
    let even = format!("{x:.*e}", digits - 1);
    if even.parse() == Ok(x) { even } else { rust }
}

/// As Python's `str` writes it: floats by the shortest digits that read back the same, with an exponent below
/// 1e-4 and from 1e16 on.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = match *self {
            Int(a) => return write!(f, "{a}"),
            Float(x) if x.is_nan() => return f.write_str("nan"),
            Float(x) if x.is_infinite() => return f.write_str(if x > 0.0 { "inf" } else { "-inf" }),
            Float(x) => x,
        };
        let scientific = shortest(x);
        let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
        let exponent: i32 = exponent.parse().expect("the exponent is a small integer");
        if (-4..16).contains(&exponent) {
            // As many places as there are digits, no less than one.
            let places = (digits.bytes().filter(u8::is_ascii_digit).count() as i32 - 1 - exponent).max(1);
            write!(f, "{x:.*}", places as usize)
        } else {
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(f, "{digits}e{sign}{:02}", exponent.abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_python() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (3.0, "3.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0001, "0.0001"),
            (0.000_012, "1.2e-05"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (-1.5e300, "-1.5e+300"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (-f64::NAN, "nan"),
        ];
        for (x, expected) in cases {
            assert_eq!(Float(x).to_string(), expected);
        }
    }

    #[test]
    fn ratios_are_rounded_once() {
        assert_eq!(ratio(7, 2), 3.5);
        assert_eq!(ratio(0, -5).to_bits(), (-0.0_f64).to_bits());
        // 2^53 + 1 over 1 ties to even, a hair more does not.
        let tie = (1 << 53) + 1;
        assert_eq!(ratio(tie, 1), 9_007_199_254_740_992.0);
        assert_eq!(ratio(tie * 1000 + 1, 1000), 9_007_199_254_740_994.0);
        assert_eq!(ratio(i128::MIN, i128::MIN), 1.0);
        assert_eq!(ratio(1, i128::MAX), f64::powi(0.5, 127));
    }
}
