//! Kernels that walk elements: activations, products, linear combinations, copies.

use super::Cpu;
use super::elem::{Elem, input, output, parts, with_elem};
use super::math::{dot, sigmoid, tanh};
use super::rows::GRAIN;
use crate::backend::{Buffer, ScalarArg};
use crate::dtype::DType;
use crate::ops::activation::Activation;

impl Cpu {
    /// `y = f(a)`, or `y += f(a)`, element by element.
    #[inline(always)]
    fn map<A: Elem, T: Elem>(&self, a: &[A], y: Buffer, add: bool, f: impl Fn(f32) -> f32 + Sync + Copy) {
        let (len, y) = (y.len, parts::<T>(y));
        self.pool.run_ranges(len, GRAIN, &|range| {
            // A copy of its own, so that nothing in it can lie where `y` is written.
            let (a, f) = (&a[range.clone()], f);
            // SAFETY: ranges of one run are disjoint.
            let y = unsafe { y.range(range) };
            self.isa.vectorize(
                #[inline(always)]
                || {
                    if add {
                        for (y, a) in y.iter_mut().zip(a) {
                            *y = T::from_f32(y.to_f32() + f(a.to_f32()));
                        }
                    } else {
                        for (y, a) in y.iter_mut().zip(a) {
                            *y = T::from_f32(f(a.to_f32()));
                        }
                    }
                },
            );
        });
    }

    /// `y = f(a, y)`, element by element.
    #[inline(always)]
    fn update<T: Elem>(&self, a: &[T], y: Buffer, f: impl Fn(f32, f32) -> f32 + Sync + Copy) {
        let (len, y) = (y.len, parts::<T>(y));
        self.pool.run_ranges(len, GRAIN, &|range| {
            let (a, f) = (&a[range.clone()], f);
            // SAFETY: ranges of one run are disjoint.
            let y = unsafe { y.range(range) };
            self.isa.vectorize(
                #[inline(always)]
                || {
                    for (y, a) in y.iter_mut().zip(a) {
                        *y = T::from_f32(f(a.to_f32(), y.to_f32()));
                    }
                },
            );
        });
    }

    /// `y = f(a, b)`, or `y += f(a, b)`, element by element.
    #[inline(always)]
    fn map_pairs<T: Elem>(
        &self,
        (a, b): (&[T], &[T]),
        y: Buffer,
        add: bool,
        f: impl Fn(f32, f32) -> f32 + Sync + Copy,
    ) {
        let (len, y) = (y.len, parts::<T>(y));
        self.pool.run_ranges(len, GRAIN, &|range| {
            let (a, b, f) = (&a[range.clone()], &b[range.clone()], f);
            // SAFETY: ranges of one run are disjoint.
            let y = unsafe { y.range(range) };
            self.isa.vectorize(
                #[inline(always)]
                || {
                    let pairs = a.iter().zip(b);
                    if add {
                        for (y, (a, b)) in y.iter_mut().zip(pairs) {
                            *y = T::from_f32(y.to_f32() + f(a.to_f32(), b.to_f32()));
                        }
                    } else {
                        for (y, (a, b)) in y.iter_mut().zip(pairs) {
                            *y = T::from_f32(f(a.to_f32(), b.to_f32()));
                        }
                    }
                },
            );
        });
    }

