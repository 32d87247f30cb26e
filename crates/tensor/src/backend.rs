//! The seam between operations and hardware: one flat trait of kernels over opaque buffers.
//!
//! Kernels know nothing of GPT, of the tape or of shapes beyond the numbers they are given.
//! All tensors are dense and row-major. `accumulate` says whether an output holds something
//! that must be kept (`+=`) or nothing yet (`=`). Every kernel must give the same bits for any
//! number of threads: each output has one owner and reductions have a fixed order.

use crate::dtype::DType;
use crate::memory::Memory;
use crate::ops::activation::Activation;
use crate::ops::choose::Choice;
use crate::ops::optimizer::{AdamwStep, NormRule};

/// A dense run of elements in device memory. Opaque outside the backends.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub(crate) memory: Memory,
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub len: usize,
}

/// Host values to upload.
#[derive(Clone, Copy)]
pub enum Host<'a> {
    /// Single precision, converted to the destination's type.
    F32(&'a [f32]),
    /// Double precision, converted to the destination's type.
    F64(&'a [f64]),
    /// Indices.
    I32(&'a [i32]),
}

/// Host memory to download into.
pub enum HostMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Double precision.
    F64(&'a mut [f64]),
}

/// Which product a compute copy of a matrix serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `x·Wᵀ`, the forward product.
    Forward = 0,
    /// `dy·W`, the gradient of the input.
    Backward = 1,
}

/// A matrix parameter `[out, in]` as a matmul operand.
#[derive(Clone, Copy)]
pub struct Weight {
    /// The master copy.
    pub master: Buffer,
    /// The backend's own compute copy, if it asked for one.
    pub copy: Option<Buffer>,
    /// Rows of the matrix.
    pub out_features: usize,
    /// Columns of the matrix.
    pub in_features: usize,
}

/// A scalar coefficient: `factor · parameter[index]`, or just `factor`.
#[derive(Clone, Copy)]
pub struct ScalarArg {
    /// Constant factor.
    pub factor: f32,
    /// A vector of master type and the index of the element in it.
    pub parameter: Option<(Buffer, usize)>,
}

/// Arguments of the rotary embedding followed by the QK norm; `x` is `[batch, time, heads, head_dim]`.
#[derive(Clone, Copy)]
pub struct RotaryArgs {
    /// Sequences.
    pub batch: usize,
    /// Positions per sequence in this call.
    pub time: usize,
    /// Heads.
    pub heads: usize,
    /// Channels per head (even).
    pub head_dim: usize,
    /// Cosines, `[positions, head_dim/2]`, compute type.
    pub cos: Buffer,
    /// Sines, likewise.
    pub sin: Buffer,
    /// First absolute position of each sequence (`I32`, `[batch]`); 0 if absent.
    pub starts: Option<Buffer>,
    /// Factor after the norm.
    pub scale: f32,
}

/// Shape of a causal attention. Query `i` of a sequence stands at the absolute position
/// `start + i` and sees the keys `j` with `0 ≤ start + i − j ≤ window`.
#[derive(Clone, Copy)]
pub struct AttentionArgs {
    /// Sequences.
    pub batch: usize,
    /// Queries per sequence.
    pub time: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; query head `h` reads kv head `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Channels per head.
    pub head_dim: usize,
    /// Keys stored per sequence (`time` in training, the capacity of a KV cache in decoding).
    pub capacity: usize,
    /// Largest distance a query looks back; `usize::MAX` for all.
    pub window: usize,
    /// Softmax scale, `1/√head_dim`.
    pub scale: f32,
    /// First absolute position of each sequence (`I32`, `[batch]`); 0 if absent.
    pub starts: Option<Buffer>,
}

/// Arguments of the gated value embedding: `out = v + 3·σ(gate · x[..gate_channels]) · ve` per kv head.
#[derive(Clone, Copy)]
pub struct ValueGateArgs {
    /// Token positions.
    pub rows: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Channels per head.
    pub head_dim: usize,
    /// Channels of `x`.
    pub channels: usize,
    /// Leading channels of `x` that the gate reads.
    pub gate_channels: usize,
    /// Gate matrix `[kv_heads, gate_channels]`, master type.
    pub gate: Buffer,
}

/// Arguments of smear: `out_t = x_t + λ·σ(gate · x_t[..gate_channels]) · x_{t−1}`.
#[derive(Clone, Copy)]
pub struct SmearArgs {
    /// Sequences.
    pub batch: usize,
    /// Positions per sequence.
    pub time: usize,
    /// Channels.
    pub channels: usize,
    /// Leading channels that the gate reads.
    pub gate_channels: usize,
    /// Gate vector `[1, gate_channels]`, master type.
    pub gate: Buffer,
    /// λ, `[1]`, master type.
    pub lambda: Buffer,
}

/// A plain product `out = alpha·op(a)·op(b) + beta·addend` of dense matrices, or several of one shape.
#[derive(Clone, Copy)]
pub struct MatmulArgs {
    /// Products; in each buffer their matrices lie one after the other.
    pub batch: usize,
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub cols: usize,
    /// Inner dimension.
    pub inner: usize,
    /// `a` is stored `[inner, rows]`.
    pub transpose_a: bool,
    /// `b` is stored `[cols, inner]`.
    pub transpose_b: bool,
    /// Factor of the product.
    pub alpha: f32,
    /// Added matrix of the result's shape (not the result itself) and its factor.
    pub addend: Option<(Buffer, f32)>,
}

/// Arguments of the fused unembedding, soft cap and weighted negative log-likelihood.
#[derive(Clone, Copy)]
pub struct NllArgs {
    /// Token positions.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
    /// Logits that count; rows of the head from here on are padding.
    pub vocab: usize,
    /// Logits are `cap·tanh(z/cap)`; none: as they are.
    pub softcap: Option<f32>,
    /// Rows handled at a time.
    pub chunk: usize,
    /// `[rows, channels]`, compute type.
    pub x: Buffer,
    /// `[padded vocabulary, channels]` for the forward product.
    pub head: Weight,
    /// `[rows]`, `I32`; negative: ignored.
    pub targets: Buffer,
    /// `[rows]`, master type.
    pub weights: Buffer,
    /// Scratch of [`NllScratch::master`] elements, master type.
    pub scratch: Buffer,
    /// Result `[rows]`, master type: 0 where ignored.
    pub nll: Buffer,
    /// Result `[1]`, master type: Σ weight·nll.
    pub loss: Buffer,
}

/// What [`Backend::weighted_nll`] wants beside its operands.
#[derive(Clone, Copy)]
pub struct NllScratch {
    /// Rows handled at a time.
    pub chunk: usize,
    /// Elements of master type.
    pub master: usize,
    /// Elements of compute type for the gradients.
    pub compute: usize,
}

/// Where the gradients of [`NllArgs`] go.
#[derive(Clone, Copy)]
pub struct NllGradients {
    /// The head for the gradient of `x`.
    pub head: Weight,
    /// Scratch of [`NllScratch::compute`] elements, compute type.
    pub scratch: Buffer,
    /// `[rows, channels]`, compute type, overwritten.
    pub dx: Buffer,
    /// `[padded vocabulary, channels]`, master type.
    pub dhead: Buffer,
    /// Whether `dhead` is added to.
    pub accumulate_head: bool,
}

/// A plain walk through memory, as in McCalpin's STREAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Reads all of it.
    Read,
    /// Copies one half to the other; bytes read and bytes written count.
    Copy,
    /// `a = b + 3·c` on thirds; bytes read and bytes written count.
    Triad,
}

/// Everything a device must be able to do. The documentation of each operation's mathematics
/// is in `ops/`; here stand only the operands.
pub trait Backend {
    /// Description for people: kernel level, threads, element type.
    fn name(&self) -> String;
    /// Element type of activations and matmul inputs.
    fn compute_dtype(&self) -> DType;
    /// Element type of parameters, their gradients, statistics and losses.
    fn master_dtype(&self) -> DType;

    /// A block of at least `bytes` bytes aligned to 64, or nothing if there is none.
    fn allocate(&self, bytes: usize) -> Option<Memory>;
    /// Bytes that are free in a memory of the device's own; none where it computes in the machine's.
    fn available_bytes(&self) -> Option<usize> {
        None
    }
    /// Gives a block back to the system.
    fn release(&self, memory: Memory);
    /// Waits for all work.
    fn synchronize(&self);
    /// Host to device, converting.
    fn upload(&self, from: Host, to: Buffer);
    /// Device to host, converting; waits for all work that writes `from`.
    fn download(&self, from: Buffer, to: HostMut);
    /// `to[i] = value`.
    fn fill(&self, to: Buffer, value: f32);
    /// `to[i] = from[i]`, converting.
    fn copy(&self, from: Buffer, to: Buffer);
    /// `to[i] += from[i]`, one element type.
    fn add_assign(&self, from: Buffer, to: Buffer);

    /// FLOP/s of the innermost multiply loop of the compute type on all threads, measured for a few milliseconds.
    fn probe_flops(&self) -> Option<f64> {
        None
    }
    /// Bytes per second of one walk through `memory` on all threads.
    fn probe_stream(&self, _stream: Stream, _memory: Buffer) -> Option<f64> {
        None
    }

    /// Which compute copy serves a product: a backend with one copy for both says which.
    fn compute_copy_layout(&self, layout: Layout) -> Layout {
        layout
    }
    /// Size of the compute copy wanted of a matrix `[out_features, in_features]`; none: the master is used.
    fn compute_copy_bytes(&self, out_features: usize, in_features: usize, layout: Layout) -> Option<usize>;
    /// Makes the compute copy of `weight.master`.
    fn make_compute_copy(&self, weight: Weight, layout: Layout, copy: Buffer);

    /// `y[r, :] = table[ids[r], :]`; the table is of master type.
    fn embedding(&self, table: Buffer, ids: Buffer, y: Buffer, channels: usize);
    /// `dtable[ids[r], :] += dy[r, :]`.
    fn embedding_backward(&self, dy: Buffer, ids: Buffer, dtable: Buffer, channels: usize);

    /// `y = x / √(mean(x²) + 2⁻²³)` per row.
    fn rms_norm(&self, x: Buffer, y: Buffer, cols: usize);
    /// Gradient of [`Backend::rms_norm`].
    fn rms_norm_backward(&self, x: Buffer, dy: Buffer, dx: Buffer, cols: usize, accumulate: bool);
    /// `y = (x − mean)/√(var + eps)·weight + bias` per row; `weight` and `bias` of master type.
    fn layer_norm(&self, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer, eps: f32);
    /// Gradient of [`Backend::layer_norm`]; `dweight` and `dbias` are added to.
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
    );

    /// `y = x·Wᵀ`, `x` `[rows, in]`, `y` `[rows, out]`.
    fn linear(&self, x: Buffer, weight: Weight, y: Buffer, rows: usize);
    /// `dx = dy·W`.
    fn linear_backward_input(&self, dy: Buffer, weight: Weight, dx: Buffer, rows: usize, accumulate: bool);
    /// `dW = dyᵀ·x`, `[out, in]` of master type.
    fn linear_backward_weight(&self, dy: Buffer, x: Buffer, dweight: Buffer, rows: usize, accumulate: bool);

    /// Rotary embedding, then RMS norm per head, then scale.
    fn rotary_qk_norm(&self, args: &RotaryArgs, x: Buffer, y: Buffer);
    /// Gradient of [`Backend::rotary_qk_norm`]; `dx` is overwritten.
    fn rotary_qk_norm_backward(&self, args: &RotaryArgs, x: Buffer, dy: Buffer, dx: Buffer);

    /// Causal attention: `y` like `q`, and the log-sum-exp of the scaled scores per query,
    /// `[batch, heads, time]` of master type.
    fn attention(&self, args: &AttentionArgs, q: Buffer, k: Buffer, v: Buffer, y: Buffer, logsumexp: Buffer);
    /// Gradient of [`Backend::attention`] for `starts` absent and `capacity = time`; `dq`, `dk`, `dv` are overwritten.
    #[allow(clippy::too_many_arguments)]
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
    );
    /// `cache[b, starts[b] + t, :] = x[b, t, :]`; the cache is `[batch, capacity, cols]`.
    fn cache_write(
        &self,
        x: Buffer,
        cache: Buffer,
        starts: Buffer,
        batch: usize,
        time: usize,
        capacity: usize,
        cols: usize,
    );

    /// `to[b, ..len] = from[a, ..len]` for the pairs (a, b) of `rows` (`I32`, `[pairs, 2]`): rows of `from_stride`
    /// elements in `from`, of `to_stride` in `to`, `len` at most either. Both may be one buffer, where no row that is
    /// read is written.
    fn copy_rows(&self, from: Buffer, to: Buffer, rows: Buffer, from_stride: usize, to_stride: usize, len: usize);

    /// `y = f(x)` elementwise.
    fn activation(&self, kind: Activation, x: Buffer, y: Buffer);
    /// `dx = f'(x)·dy`. For ReLU and ReLU², `x` is the result `f(x)`, from which the slope follows. `dx` may be
    /// `dy` unless it is added to.
    fn activation_backward(&self, kind: Activation, x: Buffer, dy: Buffer, dx: Buffer, accumulate: bool);
    /// `y = a·b` elementwise.
    fn multiply(&self, a: Buffer, b: Buffer, y: Buffer, accumulate: bool);
    /// `y = alpha·a + beta·b`; without `b`, `y = alpha·a`.
    fn mix(&self, a: Buffer, alpha: ScalarArg, b: Option<(Buffer, ScalarArg)>, y: Buffer, accumulate: bool);
    /// `dscalar[index] += factor · Σ x·dy`.
    fn scalar_gradient(&self, x: Buffer, dy: Buffer, factor: f32, dscalar: Buffer, index: usize);

    /// Gated value embedding. `v`, `ve`, `y`: `[rows, kv_heads, head_dim]`; `x`: `[rows, channels]`.
    fn value_gate(&self, args: &ValueGateArgs, v: Buffer, x: Buffer, ve: Buffer, y: Buffer);
    /// Gradients by `ve` (overwritten), `x` (all channels) and the gate (added to); that by `v` is `dy`.
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
    );
    /// Smear; `previous` `[batch, channels]` stands before position 0 (absent: nothing is added there).
    fn smear(&self, args: &SmearArgs, x: Buffer, previous: Option<Buffer>, y: Buffer);
    /// Gradients by `x` (overwritten), gate and λ (added to), for `previous` absent.
    fn smear_backward(&self, args: &SmearArgs, x: Buffer, dy: Buffer, dx: Buffer, dgate: Buffer, dlambda: Buffer);

    /// How [`Backend::weighted_nll`] goes about so many rows.
    fn nll_scratch(&self, rows: usize, channels: usize, padded_vocab: usize) -> NllScratch;
    /// The loss of every stage; with `gradients`, of the loss for seed 1.
    fn weighted_nll(&self, args: &NllArgs, gradients: Option<&NllGradients>);
    /// `logits[r, ..vocab] = softcap(x·headᵀ)`, master type.
    fn logits(&self, x: Buffer, head: Weight, vocab: usize, softcap: Option<f32>, logits: Buffer, rows: usize);
    /// A token id for each choice, as `ops/choose.rs` says, from logits `[rows, vocab]` of master type; waits for all
    /// work.
    fn choose(&self, logits: Buffer, vocab: usize, choices: &[Choice], ids: &mut [i32]);
    /// `y[b, :] = x[b, index[b], :]`; `x` is `[batch, time, cols]`.
    fn select_positions(&self, x: Buffer, index: Buffer, y: Buffer, batch: usize, time: usize, cols: usize);

    /// Plain product; all operands of one type.
    fn matmul(&self, args: &MatmulArgs, a: Buffer, b: Buffer, out: Buffer);
    /// AdamW on master-type buffers of equal length.
    fn adamw(&self, value: Buffer, grad: Buffer, first: Buffer, second: Buffer, step: &AdamwStep);
    /// `momentum = μ·momentum + (1−μ)·grad`, `out = (1−μ)·grad + μ·momentum`, `out` of compute type.
    fn nesterov(&self, grad: Buffer, momentum: Buffer, out: Buffer, mu: f32);
    /// Each row × (‖x‖/√rows) / max(its norm, 1e-6), in place.
    fn equilibrate_rows(&self, x: Buffer, cols: usize);
    /// Rescales the whole by its Frobenius norm, in place.
    fn normalize(&self, x: Buffer, rule: NormRule);
    /// NorMuon's variance reduction in place on master-type `x` `[rows, cols]`;
    /// `second` has `rows` entries if `rows ≥ cols`, else `cols`.
    fn normuon(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32);
    /// `w −= lr·x + lr·wd·w·[x·w ≥ 0]`, all of master type.
    fn cautious_update(&self, w: Buffer, x: Buffer, lr: f32, weight_decay: f32);
}
