//! Every operation's gradient against central finite differences, in `f64` on the oracle.

use ferrochat_tensor::check::{AttentionSizes, Case, Cases, NllSizes, Random, norm, relative_error};
use ferrochat_tensor::{Device, Graph, NllHead, Param, Tensor};

/// Step of the differences, relative to the elements' size: truncation is about h², round-off about 1e-16/h.
const STEP: f64 = 1e-5;
/// ‖gradient − differences‖/‖differences‖.
const TOLERANCE: f64 = 1e-6;

/// A case's tensors and parameters on the oracle.
struct Setup {
    inputs: Vec<Tensor>,
    params: Vec<Param>,
}

impl Setup {
    fn new(device: &Device, case: &Case) -> Setup {
        let inputs = case.inputs.iter();
        let params = case.params.iter().enumerate();
        Setup {
            inputs: inputs.map(|input| device.tensor(&input.values, input.shape)).collect(),
            params: params
                .map(|(i, input)| {
                    let param = Param::new(device, format!("parameter {i}"), input.shape);
                    param.upload(&input.values);
                    param
                })
                .collect(),
        }
    }

    /// Σ seed·output, without a tape.
    fn objective(&self, device: &Device, case: &Case, seed: &[f64]) -> f64 {
        let outputs = (case.apply)(&Graph::inference(device), &self.inputs, &self.params);
        let output = outputs[0].download_f64();
        assert_eq!(output.len(), seed.len());
        output.iter().zip(seed).map(|(output, seed)| output * seed).sum()
    }

    /// The derivative of the objective by each element of `tensor`, one of ours.
    fn differences(&self, device: &Device, case: &Case, seed: &[f64], tensor: &Tensor) -> Vec<f64> {
        let values = tensor.download_f64();
        let step = STEP * norm(&values) / (values.len() as f64).sqrt();
        let mut moved = values.clone();
        let mut derivative = Vec::with_capacity(values.len());
        for i in 0..values.len() {
            let mut at = |value: f64| {
                moved[i] = value;
                tensor.upload_f64(&moved);
                self.objective(device, case, seed)
            };
            let (above, below) = (at(values[i] + step), at(values[i] - step));
            derivative.push((above - below) / (2.0 * step));
            moved[i] = values[i];
        }
        tensor.upload_f64(&values);
        derivative
    }
}

fn assert_matches(name: &str, what: &str, ours: Option<&Tensor>, differences: &[f64], may_be_zero: bool) {
    if may_be_zero {
        let ours = ours.map_or(0.0, |ours| norm(&ours.download_f64()));
        assert!(
            ours + norm(differences) < 1e-12,
            "{name}: the gradient of {what} is zero"
        );
        return;
    }
    assert!(
        norm(differences) > 1e-6,
        "{name}: the gradient of {what} vanishes, so it checks nothing"
    );
    let ours = ours.unwrap_or_else(|| panic!("{name}: no gradient of {what}"));
    let error = relative_error(&ours.download_f64(), differences);
    assert!(error <= TOLERANCE, "{name}: gradient of {what} is off by {error:.2e}");
}

/// Checks the gradients of a case by all its inputs and parameters; `zero` names the inputs
/// (by index, parameters after tensors) whose gradient must vanish.
fn check_with_zeros(case: &Case, zero: &[usize]) {
    let device = Device::oracle();
    let setup = Setup::new(&device, case);
    let graph = Graph::training(&device);
    let leaves: Vec<Tensor> = setup.inputs.iter().map(|input| graph.leaf(input)).collect();
    let outputs = (case.apply)(&graph, &leaves, &setup.params);
    // The loss begins the backward pass with 1, any other operation with random numbers.
    let seed = if case.is_loss {
        vec![1.0]
    } else {
        Random::new(99).values(outputs[0].len(), 1.0)
    };
    let seed_tensor = device.tensor(&seed, outputs[0].shape());
    let seed: Vec<f64> = seed.iter().map(|&seed| f64::from(seed)).collect();
    let grads = graph.gradients(&outputs[0], &seed_tensor, &leaves.iter().collect::<Vec<_>>());
    let tensors = setup.inputs.iter().zip(&grads).map(|(x, grad)| (x, grad.clone()));
    let params = setup.params.iter().map(|param| (param.value(), param.grad()));
    for (i, (x, grad)) in tensors.chain(params).enumerate() {
        let differences = setup.differences(&device, case, &seed, x);
        let what = format!("input {i} {:?}", x.shape());
        assert_matches(&case.name, &what, grad.as_ref(), &differences, zero.contains(&i));
    }
}

fn check_all(cases: &Cases) {
    for case in &cases.list {
        check_with_zeros(case, &[]);
    }
}

