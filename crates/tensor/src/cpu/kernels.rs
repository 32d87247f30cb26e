//! The seam, method by method: picks the element type and calls the kernel.

use half::bf16;

use super::Cpu;
use super::elem::{input, output, with_elem};
use super::matmul::Epilogue;
use crate::backend::{
    AttentionArgs, Backend, Buffer, Host, HostMut, Layout, MatmulArgs, NllArgs, NllGradients, NllScratch, RotaryArgs,
    ScalarArg, SmearArgs, Stream, ValueGateArgs, Weight,
};
use crate::dtype::DType;
use crate::host;
use crate::memory::Memory;
use crate::ops::activation::Activation;
use crate::ops::choose::Choice;
use crate::ops::optimizer::{AdamwStep, NormRule};

/// Stores or adds.
fn epilogue(accumulate: bool) -> Epilogue {
    if accumulate { Epilogue::ADD } else { Epilogue::STORE }
}

impl Backend for Cpu {
    fn name(&self) -> String {
        format!(
            "cpu {}, {} threads, {}",
            self.isa.name(),
            self.pool.threads(),
            self.dtype.name()
        )
    }

    fn compute_dtype(&self) -> DType {
        self.dtype
    }

    fn master_dtype(&self) -> DType {
        DType::F32
    }

    fn allocate(&self, bytes: usize) -> Option<Memory> {
        host::allocate(bytes)
    }

    fn release(&self, memory: Memory) {
        host::release(memory);
    }

    fn synchronize(&self) {}

    fn upload(&self, from: Host, to: Buffer) {
        match (from, to.dtype) {
            (Host::F32(from), DType::F32) => output::<f32>(to).copy_from_slice(from),
            (Host::F32(from), DType::Bf16) => fill_from(output(to), from.iter().map(|&v| bf16::from_f32(v))),
            (Host::F64(from), DType::F32) => fill_from(output(to), from.iter().map(|&v| v as f32)),
            // Not `bf16::from_f64`, which forgets the lower half of the fraction and so rounds to even what is not halfway.
            (Host::F64(from), DType::Bf16) => fill_from(output(to), from.iter().map(|&v| bf16::from_f32(v as f32))),
            (Host::I32(from), DType::I32) => {
                // SAFETY: an index buffer of host memory that no kernel uses meanwhile.
                unsafe { to.host_mut() }.copy_from_slice(from);
            }
            (_, other) => unreachable!("upload into {}", other.name()),
        }
    }

    fn download(&self, from: Buffer, to: HostMut) {
        match (from.dtype, to) {
            (DType::F32, HostMut::F32(to)) => to.copy_from_slice(input(from)),
            (DType::Bf16, HostMut::F32(to)) => fill_from(to, input::<bf16>(from).iter().map(|v| v.to_f32())),
            (DType::F32, HostMut::F64(to)) => fill_from(to, input::<f32>(from).iter().map(|&v| v as f64)),
            (DType::Bf16, HostMut::F64(to)) => fill_from(to, input::<bf16>(from).iter().map(|v| v.to_f64())),
            (other, _) => unreachable!("download from {}", other.name()),
        }
    }

    fn fill(&self, to: Buffer, value: f32) {
        with_elem!(to.dtype, T => self.fill_all::<T>(to, value));
    }

    fn copy(&self, from: Buffer, to: Buffer) {
        with_elem!(from.dtype, A => with_elem!(to.dtype, B => self.convert::<A, B>(from, to)));
    }

    fn add_assign(&self, from: Buffer, to: Buffer) {
        with_elem!(to.dtype, T => self.add_all::<T>(from, to));
    }

    fn probe_flops(&self) -> Option<f64> {
        Some(self.peak_flops())
    }

    fn probe_stream(&self, stream: Stream, memory: Buffer) -> Option<f64> {
        Some(self.stream(stream, memory))
    }

    fn compute_copy_bytes(&self, out_features: usize, in_features: usize, layout: Layout) -> Option<usize> {
        Some(self.packed_bytes(out_features, in_features, layout))
    }

