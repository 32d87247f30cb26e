//! Each operation at a size of real training.

use anyhow::Result;
use ferrochat_model::optim::Muon;
use ferrochat_tensor::check::Random;
use ferrochat_tensor::{AdamwStep, Device, Graph, NllHead, Param, RotaryTable, Scalar, Shape, Tensor};

use super::ceilings::Ceilings;
use super::{PART, byte_rate, enough, seconds, short_time};
use crate::format::flop_rate;
use crate::selftest::lines::{Line, Lines};
use crate::selftest::subject::Subject;

/// Sizes at which operations are timed.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    time: usize,
    heads: usize,
    head_dim: usize,
    vocab: usize,
}

impl Sizes {
    fn of(subject: &Subject) -> Sizes {
        let [batch, time, heads, head_dim, vocab] = match (subject.quick, subject.is_gpu()) {
            (true, _) => [1, 64, 2, 32, 256],
            // Depth 4 of the training above.
            (false, false) => [2, 512, 2, 128, 4096],
            // Depth 12 of the reference.
            (false, true) => [8, 2048, 6, 128, 32_768],
        };
        Sizes {
            batch,
            time,
            heads,
            head_dim,
            vocab,
        }
    }

    fn channels(self) -> usize {
        self.heads * self.head_dim
    }
}

/// Times operations forward, and with their gradients.
struct Timer<'a> {
    device: &'a Device,
    subject: &'a Subject,
    ceilings: &'a Ceilings,
    lines: &'a mut Lines,
    random: Random,
}

impl Timer<'_> {
    fn input(&mut self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        self.device.tensor(&self.random.values(shape.len(), 1.0), shape)
    }

    fn param(&mut self, shape: impl Into<Shape>, scale: f32) -> Param {
        let shape = shape.into();
        let param = Param::new(self.device, "timed", shape);
        param.upload(&self.random.values(shape.len(), scale));
        param
    }

    /// Time of a call, beside the least time that its work could take.
    fn time(&mut self, name: &str, mut call: impl FnMut()) -> Result<()> {
        self.device.take_cost();
        call();
        let cost = self.device.take_cost();
        let taken = seconds(self.device, enough(self.subject), call);
        self.device.take_cost();
        let (flops, bytes) = (cost.flops / taken, cost.bytes / taken);
        let share = self.ceilings.least_seconds(cost.flops, cost.bytes) / taken;
        let rate = if cost.flops / self.ceilings.flops_per_second > cost.bytes / self.ceilings.bytes_per_second {
            flop_rate(flops)
        } else {
            byte_rate(bytes)
        };
        let detail = format!(
            "{:>10}  {rate:>15}  {:.0}% of the ceiling",
            short_time(taken),
            100.0 * share
        );
        let dtype = Some(self.device.compute_dtype().name());
        let line = Line::measured(PART, name, dtype, detail);
        self.lines.push(
            &line
                .with("seconds", taken)
                .with("flops_per_second", flops)
                .with("bytes_per_second", bytes)
                .with("ceiling_share", share),
        )
    }

    /// An operation of tensors, forward alone, then with all its gradients.
    fn operation(&mut self, name: &str, inputs: &[Tensor], apply: impl Fn(&Graph, &[Tensor]) -> Tensor) -> Result<()> {
        let inference = Graph::inference(self.device);
        self.time(name, || drop(apply(&inference, inputs)))?;
        let graph = Graph::training(self.device);
        let seed = self
            .device
            .empty(apply(&inference, inputs).shape(), self.device.compute_dtype());
        seed.fill(1.0);
        self.time(&format!("{name} and gradients"), || {
            let leaves: Vec<Tensor> = inputs.iter().map(|input| graph.leaf(input)).collect();
            let output = apply(&graph, &leaves);
            graph.gradients(&output, &seed, &leaves.iter().collect::<Vec<_>>());
        })
    }
}

