//! The oracle: a naive backend in `f64`, obviously correct rather than fast.
//!
//! Gradients are checked on it by finite differences and every other backend is compared with
//! it. Its mathematics is written from the formulas in `ops/`, one loop per index; it must never
//! share code with another backend. This file only turns buffers into slices.

mod attention;
mod elementwise;
mod gates;
mod loss;
mod matrix;
mod memory;
mod norm;
mod optimizer;
mod rotary;

use memory::{floats, floats_mut, indices};

use crate::backend::{
    AttentionArgs, Backend, Buffer, Host, HostMut, Layout, MatmulArgs, NllArgs, NllGradients, NllScratch, RotaryArgs,
    ScalarArg, SmearArgs, ValueGateArgs, Weight,
};
use crate::dtype::DType;
use crate::host;
use crate::memory::Memory;
use crate::ops::activation::Activation;
use crate::ops::choose::{Choice, Chooser};
use crate::ops::optimizer::{AdamwStep, NormRule};

/// The naive `f64` backend.
pub(crate) struct Oracle;

/// `*to = value`, or `+=`.
fn put(to: &mut f64, value: f64, accumulate: bool) {
    *to = if accumulate { *to + value } else { value };
}

fn scalar(argument: ScalarArg) -> f64 {
    let parameter = argument.parameter.map_or(1.0, |(buffer, index)| floats(buffer)[index]);
    f64::from(argument.factor) * parameter
}

fn rotation(args: &RotaryArgs) -> rotary::Rotation<'_> {
    rotary::Rotation {
        args,
        cos: floats(args.cos),
        sin: floats(args.sin),
        starts: args.starts.map(indices),
    }
}

impl Backend for Oracle {
    fn name(&self) -> String {
        "oracle (float64)".into()
    }

    fn compute_dtype(&self) -> DType {
        DType::F64
    }

    fn master_dtype(&self) -> DType {
        DType::F64
    }

    fn allocate(&self, bytes: usize) -> Option<Memory> {
        host::allocate(bytes)
    }

    fn release(&self, memory: Memory) {
        host::release(memory);
    }

    fn synchronize(&self) {}

    fn upload(&self, from: Host, to: Buffer) {
        memory::upload(from, to);
    }

    fn download(&self, from: Buffer, to: HostMut) {
        memory::download(from, to);
    }

    fn fill(&self, to: Buffer, value: f32) {
        memory::fill(to, value);
    }

    fn copy(&self, from: Buffer, to: Buffer) {
        memory::copy(from, to);
    }

    fn add_assign(&self, from: Buffer, to: Buffer) {
        elementwise::mix((floats(from), 1.0), None, floats_mut(to), true);
    }

    fn compute_copy_bytes(&self, _out_features: usize, _in_features: usize, _layout: Layout) -> Option<usize> {
        None
    }

    fn make_compute_copy(&self, _weight: Weight, _layout: Layout, _copy: Buffer) {
        unreachable!("the oracle computes with the master copy")
    }

    fn embedding(&self, table: Buffer, ids: Buffer, y: Buffer, channels: usize) {
        matrix::embedding(floats(table), indices(ids), floats_mut(y), channels);
    }

    fn embedding_backward(&self, dy: Buffer, ids: Buffer, dtable: Buffer, channels: usize) {
        matrix::embedding_backward(floats(dy), indices(ids), floats_mut(dtable), channels);
    }

    fn rms_norm(&self, x: Buffer, y: Buffer, cols: usize) {
        norm::rms_norm(floats(x), floats_mut(y), cols);
    }

    fn rms_norm_backward(&self, x: Buffer, dy: Buffer, dx: Buffer, cols: usize, accumulate: bool) {
        norm::rms_norm_backward(floats(x), floats(dy), floats_mut(dx), cols, accumulate);
    }

    fn layer_norm(&self, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer, eps: f32) {
        norm::layer_norm(floats(x), floats(weight), floats(bias), floats_mut(y), f64::from(eps));
    }

    fn layer_norm_backward(
        &self,
        x: Buffer,
        weight: Buffer,
        dy: Buffer,
        dx: Buffer,
        dweight: Buffer,
        dbias: Buffer,
        eps: f32,
        accumulate: bool,
    ) {
        norm::layer_norm_backward(
            floats(x),
            floats(weight),
            floats(dy),
            floats_mut(dx),
            floats_mut(dweight),
            floats_mut(dbias),
            f64::from(eps),
            accumulate,
        );
    }

    fn linear(&self, x: Buffer, weight: Weight, y: Buffer, rows: usize) {
        assert_eq!(x.len, rows * weight.in_features, "input of a linear layer");
        let (inputs, outputs) = (weight.in_features, weight.out_features);
        matrix::linear(floats(x), floats(weight.master), floats_mut(y), inputs, outputs);
    }

