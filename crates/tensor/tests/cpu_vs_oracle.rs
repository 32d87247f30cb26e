//! The CPU against the oracle: every operation forward and backward, every kernel level and
//! element type of this machine, the same bits for any number of threads.
//!
//! Both see the same numbers: inputs are rounded to the element type under test first.
//!
//! Tolerances are those of [`common::tolerance`]: one rounding for a result in the compute type and
//! those inside an operation that [`Case::inner_roundings`] counts. Single elements may be off by a few times
//! that of their own size and of the root mean square: a wrong element at the edge of a tile does not hide in a norm.

mod common;

use common::cases::{AttentionSizes, Case, Cases, NllSizes};
use common::step::Network;
use common::{Random, cpu, cpu_levels, norm, relative_error, rounded, tolerance};
use ferrochat_tensor::{DType, Device, Graph, Param, Shape, Tensor};

/// A result or gradient of a case.
#[derive(PartialEq)]
struct Output {
    what: String,
    values: Vec<f64>,
    /// Of master type, so not rounded to the compute type.
    is_master: bool,
}

/// All results and gradients of a case on a device.
fn run(device: &Device, case: &Case, input_dtype: DType) -> Vec<Output> {
    let round = |values: &[f32]| -> Vec<f32> {
        match input_dtype {
            DType::Bf16 => values.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect(),
            _ => values.to_vec(),
        }
    };
    let graph = Graph::training(device);
    let leaf = |input: &common::cases::Input| {
        let values = round(&input.values);
        let tensor = device.tensor(&values, input.shape);
        assert_eq!(tensor.download(), values, "upload rounds to the nearest");
        graph.leaf(&tensor)
    };
    let leaves: Vec<Tensor> = case.inputs.iter().map(leaf).collect();
    let params: Vec<Param> = (case.params.iter())
        .map(|input| {
            let param = Param::new(device, "parameter", input.shape);
            param.upload(&round(&input.values));
            param
        })
        .collect();
    let outputs = (case.apply)(&graph, &leaves, &params);
    let mut collected = Vec::new();
    let mut collect = |what: String, tensor: &Tensor| {
        collected.push(Output {
            what,
            values: tensor.download_f64(),
            is_master: tensor.dtype() == device.master_dtype() && input_dtype == DType::Bf16,
        });
    };
    for (i, output) in outputs.iter().enumerate() {
        collect(format!("result {i}"), output);
    }
    let seed = if case.is_loss {
        device.master_tensor(&[1.0], [1])
    } else {
        let values = Random::new(77).values(outputs[0].len(), 1.0);
        device.tensor(&round(&values), outputs[0].shape())
    };
    let grads = graph.gradients(&outputs[0], &seed, &leaves.iter().collect::<Vec<_>>());
    for (i, grad) in grads.iter().enumerate() {
        collect(format!("gradient of input {i}"), grad.as_ref().expect("a gradient"));
    }
    for (i, param) in params.iter().enumerate() {
        let grad = param.grad().expect("a gradient");
        collect(format!("gradient of parameter {i}"), &grad);
    }
    collected
}

/// Compares a result; returns a sentence if it is off.
fn complaint(ours: &[f64], reference: &[f64], tolerance: f64) -> Option<String> {
    let error = relative_error(ours, reference);
    if error > tolerance {
        return Some(format!("is off by {error:.2e}, allowed {tolerance:.2e}"));
    }
    let root_mean_square = norm(reference) / (reference.len() as f64).sqrt();
    for (i, (a, b)) in ours.iter().zip(reference).enumerate() {
        let allowed = 2.0 * tolerance * b.abs() + 8.0 * tolerance * root_mean_square;
        if (a - b).abs() > allowed {
            return Some(format!("element {i} is {a:e} instead of {b:e}"));
        }
    }
    None
}

