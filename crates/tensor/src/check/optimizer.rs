//! Checks of what optimizers need: updates, norms, plain products.

use super::compare::Allowance::Exact;
use super::procedure::{Procedures, within};
use super::random::Random;
use crate::ops::optimizer::{AdamwStep, NormRule};

/// The rules of normalisation that Muon uses.
const RULES: [NormRule; 2] = [
    NormRule::Divide {
        factor: 1.01,
        eps: 1e-6,
    },
    NormRule::Snap { target: 7.5, eps: 1e-6 },
];

impl Procedures {
    fn seeds<const N: usize>(&mut self, shape: [usize; 2], scales: [f32; N]) -> [Vec<f32>; N] {
        scales.map(|scale| self.random.values(shape[0] * shape[1], scale))
    }

    /// Three steps of AdamW from nothing, every third gradient zero, as of rows of an embedding that were not looked up.
    pub fn adamw(&mut self, shape: [usize; 2]) {
        for (beta1, beta2, weight_decay) in [(0.8, 0.95, 0.01), (0.8, 0.995, 0.0), (0.96, 0.95, 0.05)] {
            let [start] = self.seeds(shape, [1.0]);
            let mut grads = self.seeds(shape, [0.1, 0.01, 0.001]);
            for grad in &mut grads {
                grad.iter_mut().skip(1).step_by(3).for_each(|grad| *grad = 0.0);
            }
            let name = format!("adamw {shape:?}, β {beta1} {beta2}, decay {weight_decay}");
            let one = within(1, 0);
            let results = [("value", one), ("first moment", one), ("second moment", one)];
            self.push("adamw", name, &results, move |device, _| {
                let value = device.master_tensor(&start, shape);
                let (first, second) = (device.master(shape), device.master(shape));
                first.fill(0.0);
                second.fill(0.0);
                for (step, grad) in (1..).zip(&grads) {
                    let grad = device.master_tensor(grad, shape);
                    let step = AdamwStep {
                        lr: 0.02,
                        beta1,
                        beta2,
                        eps: 1e-10,
                        weight_decay,
                        step,
                    };
                    device.adamw(&value, &grad, &first, &second, &step);
                }
                vec![value, first, second]
            });
        }
    }

    /// The change in the values, not only the values, is right: small rates, many steps done before.
    pub fn adamw_change(&mut self, shape: [usize; 2]) {
        let [first, second, grad] = self.seeds(shape, [1e-3; 3]);
        let second: Vec<f32> = second.iter().map(|x| x * x).collect();
        let name = format!("change by adamw {shape:?}");
        self.push("adamw", name, &[("change", within(1, 0))], move |device, _| {
            let value = device.master(shape);
            value.fill(0.0);
            let [first, second, grad] = [&first, &second, &grad].map(|x| device.master_tensor(x, shape));
            let step = AdamwStep {
                lr: 3e-5,
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                weight_decay: 0.1,
                step: 1234,
            };
            device.adamw(&value, &grad, &first, &second, &step);
            vec![value]
        });
    }

    /// Two steps of momentum from nothing.
    pub fn nesterov(&mut self, shape: [usize; 2]) {
        let grads = self.seeds(shape, [0.1; 2]);
        let results = [
            ("first result", within(1, 1)),
            ("second result", within(1, 1)),
            ("momentum", within(1, 0)),
        ];
        self.push("nesterov", format!("nesterov {shape:?}"), &results, move |device, _| {
            let momentum = device.master(shape);
            momentum.fill(0.0);
            let mut results = Vec::new();
            for (grad, mu) in grads.iter().zip([0.85, 0.97]) {
                let grad = device.master_tensor(grad, shape);
                let result = device.activation(shape);
                device.nesterov(&grad, &momentum, mu, &result);
                results.push(result);
            }
            results.push(momentum);
            results
        });
    }

    /// Rows of very different sizes, one of them zero.
    pub fn equilibrate_rows(&mut self, shape: [usize; 2]) {
        let [mut x] = self.seeds(shape, [1.0]);
        for (i, row) in x.chunks_mut(shape[1]).enumerate() {
            let size = if i == 2 { 0.0 } else { 10f32.powi(i as i32 % 7 - 3) };
            for x in row {
                *x *= size;
            }
        }
        let name = format!("equilibrate_rows {shape:?}");
        let results = [("result", within(x.len(), 1))];
        self.push("equilibrate_rows", name, &results, move |device, rounding| {
            let x = rounding.tensor(device, &x, shape);
            device.equilibrate_rows(&x);
            vec![x]
        });
    }

    /// Both rules, on both element types, on large values and on some near eps.
    pub fn normalize(&mut self, shape: [usize; 2]) {
        for rule in RULES {
            for scale in [3.0, 1e-5] {
                let [x, master] = self.seeds(shape, [scale; 2]);
                let name = format!("normalize {shape:?} of size {scale:e}, {rule:?}");
                let len = x.len();
                let results = [("result", within(len, 1)), ("result of master type", within(len, 0))];
                self.push("normalize", name, &results, move |device, rounding| {
                    let x = rounding.tensor(device, &x, shape);
                    let master = device.master_tensor(&master, shape);
                    device.normalize(&x, rule);
                    device.normalize(&master, rule);
                    vec![x, master]
                });
            }
        }
    }

