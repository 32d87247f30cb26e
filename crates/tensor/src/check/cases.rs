//! Every differentiable operation, made into cases.

use super::case::{Case, Input};
use super::random::Random;
use crate::graph::Graph;
use crate::ops::activation::Activation;
use crate::ops::mix::Scalar;
use crate::ops::nll::NllHead;
use crate::ops::rotary::RotaryTable;
use crate::param::Param;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Makes inputs and names of cases.
pub struct Cases {
    random: Random,
    /// All that were made.
    pub list: Vec<Case>,
}

/// Sizes of an attention.
#[derive(Clone, Copy)]
pub struct AttentionSizes {
    /// Sequences.
    pub batch: usize,
    /// Positions.
    pub time: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Channels per head.
    pub head_dim: usize,
    /// Look-back.
    pub window: usize,
}

/// Sizes of a loss.
#[derive(Clone, Copy)]
pub struct NllSizes {
    /// Sequences.
    pub batch: usize,
    /// Positions.
    pub time: usize,
    /// Channels.
    pub channels: usize,
    /// Tokens.
    pub vocab: usize,
    /// Rows of the head.
    pub padded_vocab: usize,
    /// Soft cap.
    pub softcap: Option<f32>,
}

/// Every elementwise function.
pub const ACTIVATIONS: [Activation; 6] = [
    Activation::ReluSquared,
    Activation::Relu,
    Activation::Silu,
    Activation::Gelu,
    Activation::Sigmoid,
    Activation::Tanh,
];

impl Cases {
    /// No cases yet.
    pub fn new(seed: u64) -> Cases {
        Cases {
            random: Random::new(seed),
            list: Vec::new(),
        }
    }

    fn input(&mut self, shape: impl Into<Shape>, scale: f32) -> Input {
        let shape = shape.into();
        let values = self.random.values(shape.len(), scale);
        Input { shape, values }
    }

    fn push(
        &mut self,
        op: &'static str,
        name: String,
        inputs: Vec<Input>,
        params: Vec<Input>,
        longest_sum: usize,
        apply: impl Fn(&Graph, &[Tensor], &[Param]) -> Tensor + 'static,
    ) {
        self.list.push(Case {
            op,
            name,
            inputs,
            params,
            longest_sum,
            inner_roundings: 0,
            param_roundings: 0,
            is_loss: false,
            apply: Box::new(move |g, x, p| vec![apply(g, x, p)]),
        });
    }

    /// Notes the roundings inside the case made last.
    fn rounds_inside(&mut self, inner_roundings: usize) {
        self.list.last_mut().expect("a case was made").inner_roundings = inner_roundings;
    }

    /// Lookup in a table; with `vocab` below `batch·time`, some rows are looked up more than once.
    pub fn embedding(&mut self, batch: usize, time: usize, vocab: usize, channels: usize) {
        let ids = self.random.indices(batch * time, vocab);
        let table = self.input([vocab, channels], 1.0);
        let name = format!("embedding {batch}×{time} of {vocab}×{channels}");
        self.push("embedding", name, vec![], vec![table], batch * time, move |g, _, p| {
            g.embedding(&p[0], &g.device().indices(&ids, [batch, time]))
        });
    }

    /// RMS norm of rows.
    pub fn rms_norm(&mut self, rows: usize, cols: usize) {
        let x = self.input([rows, cols], 1.7);
        let name = format!("rms_norm {rows}×{cols}");
        self.push("rms_norm", name, vec![x], vec![], cols, |g, x, _| g.rms_norm(&x[0]));
    }

    /// RMS norm where eps matters: rows of size 10⁻⁴.
    pub fn rms_norm_of_small_rows(&mut self, rows: usize, cols: usize) {
        let x = self.input([rows, cols], 3e-4);
        let name = format!("rms_norm of small rows {rows}×{cols}");
        self.push("rms_norm", name, vec![x], vec![], cols, |g, x, _| g.rms_norm(&x[0]));
    }

    /// Layer norm of rows.
    pub fn layer_norm(&mut self, rows: usize, cols: usize) {
        let (x, weight, bias) = (
            self.input([rows, cols], 1.3),
            self.input([cols], 1.0),
            self.input([cols], 1.0),
        );
        let name = format!("layer_norm {rows}×{cols}");
        self.push(
            "layer_norm",
            name,
            vec![x],
            vec![weight, bias],
            rows.max(cols),
            |g, x, p| g.layer_norm(&x[0], &p[0], &p[1], 1e-5),
        );
    }

    /// A linear layer.
    pub fn linear(&mut self, rows: usize, inputs: usize, outputs: usize) {
        let (x, w) = (self.input([rows, inputs], 1.0), self.input([outputs, inputs], 0.5));
        let name = format!("linear {rows}×{inputs}→{outputs}");
        self.push(
            "linear",
            name,
            vec![x],
            vec![w],
            rows.max(inputs).max(outputs),
            |g, x, p| g.linear(&x[0], &p[0]),
        );
    }