/// Runs the cases on the oracle and on every level with one and two threads; panics with all that is wrong.
fn check_all(cases: &Cases) {
    let levels = cpu_levels();
    let new = |(kernel, dtype), threads| cpu(kernel, dtype, threads).expect("a level that was found");
    // One device goes through all cases with two threads, and finds in its memory and scratch what the
    // cases before left there; the other is fresh for each case.
    let used: Vec<Device> = levels.iter().map(|&level| new(level, 2)).collect();
    let mut complaints = Vec::new();
    for dtype in [DType::F32, DType::Bf16] {
        for case in &cases.list {
            let reference = run(&Device::oracle(), case, dtype);
            for (&level, used) in levels.iter().zip(&used).filter(|(level, _)| level.1 == dtype) {
                assert_eq!(used.compute_dtype(), dtype);
                let ours = run(&new(level, 1), case, dtype);
                let name = format!("{} {}: {}", level.0, dtype.name(), case.name);
                if ours != run(used, case, dtype) {
                    complaints.push(format!("{name}: other bits with two threads and used memory"));
                }
                for (i, (ours, wanted)) in ours.iter().zip(&reference).enumerate() {
                    let roundings = case.inner_roundings + usize::from(!ours.is_master);
                    let mut allowed = tolerance(dtype, case.longest_sum, roundings);
                    if case.is_loss && i < 2 {
                        allowed = tolerance(dtype, case.longest_sum, 0);
                    }
                    // Positive and negative weights cancel in the loss: measure it by its terms.
                    if case.is_loss && i == 0 {
                        allowed *= norm(&reference[1].values) / wanted.values[0].abs();
                    }
                    if let Some(complaint) = complaint(&ours.values, &wanted.values, allowed) {
                        complaints.push(format!("{name}: {} {complaint}", ours.what));
                    }
                }
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn embedding() {
    let mut cases = Cases::new(21);
    cases.embedding(3, 65, 7, 65);
    cases.embedding(2, 127, 300, 24);
    cases.embedding(1, 1, 1, 1);
    check_all(&cases);
}

#[test]
fn norms() {
    let mut cases = Cases::new(22);
    for (rows, cols) in [(1, 3), (3, 5), (63, 64), (65, 127), (129, 65), (3, 4099)] {
        cases.rms_norm(rows, cols);
        cases.rms_norm_of_small_rows(rows, cols);
        cases.layer_norm(rows, cols);
    }
    check_all(&cases);
}

#[test]
fn linear() {
    let mut cases = Cases::new(23);
    let sizes = [
        (1, 1, 1),
        (2, 3, 5),
        (1, 64, 65),
        (63, 64, 65),
        (64, 64, 64),
        (65, 127, 129),
        (129, 65, 63),
        (7, 1000, 33),
        (5, 33, 1025),
        (1030, 17, 3),
        (170, 260, 300),
    ];
    for (rows, inputs, outputs) in sizes {
        cases.linear(rows, inputs, outputs);
    }
    cases.linear_shared(65, 63, 13);
    check_all(&cases);
}

#[test]
fn rotary_qk_norm() {
    let mut cases = Cases::new(24);
    for (batch, time, heads, head_dim) in [(1, 1, 1, 2), (2, 65, 3, 12), (1, 63, 2, 64), (3, 17, 2, 128)] {
        cases.rotary(batch, time, heads, head_dim);
    }
    check_all(&cases);
}

#[test]
fn attention() {
    let mut cases = Cases::new(25);
    let sizes = [
        (1, 1, 1, 1, 12, usize::MAX),
        (2, 7, 6, 2, 12, usize::MAX),
        (1, 65, 4, 1, 12, 13),
        (2, 63, 2, 2, 64, usize::MAX),
        (1, 64, 4, 2, 64, 32),
        (1, 129, 2, 1, 64, 64),
        (1, 127, 2, 2, 128, usize::MAX),
        (1, 130, 3, 1, 128, 1),
        (2, 33, 2, 1, 7, 0),
        (1, 257, 2, 1, 16, 100),
    ];
    for (batch, time, heads, kv_heads, head_dim, window) in sizes {
        // Over a window of 0 queries and keys have no gradient: not for relative errors.
        if window > 0 && time > 1 {
            cases.attention(AttentionSizes {
                batch,
                time,
                heads,
                kv_heads,
                head_dim,
                window,
            });
        }
    }
    cases.attention_to_itself(65, 12);
    check_all(&cases);
}

/// One visible key: the value comes back as it is, queries and keys get next to no gradient.
#[test]
fn attention_to_one_key() {
    for (kernel, dtype) in cpu_levels() {
        let device = cpu(kernel, dtype, 2).expect("a level that was found");
        for (time, window) in [(1, usize::MAX), (33, 0)] {
            let mut random = Random::new(26);
            let mut tensor = |heads| {
                let shape = [2, time, heads, 12];
                device.tensor(&random.values(shape.iter().product(), 1.0), shape)
            };
            let (q, k, v, seed) = (tensor(2), tensor(1), tensor(1), tensor(2));
            let graph = Graph::training(&device);
            let leaves = [&q, &k, &v].map(|x| graph.leaf(x));
            let y = graph.attention(&leaves[0], &leaves[1], &leaves[2], window);
            for (heads, v) in y.download().chunks(24).zip(v.download().chunks(12)) {
                assert_eq!(heads[..12], *v, "{}", device.name());
                assert_eq!(heads[12..], *v, "{}", device.name());
            }
            let grads = graph.gradients(&y, &seed, &leaves.each_ref());
            for (grad, bound) in grads.iter().take(2).zip([1e-5, 1e-5]) {
                let grad = grad.as_ref().expect("a gradient").download();
                let largest = grad.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                assert!(largest <= bound, "{}: {largest:e}", device.name());
            }
        }
    }
}

#[test]
fn elementwise() {
    let mut cases = Cases::new(27);
    for (rows, cols) in [(1, 1), (3, 5), (65, 129), (63, 1024)] {
        cases.activations(rows, cols);
        cases.multiply(rows, cols);
        cases.mixes(rows, cols);
    }
    cases.multiply_shared(65, 63);
    check_all(&cases);
}

#[test]
fn gates() {
    let mut cases = Cases::new(28);
    cases.value_gate(1, 1, 1, 1, 1);
    cases.value_gate(33, 3, 12, 65, 12);
    cases.value_gate(65, 2, 64, 128, 12);
    cases.value_gate(7, 2, 128, 127, 127);
    cases.smear(1, 2, 1, 1);
    cases.smear(3, 43, 65, 24);
    cases.smear(2, 129, 127, 24);
    cases.smear(5, 2, 33, 33);
    check_all(&cases);
}

#[test]
fn weighted_nll() {
    let mut cases = Cases::new(29);
    for softcap in [None, Some(15.0)] {
        for (batch, time, channels, vocab, padded_vocab) in [
            (1, 1, 3, 5, 5),
            (3, 7, 13, 19, 32),
            (2, 65, 64, 129, 192),
            (1, 129, 65, 127, 127),
            (5, 63, 33, 1000, 1024),
        ] {
            cases.nll(NllSizes {
                batch,
                time,
                channels,
                vocab,
                padded_vocab,
                softcap,
            });
        }
    }
    check_all(&cases);
}

/// Each row of a product has the same bits whatever rows stand beside it: decoding one
/// token gives what training computed.
#[test]
fn rows_do_not_depend_on_each_other() {
    for (kernel, dtype) in cpu_levels() {
        let device = cpu(kernel, dtype, 2).expect("a level that was found");
        let mut random = Random::new(30);
        let (rows, inputs, outputs) = (67, 130, 65);
        let values = rounded(&device, &random.values(rows * inputs, 1.0));
        let weight = Param::new(&device, "weight", [outputs, inputs]);
        weight.upload(&random.values(outputs * inputs, 1.0));
        let graph = Graph::inference(&device);
        let all = graph
            .linear(&device.tensor(&values, [rows, inputs]), &weight)
            .download();
        for (first, last) in [(0, 1), (66, 67), (3, 20)] {
            let part = device.tensor(&values[first * inputs..last * inputs], [last - first, inputs]);
            let part = graph.linear(&part, &weight).download();
            assert_eq!(part, all[first * outputs..last * outputs], "{}", device.name());
        }
    }
}

/// A whole forward and backward pass: loss and gradients like the oracle's.
#[test]
fn network_gradients() {
    let oracle = Device::oracle();
    let (loss, reference) = Network::new(&oracle, 3, 37).gradients();
    for (kernel, dtype) in cpu_levels() {
        let device = cpu(kernel, dtype, 2).expect("a level that was found");
        let (our_loss, gradients) = Network::new(&device, 3, 37).gradients();
        // Thirty operations deep; parameters are not rounded to bf16 for the oracle.
        let (allowed, allowed_loss) = match dtype {
            DType::Bf16 => (0.04, 1e-3),
            _ => (1e-5, 1e-6),
        };
        let name = device.name();
        assert!(
            (our_loss / loss - 1.0).abs() < allowed_loss,
            "{name}: loss {our_loss} for {loss}"
        );
        for ((parameter, ours), (_, wanted)) in gradients.iter().zip(&reference) {
            let error = relative_error(ours, wanted);
            assert!(error < allowed, "{name}: gradient of {parameter} is off by {error:.2e}");
        }
    }
}

/// After three steps of forward, backward and optimizer: the same bits for 1, 2 and 3 threads, and
/// in a second run.
#[test]
fn network_bits() {
    for (kernel, dtype) in cpu_levels() {
        let train = |threads| {
            let device = cpu(kernel, dtype, threads).expect("a level that was found");
            let mut network = Network::new(&device, 3, 37);
            let losses: Vec<f32> = (0..3).map(|_| network.train().download()[0]).collect();
            (losses, network.parameters())
        };
        let first = train(1);
        assert!(first.0[2] < first.0[0], "the loss falls: {:?}", first.0);
        for threads in [1, 2, 3] {
            assert!(train(threads) == first, "{kernel} {}: {threads} threads", dtype.name());
        }
    }
}

/// A compute copy is made anew once its parameter has changed, for the forward product and for the backward.
#[test]
fn compute_copies_follow_their_parameter() {
    let sizes = NllSizes {
        batch: 1,
        time: 19,
        channels: 33,
        vocab: 65,
        padded_vocab: 65,
        softcap: None,
    };
    for (kernel, dtype) in cpu_levels() {
        let mut cases = Cases::new(32);
        cases.linear(17, 33, 65);
        cases.nll(sizes);
        for case in &cases.list {
            let device = cpu(kernel, dtype, 2).expect("a level that was found");
            let x = device.tensor(&case.inputs[0].values, case.inputs[0].shape);
            let seed = if case.is_loss { [1].into() } else { [17, 65].into() };
            let seed = device.tensor(&vec![1.0; Shape::len(&seed)], seed);
            let pass = |param: &Param| {
                let graph = Graph::training(&device);
                let leaf = graph.leaf(&x);
                let outputs = (case.apply)(&graph, std::slice::from_ref(&leaf), std::slice::from_ref(param));
                let grads = graph.gradients(&outputs[0], &seed, &[&leaf]);
                (outputs[0].download(), grads[0].as_ref().expect("a gradient").download())
            };
            let shape = case.params[0].shape;
            let changed = Random::new(33).values(shape.len(), 1.0);
            let param = Param::new(&device, "changed", shape);
            param.upload(&case.params[0].values);
            let before = pass(&param);
            param.value().upload(&changed);
            param.touch();
            let after = pass(&param);
            let fresh = Param::new(&device, "fresh", shape);
            fresh.upload(&changed);
            assert!(after == pass(&fresh), "{}: {}", device.name(), case.name);
            assert!(after.0 != before.0 && after.1 != before.1);
        }
    }
}