    fn linear_backward_input(&self, dy: Buffer, weight: Weight, dx: Buffer, rows: usize, accumulate: bool) {
        assert_eq!(dy.len, rows * weight.out_features, "output gradient of a linear layer");
        let (inputs, outputs) = (weight.in_features, weight.out_features);
        matrix::linear_backward_input(
            floats(dy),
            floats(weight.master),
            floats_mut(dx),
            inputs,
            outputs,
            accumulate,
        );
    }

    fn linear_backward_weight(&self, dy: Buffer, x: Buffer, dweight: Buffer, rows: usize, accumulate: bool) {
        let (inputs, outputs) = (x.len / rows, dy.len / rows);
        matrix::linear_backward_weight(floats(dy), floats(x), floats_mut(dweight), inputs, outputs, accumulate);
    }

    fn rotary_qk_norm(&self, args: &RotaryArgs, x: Buffer, y: Buffer) {
        rotation(args).forward(floats(x), floats_mut(y));
    }

    fn rotary_qk_norm_backward(&self, args: &RotaryArgs, x: Buffer, dy: Buffer, dx: Buffer) {
        rotation(args).backward(floats(x), floats(dy), floats_mut(dx));
    }

    fn attention(&self, args: &AttentionArgs, q: Buffer, k: Buffer, v: Buffer, y: Buffer, logsumexp: Buffer) {
        let inputs = [floats(q), floats(k), floats(v)];
        let starts = args.starts.map(indices);
        attention::forward(args, starts, inputs, floats_mut(y), floats_mut(logsumexp));
    }

    fn attention_backward(
        &self,
        args: &AttentionArgs,
        q: Buffer,
        k: Buffer,
        v: Buffer,
        y: Buffer,
        logsumexp: Buffer,
        dy: Buffer,
        dq: Buffer,
        dk: Buffer,
        dv: Buffer,
    ) {
        let saved = attention::Saved {
            q: floats(q),
            k: floats(k),
            v: floats(v),
            y: floats(y),
            logsumexp: floats(logsumexp),
            dy: floats(dy),
        };
        attention::backward(args, &saved, [floats_mut(dq), floats_mut(dk), floats_mut(dv)]);
    }

    fn cache_write(
        &self,
        x: Buffer,
        cache: Buffer,
        starts: Buffer,
        batch: usize,
        time: usize,
        capacity: usize,
        cols: usize,
    ) {
        assert_eq!(x.len, batch * time * cols, "rows for a cache");
        attention::cache_write(floats(x), floats_mut(cache), indices(starts), time, capacity, cols);
    }

    fn copy_rows(&self, from: Buffer, to: Buffer, rows: Buffer, from_stride: usize, to_stride: usize, len: usize) {
        assert!(len <= from_stride && len <= to_stride, "no more than a row");
        for pair in indices(rows).chunks_exact(2) {
            // One row at a time: `from` and `to` may be one buffer.
            let row = floats(from)[pair[0] as usize * from_stride..][..len].to_vec();
            floats_mut(to)[pair[1] as usize * to_stride..][..len].copy_from_slice(&row);
        }
    }

    fn activation(&self, kind: Activation, x: Buffer, y: Buffer) {
        elementwise::activation(kind, floats(x), floats_mut(y));
    }

    fn activation_backward(&self, kind: Activation, x: Buffer, dy: Buffer, dx: Buffer, accumulate: bool) {
        // A copy, because the result may be written over it.
        let dy = floats(dy).to_vec();
        elementwise::activation_backward(kind, floats(x), &dy, floats_mut(dx), accumulate);
    }

    fn multiply(&self, a: Buffer, b: Buffer, y: Buffer, accumulate: bool) {
        elementwise::multiply(floats(a), floats(b), floats_mut(y), accumulate);
    }

    fn mix(&self, a: Buffer, alpha: ScalarArg, b: Option<(Buffer, ScalarArg)>, y: Buffer, accumulate: bool) {
        let b = b.map(|(b, beta)| (floats(b), scalar(beta)));
        elementwise::mix((floats(a), scalar(alpha)), b, floats_mut(y), accumulate);
    }

    fn scalar_gradient(&self, x: Buffer, dy: Buffer, factor: f32, dscalar: Buffer, index: usize) {
        floats_mut(dscalar)[index] += f64::from(factor) * matrix::dot(floats(x), floats(dy));
    }

    fn value_gate(&self, args: &ValueGateArgs, v: Buffer, x: Buffer, ve: Buffer, y: Buffer) {
        gates::value_gate(args, floats(args.gate), floats(v), floats(x), floats(ve), floats_mut(y));
    }

    fn value_gate_backward(
        &self,
        args: &ValueGateArgs,
        x: Buffer,
        ve: Buffer,
        dy: Buffer,
        dve: Buffer,
        dx: Buffer,
        accumulate_x: bool,
        dgate: Buffer,
    ) {
        gates::value_gate_backward(
            args,
            [floats(args.gate), floats(x), floats(ve), floats(dy)],
            [floats_mut(dve), floats_mut(dx), floats_mut(dgate)],
            accumulate_x,
        );
    }

