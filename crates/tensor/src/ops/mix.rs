//! Linear combination of two tensors with scalar coefficients that may be learned:
//! `y = α·a + β·b`. Residual additions, the per-layer residual scalars and backout are all this.
//!
//! Gradients: `da = α·dy`, `db = β·dy`; for a coefficient `factor·p[i]`: `dp[i] = factor·Σ a·dy`.

use crate::backend::ScalarArg;
use crate::device::Device;
use crate::graph::Graph;
use crate::param::Param;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

/// A coefficient of [`Graph::mix`].
#[derive(Clone, Copy)]
pub enum Scalar<'a> {
    /// A constant.
    Constant(f32),
    /// `factor · parameter[index]`, trained.
    Learned {
        /// Constant factor, −1 to subtract.
        factor: f32,
        /// A vector of coefficients.
        parameter: &'a Param,
        /// Which of them.
        index: usize,
    },
}

/// A coefficient that outlives the call.
struct Coefficient {
    factor: f32,
    parameter: Option<(Param, usize)>,
}

pub(crate) struct Saved {
    terms: [Option<Term>; 2],
    out: Var,
}

struct Term {
    var: Var,
    /// Kept only if the coefficient is learned.
    x: Option<Kept>,
    coefficient: Coefficient,
}

impl Graph {
    /// `a + b`.
    pub fn add(&self, a: &Tensor, b: &Tensor) -> Tensor {
        self.mix(a, Scalar::Constant(1.0), b, Scalar::Constant(1.0))
    }

    /// `factor·x`.
    pub fn scale(&self, x: &Tensor, factor: f32) -> Tensor {
        self.combine(x, Scalar::Constant(factor), None)
    }

    /// `alpha·a + beta·b`, for two tensors of one shape.
    pub fn mix(&self, a: &Tensor, alpha: Scalar, b: &Tensor, beta: Scalar) -> Tensor {
        assert_eq!(a.shape(), b.shape(), "linear combination");
        self.combine(a, alpha, Some((b, beta)))
    }

    fn combine(&self, a: &Tensor, alpha: Scalar, b: Option<(&Tensor, Scalar)>) -> Tensor {
        let mut y = sum(
            self.device(),
            (a, alpha.argument()),
            b.map(|(b, beta)| (b, beta.argument())),
        );
        self.record(&mut y, |tape, out| {
            Record::Mix(Saved {
                terms: [
                    Some(Term::new(tape, a, alpha)),
                    b.map(|(b, beta)| Term::new(tape, b, beta)),
                ],
                out,
            })
        });
        y
    }
}

fn sum(device: &Device, (a, alpha): (&Tensor, ScalarArg), b: Option<(&Tensor, ScalarArg)>) -> Tensor {
    let y = device.activation(a.shape());
    device.count(3.0 * a.len() as f64, 3.0 * bytes(a));
    device.launch("mix", |backend| {
        let b = b.map(|(b, beta)| (b.buffer(), beta));
        backend.mix(a.buffer(), alpha, b, y.buffer(), false);
    });
    y
}

impl Saved {
    /// Both operands, where they are held: coefficients that are constant need none.
    pub(crate) fn sources(&self) -> Option<(&Kept, Option<&Kept>)> {
        let [Some(a), Some(b)] = &self.terms else { return None };
        Some((a.x.as_ref()?, Some(b.x.as_ref()?)))
    }

    /// The linear combination.
    pub(crate) fn again(&self, a: &Tensor, b: Option<&Tensor>) -> Tensor {
        let argument = |term: usize| self.terms[term].as_ref().expect("two terms").coefficient.argument();
        sum(a.device(), (a, argument(0)), b.map(|b| (b, argument(1))))
    }

    pub(crate) fn backward(self, tape: &mut Tape) {
        let Some(dy) = tape.take(self.out) else {
            return;
        };
        for term in self.terms.into_iter().flatten() {
            term.backward(&dy, tape);
        }
    }
}

impl Term {
    fn new(tape: &Tape, x: &Tensor, scalar: Scalar) -> Term {
        let coefficient = scalar.to_owned();
        Term {
            var: x.var,
            x: coefficient.parameter.is_some().then(|| tape.keep(x)),
            coefficient,
        }
    }

    fn backward(self, dy: &Tensor, tape: &mut Tape) {
        let device = dy.device();
        if self.coefficient.is_one() {
            tape.give(self.var, dy);
        } else if let Some((dx, accumulate)) = tape.slot(self.var, dy) {
            device.count(2.0 * dy.len() as f64, 3.0 * bytes(dy));
            device.launch("mix_backward", |b| {
                b.mix(dy.buffer(), self.coefficient.argument(), None, dx.buffer(), accumulate);
            });
        }
        if let (Some((parameter, index)), Some(x)) = (&self.coefficient.parameter, self.x) {
            let x = tape.operand(x);
            let dscalar = parameter.grad_to_add();
            device.count(2.0 * dy.len() as f64, 2.0 * bytes(dy));
            device.launch("scalar_gradient", |b| {
                let factor = self.coefficient.factor;
                b.scalar_gradient(x.buffer(), dy.buffer(), factor, dscalar.buffer(), *index);
            });
        }
    }
}

impl Scalar<'_> {
    fn to_owned(self) -> Coefficient {
        match self {
            Scalar::Constant(factor) => Coefficient {
                factor,
                parameter: None,
            },
            Scalar::Learned {
                factor,
                parameter,
                index,
            } => Coefficient {
                factor,
                parameter: Some((parameter.clone(), index)),
            },
        }
    }

    fn argument(self) -> ScalarArg {
        match self {
            Scalar::Constant(factor) => ScalarArg {
                factor,
                parameter: None,
            },
            Scalar::Learned {
                factor,
                parameter,
                index,
            } => ScalarArg {
                factor,
                parameter: Some((parameter.value().buffer(), index)),
            },
        }
    }
}

impl Coefficient {
    fn is_one(&self) -> bool {
        self.parameter.is_none() && self.factor == 1.0
    }

    fn argument(&self) -> ScalarArg {
        ScalarArg {
            factor: self.factor,
            parameter: self.parameter.as_ref().map(|(p, index)| (p.value().buffer(), *index)),
        }
    }
}
