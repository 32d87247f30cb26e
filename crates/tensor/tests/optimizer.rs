//! What optimizers need of a device: the CPU against the oracle, and the oracle against properties.

mod common;

use common::{Random, cpu, cpu_levels, norm, relative_error, tolerance};
use ferrochat_tensor::{AdamwStep, DType, Device, NormRule, Tensor};

const SHAPES: [[usize; 2]; 9] = [
    [1, 1],
    [3, 5],
    [1, 300],
    [300, 1],
    [64, 64],
    [65, 129],
    [129, 63],
    [257, 100],
    [33, 1025],
];

/// Runs `operation` on the oracle and on every level with one and two threads and compares
/// what it returns. `roundings`: to the compute type, for each result.
fn check(
    what: &str,
    longest_sum: usize,
    roundings: &[usize],
    operation: impl Fn(&Device, &dyn Fn(&[f32]) -> Vec<f32>) -> Vec<Tensor>,
) {
    let mut complaints = Vec::new();
    for (kernel, dtype) in cpu_levels() {
        // Both devices are given numbers that the compute type holds.
        let round = |values: &[f32]| -> Vec<f32> {
            match dtype {
                DType::Bf16 => values.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect(),
                _ => values.to_vec(),
            }
        };
        let run = |device: &Device| -> Vec<Vec<f64>> {
            let results = operation(device, &round);
            results.iter().map(Tensor::download_f64).collect()
        };
        let reference = run(&Device::oracle());
        let on = |threads| run(&cpu(kernel, dtype, threads).expect("a level that was found"));
        let ours = on(1);
        if ours != on(2) {
            complaints.push(format!("{kernel} {}: other bits with two threads", dtype.name()));
        }
        assert_eq!(roundings.len(), reference.len());
        for (i, (ours, wanted)) in ours.iter().zip(&reference).enumerate() {
            let allowed = tolerance(dtype, longest_sum, roundings[i]);
            let error = relative_error(ours, wanted);
            if error > allowed {
                let dtype = dtype.name();
                complaints.push(format!(
                    "{kernel} {dtype}: result {i} is off by {error:.2e}, allowed {allowed:.2e}"
                ));
            }
        }
    }
    assert!(complaints.is_empty(), "{what}\n{}", complaints.join("\n"));
}

fn values(seed: u64, shape: [usize; 2], scale: f32) -> Vec<f32> {
    Random::new(seed).values(shape[0] * shape[1], scale)
}

