//! The tape: what the forward pass leaves behind for the backward pass.
//!
//! Each operation pushes one record with the tensors its gradient rule needs. Going back,
//! records are popped in reverse order; each takes the gradient of its output and passes
//! gradients to its inputs. All vectors keep their capacity, so that a step that looks like
//! the one before allocates nothing.

use crate::ops::{
    activation, attention, embedding, layer_norm, linear, mix, multiply, nll, rms_norm, rotary, smear, value_gate,
};
use crate::tensor::Tensor;

/// Identity of a value on the tape: its number, and the pass over the tape it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Var {
    index: u32,
    pass: u32,
}

impl Var {
    /// Not on any tape: a constant.
    pub(crate) const NONE: Var = Var {
        index: u32::MAX,
        pass: u32::MAX,
    };
}

/// One record per operation; see the file of that name in `ops/`.
pub(crate) enum Record {
    Activation(activation::Saved),
    Attention(attention::Saved),
    Embedding(embedding::Saved),
    LayerNorm(layer_norm::Saved),
    Linear(linear::Saved),
    Mix(mix::Saved),
    Multiply(multiply::Saved),
    Nll(nll::Saved),
    RmsNorm(rms_norm::Saved),
    Rotary(rotary::Saved),
    Smear(smear::Saved),
    ValueGate(value_gate::Saved),
}

impl Record {
    fn backward(self, grads: &mut Gradients) {
        match self {
            Record::Activation(saved) => saved.backward(grads),
            Record::Attention(saved) => saved.backward(grads),
            Record::Embedding(saved) => saved.backward(grads),
            Record::LayerNorm(saved) => saved.backward(grads),
            Record::Linear(saved) => saved.backward(grads),
            Record::Mix(saved) => saved.backward(grads),
            Record::Multiply(saved) => saved.backward(grads),
            Record::Nll(saved) => saved.backward(grads),
            Record::RmsNorm(saved) => saved.backward(grads),
            Record::Rotary(saved) => saved.backward(grads),
            Record::Smear(saved) => saved.backward(grads),
            Record::ValueGate(saved) => saved.backward(grads),
        }
    }
}

/// Gradients that wait for the record of the operation that made their value.
#[derive(Default)]
pub(crate) struct Gradients {
    by_var: Vec<Option<Tensor>>,
    pass: u32,
}

impl Gradients {
    /// Where the gradient of `var` stands.
    ///
    /// # Panics
    /// If the value was recorded before the last backward pass: it would be taken for another.
    fn of(&mut self, var: Var) -> &mut Option<Tensor> {
        assert_eq!(
            var.pass, self.pass,
            "a tensor kept from before the last backward pass must be detached to be used again"
        );
        &mut self.by_var[var.index as usize]
    }

    /// The gradient of an operation's output; none if nothing depends on it.
    pub(crate) fn take(&mut self, var: Var) -> Option<Tensor> {
        self.of(var).take()
    }

    /// Memory for a kernel to write the gradient of `like` into, and whether it must add to
    /// what is there. None if `like` is a constant.
    pub(crate) fn slot(&mut self, var: Var, like: &Tensor) -> Option<(Tensor, bool)> {
        if var == Var::NONE {
            return None;
        }
        let slot = self.of(var);
        match slot {
            Some(grad) if grad.is_unique() => Some((grad.clone(), true)),
            Some(shared) => {
                let own = like.device().empty(shared.shape(), shared.dtype());
                own.copy_from(shared);
                *slot = Some(own.clone());
                Some((own, true))
            }
            None => {
                let grad = like.device().empty(like.shape(), like.dtype());
                *slot = Some(grad.clone());
                Some((grad, false))
            }
        }
    }

    /// Passes a finished gradient on: shared if it is the first, else added.
    pub(crate) fn give(&mut self, var: Var, grad: &Tensor) {
        if var == Var::NONE {
            return;
        }
        let slot = self.of(var);
        if slot.is_none() {
            *slot = Some(grad.clone());
            return;
        }
        if let Some((sum, _)) = self.slot(var, grad) {
            let device = grad.device();
            device.count(sum.len() as f64, 3.0 * bytes(&sum));
            device.launch("add_assign", |b| b.add_assign(grad.buffer(), sum.buffer()));
        }
    }
}

/// Records of one forward pass.
#[derive(Default)]
pub(crate) struct Tape {
    records: Vec<Record>,
    grads: Gradients,
}

impl Tape {
    /// A place for a new value.
    pub(crate) fn var(&mut self) -> Var {
        self.grads.by_var.push(None);
        Var {
            index: self.grads.by_var.len() as u32 - 1,
            pass: self.grads.pass,
        }
    }

    pub(crate) fn push(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Runs all records in reverse order, then forgets everything.
    pub(crate) fn backward(&mut self) {
        while let Some(record) = self.records.pop() {
            record.backward(&mut self.grads);
        }
        self.clear();
    }

    /// Forgets records that have changed nothing yet.
    pub(crate) fn forget(&mut self) {
        let loss = self.records.iter().any(|record| matches!(record, Record::Nll(_)));
        assert!(
            !loss,
            "a recorded loss has added to its head's gradient and cannot be forgotten"
        );
        self.clear();
    }

    /// Forgets records and gradients; capacity is kept.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.grads.by_var.clear();
        self.grads.pass = (self.grads.pass + 1) % u32::MAX;
    }

    /// Puts a gradient to an output by hand: for gradient checks of single operations.
    pub(crate) fn seed(&mut self, var: Var, grad: &Tensor) {
        self.grads.give(var, grad);
    }

    /// Takes the gradient that arrived at a leaf.
    pub(crate) fn leaf_gradient(&mut self, var: Var) -> Option<Tensor> {
        self.grads.take(var)
    }

    /// Like [`Tape::backward`], keeping the gradients of leaves until [`Tape::clear`].
    pub(crate) fn backward_keeping_leaves(&mut self) {
        while let Some(record) = self.records.pop() {
            record.backward(&mut self.grads);
        }
    }
}

/// Size of a tensor's elements in bytes, for cost counts.
pub(crate) fn bytes(tensor: &Tensor) -> f64 {
    (tensor.len() * tensor.dtype().bytes()) as f64
}