    /// Two steps of variance reduction from nothing, on rows and columns of different sizes.
    pub fn normuon(&mut self, shape: [usize; 2]) {
        let mut inputs = self.seeds(shape, [0.3; 2]);
        for x in inputs.iter_mut().flat_map(|x| x.iter_mut().enumerate()) {
            let (i, x) = x;
            *x *= 1.0 + (i / shape[1] % 5) as f32 + (i % shape[1] % 3) as f32;
        }
        let sum = within(shape[0] * shape[1], 0);
        let results = [("first result", sum), ("second result", sum), ("second moment", sum)];
        self.push("normuon", format!("normuon {shape:?}"), &results, move |device, _| {
            let second = device.master([shape[0].max(shape[1])]);
            second.fill(0.0);
            let mut results = Vec::new();
            for x in &inputs {
                let x = device.master_tensor(x, shape);
                device.normuon(&x, &second, 0.9);
                results.push(x);
            }
            results.push(second);
            results
        });
    }

    /// A product of zero counts as agreement of the signs.
    pub fn cautious_update(&mut self, shape: [usize; 2]) {
        let [mut w, mut x] = self.seeds(shape, [1.0; 2]);
        w.iter_mut().step_by(7).for_each(|w| *w = 0.0);
        x.iter_mut().skip(1).step_by(5).for_each(|x| *x = 0.0);
        let name = format!("cautious_update {shape:?}");
        // Alone and as a change: the update is small beside the weights.
        let results = [("weights", within(1, 0)), ("change of zero weights", within(1, 0))];
        self.push("cautious_update", name, &results, move |device, _| {
            let (w, x) = (device.master_tensor(&w, shape), device.master_tensor(&x, shape));
            device.cautious_update(&w, &x, 0.02, 0.28);
            let change = device.master(shape);
            change.fill(0.0);
            device.cautious_update(&change, &x, 0.02, 0.28);
            vec![w, change]
        });
    }

    /// Whatever divides by a norm leaves zeros as they are.
    pub fn zeros(&mut self, shape: [usize; 2]) {
        let results = [
            ("equilibrated", Exact),
            ("normalized", Exact),
            ("snapped", Exact),
            ("reduced", Exact),
            ("second moment", Exact),
        ];
        self.push("normalize", format!("zeros {shape:?}"), &results, move |device, _| {
            let (equilibrated, normalized) = (device.activation(shape), device.activation(shape));
            let (snapped, reduced) = (device.master(shape), device.master(shape));
            let second = device.master([shape[0].max(shape[1])]);
            for tensor in [&equilibrated, &normalized, &snapped, &reduced, &second] {
                tensor.fill(0.0);
            }
            device.equilibrate_rows(&equilibrated);
            device.normalize(&normalized, RULES[0]);
            device.normalize(&snapped, RULES[1]);
            device.normuon(&reduced, &second, 0.9);
            vec![equilibrated, normalized, snapped, reduced, second]
        });
    }

    /// All transpositions, with and without an addend, for a batch of matrices.
    pub fn matmul(&mut self, batch: usize, rows: usize, cols: usize, inner: usize) {
        let seed = self.random.bits();
        for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
            for beta in [None, Some(-22.5)] {
                let name = format!(
                    "matmul {batch} of {rows}×{inner}×{cols}{}{}{}",
                    if transpose_a { ", aᵀ" } else { "" },
                    if transpose_b { ", bᵀ" } else { "" },
                    if beta.is_some() { ", addend" } else { "" }
                );
                let results = [("product", within(inner, 1))];
                self.push("matmul", name, &results, move |device, rounding| {
                    let mut random = Random::new(seed);
                    let mut tensor = |m: usize, n: usize, transpose| {
                        let values = random.values(batch * m * n, 1.0);
                        let shape = if transpose { [batch, n, m] } else { [batch, m, n] };
                        rounding.tensor(device, &values, shape)
                    };
                    let a = tensor(rows, inner, transpose_a);
                    let b = tensor(inner, cols, transpose_b);
                    let addend = tensor(rows, cols, false);
                    let addend = beta.map(|beta| (&addend, beta));
                    vec![device.matmul((&a, transpose_a), (&b, transpose_b), 0.75, addend)]
                });
            }
        }
    }

    /// Matrices `[batch, rows, columns]` with themselves, and the results with themselves beside their own multiple: a step
    /// of Polar Express.
    pub fn gram(&mut self, shape @ [batch, rows, cols]: [usize; 3]) {
        let x = self.random.values(batch * rows * cols, 0.1);
        for transposed in [false, true] {
            let size = if transposed { cols } else { rows };
            let name = format!(
                "gram matrix of {shape:?}{}",
                if transposed { ", transposed" } else { "" }
            );
            let results = [
                ("gram matrix", within(rows.max(cols), 1)),
                ("polynomial", within(rows.max(cols) + size, 4)),
            ];
            let x = x.clone();
            self.push("matmul", name, &results, move |device, rounding| {
                let x = rounding.tensor(device, &x, shape);
                let gram = device.matmul((&x, transposed), (&x, !transposed), 1.0, None);
                let polynomial = device.matmul((&gram, false), (&gram, true), 2.0, Some((&gram, -3.0)));
                vec![gram, polynomial]
            });
        }
    }
}
