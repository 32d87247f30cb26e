//! Faults that the checks must find: a backend that spoils one result of one kernel.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::{GROUPS, References, Sizes, compare};
use crate::backend::{
    AttentionArgs, Backend, Buffer, Host, HostMut, Layout, MatmulArgs, NllArgs, NllGradients, NllScratch, RotaryArgs,
    ScalarArg, SmearArgs, ValueGateArgs, Weight,
};
use crate::cpu::{Cpu, CpuOptions};
use crate::device::Device;
use crate::dtype::DType;
use crate::memory::Memory;
use crate::ops::activation::Activation;
use crate::ops::choose::Choice;
use crate::ops::optimizer::{AdamwStep, NormRule};

/// What is wrong with a result.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// All of it is one hundredth too large.
    Scaled,
    /// Its last element was not written.
    Tail,
    /// It is written where it should be added to what is there.
    Overwritten,
}

/// The CPU, but one result of one kernel is wrong.
struct Broken {
    inner: Cpu,
    /// Kernel and result.
    fault: Option<(&'static str, Fault)>,
    /// All that could be spoilt so far.
    seen: RefCell<BTreeSet<&'static str>>,
}

impl Broken {
    fn spoil(&self, what: &'static str, result: Buffer) {
        if result.dtype == DType::I32 {
            return;
        }
        self.seen.borrow_mut().insert(what);
        let Some((_, fault)) = self.fault.filter(|fault| fault.0 == what && result.len > 0) else {
            return;
        };
        let mut values = vec![0.0; result.len];
        self.inner.download(result, HostMut::F64(&mut values));
        match fault {
            Fault::Scaled => values.iter_mut().for_each(|x| *x *= 1.01),
            Fault::Tail => values[result.len - 1] = 0.0,
            Fault::Overwritten => return,
        }
        self.inner.upload(Host::F64(&values), result);
    }
}

impl Broken {
    fn flag(&self, what: &'static str, accumulate: bool) -> bool {
        if accumulate {
            self.seen.borrow_mut().insert(what);
        }
        accumulate && self.fault != Some((what, Fault::Overwritten))
    }
}

fn device(dtype: DType, fault: Option<(&'static str, Fault)>) -> (Device, Rc<Broken>) {
    let options = CpuOptions {
        threads: Some(1),
        dtype: Some(dtype),
        kernel: None,
    };
    let broken = Rc::new(Broken {
        inner: Cpu::new(&options).expect("every machine has f32 and bf16"),
        fault,
        seen: RefCell::default(),
    });
    let backend: Rc<dyn Backend> = broken.clone();
    (Device::new(backend), broken)
}

/// Whether any check of a single operation complains of the device.
fn is_caught(device: &Device, references: &References) -> bool {
    let single = GROUPS.iter().filter(|group| group.name != "network");
    let checks = single.flat_map(|group| (group.checks)(Sizes::Small));
    for check in checks {
        if !compare(&*check, device, references.of(&*check)).passed() {
            return true;
        }
    }
    false
}

/// Every result of every kernel is looked at: whichever is wrong, and be it in one element, a check fails.
#[test]
fn every_fault_is_found() {
    let references = References::new(None).expect("the best kernels of this machine");
    let mut missed = Vec::new();
    for dtype in [DType::F32, DType::Bf16] {
        let (sound, seen) = device(dtype, None);
        assert!(!is_caught(&sound, &references), "a sound backend is sound");
        let seen = seen.seen.borrow().clone();
        let (flags, results): (Vec<_>, Vec<_>) = seen.into_iter().partition(|what| what.ends_with("accumulate"));
        assert_eq!(results.len(), 55, "every result of every kernel: {results:?}");
        assert_eq!(flags.len(), 9, "every kernel that can add to its result: {flags:?}");
        let of_results = results
            .iter()
            .flat_map(|&what| [(what, Fault::Scaled), (what, Fault::Tail)]);
        let of_flags = flags.iter().map(|&what| (what, Fault::Overwritten));
        for (what, fault) in of_results.chain(of_flags) {
            let (broken, _) = device(dtype, Some((what, fault)));
            if !is_caught(&broken, &references) {
                missed.push(format!("{what} {fault:?} in {}", dtype.name()));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

impl Backend for Broken {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn compute_dtype(&self) -> DType {
        self.inner.compute_dtype()
    }

    fn master_dtype(&self) -> DType {
        self.inner.master_dtype()
    }

    fn allocate(&self, bytes: usize) -> Option<Memory> {
        self.inner.allocate(bytes)
    }

    fn release(&self, memory: Memory) {
        self.inner.release(memory);
    }

    fn synchronize(&self) {
        self.inner.synchronize();
    }

    fn upload(&self, from: Host, to: Buffer) {
        self.inner.upload(from, to);
        self.spoil("upload, to", to);
    }

    fn download(&self, from: Buffer, to: HostMut) {
        self.inner.download(from, to);
    }

    fn fill(&self, to: Buffer, value: f32) {
        self.inner.fill(to, value);
        self.spoil("fill, to", to);
    }

    fn copy(&self, from: Buffer, to: Buffer) {
        self.inner.copy(from, to);
        self.spoil("copy, to", to);
    }

    fn add_assign(&self, from: Buffer, to: Buffer) {
        self.inner.add_assign(from, to);
        self.spoil("add_assign, to", to);
    }

    fn compute_copy_bytes(&self, out_features: usize, in_features: usize, layout: Layout) -> Option<usize> {
        self.inner.compute_copy_bytes(out_features, in_features, layout)
    }

    fn make_compute_copy(&self, weight: Weight, layout: Layout, copy: Buffer) {
        self.inner.make_compute_copy(weight, layout, copy);
    }

    fn embedding(&self, table: Buffer, ids: Buffer, y: Buffer, channels: usize) {
        self.inner.embedding(table, ids, y, channels);
        self.spoil("embedding, y", y);
    }

    fn embedding_backward(&self, dy: Buffer, ids: Buffer, dtable: Buffer, channels: usize) {
        self.inner.embedding_backward(dy, ids, dtable, channels);
        self.spoil("embedding_backward, dtable", dtable);
    }

    fn rms_norm(&self, x: Buffer, y: Buffer, cols: usize) {
        self.inner.rms_norm(x, y, cols);
        self.spoil("rms_norm, y", y);
    }

    fn rms_norm_backward(&self, x: Buffer, dy: Buffer, dx: Buffer, cols: usize, accumulate: bool) {
        let accumulate = self.flag("rms_norm_backward, accumulate", accumulate);
        self.inner.rms_norm_backward(x, dy, dx, cols, accumulate);
        self.spoil("rms_norm_backward, dx", dx);
    }

    fn layer_norm(&self, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer, eps: f32) {
        self.inner.layer_norm(x, weight, bias, y, eps);
        self.spoil("layer_norm, y", y);
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
        let accumulate = self.flag("layer_norm_backward, accumulate", accumulate);
        self.inner
            .layer_norm_backward(x, weight, dy, dx, dweight, dbias, eps, accumulate);
        self.spoil("layer_norm_backward, dx", dx);
        self.spoil("layer_norm_backward, dweight", dweight);
        self.spoil("layer_norm_backward, dbias", dbias);
    }

    fn linear(&self, x: Buffer, weight: Weight, y: Buffer, rows: usize) {
        self.inner.linear(x, weight, y, rows);
        self.spoil("linear, y", y);
    }

    fn linear_backward_input(&self, dy: Buffer, weight: Weight, dx: Buffer, rows: usize, accumulate: bool) {
        let accumulate = self.flag("linear_backward_input, accumulate", accumulate);
        self.inner.linear_backward_input(dy, weight, dx, rows, accumulate);
        self.spoil("linear_backward_input, dx", dx);
    }

    fn linear_backward_weight(&self, dy: Buffer, x: Buffer, dweight: Buffer, rows: usize, accumulate: bool) {
        let accumulate = self.flag("linear_backward_weight, accumulate", accumulate);
        self.inner.linear_backward_weight(dy, x, dweight, rows, accumulate);
        self.spoil("linear_backward_weight, dweight", dweight);
    }

    fn rotary_qk_norm(&self, args: &RotaryArgs, x: Buffer, y: Buffer) {
        self.inner.rotary_qk_norm(args, x, y);
        self.spoil("rotary_qk_norm, y", y);
    }

    fn rotary_qk_norm_backward(&self, args: &RotaryArgs, x: Buffer, dy: Buffer, dx: Buffer) {
        self.inner.rotary_qk_norm_backward(args, x, dy, dx);
        self.spoil("rotary_qk_norm_backward, dx", dx);
    }

    fn attention(&self, args: &AttentionArgs, q: Buffer, k: Buffer, v: Buffer, y: Buffer, logsumexp: Buffer) {
        self.inner.attention(args, q, k, v, y, logsumexp);
        self.spoil("attention, y", y);
        self.spoil("attention, logsumexp", logsumexp);
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
        self.inner
            .attention_backward(args, q, k, v, y, logsumexp, dy, dq, dk, dv);
        self.spoil("attention_backward, dq", dq);
        self.spoil("attention_backward, dk", dk);
        self.spoil("attention_backward, dv", dv);
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
        self.inner.cache_write(x, cache, starts, batch, time, capacity, cols);
        self.spoil("cache_write, cache", cache);
    }

    fn copy_rows(&self, from: Buffer, to: Buffer, rows: Buffer, from_stride: usize, to_stride: usize, len: usize) {
        self.inner.copy_rows(from, to, rows, from_stride, to_stride, len);
        self.spoil("copy_rows, to", to);
    }

    fn activation(&self, kind: Activation, x: Buffer, y: Buffer) {
        self.inner.activation(kind, x, y);
        self.spoil("activation, y", y);
    }

    fn activation_backward(&self, kind: Activation, x: Buffer, dy: Buffer, dx: Buffer, accumulate: bool) {
        let accumulate = self.flag("activation_backward, accumulate", accumulate);
        self.inner.activation_backward(kind, x, dy, dx, accumulate);
        self.spoil("activation_backward, dx", dx);
    }

    fn multiply(&self, a: Buffer, b: Buffer, y: Buffer, accumulate: bool) {
        let accumulate = self.flag("multiply, accumulate", accumulate);
        self.inner.multiply(a, b, y, accumulate);
        self.spoil("multiply, y", y);
    }

    fn mix(&self, a: Buffer, alpha: ScalarArg, b: Option<(Buffer, ScalarArg)>, y: Buffer, accumulate: bool) {
        let accumulate = self.flag("mix, accumulate", accumulate);
        self.inner.mix(a, alpha, b, y, accumulate);
        self.spoil("mix, y", y);
    }

    fn scalar_gradient(&self, x: Buffer, dy: Buffer, factor: f32, dscalar: Buffer, index: usize) {
        self.inner.scalar_gradient(x, dy, factor, dscalar, index);
        self.spoil("scalar_gradient, dscalar", dscalar);
    }

    fn value_gate(&self, args: &ValueGateArgs, v: Buffer, x: Buffer, ve: Buffer, y: Buffer) {
        self.inner.value_gate(args, v, x, ve, y);
        self.spoil("value_gate, y", y);
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
        let accumulate_x = self.flag("value_gate_backward, accumulate", accumulate_x);
        self.inner
            .value_gate_backward(args, x, ve, dy, dve, dx, accumulate_x, dgate);
        self.spoil("value_gate_backward, dve", dve);
        self.spoil("value_gate_backward, dx", dx);
        self.spoil("value_gate_backward, dgate", dgate);
    }

    fn smear(&self, args: &SmearArgs, x: Buffer, previous: Option<Buffer>, y: Buffer) {
        self.inner.smear(args, x, previous, y);
        self.spoil("smear, y", y);
    }

    fn smear_backward(&self, args: &SmearArgs, x: Buffer, dy: Buffer, dx: Buffer, dgate: Buffer, dlambda: Buffer) {
        self.inner.smear_backward(args, x, dy, dx, dgate, dlambda);
        self.spoil("smear_backward, dx", dx);
        self.spoil("smear_backward, dgate", dgate);
        self.spoil("smear_backward, dlambda", dlambda);
    }

    fn nll_scratch(&self, rows: usize, channels: usize, padded_vocab: usize) -> NllScratch {
        self.inner.nll_scratch(rows, channels, padded_vocab)
    }

    fn weighted_nll(&self, args: &NllArgs, gradients: Option<&NllGradients>) {
        let changed = gradients.map(|gradients| NllGradients {
            accumulate_head: self.flag("weighted_nll, accumulate", gradients.accumulate_head),
            ..*gradients
        });
        let gradients = changed.as_ref();
        self.inner.weighted_nll(args, gradients);
        self.spoil("weighted_nll, nll", args.nll);
        self.spoil("weighted_nll, loss", args.loss);
        if let Some(gradients) = gradients {
            self.spoil("weighted_nll, dx", gradients.dx);
        }
        if let Some(gradients) = gradients {
            self.spoil("weighted_nll, dhead", gradients.dhead);
        }
    }

    fn logits(&self, x: Buffer, head: Weight, vocab: usize, softcap: Option<f32>, logits: Buffer, rows: usize) {
        self.inner.logits(x, head, vocab, softcap, logits, rows);
        self.spoil("logits, logits", logits);
    }

    fn choose(&self, logits: Buffer, vocab: usize, choices: &[Choice], ids: &mut [i32]) {
        self.inner.choose(logits, vocab, choices, ids);
        self.seen.borrow_mut().insert("choose, ids");
        match self.fault {
            Some(("choose, ids", Fault::Tail)) => ids[choices.len() - 1] = 0,
            Some(("choose, ids", Fault::Scaled)) => ids.iter_mut().for_each(|id| *id += 1),
            _ => {}
        }
    }

    fn select_positions(&self, x: Buffer, index: Buffer, y: Buffer, batch: usize, time: usize, cols: usize) {
        self.inner.select_positions(x, index, y, batch, time, cols);
        self.spoil("select_positions, y", y);
    }

    fn matmul(&self, args: &MatmulArgs, a: Buffer, b: Buffer, out: Buffer) {
        self.inner.matmul(args, a, b, out);
        self.spoil("matmul, out", out);
    }

    fn adamw(&self, value: Buffer, grad: Buffer, first: Buffer, second: Buffer, step: &AdamwStep) {
        self.inner.adamw(value, grad, first, second, step);
        self.spoil("adamw, value", value);
        self.spoil("adamw, first", first);
        self.spoil("adamw, second", second);
    }

    fn nesterov(&self, grad: Buffer, momentum: Buffer, out: Buffer, mu: f32) {
        self.inner.nesterov(grad, momentum, out, mu);
        self.spoil("nesterov, out", out);
        self.spoil("nesterov, momentum", momentum);
    }

    fn equilibrate_rows(&self, x: Buffer, cols: usize) {
        self.inner.equilibrate_rows(x, cols);
        self.spoil("equilibrate_rows, x", x);
    }

    fn normalize(&self, x: Buffer, rule: NormRule) {
        self.inner.normalize(x, rule);
        self.spoil("normalize, x", x);
    }

    fn normuon(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32) {
        self.inner.normuon(x, second, rows, cols, beta2);
        self.spoil("normuon, x", x);
        self.spoil("normuon, second", second);
    }

    fn cautious_update(&self, w: Buffer, x: Buffer, lr: f32, weight_decay: f32) {
        self.inner.cautious_update(w, x, lr, weight_decay);
        self.spoil("cautious_update, w", w);
    }
}