#[test]
fn embedding() {
    let mut cases = Cases::new(1);
    cases.embedding(2, 5, 7, 3);
    cases.embedding(3, 7, 2, 13);
    cases.embedding(1, 1, 1, 1);
    check_all(&cases);
}

#[test]
fn rms_norm() {
    let mut cases = Cases::new(2);
    for (rows, cols) in [(1, 2), (3, 5), (7, 13), (2, 32)] {
        cases.rms_norm(rows, cols);
        cases.rms_norm_of_small_rows(rows, cols);
    }
    check_all(&cases);
}

#[test]
fn layer_norm() {
    let mut cases = Cases::new(3);
    for (rows, cols) in [(1, 3), (3, 5), (7, 13)] {
        cases.layer_norm(rows, cols);
    }
    check_all(&cases);
}

#[test]
fn linear() {
    let mut cases = Cases::new(4);
    for (rows, inputs, outputs) in [(1, 1, 1), (1, 5, 3), (7, 3, 13), (5, 13, 2)] {
        cases.linear(rows, inputs, outputs);
    }
    cases.linear_shared(3, 5, 7);
    check_all(&cases);
}

#[test]
fn rotary_qk_norm() {
    let mut cases = Cases::new(5);
    cases.rotary(2, 5, 3, 12);
    cases.rotary(1, 1, 1, 4);
    cases.rotary(3, 7, 2, 6);
    check_all(&cases);
}

#[test]
fn attention() {
    let mut cases = Cases::new(6);
    let sizes = |batch, time, heads, kv_heads, head_dim, window| AttentionSizes {
        batch,
        time,
        heads,
        kv_heads,
        head_dim,
        window,
    };
    cases.attention(sizes(2, 5, 3, 3, 4, usize::MAX));
    cases.attention(sizes(1, 7, 6, 2, 5, usize::MAX));
    cases.attention(sizes(2, 7, 4, 1, 3, 2));
    cases.attention(sizes(1, 13, 2, 1, 2, 5));
    cases.attention(sizes(1, 5, 2, 2, 3, 1));
    cases.attention_to_itself(5, 3);
    check_all(&cases);
}

/// With one key the probabilities are constant, so queries and keys have no gradient.
#[test]
fn attention_to_one_key() {
    for (time, window) in [(1, usize::MAX), (5, 0)] {
        let mut cases = Cases::new(7);
        cases.attention(AttentionSizes {
            batch: 2,
            time,
            heads: 4,
            kv_heads: 2,
            head_dim: 3,
            window,
        });
        check_with_zeros(&cases.list[0], &[0, 1]);
    }
}

#[test]
fn activations() {
    let mut cases = Cases::new(8);
    cases.activations(3, 13);
    check_all(&cases);
}

#[test]
fn multiply() {
    let mut cases = Cases::new(9);
    cases.multiply(3, 7);
    cases.multiply_shared(2, 5);
    check_all(&cases);
}

#[test]
fn mix_add_scale() {
    let mut cases = Cases::new(10);
    cases.mixes(1, 1);
    cases.mixes(5, 7);
    check_all(&cases);
}

#[test]
fn value_gate() {
    let mut cases = Cases::new(11);
    cases.value_gate(5, 3, 4, 13, 7);
    cases.value_gate(1, 1, 5, 3, 3);
    cases.value_gate(3, 2, 1, 5, 1);
    check_all(&cases);
}

#[test]
fn smear() {
    let mut cases = Cases::new(12);
    cases.smear(2, 5, 7, 3);
    cases.smear(3, 2, 5, 5);
    cases.smear(1, 13, 3, 1);
    check_all(&cases);
}

/// A single position has nothing before it: gate and coefficient have no gradient.
#[test]
fn smear_of_one_position() {
    let mut cases = Cases::new(13);
    cases.smear(3, 1, 5, 2);
    check_with_zeros(&cases.list[0], &[1, 2]);
}

#[test]
fn weighted_nll() {
    let mut cases = Cases::new(14);
    for softcap in [None, Some(15.0), Some(1.5)] {
        let sizes = |batch, time, channels, vocab, padded_vocab| NllSizes {
            batch,
            time,
            channels,
            vocab,
            padded_vocab,
            softcap,
        };
        cases.nll(sizes(1, 1, 3, 5, 5));
        // Three of the oracle's chunks of eight rows, the last one short.
        cases.nll(sizes(3, 7, 5, 13, 13));
        cases.nll(sizes(2, 5, 7, 11, 16));
    }
    check_all(&cases);
}

