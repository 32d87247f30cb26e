//! Stub.
#![allow(unused_variables, clippy::todo)]
use crate::backend::*;
use crate::dtype::DType;
use crate::memory::Memory;
use crate::ops::activation::Activation;
use crate::ops::optimizer::{AdamwStep, NormRule};

/// The naive f64 backend.
pub struct Oracle;

impl Backend for Oracle {
    fn name(&self) -> String {
        todo!()
    }

    fn compute_dtype(&self) -> DType {
        todo!()
    }

    fn master_dtype(&self) -> DType {
        todo!()
    }

    fn allocate(&self, bytes: usize) -> Option<Memory> {
        todo!()
    }

    fn release(&self, memory: Memory) {
        todo!()
    }

    fn synchronize(&self) {
        todo!()
    }

    fn upload(&self, from: Host, to: Buffer) {
        todo!()
    }

    fn download(&self, from: Buffer, to: HostMut) {
        todo!()
    }

    fn fill(&self, to: Buffer, value: f32) {
        todo!()
    }

    fn copy(&self, from: Buffer, to: Buffer) {
        todo!()
    }

    fn add_assign(&self, from: Buffer, to: Buffer) {
        todo!()
    }

    fn compute_copy_bytes(&self, out_features: usize, in_features: usize, layout: Layout) -> Option<usize> {
        todo!()
    }

    fn make_compute_copy(&self, weight: Weight, layout: Layout, copy: Buffer) {
        todo!()
    }

    fn embedding(&self, table: Buffer, ids: Buffer, y: Buffer, channels: usize) {
        todo!()
    }

    fn embedding_backward(&self, dy: Buffer, ids: Buffer, dtable: Buffer, channels: usize) {
        todo!()
    }

    fn rms_norm(&self, x: Buffer, y: Buffer, cols: usize) {
        todo!()
    }

    fn rms_norm_backward(&self, x: Buffer, dy: Buffer, dx: Buffer, cols: usize, accumulate: bool) {
        todo!()
    }

    fn layer_norm(&self, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer, eps: f32) {
        todo!()
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
        todo!()
    }

    fn linear(&self, x: Buffer, weight: Weight, y: Buffer, rows: usize) {
        todo!()
    }

    fn linear_backward_input(&self, dy: Buffer, weight: Weight, dx: Buffer, rows: usize, accumulate: bool) {
        todo!()
    }

    fn linear_backward_weight(&self, dy: Buffer, x: Buffer, dweight: Buffer, rows: usize, accumulate: bool) {
        todo!()
    }

    fn rotary_qk_norm(&self, args: &RotaryArgs, x: Buffer, y: Buffer) {
        todo!()
    }

    fn rotary_qk_norm_backward(&self, args: &RotaryArgs, x: Buffer, dy: Buffer, dx: Buffer) {
        todo!()
    }

    fn attention(&self, args: &AttentionArgs, q: Buffer, k: Buffer, v: Buffer, y: Buffer, logsumexp: Buffer) {
        todo!()
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
        todo!()
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
        todo!()
    }

    fn activation(&self, kind: Activation, x: Buffer, y: Buffer) {
        todo!()
    }

    fn activation_backward(&self, kind: Activation, x: Buffer, dy: Buffer, dx: Buffer, accumulate: bool) {
        todo!()
    }

    fn multiply(&self, a: Buffer, b: Buffer, y: Buffer, accumulate: bool) {
        todo!()
    }

    fn mix(&self, a: Buffer, alpha: ScalarArg, b: Option<(Buffer, ScalarArg)>, y: Buffer, accumulate: bool) {
        todo!()
    }

    fn scalar_gradient(&self, x: Buffer, dy: Buffer, factor: f32, dscalar: Buffer, index: usize) {
        todo!()
    }

    fn value_gate(&self, args: &ValueGateArgs, v: Buffer, x: Buffer, ve: Buffer, y: Buffer) {
        todo!()
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
        todo!()
    }

    fn smear(&self, args: &SmearArgs, x: Buffer, previous: Option<Buffer>, y: Buffer) {
        todo!()
    }

    fn smear_backward(&self, args: &SmearArgs, x: Buffer, dy: Buffer, dx: Buffer, dgate: Buffer, dlambda: Buffer) {
        todo!()
    }

    fn nll_chunk(&self, rows: usize, padded_vocab: usize) -> usize {
        todo!()
    }

    fn weighted_nll(&self, args: &NllArgs, gradients: Option<&NllGradients>) {
        todo!()
    }

    fn logits(&self, x: Buffer, head: Weight, vocab: usize, softcap: Option<f32>, logits: Buffer, rows: usize) {
        todo!()
    }

    fn select_positions(&self, x: Buffer, index: Buffer, y: Buffer, batch: usize, time: usize, cols: usize) {
        todo!()
    }

    fn matmul(&self, args: &MatmulArgs, a: Buffer, b: Buffer, out: Buffer) {
        todo!()
    }

    fn adamw(&self, value: Buffer, grad: Buffer, first: Buffer, second: Buffer, step: &AdamwStep) {
        todo!()
    }

    fn nesterov(&self, grad: Buffer, momentum: Buffer, out: Buffer, mu: f32) {
        todo!()
    }

    fn equilibrate_rows(&self, x: Buffer, cols: usize) {
        todo!()
    }

    fn normalize(&self, x: Buffer, rule: NormRule) {
        todo!()
    }

    fn normuon(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32) {
        todo!()
    }

    fn cautious_update(&self, w: Buffer, x: Buffer, lr: f32, weight_decay: f32) {
        todo!()
    }
}