    fn smear(&self, args: &SmearArgs, x: Buffer, previous: Option<Buffer>, y: Buffer) {
        let (gate, lambda) = (floats(args.gate), floats(args.lambda)[0]);
        gates::smear(args, gate, lambda, floats(x), previous.map(floats), floats_mut(y));
    }

    fn smear_backward(&self, args: &SmearArgs, x: Buffer, dy: Buffer, dx: Buffer, dgate: Buffer, dlambda: Buffer) {
        gates::smear_backward(
            args,
            [floats(args.gate), floats(x), floats(dy)],
            floats(args.lambda)[0],
            floats_mut(dx),
            floats_mut(dgate),
            &mut floats_mut(dlambda)[0],
        );
    }

    /// Few rows, so that tests cross from one chunk to the next.
    fn nll_scratch(&self, _rows: usize, _channels: usize, padded_vocab: usize) -> NllScratch {
        NllScratch {
            chunk: 8,
            master: 8 * padded_vocab,
            compute: 8 * padded_vocab,
        }
    }

    fn weighted_nll(&self, args: &NllArgs, gradients: Option<&NllGradients>) {
        let loss = loss::Loss {
            args,
            x: floats(args.x),
            head: floats(args.head.master),
            targets: indices(args.targets),
            weights: floats(args.weights),
        };
        let gradients = gradients.map(|gradients| {
            let dhead = floats_mut(gradients.dhead);
            if !gradients.accumulate_head {
                dhead.fill(0.0);
            }
            loss::Gradients {
                dlogits: floats_mut(gradients.scratch),
                dx: floats_mut(gradients.dx),
                dhead,
            }
        });
        floats_mut(args.loss)[0] = loss.run(floats_mut(args.scratch), floats_mut(args.nll), gradients);
    }

    fn logits(&self, x: Buffer, head: Weight, vocab: usize, softcap: Option<f32>, logits: Buffer, rows: usize) {
        let channels = x.len / rows;
        loss::logits(
            floats(x),
            floats(head.master),
            channels,
            softcap,
            floats_mut(logits),
            vocab,
        );
    }

    /// What is compared with it chooses from float32.
    fn choose(&self, logits: Buffer, vocab: usize, choices: &[Choice], ids: &mut [i32]) {
        for (id, choice) in ids.iter_mut().zip(choices) {
            let row = &floats(logits)[choice.row * vocab..][..vocab];
            let row: Vec<f32> = row.iter().map(|&logit| logit as f32).collect();
            *id = Chooser::default().choose(&row, choice);
        }
    }

    fn select_positions(&self, x: Buffer, index: Buffer, y: Buffer, batch: usize, time: usize, cols: usize) {
        assert_eq!(x.len, batch * time * cols, "sequences to select from");
        matrix::select_positions(floats(x), indices(index), floats_mut(y), time, cols);
    }

    fn matmul(&self, args: &MatmulArgs, a: Buffer, b: Buffer, out: Buffer) {
        let (a, b, out) = (floats(a), floats(b), floats_mut(out));
        let &MatmulArgs {
            batch,
            rows,
            cols,
            inner,
            ..
        } = args;
        for i in 0..batch {
            let addend = args
                .addend
                .map(|(addend, beta)| (&floats(addend)[i * rows * cols..], f64::from(beta)));
            let out = &mut out[i * rows * cols..][..rows * cols];
            matrix::matmul(args, &a[i * rows * inner..], &b[i * inner * cols..], addend, out);
        }
    }

    fn adamw(&self, value: Buffer, grad: Buffer, first: Buffer, second: Buffer, step: &AdamwStep) {
        optimizer::adamw(
            floats_mut(value),
            floats(grad),
            floats_mut(first),
            floats_mut(second),
            step,
        );
    }

    fn nesterov(&self, grad: Buffer, momentum: Buffer, out: Buffer, mu: f32) {
        optimizer::nesterov(floats(grad), floats_mut(momentum), floats_mut(out), f64::from(mu));
    }

    fn equilibrate_rows(&self, x: Buffer, cols: usize) {
        optimizer::equilibrate_rows(floats_mut(x), cols);
    }

    fn normalize(&self, x: Buffer, rule: NormRule) {
        optimizer::normalize(floats_mut(x), rule);
    }

    fn normuon(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32) {
        optimizer::normuon(floats_mut(x), floats_mut(second), rows, cols, f64::from(beta2));
    }

    fn cautious_update(&self, w: Buffer, x: Buffer, lr: f32, weight_decay: f32) {
        optimizer::cautious_update(floats_mut(w), floats(x), f64::from(lr), f64::from(weight_decay));
    }
}