    pub(crate) fn activate(&self, kind: Activation, x: Buffer, y: Buffer) {
        with_elem!(x.dtype, T => {
            let x = input::<T>(x);
            match kind {
                Activation::ReluSquared => self.map::<T, T>(x, y, false, #[inline(always)] move |x| x.max(0.0) * x.max(0.0)),
                Activation::Relu => self.map::<T, T>(x, y, false, #[inline(always)] move |x| x.max(0.0)),
                Activation::Silu => self.map::<T, T>(x, y, false, #[inline(always)] move |x| x * sigmoid(x)),
                Activation::Gelu => self.map::<T, T>(x, y, false, gelu),
                Activation::Sigmoid => self.map::<T, T>(x, y, false, sigmoid),
                Activation::Tanh => self.map::<T, T>(x, y, false, tanh),
            }
        });
    }

    pub(crate) fn activate_backward(&self, kind: Activation, x: Buffer, dy: Buffer, dx: Buffer, add: bool) {
        with_elem!(x.dtype, T => {
            let of = (x, dy);
            match kind {
                Activation::ReluSquared => {
                    self.slope::<T>(of, dx, add, #[inline(always)] move |y, dy| {
                        2.0 * root::<T>(y) * dy
                    });
                }
                Activation::Relu => {
                    self.slope::<T>(of, dx, add, #[inline(always)] move |y, dy| if y > 0.0 { dy } else { 0.0 });
                }
                Activation::Silu => self.slope::<T>(of, dx, add, #[inline(always)] move |x, dy| {
                    let s = sigmoid(x);
                    dy * s * (1.0 + x * (1.0 - s))
                }),
                Activation::Gelu => self.slope::<T>(of, dx, add, #[inline(always)] move |x, dy| dy * gelu_slope(x)),
                Activation::Sigmoid => self.slope::<T>(of, dx, add, #[inline(always)] move |x, dy| {
                    let s = sigmoid(x);
                    dy * s * (1.0 - s)
                }),
                Activation::Tanh => self.slope::<T>(of, dx, add, #[inline(always)] move |x, dy| {
                    let t = tanh(x);
                    dy * (1.0 - t * t)
                }),
            }
        });
    }

    /// `dx = f(x, dy)`, or added to it; `dx` may be `dy` where nothing is added to.
    #[inline(always)]
    fn slope<T: Elem>(
        &self,
        (x, dy): (Buffer, Buffer),
        dx: Buffer,
        add: bool,
        f: impl Fn(f32, f32) -> f32 + Sync + Copy,
    ) {
        if dy.memory == dx.memory {
            assert!(!add, "a gradient cannot be replaced and added to");
            self.update::<T>(input(x), dx, f);
        } else {
            self.map_pairs::<T>((input(x), input(dy)), dx, add, f);
        }
    }

    pub(crate) fn multiply_all<T: Elem>(&self, a: Buffer, b: Buffer, y: Buffer, add: bool) {
        let of = (input::<T>(a), input::<T>(b));
        self.map_pairs::<T>(
            of,
            y,
            add,
            #[inline(always)]
            move |a, b| a * b,
        );
    }

    pub(crate) fn mix_all<T: Elem>(
        &self,
        (a, alpha): (Buffer, ScalarArg),
        b: Option<(Buffer, ScalarArg)>,
        y: Buffer,
        add: bool,
    ) {
        let (a, alpha) = (input::<T>(a), scalar(alpha));
        if let Some((b, beta)) = b {
            let (b, beta) = (input::<T>(b), scalar(beta));
            self.map_pairs::<T>(
                (a, b),
                y,
                add,
                #[inline(always)]
                move |a, b| alpha * a + beta * b,
            );
        } else {
            self.map::<T, T>(
                a,
                y,
                add,
                #[inline(always)]
                move |a| alpha * a,
            );
        }
    }

    pub(crate) fn scalar_gradient_of<T: Elem>(
        &self,
        x: Buffer,
        dy: Buffer,
        factor: f32,
        dscalar: Buffer,
        index: usize,
    ) {
        let (x, dy) = (input::<T>(x), input::<T>(dy));
        let sum = self.reduce(x.len(), GRAIN, &|range| {
            self.isa.vectorize(
                #[inline(always)]
                || dot(self.isa, &x[range.clone()], &dy[range.clone()]),
            )
        });
        output::<f32>(dscalar)[index] += factor * sum as f32;
    }

    pub(crate) fn fill_all<T: Elem>(&self, to: Buffer, value: f32) {
        let (len, to) = (to.len, parts::<T>(to));
        self.pool.run_ranges(len, GRAIN, &|range| {
            // SAFETY: ranges of one run are disjoint.
            unsafe { to.range(range) }.fill(T::from_f32(value));
        });
    }

    pub(crate) fn convert<A: Elem, B: Elem>(&self, from: Buffer, to: Buffer) {
        self.map::<A, B>(
            input(from),
            to,
            false,
            #[inline(always)]
            move |x| x,
        );
    }

    pub(crate) fn add_all<T: Elem>(&self, from: Buffer, to: Buffer) {
        self.map::<T, T>(
            input(from),
            to,
            true,
            #[inline(always)]
            move |x| x,
        );
    }
}

/// The value of a coefficient.
pub(crate) fn scalar(argument: ScalarArg) -> f32 {
    let value = argument
        .parameter
        .map_or(1.0, |(buffer, index)| input::<f32>(buffer)[index]);
    argument.factor * value
}

/// What was squared, exactly: the rounding of a square is undone by rounding its root.
#[inline(always)]
fn root<T: Elem>(square: f32) -> f32 {
    let root = square.sqrt();
    if T::DTYPE == DType::Bf16 {
        // The rounding moved the root by a quarter of a unit at most, so there are no ties, nor is there overflow.
        f32::from_bits(root.to_bits().wrapping_add(0x8000) & 0xffff_0000)
    } else {
        root
    }
}

const GELU_SLOPE: f32 = 0.797_884_6; // √(2/π)
const GELU_CUBE: f32 = 0.044_715;

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + tanh(GELU_SLOPE * (x + GELU_CUBE * x * x * x)))
}

#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    let t = tanh(GELU_SLOPE * (x + GELU_CUBE * x * x * x));
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_SLOPE * (1.0 + 3.0 * GELU_CUBE * x * x)
}