    fn make_compute_copy(&self, weight: Weight, layout: Layout, copy: Buffer) {
        self.pack_weight(weight, layout, copy);
    }

    fn embedding(&self, table: Buffer, ids: Buffer, y: Buffer, channels: usize) {
        with_elem!(y.dtype, T => self.embedding_rows::<T>(table, ids, y, channels));
    }

    fn embedding_backward(&self, dy: Buffer, ids: Buffer, dtable: Buffer, channels: usize) {
        with_elem!(dy.dtype, T => self.embedding_rows_backward::<T>(dy, ids, dtable, channels));
    }

    fn rms_norm(&self, x: Buffer, y: Buffer, cols: usize) {
        with_elem!(x.dtype, T => self.rms_norm_rows::<T>(x, y, cols));
    }

    fn rms_norm_backward(&self, x: Buffer, dy: Buffer, dx: Buffer, cols: usize, accumulate: bool) {
        with_elem!(x.dtype, T => self.rms_norm_rows_backward::<T>(x, dy, dx, cols, accumulate));
    }

    fn layer_norm(&self, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer, eps: f32) {
        with_elem!(x.dtype, T => self.layer_norm_rows::<T>(x, weight, bias, y, eps));
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
        with_elem!(x.dtype, T => {
            self.layer_norm_rows_backward::<T>(x, weight, dy, (dx, accumulate), (dweight, dbias), eps);
        });
    }

    fn linear(&self, x: Buffer, weight: Weight, y: Buffer, rows: usize) {
        with_elem!(x.dtype, T => {
            self.forward_product(input::<T>(x), weight, output::<T>(y), rows, Epilogue::STORE);
        });
    }

    fn linear_backward_input(&self, dy: Buffer, weight: Weight, dx: Buffer, rows: usize, accumulate: bool) {
        with_elem!(dy.dtype, T => {
            self.input_product(input::<T>(dy), weight, output::<T>(dx), rows, epilogue(accumulate));
        });
    }

    fn linear_backward_weight(&self, dy: Buffer, x: Buffer, dweight: Buffer, rows: usize, accumulate: bool) {
        with_elem!(dy.dtype, T => {
            self.weight_product(input::<T>(dy), input::<T>(x), output(dweight), rows, epilogue(accumulate));
        });
    }

    fn rotary_qk_norm(&self, args: &RotaryArgs, x: Buffer, y: Buffer) {
        with_elem!(x.dtype, T => self.rotary::<T>(args, x, y));
    }

    fn rotary_qk_norm_backward(&self, args: &RotaryArgs, x: Buffer, dy: Buffer, dx: Buffer) {
        with_elem!(x.dtype, T => self.rotary_backward::<T>(args, x, dy, dx));
    }

    fn attention(&self, args: &AttentionArgs, q: Buffer, k: Buffer, v: Buffer, y: Buffer, logsumexp: Buffer) {
        with_elem!(q.dtype, T => self.attention_forward::<T>(args, (q, k, v), y, logsumexp));
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
        with_elem!(q.dtype, T => {
            self.attention_gradients::<T>(args, (q, k, v), (y, logsumexp, dy), (dq, dk, dv));
        });
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
        with_elem!(x.dtype, T => self.write_cache::<T>((x, cache), starts, (batch, time, capacity, cols)));
    }

    fn copy_rows(&self, from: Buffer, to: Buffer, rows: Buffer, from_stride: usize, to_stride: usize, len: usize) {
        with_elem!(from.dtype, T => self.copy_row_pairs::<T>((from, from_stride), (to, to_stride), rows, len));
    }

    fn activation(&self, kind: Activation, x: Buffer, y: Buffer) {
        self.activate(kind, x, y);
    }

    fn activation_backward(&self, kind: Activation, x: Buffer, dy: Buffer, dx: Buffer, accumulate: bool) {
        self.activate_backward(kind, x, dy, dx, accumulate);
    }