    /// Three linear layers that read one tensor, two of them with one weight: gradients of tensors
    /// and of parameters must add up.
    pub fn linear_shared(&mut self, rows: usize, inputs: usize, outputs: usize) {
        let (x, w, u) = (
            self.input([rows, inputs], 1.0),
            self.input([outputs, inputs], 0.5),
            self.input([outputs, inputs], 0.5),
        );
        let name = format!("linear, shared, {rows}×{inputs}→{outputs}");
        let longest_sum = 3 * rows.max(inputs).max(outputs);
        self.push("linear", name, vec![x], vec![w, u], longest_sum, |g, x, p| {
            let a = g.linear(&x[0], &p[0]);
            let b = g.linear(&x[0], &p[1]);
            let c = g.linear(&g.scale(&x[0], 0.5), &p[0]);
            g.add(&g.multiply(&a, &b), &c)
        });
        self.rounds_inside(4);
    }

    /// Rotary embedding and QK norm.
    pub fn rotary(&mut self, batch: usize, time: usize, heads: usize, head_dim: usize) {
        let x = self.input([batch, time, heads, head_dim], 1.4);
        let name = format!("rotary_qk_norm {batch}×{time}×{heads}×{head_dim}");
        self.push("rotary_qk_norm", name, vec![x], vec![], head_dim, move |g, x, _| {
            // A small base turns all channels; more positions than are used.
            let table = RotaryTable::new(g.device(), time + 3, head_dim, 100.0);
            g.rotary_qk_norm(&x[0], &table, None, 1.2)
        });
        // The table.
        self.rounds_inside(1);
    }

    /// Attention.
    pub fn attention(&mut self, sizes: AttentionSizes) {
        let AttentionSizes {
            batch,
            time,
            heads,
            kv_heads,
            head_dim,
            window,
        } = sizes;
        let q = self.input([batch, time, heads, head_dim], 1.5);
        let k = self.input([batch, time, kv_heads, head_dim], 1.5);
        let v = self.input([batch, time, kv_heads, head_dim], 1.0);
        let shown = if window == usize::MAX {
            "∞".into()
        } else {
            window.to_string()
        };
        let name = format!("attention {batch}×{time}, {heads}/{kv_heads} heads of {head_dim}, window {shown}");
        let longest_sum = head_dim.max(time * heads / kv_heads);
        self.push("attention", name, vec![q, k, v], vec![], longest_sum, move |g, x, _| {
            g.attention(&x[0], &x[1], &x[2], window)
        });
        // Probabilities, their gradients, and the result that the way back reads.
        self.rounds_inside(2);
    }

    /// Attention whose queries, keys and values are one tensor.
    pub fn attention_to_itself(&mut self, time: usize, head_dim: usize) {
        let x = self.input([2, time, 3, head_dim], 1.0);
        let name = format!("attention to itself, {time}, {head_dim}");
        self.push("attention", name, vec![x], vec![], time.max(head_dim), |g, x, _| {
            g.attention(&x[0], &x[0], &x[0], usize::MAX)
        });
        self.rounds_inside(3);
    }

    /// Every elementwise function.
    pub fn activations(&mut self, rows: usize, cols: usize) {
        for kind in ACTIVATIONS {
            let x = self.input([rows, cols], 2.0);
            let name = format!("{kind:?} {rows}×{cols}");
            self.push("activation", name, vec![x], vec![], 1, move |g, x, _| {
                g.activation(kind, &x[0])
            });
        }
    }

    /// Elementwise product.
    pub fn multiply(&mut self, rows: usize, cols: usize) {
        let (a, b) = (self.input([rows, cols], 1.0), self.input([rows, cols], 1.0));
        let name = format!("multiply {rows}×{cols}");
        self.push("multiply", name, vec![a, b], vec![], 1, |g, x, _| {
            g.multiply(&x[0], &x[1])
        });
    }

    /// A square and a cube: one tensor on both sides, gradients add.
    pub fn multiply_shared(&mut self, rows: usize, cols: usize) {
        let a = self.input([rows, cols], 1.0);
        let name = format!("multiply, shared, {rows}×{cols}");
        self.push("multiply", name, vec![a], vec![], 3, |g, x, _| {
            let square = g.multiply(&x[0], &x[0]);
            let cube = g.multiply(&square, &x[0]);
            g.add(&cube, &square)
        });
        self.rounds_inside(3);
    }