/// All of them.
///
/// # Errors
/// Stdout cannot be written to.
pub fn run(device: &Device, subject: &Subject, ceilings: &Ceilings, lines: &mut Lines) -> Result<()> {
    let sizes = Sizes::of(subject);
    let Sizes {
        batch,
        time,
        heads,
        head_dim,
        vocab,
    } = sizes;
    let channels = sizes.channels();
    let rows = batch * time;
    let mut timer = Timer {
        device,
        subject,
        ceilings,
        lines,
        random: Random::new(5),
    };
    let ids = device.indices(&timer.random.indices(rows, vocab), [batch, time]);
    let x = timer.input([batch, time, channels]);
    let wide = timer.input([batch, time, 4 * channels]);

    let table = timer.param([vocab, channels], 1.0);
    timer.operation("embedding", &[], |g, _| g.embedding(&table, &ids))?;
    timer.operation("rms_norm", std::slice::from_ref(&x), |g, x| g.rms_norm(&x[0]))?;
    timer.operation("relu_squared", std::slice::from_ref(&wide), |g, x| {
        g.relu_squared(&x[0])
    })?;
    let scalars = timer.param([2], 1.0);
    let learned = |index| Scalar::Learned {
        factor: 1.0,
        parameter: &scalars,
        index,
    };
    timer.operation("mix", &[x.clone(), x.clone()], |g, x| {
        g.mix(&x[0], learned(0), &x[1], learned(1))
    })?;
    let (gate, lambda) = (timer.param([1, 24], 0.1), timer.param([1], 1.0));
    timer.operation("smear", std::slice::from_ref(&x), |g, x| {
        g.smear(&x[0], &gate, &lambda, None)
    })?;
    let per_head = x.reshape([batch, time, heads, head_dim]);
    let gate = timer.param([heads, 12], 0.1);
    timer.operation("value_gate", &[per_head.clone(), x.clone(), x.clone()], |g, x| {
        g.value_gate(&x[0], &x[1], &x[2], &gate)
    })?;
    let rotary = RotaryTable::new(device, time, head_dim, 10_000.0);
    timer.operation("rotary_qk_norm", std::slice::from_ref(&per_head), |g, x| {
        g.rotary_qk_norm(&x[0], &rotary, None, 1.2)
    })?;
    let (up, down) = (
        timer.param([4 * channels, channels], 0.02),
        timer.param([channels, 4 * channels], 0.02),
    );
    timer.operation(
        &format!("linear {channels}→{}", 4 * channels),
        std::slice::from_ref(&x),
        |g, x| g.linear(&x[0], &up),
    )?;
    timer.operation(&format!("linear {}→{channels}", 4 * channels), &[wide], |g, x| {
        g.linear(&x[0], &down)
    })?;
    for (name, window) in [("attention", usize::MAX), ("attention, window T/4", time / 4)] {
        let inputs = [per_head.clone(), per_head.clone(), per_head.clone()];
        timer.operation(name, &inputs, |g, x| g.attention(&x[0], &x[1], &x[2], window))?;
    }
    loss(&mut timer, &x, &ids, &table, vocab)?;
    optimizers(&mut timer, &up)
}

fn loss(timer: &mut Timer, x: &Tensor, ids: &Tensor, weight: &Param, vocab: usize) -> Result<()> {
    let device = timer.device;
    let weights = device.master(ids.shape());
    weights.fill(1.0 / ids.len() as f32);
    let head = NllHead {
        weight,
        vocab,
        softcap: Some(15.0),
    };
    let inference = Graph::inference(device);
    timer.time("weighted_nll", || drop(inference.weighted_nll(x, &head, ids, &weights)))?;
    let graph = Graph::training(device);
    let seed = device.master_tensor(&[1.0], [1]);
    timer.time("weighted_nll and gradients", || {
        let leaf = graph.leaf(x);
        let nll = graph.weighted_nll(&leaf, &head, ids, &weights);
        graph.gradients(&nll.loss, &seed, &[&leaf]);
    })
}

fn optimizers(timer: &mut Timer, param: &Param) -> Result<()> {
    let device = timer.device;
    let zeros = || {
        let tensor = device.master(param.shape());
        tensor.fill(0.0);
        tensor
    };
    let (grad, first, second) = (zeros(), zeros(), zeros());
    grad.fill(1e-3);
    let step = AdamwStep {
        lr: 0.0,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-10,
        weight_decay: 0.0,
        step: 10,
    };
    let (rows, cols) = (param.shape().rows(), param.shape().last());
    timer.time(&format!("adamw {rows}×{cols}"), || {
        device.adamw(param.value(), &grad, &first, &second, &step);
    })?;
    let mut muon = Muon::new(device, param);
    timer.time(&format!("muon {rows}×{cols}"), || {
        muon.step(param, &grad, 0.0, 0.9, 0.0);
    })
}