    fn multiply(&self, a: Buffer, b: Buffer, y: Buffer, accumulate: bool) {
        with_elem!(a.dtype, T => self.multiply_all::<T>(a, b, y, accumulate));
    }

    fn mix(&self, a: Buffer, alpha: ScalarArg, b: Option<(Buffer, ScalarArg)>, y: Buffer, accumulate: bool) {
        with_elem!(a.dtype, T => self.mix_all::<T>((a, alpha), b, y, accumulate));
    }

    fn scalar_gradient(&self, x: Buffer, dy: Buffer, factor: f32, dscalar: Buffer, index: usize) {
        with_elem!(x.dtype, T => self.scalar_gradient_of::<T>(x, dy, factor, dscalar, index));
    }

    fn value_gate(&self, args: &ValueGateArgs, v: Buffer, x: Buffer, ve: Buffer, y: Buffer) {
        with_elem!(v.dtype, T => self.value_gate_rows::<T>(args, v, x, ve, y));
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
        with_elem!(x.dtype, T => {
            self.value_gate_rows_backward::<T>(args, (x, ve, dy), dve, (dx, accumulate_x), dgate);
        });
    }

    fn smear(&self, args: &SmearArgs, x: Buffer, previous: Option<Buffer>, y: Buffer) {
        with_elem!(x.dtype, T => self.smear_rows::<T>(args, x, previous, y));
    }

    fn smear_backward(&self, args: &SmearArgs, x: Buffer, dy: Buffer, dx: Buffer, dgate: Buffer, dlambda: Buffer) {
        with_elem!(x.dtype, T => self.smear_rows_backward::<T>(args, (x, dy, dx), dgate, dlambda));
    }

    fn nll_scratch(&self, rows: usize, channels: usize, padded_vocab: usize) -> NllScratch {
        self.loss_scratch(rows, channels, padded_vocab)
    }

    fn weighted_nll(&self, args: &NllArgs, gradients: Option<&NllGradients>) {
        with_elem!(args.x.dtype, T => self.nll::<T>(args, gradients));
    }

    fn logits(&self, x: Buffer, head: Weight, vocab: usize, softcap: Option<f32>, logits: Buffer, rows: usize) {
        with_elem!(x.dtype, T => self.plain_logits::<T>(x, head, vocab, softcap, logits, rows));
    }

    fn choose(&self, logits: Buffer, vocab: usize, choices: &[Choice], ids: &mut [i32]) {
        self.choose_rows(logits, vocab, choices, ids);
    }

    fn select_positions(&self, x: Buffer, index: Buffer, y: Buffer, _batch: usize, time: usize, cols: usize) {
        with_elem!(x.dtype, T => self.select_rows::<T>(x, index, y, time, cols));
    }

    fn matmul(&self, args: &MatmulArgs, a: Buffer, b: Buffer, out: Buffer) {
        self.plain_product(args, a, b, out);
    }

    fn adamw(&self, value: Buffer, grad: Buffer, first: Buffer, second: Buffer, step: &AdamwStep) {
        self.adamw_step(value, grad, first, second, step);
    }

    fn nesterov(&self, grad: Buffer, momentum: Buffer, out: Buffer, mu: f32) {
        with_elem!(out.dtype, T => self.nesterov_step::<T>(grad, momentum, out, mu));
    }

    fn equilibrate_rows(&self, x: Buffer, cols: usize) {
        with_elem!(x.dtype, T => self.equilibrate::<T>(x, cols));
    }

    fn normalize(&self, x: Buffer, rule: NormRule) {
        with_elem!(x.dtype, T => self.normalize_whole::<T>(x, rule));
    }

    fn normuon(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32) {
        self.variance_reduction(x, second, rows, cols, beta2);
    }

    fn cautious_update(&self, w: Buffer, x: Buffer, lr: f32, weight_decay: f32) {
        self.cautious_step(w, x, lr, weight_decay);
    }
}

fn fill_from<T>(to: &mut [T], from: impl Iterator<Item = T>) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from;
    }
}