    /// Sums, multiples and combinations with constant and learned coefficients.
    pub fn mixes(&mut self, rows: usize, cols: usize) {
        let shape = [rows, cols];
        let len = rows * cols;
        let (a, b) = (self.input(shape, 1.0), self.input(shape, 1.0));
        self.push("mix", format!("add {shape:?}"), vec![a, b], vec![], 1, |g, x, _| {
            g.add(&x[0], &x[1])
        });
        let a = self.input(shape, 1.0);
        self.push(
            "mix",
            format!("add to itself {shape:?}"),
            vec![a],
            vec![],
            2,
            |g, x, _| g.add(&x[0], &x[0]),
        );
        let a = self.input(shape, 1.0);
        self.push("mix", format!("scale {shape:?}"), vec![a], vec![], 1, |g, x, _| {
            g.scale(&x[0], -1.75)
        });
        let (a, b) = (self.input(shape, 1.0), self.input(shape, 1.0));
        self.push(
            "mix",
            format!("mix, constant {shape:?}"),
            vec![a, b],
            vec![],
            2,
            |g, x, _| g.mix(&x[0], Scalar::Constant(0.3), &x[1], Scalar::Constant(1.0)),
        );
        let (a, b, p) = (self.input(shape, 1.0), self.input(shape, 1.0), self.input([5], 1.0));
        self.push(
            "mix",
            format!("mix, learned {shape:?}"),
            vec![a, b],
            vec![p],
            len,
            |g, x, p| {
                let learned = |factor, index| Scalar::Learned {
                    factor,
                    parameter: &p[0],
                    index,
                };
                g.mix(&x[0], learned(1.0, 1), &x[1], learned(-0.5, 4))
            },
        );
        let (a, p, r) = (self.input(shape, 1.0), self.input([2], 1.0), self.input([1], 1.0));
        self.push(
            "mix",
            format!("mix, twice the same {shape:?}"),
            vec![a],
            vec![p, r],
            2 * len,
            |g, x, p| {
                let scalar = |parameter, index| Scalar::Learned {
                    factor: 1.0,
                    parameter,
                    index,
                };
                let once = g.mix(&x[0], scalar(&p[0], 0), &x[0], Scalar::Constant(1.0));
                let twice = g.mix(&once, scalar(&p[0], 0), &x[0], scalar(&p[1], 0));
                g.mix(&twice, Scalar::Constant(1.0), &once, scalar(&p[0], 1))
            },
        );
        self.rounds_inside(4);
    }

    /// Gated value embedding.
    pub fn value_gate(&mut self, time: usize, kv_heads: usize, head_dim: usize, channels: usize, gate: usize) {
        let v = self.input([2, time, kv_heads, head_dim], 1.0);
        let x = self.input([2, time, channels], 1.0);
        let ve = self.input([2, time, kv_heads * head_dim], 1.0);
        let gate = self.input([kv_heads, gate], 0.7);
        let name = format!("value_gate 2×{time}×{kv_heads}×{head_dim}, {channels} channels");
        let longest_sum = (2 * time).max(head_dim);
        self.push(
            "value_gate",
            name,
            vec![v, x, ve],
            vec![gate],
            longest_sum,
            |g, x, p| g.value_gate(&x[0], &x[1], &x[2], &p[0]),
        );
    }

    /// Smear.
    pub fn smear(&mut self, batch: usize, time: usize, channels: usize, gate: usize) {
        let (x, gate, lambda) = (
            self.input([batch, time, channels], 1.0),
            self.input([1, gate], 0.7),
            self.input([1], 1.0),
        );
        let name = format!("smear {batch}×{time}×{channels}");
        let longest_sum = batch * time * channels;
        self.push("smear", name, vec![x], vec![gate, lambda], longest_sum, |g, x, p| {
            g.smear(&x[0], &p[0], &p[1], None)
        });
    }

    /// The loss, with every fifth target masked and every seventh weight zero; some weights negative.
    pub fn nll(&mut self, sizes: NllSizes) {
        let NllSizes {
            batch,
            time,
            channels,
            vocab,
            padded_vocab,
            softcap,
        } = sizes;
        let rows = batch * time;
        let mut targets = self.random.indices(rows, vocab);
        let mut weights = self.random.values(rows, 1.0);
        if rows > 1 {
            targets.iter_mut().skip(1).step_by(5).for_each(|target| *target = -1);
            weights.iter_mut().skip(2).step_by(7).for_each(|weight| *weight = 0.0);
        }
        let x = self.input([batch, time, channels], 1.5);
        let head = self.input([padded_vocab, channels], 1.0);
        self.list.push(Case {
            op: "weighted_nll",
            name: format!("weighted_nll {batch}×{time}×{channels}, {vocab} of {padded_vocab}, cap {softcap:?}"),
            inputs: vec![x],
            params: vec![head],
            longest_sum: rows.max(channels).max(vocab),
            // The gradient of the logits; for the head's, inputs times a row's factor as well.
            inner_roundings: 1,
            param_roundings: 1,
            is_loss: true,
            apply: Box::new(move |g, x, p| {
                let targets = g.device().indices(&targets, [batch, time]);
                let weights = g.device().master_tensor(&weights, [batch, time]);
                let weight = &p[0];
                let head = NllHead { weight, vocab, softcap };
                let nll = g.weighted_nll(&x[0], &head, &targets, &weights);
                vec![nll.loss, nll.nll]
            }),
        });
    }
}
