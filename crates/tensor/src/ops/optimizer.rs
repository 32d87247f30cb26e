//! What an optimizer needs of a device: elementwise updates, norms and plain products on
//! tensors outside the tape. The recipes (AdamW, Muon) are the model crate's business.

use crate::backend::MatmulArgs;
use crate::device::Device;
use crate::tape::bytes;
use crate::tensor::Tensor;

/// Numbers of one AdamW step (Loshchilov & Hutter 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamwStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay: `value ·= 1 − lr·weight_decay`.
    pub weight_decay: f32,
    /// Steps done, this one included: the exponent of the bias corrections.
    pub step: u32,
}

/// How [`Device::normalize`] rescales `x` by its Frobenius norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormRule {
    /// `x / (factor·‖x‖ + eps)`.
    Divide {
        /// Safety factor.
        factor: f32,
        /// Keeps a zero matrix finite.
        eps: f32,
    },
    /// `x · target / max(‖x‖, eps)`.
    Snap {
        /// The norm to reach.
        target: f32,
        /// Keeps a zero matrix finite.
        eps: f32,
    },
}

impl Device {
    /// One AdamW step on tensors of master type: `m, v` updated, then
    /// `value −= lr/(1−β1ᵗ)·m/(√(v/(1−β2ᵗ)) + eps)`, after the decay.
    pub fn adamw(&self, value: &Tensor, grad: &Tensor, first: &Tensor, second: &Tensor, step: &AdamwStep) {
        distinct(&[value, grad, first, second]);
        self.count(12.0 * value.len() as f64, 7.0 * bytes(value));
        self.launch("adamw", |b| {
            b.adamw(value.buffer(), grad.buffer(), first.buffer(), second.buffer(), step);
        });
    }

    /// Nesterov momentum as a running mean: `momentum = μ·momentum + (1−μ)·grad`, and `out`, of compute type,
    /// `(1−μ)·grad + μ·momentum`.
    ///
    /// # Panics
    ///
    /// If `out` has another length or type.
    pub fn nesterov(&self, grad: &Tensor, momentum: &Tensor, mu: f32, out: &Tensor) {
        distinct(&[grad, momentum, out]);
        assert_eq!(
            (out.len(), out.dtype()),
            (grad.len(), self.compute_dtype()),
            "as many of compute type"
        );
        self.count(6.0 * grad.len() as f64, 4.0 * bytes(grad));
        self.launch("nesterov", |b| {
            b.nesterov(grad.buffer(), momentum.buffer(), out.buffer(), mu);
        });
    }

    /// Rescales each row of a matrix to the root mean square of the row norms, in place.
    pub fn equilibrate_rows(&self, x: &Tensor) {
        self.count(3.0 * x.len() as f64, 3.0 * bytes(x));
        self.launch("equilibrate_rows", |b| b.equilibrate_rows(x.buffer(), x.shape().last()));
    }

    /// Rescales a matrix by its Frobenius norm, in place.
    pub fn normalize(&self, x: &Tensor, rule: NormRule) {
        self.count(3.0 * x.len() as f64, 3.0 * bytes(x));
        self.launch("normalize", |b| b.normalize(x.buffer(), rule));
    }

    /// `alpha·op(a)·op(b) + beta·addend` for matrices, or for as many as all operands have in their outer dimensions; the
    /// transpositions are of the operands as stored.
    #[must_use]
    pub fn matmul(
        &self,
        (a, transpose_a): (&Tensor, bool),
        (b, transpose_b): (&Tensor, bool),
        alpha: f32,
        addend: Option<(&Tensor, f32)>,
    ) -> Tensor {
        let sides = |x: &Tensor, transpose| {
            let (rows, cols) = x.shape().matrix();
            if transpose { (cols, rows) } else { (rows, cols) }
        };
        let ((rows, inner), (inner_b, cols)) = (sides(a, transpose_a), sides(b, transpose_b));
        let (shape, outer) = (a.shape().with_matrix(rows, cols), b.shape().with_matrix(rows, cols));
        let fits = inner == inner_b && shape == outer && addend.is_none_or(|(x, _)| x.shape() == shape);
        assert!(fits, "product of {:?} and {:?}", a.shape(), b.shape());
        let out = self.empty(shape, a.dtype());
        let batch = if shape.is_empty() {
            0
        } else {
            shape.len() / (rows * cols)
        };
        let args = MatmulArgs {
            batch,
            rows,
            cols,
            inner,
            transpose_a,
            transpose_b,
            alpha,
            addend: addend.map(|(x, beta)| (x.buffer(), beta)),
        };
        self.count(2.0 * (out.len() * inner) as f64, bytes(a) + bytes(b) + bytes(&out));
        self.launch("matmul", |backend| {
            backend.matmul(&args, a.buffer(), b.buffer(), out.buffer());
        });
        out
    }

    /// NorMuon's variance reduction (arXiv 2510.05491) in place on `x` `[m, n]` of master type: with `v` the mean of `x²` along
    /// each row (`m ≥ n`) or column (`m < n`), `second = β2·second + (1−β2)·v`, entries scaled by
    /// `1/√max(second, 1e-10)` and the whole rescaled to its former norm.
    pub fn normuon(&self, x: &Tensor, second: &Tensor, beta2: f32) {
        let (rows, cols) = (x.shape().rows(), x.shape().last());
        assert_eq!(second.len(), rows.max(cols), "second moment of the longer side");
        distinct(&[x, second]);
        self.count(5.0 * x.len() as f64, 3.0 * bytes(x));
        self.launch("normuon", |b| b.normuon(x.buffer(), second.buffer(), rows, cols, beta2));
    }

    /// Cautious weight decay and update: `w −= lr·x + lr·weight_decay·w` where `x·w ≥ 0`, else `w −= lr·x`.
    pub fn cautious_update(&self, w: &Tensor, x: &Tensor, lr: f32, weight_decay: f32) {
        distinct(&[w, x]);
        self.count(5.0 * w.len() as f64, 3.0 * bytes(w));
        self.launch("cautious_update", |b| {
            b.cautious_update(w.buffer(), x.buffer(), lr, weight_decay);
        });
    }
}

/// Kernels that change an operand in place must not read it as another one.
fn distinct(tensors: &[&Tensor]) {
    for (i, a) in tensors.iter().enumerate() {
        for b in &tensors[i + 1..] {
            let apart = a.device().is_dry() || a.buffer().memory != b.buffer().memory;
            assert!(apart, "an optimizer's operands share memory");
        }
    }
}
