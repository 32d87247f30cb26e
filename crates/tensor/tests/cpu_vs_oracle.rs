//! The CPU against the oracle: every operation forward and backward, every kernel level and
//! element type of this machine, the same bits for any number of threads.
//!
//! Cases, shapes and tolerances are those of [`ferrochat_tensor::check`].

mod common;
#[macro_use]
#[path = "common/groups.rs"]
mod groups;

use common::{cpu, cpu_levels};
use ferrochat_tensor::check::{
    Cases, GROUPS, Network, NllSizes, Outcome, Random, References, Sizes, compare, compare_all, disagreements, rounded,
};
use ferrochat_tensor::{DType, Device, Graph, Param, Shape};

/// Runs a group's checks on the reference and on every level with one and two threads; panics with all that is wrong.
fn check_group(name: &str) {
    let group = GROUPS.iter().find(|group| group.name == name).expect("a group");
    let references = References::new(Some("portable")).expect("every machine has the portable kernels");
    let levels = cpu_levels();
    let new = |(kernel, dtype), threads| cpu(kernel, dtype, threads).expect("a level that was found");
    // One device goes through all checks with two threads, and finds in its memory and scratch what the
    // checks before left there; the other is fresh for each check.
    let used: Vec<Device> = levels.iter().map(|&level| new(level, 2)).collect();
    let mut complaints = Vec::new();
    for check in (group.checks)(Sizes::Full) {
        let reference = references.of(&*check);
        for dtype in [DType::F32, DType::Bf16] {
            let wanted = check.outputs(reference, dtype);
            for (&level, used) in levels.iter().zip(&used).filter(|(level, _)| level.1 == dtype) {
                assert_eq!(used.compute_dtype(), dtype);
                let ours = check.outputs(&new(level, 1), dtype);
                let outcome = Outcome {
                    op: check.op(),
                    name: format!("{}: {}", level.0, check.name()),
                    dtype,
                    parts: disagreements(&ours, &wanted, dtype, reference.compute_dtype()),
                    repeats: ours == check.outputs(used, dtype),
                };
                complaints.extend(outcome.complaints());
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

test_every_group!();

/// What `selftest` does with any device: here with the CPU, small, a second time in memory full of NaN.
#[test]
fn all_checks_pass_on_the_cpu() {
    let references = References::new(None).expect("the best kernels of this machine");
    for (kernel, dtype) in cpu_levels() {
        let device = cpu(kernel, dtype, 2).expect("a level that was found");
        let mut complaints = Vec::new();
        let mut count = 0;
        compare_all(&device, &references, Sizes::Small, &mut |outcome| {
            count += 1;
            assert!(!outcome.parts.is_empty());
            complaints.extend(outcome.complaints());
        });
        assert!(count > 200, "{count} checks");
        assert!(complaints.is_empty(), "{}\n{}", device.name(), complaints.join("\n"));
    }
}

/// Small checks are small: a simulated device gets through them.
#[test]
fn small_checks_cost_little() {
    let dry = Device::oracle().dry_run();
    let mut flops = 0.0;
    for group in GROUPS {
        for check in (group.checks)(Sizes::Small) {
            check.outputs(&dry, DType::F32);
        }
        flops += dry.take_cost().flops;
    }
    assert!(flops < 200e6, "{flops:e} floating-point operations");
}

/// The oracle agrees with itself, so that a complaint is never the measure's fault.
#[test]
fn the_oracle_agrees_with_itself() {
    let oracle = Device::oracle();
    for check in (GROUPS[1].checks)(Sizes::Small) {
        let outcome = compare(&*check, &oracle, &oracle);
        assert!(outcome.passed() && outcome.worst().is_some_and(|part| part.error == 0.0));
    }
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
