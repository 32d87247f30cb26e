//! One training step of a small network that uses every fused operation and both optimizers:
//! for tests of memory, cost and bits.

use super::compare::{Allowance, Check, Output};
use super::random::Random;
use crate::device::Device;
use crate::dtype::DType;
use crate::graph::Graph;
use crate::ops::mix::Scalar;
use crate::ops::nll::NllHead;
use crate::ops::optimizer::{AdamwStep, NormRule};
use crate::ops::rotary::RotaryTable;
use crate::param::Param;
use crate::shape::Shape;
use crate::tensor::Tensor;

const VOCAB: usize = 61;
const PADDED_VOCAB: usize = 64;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 16;
const CHANNELS: usize = HEADS * HEAD_DIM;

/// A parameter with its optimizer state.
struct Trained {
    param: Param,
    first: Tensor,
    second: Tensor,
    orthogonal: bool,
}

/// The network and one batch of data.
pub struct Network {
    device: Device,
    trained: Vec<Trained>,
    table: RotaryTable,
    ids: Tensor,
    targets: Tensor,
    weights: Tensor,
    /// The tape.
    pub graph: Graph,
    step: u32,
}

impl Network {
    /// Random parameters, gradients and state not yet made.
    pub fn new(device: &Device, batch: usize, time: usize) -> Network {
        let mut random = Random::new(4711);
        let mut trained = Vec::new();
        let mut add = |name: &str, shape: Shape, scale: f32, orthogonal: bool| {
            let param = Param::new(device, name, shape);
            param.upload(&random.values(shape.len(), scale));
            let (first, second) = if orthogonal {
                (device.master(shape), device.master([shape.rows().max(shape.last())]))
            } else {
                (device.master(shape), device.master(shape))
            };
            first.fill(0.0);
            second.fill(0.0);
            trained.push(Trained {
                param,
                first,
                second,
                orthogonal,
            });
        };
        let kv = KV_HEADS * HEAD_DIM;
        add("embedding", [VOCAB, CHANNELS].into(), 1.0, false);
        add("smear_gate", [1, 24].into(), 0.1, false);
        add("smear_lambda", [1].into(), 0.5, false);
        add("scalars", [3].into(), 1.0, false);
        add("query", [CHANNELS, CHANNELS].into(), 0.2, true);
        add("key", [kv, CHANNELS].into(), 0.2, true);
        add("value", [kv, CHANNELS].into(), 0.2, true);
        add("value_embedding", [VOCAB, kv].into(), 0.5, false);
        add("value_gate", [KV_HEADS, 12].into(), 0.2, true);
        add("projection", [CHANNELS, CHANNELS].into(), 0.2, true);
        add("expand", [4 * CHANNELS, CHANNELS].into(), 0.2, true);
        add("contract", [CHANNELS, 4 * CHANNELS].into(), 0.1, true);
        add("head", [PADDED_VOCAB, CHANNELS].into(), 0.1, false);
        let len = batch * time;
        let mut targets = random.indices(len, VOCAB);
        targets.iter_mut().step_by(9).for_each(|target| *target = -1);
        Network {
            device: device.clone(),
            trained,
            table: RotaryTable::new(device, time, HEAD_DIM, 10_000.0),
            ids: device.indices(&random.indices(len, VOCAB), [batch, time]),
            targets: device.indices(&targets, [batch, time]),
            weights: device.master_tensor(&vec![1.0 / len as f32; len], [batch, time]),
            // However small: these checks are to see that road.
            graph: Graph::training(device).made_again_from(0),
            step: 0,
        }
    }

    fn param(&self, index: usize) -> &Param {
        &self.trained[index].param
    }

    /// The loss, a tensor of one element.
    pub fn forward(&self, g: &Graph) -> Tensor {
        let [batch, time] = *self.ids.shape().dims() else {
            unreachable!("ids are [batch, time]")
        };
        let learned = |index, factor| Scalar::Learned {
            factor,
            parameter: self.param(3),
            index,
        };
        let x = g.rms_norm(&g.embedding(self.param(0), &self.ids));
        let x = g.smear(&x, self.param(1), self.param(2), None);
        let start = x.clone();
        let x = g.mix(&x, learned(0, 1.0), &start, learned(1, 1.0));
        let h = g.rms_norm(&x);
        let heads = |x: Tensor, heads| x.reshape([batch, time, heads, HEAD_DIM]);
        let q = heads(g.linear(&h, self.param(4)), HEADS);
        let k = heads(g.linear(&h, self.param(5)), KV_HEADS);
        let v = heads(g.linear(&h, self.param(6)), KV_HEADS);
        let ve = g.embedding(self.param(7), &self.ids);
        let v = g.value_gate(&v, &h, &ve, self.param(8));
        let q = g.rotary_qk_norm(&q, &self.table, None, 1.2);
        let k = g.rotary_qk_norm(&k, &self.table, None, 1.2);
        let y = g.attention(&q, &k, &v, time / 2);
        let y = y.reshape([batch, time, CHANNELS]);
        let x = g.add(&x, &g.linear(&y, self.param(9)));
        let h = g.relu_squared(&g.linear(&g.rms_norm(&x), self.param(10)));
        let x = g.add(&x, &g.linear(&h, self.param(11)));
        let x = g.mix(&x, Scalar::Constant(1.0), &start, learned(2, -1.0));
        let head = NllHead {
            weight: self.param(12),
            vocab: VOCAB,
            softcap: Some(15.0),
        };
        g.weighted_nll(&g.rms_norm(&x), &head, &self.targets, &self.weights)
            .loss
    }

