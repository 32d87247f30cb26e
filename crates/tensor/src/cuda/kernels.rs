//! The seam, method by method: each calls the host side of its kernel.

use super::Cuda;
use super::matmul::Product;
use crate::backend::{
    AttentionArgs, Backend, Buffer, Host, HostMut, Layout, MatmulArgs, NllArgs, NllGradients, NllScratch, RotaryArgs,
    ScalarArg, SmearArgs, ValueGateArgs, Weight,
};
use crate::dtype::DType;
use crate::memory::Memory;
use crate::ops::activation::Activation;
use crate::ops::choose::Choice;
use crate::ops::optimizer::{AdamwStep, NormRule};

/// Bytes that no plan knows of: cuBLASLt's kernels and our modules, which are loaded when they are first used.
const LOADED_LATER: usize = 512 << 20;

impl Backend for Cuda {
    fn name(&self) -> String {
        let card = self.context.info();
        format!("cuda:{} {}, {}", card.index, card.name, self.dtype.name())
    }

    fn compute_dtype(&self) -> DType {
        self.dtype
    }

    fn master_dtype(&self) -> DType {
        DType::F32
    }

    fn allocate(&self, bytes: usize) -> Option<Memory> {
        self.context.allocate(bytes)
    }

    fn available_bytes(&self) -> Option<usize> {
        Some(self.context.free_bytes().saturating_sub(LOADED_LATER))
    }

    fn release(&self, memory: Memory) {
        self.context.release(memory);
    }

    fn synchronize(&self) {
        self.context.synchronize();
    }

    fn upload(&self, from: Host, to: Buffer) {
        self.upload_values(from, to);
    }

    fn download(&self, from: Buffer, to: HostMut) {
        self.download_values(from, to);
    }

    fn fill(&self, to: Buffer, value: f32) {
        self.fill_elements(to, value);
    }

    fn copy(&self, from: Buffer, to: Buffer) {
        self.convert(from, to);
    }

    fn add_assign(&self, from: Buffer, to: Buffer) {
        self.add_elements(from, to);
    }

    /// One copy serves both products; in float32 the master does.
    fn compute_copy_layout(&self, _layout: Layout) -> Layout {
        Layout::Forward
    }

    fn compute_copy_bytes(&self, out_features: usize, in_features: usize, _layout: Layout) -> Option<usize> {
        (self.dtype == DType::Bf16).then(|| out_features * in_features * self.dtype.bytes())
    }

    fn make_compute_copy(&self, weight: Weight, _layout: Layout, copy: Buffer) {
        let copy = Buffer {
            dtype: self.dtype,
            len: weight.out_features * weight.in_features,
            ..copy
        };
        self.convert(weight.master, copy);
    }

    fn embedding(&self, table: Buffer, ids: Buffer, y: Buffer, channels: usize) {
        self.embedding_rows(table, ids, y, channels);
    }

    fn embedding_backward(&self, dy: Buffer, ids: Buffer, dtable: Buffer, channels: usize) {
        self.embedding_rows_backward(dy, ids, dtable, channels);
    }

    fn rms_norm(&self, x: Buffer, y: Buffer, cols: usize) {
        self.rms_norm_rows(x, y, cols);
    }

    fn rms_norm_backward(&self, x: Buffer, dy: Buffer, dx: Buffer, cols: usize, accumulate: bool) {
        self.rms_norm_rows_backward(x, dy, dx, cols, accumulate);
    }

    fn layer_norm(&self, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer, eps: f32) {
        self.layer_norm_rows(x, weight, bias, y, eps);
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
        self.layer_norm_rows_backward(x, weight, dy, (dx, accumulate), (dweight, dbias), eps);
    }

    fn linear(&self, x: Buffer, weight: Weight, y: Buffer, rows: usize) {
        self.forward_product(x.address(), weight, (y.address(), y.dtype), rows);
    }

    fn linear_backward_input(&self, dy: Buffer, weight: Weight, dx: Buffer, rows: usize, accumulate: bool) {
        self.input_product(dy.address(), weight, dx.address(), rows, accumulate);
    }

    fn linear_backward_weight(&self, dy: Buffer, x: Buffer, dweight: Buffer, rows: usize, accumulate: bool) {
        let (dy, x) = ((dy.address(), dy.len / rows), (x.address(), x.len / rows));
        self.weight_product(dy, x, dweight.address(), rows, accumulate);
    }

    fn rotary_qk_norm(&self, args: &RotaryArgs, x: Buffer, y: Buffer) {
        self.rotary(args, x, y);
    }