/// The loss behind other operations, and two losses in one backward pass.
#[test]
fn losses_add_up() {
    let device = Device::oracle();
    let mut random = Random::new(15);
    let param = |name: &str, shape: [usize; 2], random: &mut Random| {
        let param = Param::new(&device, name, shape);
        param.upload(&random.values(shape[0] * shape[1], 1.0));
        param
    };
    let (first, head) = (param("first", [5, 3], &mut random), param("head", [7, 5], &mut random));
    let x = device.tensor(&random.values(12, 1.0), [2, 2, 3]);
    let targets = device.indices(&[6, -1, 0, 3], [2, 2]);
    let weights = device.master_tensor(&random.values(4, 1.0), [2, 2]);
    let run = |graph: &Graph| -> f64 {
        let y = graph.relu_squared(&graph.linear(&x, &first));
        let loss = |softcap| {
            let nll_head = NllHead {
                weight: &head,
                vocab: 7,
                softcap,
            };
            graph
                .weighted_nll(&y, &nll_head, &targets, &weights)
                .loss
                .download_f64()[0]
        };
        loss(None) + loss(Some(3.0))
    };
    let graph = Graph::training(&device);
    run(&graph);
    graph.backward();
    for param in [&first, &head] {
        let values = param.value().download_f64();
        let mut differences = Vec::new();
        for i in 0..values.len() {
            let at = |step: f64| {
                let mut moved = values.clone();
                moved[i] += step;
                param.value().upload_f64(&moved);
                param.touch();
                run(&Graph::inference(&device))
            };
            differences.push((at(STEP) - at(-STEP)) / (2.0 * STEP));
        }
        param.value().upload_f64(&values);
        assert_matches("two losses", param.name(), param.grad().as_ref(), &differences, false);
    }
}

/// Gradients of parameters add up over backward passes until they are cleared.
#[test]
fn parameters_accumulate() {
    let mut cases = Cases::new(16);
    cases.linear(3, 5, 7);
    cases.embedding(2, 3, 4, 5);
    cases.layer_norm(3, 5);
    cases.smear(2, 3, 5, 2);
    cases.value_gate(3, 2, 4, 5, 3);
    cases.mixes(3, 5);
    cases.nll(NllSizes {
        batch: 2,
        time: 7,
        channels: 3,
        vocab: 5,
        padded_vocab: 8,
        softcap: Some(2.0),
    });
    for case in cases.list.iter().filter(|case| !case.params.is_empty()) {
        let device = Device::oracle();
        let setup = Setup::new(&device, case);
        let graph = Graph::training(&device);
        let pass = || {
            let leaves: Vec<Tensor> = setup.inputs.iter().map(|input| graph.leaf(input)).collect();
            let output = &(case.apply)(&graph, &leaves, &setup.params)[0];
            let seed = if case.is_loss {
                vec![1.0]
            } else {
                Random::new(98).values(output.len(), 1.0)
            };
            let seed = device.tensor(&seed, output.shape());
            graph.gradients(output, &seed, &[]);
            let grads = setup.params.iter().map(|param| param.grad().expect("a gradient"));
            grads.map(|grad| grad.download_f64()).collect::<Vec<_>>()
        };
        let once = pass();
        let twice = pass();
        setup.params.iter().for_each(Param::clear_grad);
        assert!(setup.params[0].grad().is_none(), "{}: cleared", case.name);
        let again = pass();
        for ((once, twice), again) in once.iter().zip(&twice).zip(&again) {
            let doubled: Vec<f64> = once.iter().map(|once| 2.0 * once).collect();
            assert!(relative_error(twice, &doubled) < 1e-14, "{}: adds up", case.name);
            assert_eq!(once, again, "{}: starts anew after clear_grad", case.name);
        }
    }
}

/// What is detached, or was never a leaf, gets no gradient, and its companions still do.
#[test]
fn constants_get_no_gradient() {
    let device = Device::oracle();
    let mut random = Random::new(17);
    let mut tensor = || device.tensor(&random.values(6, 1.0), [2, 3]);
    let (x, constant, seed) = (tensor(), tensor(), tensor());
    let graph = Graph::training(&device);
    let leaf = graph.leaf(&x);
    let y = graph.multiply(&leaf, &constant);
    let z = graph.multiply(&y, &graph.rms_norm(&leaf).detach());
    let unused = graph.leaf(&x);
    let grads = graph.gradients(&z, &seed, &[&leaf, &unused]);
    assert!(grads[1].is_none(), "nothing depends on it");
    let expected = graph.multiply(&graph.multiply(&seed, &constant), &graph.rms_norm(&x));
    let grad = grads[0].as_ref().expect("a gradient").download_f64();
    assert!(relative_error(&grad, &expected.download_f64()) < 1e-14);
}