    /// The loss, and the gradient of every parameter by name.
    pub fn gradients(&self) -> (f64, Vec<(String, Vec<f64>)>) {
        let loss = self.forward(&self.graph).download_f64()[0];
        self.graph.backward();
        let gradient = |param: &Param| param.grad().expect("every parameter has a gradient").download_f64();
        let params = self.trained.iter().map(|trained| &trained.param);
        (
            loss,
            params.map(|param| (param.name().to_owned(), gradient(param))).collect(),
        )
    }

    /// Forward, backward, optimizer. Leaves the loss on the device.
    pub fn train(&mut self) -> Tensor {
        let loss = self.forward(&self.graph);
        self.graph.backward();
        self.step += 1;
        for trained in &self.trained {
            let grad = trained.param.grad().expect("every parameter has a gradient");
            if trained.orthogonal {
                orthogonal_step(&self.device, trained, &grad);
            } else {
                let step = AdamwStep {
                    lr: 0.01,
                    beta1: 0.8,
                    beta2: 0.95,
                    eps: 1e-10,
                    weight_decay: 0.01,
                    step: self.step,
                };
                let (value, first, second) = (trained.param.value(), &trained.first, &trained.second);
                self.device.adamw(value, &grad, first, second, &step);
            }
            trained.param.touch();
            trained.param.clear_grad();
        }
        loss
    }

    /// All parameters, one after the other.
    pub fn parameters(&self) -> Vec<f32> {
        let params = self.trained.iter();
        params.flat_map(|trained| trained.param.value().download()).collect()
    }
}

/// Muon's step with two of its five iterations.
fn orthogonal_step(device: &Device, trained: &Trained, grad: &Tensor) {
    let mut x = device.activation(grad.shape());
    device.nesterov(grad, &trained.first, 0.95, &x);
    device.equilibrate_rows(&x);
    device.normalize(
        &x,
        NormRule::Divide {
            factor: 1.01,
            eps: 1e-6,
        },
    );
    let tall = x.shape().rows() > x.shape().last();
    for (a, b, c) in [
        (8.156_554, -22.483_293, 15.878_77),
        (4.042_93, -2.808_917_5, 0.500_017_8),
    ] {
        let gram = device.matmul((&x, tall), (&x, !tall), 1.0, None);
        let polynomial = device.matmul((&gram, false), (&gram, false), c, Some((&gram, b)));
        x = if tall {
            device.matmul((&x, false), (&polynomial, false), 1.0, Some((&x, a)))
        } else {
            device.matmul((&polynomial, false), (&x, false), 1.0, Some((&x, a)))
        };
    }
    let update = device.master(x.shape());
    update.copy_from(&x);
    let target = (x.shape().rows().min(x.shape().last()) as f32).sqrt();
    device.normalize(&update, NormRule::Snap { target, eps: 1e-6 });
    device.normuon(&update, &trained.second, 0.9);
    device.cautious_update(trained.param.value(), &update, 0.02, 0.1);
}

/// The whole network as a check: loss, the gradient of every parameter, and the parameters after two steps.
pub(super) struct NetworkCheck {
    name: String,
    batch: usize,
    time: usize,
}

impl NetworkCheck {
    pub(super) fn new(batch: usize, time: usize) -> NetworkCheck {
        let name = format!("network of all operations, {batch}×{time}");
        NetworkCheck { name, batch, time }
    }
}

impl Check for NetworkCheck {
    fn op(&self) -> &'static str {
        "network"
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn outputs(&self, device: &Device, _: DType) -> Vec<Output> {
        let mut network = Network::new(device, self.batch, self.time);
        let (loss, gradients) = network.gradients();
        // Thirty operations deep; parameters are not rounded to bf16 for the reference.
        let [of_loss, of_gradients, of_updates] =
            [(1e-6, 1e-3), (1e-5, 0.04), (1e-4, 0.02)].map(|(f32, bf16)| Allowance::Measured { f32, bf16 });
        let mut outputs = vec![Output::new("loss", vec![loss], of_loss)];
        // The terms of a single number cancel: where its sum happens to be small (2×65 positions), 0.09 is not rare.
        let of_scalars = Allowance::Measured { f32: 1e-5, bf16: 0.12 };
        for (name, gradient) in gradients {
            let allowance = if gradient.len() == 1 { of_scalars } else { of_gradients };
            outputs.push(Output::new(format!("gradient of {name}"), gradient, allowance));
        }
        network.trained.iter().for_each(|trained| trained.param.clear_grad());
        let loss = |tensor: Tensor| tensor.download_f64();
        let losses: Vec<f64> = (0..2).flat_map(|_| loss(network.train())).collect();
        outputs.push(Output::new("losses of two steps", losses, of_loss));
        let parameters = network.parameters().into_iter().map(f64::from).collect();
        outputs.push(Output::new("parameters after them", parameters, of_updates));
        outputs
    }
}