#[test]
fn adamw() {
    for shape in SHAPES {
        for (beta1, beta2, weight_decay) in [(0.8, 0.95, 0.01), (0.8, 0.995, 0.0), (0.96, 0.95, 0.05)] {
            check(&format!("adamw {shape:?}"), 1, &[0, 0, 0], |device, _| {
                let value = device.master_tensor(&values(1, shape, 1.0), shape);
                let (first, second) = (device.master(shape), device.master(shape));
                first.fill(0.0);
                second.fill(0.0);
                for step in 1..=3 {
                    let mut grad = values(1 + u64::from(step), shape, 10f32.powi(-(step as i32)));
                    // An embedding's row that was not looked up.
                    grad.iter_mut().skip(1).step_by(3).for_each(|grad| *grad = 0.0);
                    let grad = device.master_tensor(&grad, shape);
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
}

/// The change in the values, not only the values, is right: small rates, many steps done before.
#[test]
fn adamw_changes() {
    let shape = [7, 13];
    check("change by adamw", 1, &[0], |device, _| {
        let value = device.master(shape);
        value.fill(0.0);
        let first = device.master_tensor(&values(5, shape, 1e-3), shape);
        let second = device.master_tensor(&values(6, shape, 1e-3).iter().map(|x| x * x).collect::<Vec<_>>(), shape);
        let grad = device.master_tensor(&values(7, shape, 1e-3), shape);
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

#[test]
fn nesterov() {
    for shape in SHAPES {
        check(&format!("nesterov {shape:?}"), 1, &[1, 1, 0], |device, _| {
            let momentum = device.master(shape);
            momentum.fill(0.0);
            let mut results = Vec::new();
            for (seed, mu) in [(11, 0.85), (12, 0.97)] {
                let grad = device.master_tensor(&values(seed, shape, 0.1), shape);
                results.push(device.nesterov(&grad, &momentum, mu));
            }
            results.push(momentum);
            results
        });
    }
}

#[test]
fn equilibrate_rows() {
    for shape in SHAPES {
        let len = shape[0] * shape[1];
        check(&format!("equilibrate_rows {shape:?}"), len, &[1], |device, round| {
            // Rows of very different sizes, one of them zero.
            let mut x = values(13, shape, 1.0);
            for (i, row) in x.chunks_mut(shape[1]).enumerate() {
                let size = if i == 2 { 0.0 } else { 10f32.powi(i as i32 % 7 - 3) };
                for x in row {
                    *x *= size;
                }
            }
            let x = device.tensor(&round(&x), shape);
            device.equilibrate_rows(&x);
            vec![x]
        });
    }
}

#[test]
fn normalize() {
    for shape in SHAPES {
        let len = shape[0] * shape[1];
        let rules = [
            NormRule::Divide {
                factor: 1.01,
                eps: 1e-6,
            },
            NormRule::Snap { target: 7.5, eps: 1e-6 },
        ];
        for rule in rules {
            for scale in [3.0, 1e-5] {
                check(&format!("{rule:?} {shape:?}"), len, &[1, 0], |device, round| {
                    let x = device.tensor(&round(&values(14, shape, scale)), shape);
                    let master = device.master_tensor(&values(15, shape, scale), shape);
                    device.normalize(&x, rule);
                    device.normalize(&master, rule);
                    vec![x, master]
                });
            }
        }
    }
}

#[test]
fn zeros_stay_zeros() {
    let mut devices = vec![Device::oracle()];
    devices.extend(
        cpu_levels()
            .into_iter()
            .filter_map(|(kernel, dtype)| cpu(kernel, dtype, 2)),
    );
    for device in devices {
        for shape in [[3, 5], [5, 3]] {
            let x = device.activation(shape);
            let master = device.master(shape);
            let second = device.master([5]);
            for tensor in [&x, &master, &second] {
                tensor.fill(0.0);
            }
            device.equilibrate_rows(&x);
            device.normalize(
                &x,
                NormRule::Divide {
                    factor: 1.01,
                    eps: 1e-6,
                },
            );
            device.normalize(&master, NormRule::Snap { target: 2.0, eps: 1e-6 });
            device.normuon(&master, &second, 0.9);
            for tensor in [&x, &master, &second] {
                assert!(tensor.download().iter().all(|&x| x == 0.0), "{}", device.name());
            }
        }
    }
}

#[test]
fn matmul() {
    for [rows, cols, inner] in [
        [1, 1, 1],
        [3, 5, 7],
        [64, 64, 64],
        [63, 65, 127],
        [129, 63, 65],
        [1, 65, 300],
        [65, 1, 1030],
        [170, 270, 33],
    ] {
        for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
            for beta in [None, Some(-22.5)] {
                let what = format!("matmul {rows}×{inner}×{cols}, {transpose_a} {transpose_b} {beta:?}");
                check(&what, inner, &[1], |device, round| {
                    let stored = |[m, n]: [usize; 2], transpose| if transpose { [n, m] } else { [m, n] };
                    let tensor = |seed, shape| device.tensor(&round(&values(seed, shape, 1.0)), shape);
                    let a = tensor(16, stored([rows, inner], transpose_a));
                    let b = tensor(17, stored([inner, cols], transpose_b));
                    let addend = tensor(18, [rows, cols]);
                    let addend = beta.map(|beta| (&addend, beta));
                    vec![device.matmul((&a, transpose_a), (&b, transpose_b), 0.75, addend)]
                });
            }
        }
    }
}

/// A product of a matrix with itself, as in Polar Express.
#[test]
fn gram_matrix_is_symmetric() {
    for (kernel, dtype) in cpu_levels() {
        let device = cpu(kernel, dtype, 2).expect("a level that was found");
        let shape = [65, 130];
        let x = device.tensor(&values(19, shape, 1.0), shape);
        let gram = device.matmul((&x, false), (&x, true), 1.0, None).download();
        for i in 0..65 {
            for j in 0..i {
                assert_eq!(gram[i * 65 + j], gram[j * 65 + i], "{}", device.name());
            }
        }
    }
}

#[test]
fn normuon() {
    for shape in SHAPES {
        let len = shape[0] * shape[1];
        check(&format!("normuon {shape:?}"), len, &[0, 0, 0], |device, _| {
            let second = device.master([shape[0].max(shape[1])]);
            second.fill(0.0);
            let mut results = Vec::new();
            for seed in [20, 21] {
                let mut x = values(seed, shape, 0.3);
                // Rows and columns of different sizes.
                for (i, x) in x.iter_mut().enumerate() {
                    *x *= 1.0 + (i / shape[1] % 5) as f32 + (i % shape[1] % 3) as f32;
                }
                let x = device.master_tensor(&x, shape);
                device.normuon(&x, &second, 0.9);
                results.push(x);
            }
            results.push(second);
            results
        });
    }
}

/// On the oracle: the norm is kept, and what differed in size becomes alike.
#[test]
fn normuon_keeps_the_norm() {
    let device = Device::oracle();
    for shape in [[7, 5], [5, 7], [6, 6]] {
        let by_row = shape[0] >= shape[1];
        let group = |i: usize| if by_row { i / shape[1] } else { i % shape[1] };
        let mut x = values(22, shape, 1.0);
        x.iter_mut().enumerate().for_each(|(i, x)| *x *= 1.0 + group(i) as f32);
        let tensor = device.master_tensor(&x, shape);
        let before = norm(&tensor.download_f64());
        let second = device.master([7.min(shape[0].max(shape[1]))]);
        second.fill(0.0);
        device.normuon(&tensor, &second, 0.9);
        let after = tensor.download_f64();
        assert!((norm(&after) / before - 1.0).abs() < 1e-12);
        let size = |g: usize| -> f64 { (0..x.len()).filter(|&i| group(i) == g).map(|i| after[i].powi(2)).sum() };
        assert!(
            (size(0) / size(4) - 1.0).abs() < 1e-12,
            "one step from zero: equal sizes"
        );
    }
}

#[test]
fn cautious_update() {
    for shape in SHAPES {
        check(&format!("cautious_update {shape:?}"), 1, &[0], |device, _| {
            let mut w = values(23, shape, 1.0);
            let mut x = values(24, shape, 1.0);
            // A product of zero counts as agreement.
            w.iter_mut().step_by(7).for_each(|w| *w = 0.0);
            x.iter_mut().skip(1).step_by(5).for_each(|x| *x = 0.0);
            let (w, x) = (device.master_tensor(&w, shape), device.master_tensor(&x, shape));
            device.cautious_update(&w, &x, 0.02, 0.28);
            vec![w]
        });
    }
}