    fn rotary_qk_norm_backward(&self, args: &RotaryArgs, x: Buffer, dy: Buffer, dx: Buffer) {
        self.rotary_backward(args, x, dy, dx);
    }

    fn attention(&self, args: &AttentionArgs, q: Buffer, k: Buffer, v: Buffer, y: Buffer, logsumexp: Buffer) {
        self.attention_forward(args, (q, k, v), y, logsumexp);
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
        self.attention_gradients(args, (q, k, v), (y, logsumexp, dy), (dq, dk, dv));
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
        self.write_cache((x, cache), starts, (batch, time, capacity, cols));
    }

    fn copy_rows(&self, from: Buffer, to: Buffer, rows: Buffer, from_stride: usize, to_stride: usize, len: usize) {
        self.copy_row_pairs((from, from_stride), (to, to_stride), rows, len);
    }

    fn activation(&self, kind: Activation, x: Buffer, y: Buffer) {
        self.activate(kind, x, y);
    }

    fn activation_backward(&self, kind: Activation, x: Buffer, dy: Buffer, dx: Buffer, accumulate: bool) {
        self.activate_backward(kind, x, dy, dx, accumulate);
    }

    fn multiply(&self, a: Buffer, b: Buffer, y: Buffer, accumulate: bool) {
        self.multiply_elements(a, b, y, accumulate);
    }

    fn mix(&self, a: Buffer, alpha: ScalarArg, b: Option<(Buffer, ScalarArg)>, y: Buffer, accumulate: bool) {
        self.mix_elements((a, alpha), b, y, accumulate);
    }

    fn scalar_gradient(&self, x: Buffer, dy: Buffer, factor: f32, dscalar: Buffer, index: usize) {
        self.scalar_gradient_of(x, dy, factor, dscalar, index);
    }

    fn value_gate(&self, args: &ValueGateArgs, v: Buffer, x: Buffer, ve: Buffer, y: Buffer) {
        self.value_gate_rows(args, v, x, ve, y);
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
        self.value_gate_rows_backward(args, (x, ve, dy), dve, (dx, accumulate_x), dgate);
    }

    fn smear(&self, args: &SmearArgs, x: Buffer, previous: Option<Buffer>, y: Buffer) {
        self.smear_rows(args, x, previous, y);
    }

    fn smear_backward(&self, args: &SmearArgs, x: Buffer, dy: Buffer, dx: Buffer, dgate: Buffer, dlambda: Buffer) {
        self.smear_rows_backward(args, (x, dy, dx), dgate, dlambda);
    }

    fn nll_scratch(&self, rows: usize, _channels: usize, padded_vocab: usize) -> NllScratch {
        let chunk = self.loss_chunk(rows, padded_vocab).min(rows);
        NllScratch {
            chunk,
            master: chunk * padded_vocab,
            compute: chunk * padded_vocab,
        }
    }

    fn weighted_nll(&self, args: &NllArgs, gradients: Option<&NllGradients>) {
        self.nll(args, gradients);
    }

    fn logits(&self, x: Buffer, head: Weight, vocab: usize, softcap: Option<f32>, logits: Buffer, rows: usize) {
        self.plain_logits(x, head, vocab, softcap, logits, rows);
    }

    fn choose(&self, logits: Buffer, vocab: usize, choices: &[Choice], ids: &mut [i32]) {
        self.choose_tokens(logits, vocab, choices, ids);
    }

    fn select_positions(&self, x: Buffer, index: Buffer, y: Buffer, _batch: usize, time: usize, cols: usize) {
        self.select_rows(x, index, y, time, cols);
    }

    fn matmul(&self, args: &MatmulArgs, a: Buffer, b: Buffer, out: Buffer) {
        for index in 0..args.batch {
            self.product(&Product::plain(args, index, a, b, out));
        }
    }

    fn adamw(&self, value: Buffer, grad: Buffer, first: Buffer, second: Buffer, step: &AdamwStep) {
        self.adamw_step(value, grad, first, second, step);
    }

    fn nesterov(&self, grad: Buffer, momentum: Buffer, out: Buffer, mu: f32) {
        self.nesterov_step(grad, momentum, out, mu);
    }

    fn equilibrate_rows(&self, x: Buffer, cols: usize) {
        self.equilibrate(x, cols);
    }

    fn normalize(&self, x: Buffer, rule: NormRule) {
        self.normalize_whole(x, rule);
    }

    fn normuon(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32) {
        self.variance_reduction(x, second, rows, cols, beta2);
    }

    fn cautious_update(&self, w: Buffer, x: Buffer, lr: f32, weight_decay: f32) {
        self.cautious_step(w, x, lr, weight_decay);
    }
}
