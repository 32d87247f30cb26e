//! The tape: what the forward pass leaves behind for the backward pass.
//!
//! Each operation pushes one record with the tensors its gradient rule needs. Going back,
//! records are popped in reverse order; each takes the gradient of its output and passes
//! gradients to its inputs. All vectors keep their capacity, so that a step that looks like
//! the one before allocates nothing.
//!
//! Results that one walk through memory makes (norms, rotary embeddings, lookups) are not kept from the forward pass:
//! the first record that needs one on the way back has it made again, with the same bits as long as no parameter moves
//! between the two passes, and it goes when the record of its own operation is reached. Small ones are kept: they cost no
//! memory to speak of, and a small model's step is short. [`Kept`] is how a record holds an operand either way.

use crate::ops::{
    activation, attention, embedding, layer_norm, linear, mix, multiply, nll, rms_norm, rotary, smear, value_gate,
};
use crate::shape::Shape;
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
    fn backward(self, tape: &mut Tape) {
        match self {
            Record::Activation(saved) => saved.backward(tape),
            Record::Attention(saved) => saved.backward(tape),
            Record::Embedding(saved) => saved.backward(tape),
            Record::LayerNorm(saved) => saved.backward(tape),
            Record::Linear(saved) => saved.backward(tape),
            Record::Mix(saved) => saved.backward(tape),
            Record::Multiply(saved) => saved.backward(tape),
            Record::Nll(saved) => saved.backward(tape),
            Record::RmsNorm(saved) => saved.backward(tape),
            Record::Rotary(saved) => saved.backward(tape),
            Record::Smear(saved) => saved.backward(tape),
            Record::ValueGate(saved) => saved.backward(tape),
        }
    }

    /// What the operation's result can be made from again, one operand or two, if it is worth it: a walk through memory
    /// makes it, no product, and the record holds its operands anyway.
    fn sources(&self) -> Option<(&Kept, Option<&Kept>)> {
        match self {
            Record::Embedding(saved) => Some((&saved.ids, None)),
            Record::Mix(saved) => saved.sources(),
            Record::RmsNorm(saved) => Some((&saved.x, None)),
            Record::Rotary(saved) => Some((&saved.x, None)),
            _ => None,
        }
    }

    /// The result, from its sources.
    fn make_again(&self, a: &Tensor, b: Option<&Tensor>) -> Tensor {
        match self {
            Record::Embedding(saved) => saved.again(a),
            Record::Mix(saved) => saved.again(a, b),
            Record::RmsNorm(_) => rms_norm::Saved::again(a),
            Record::Rotary(saved) => saved.again(a),
            _ => unreachable!("no source, nothing to make"),
        }
    }
}

/// An operand that a record needs on the way back.
#[derive(Clone)]
pub(crate) enum Kept {
    /// Held until then.
    Tensor(Tensor),
    /// To be made again by the record of the operation whose result it was.
    Again {
        /// Its place on the tape.
        var: Var,
        /// The shape in which it was an operand.
        shape: Shape,
    },
}

/// A value of the forward pass.
#[derive(Default)]
struct Value {
    /// Its gradient, as far as it has arrived.
    grad: Option<Tensor>,
    /// The record that can make it again.
    maker: Option<usize>,
    /// The value, where it has been made again.
    made: Option<Tensor>,
}

/// Records of one forward pass, and gradients that wait for the record of the operation that made their value.
#[derive(Default)]
pub(crate) struct Tape {
    records: Vec<Record>,
    values: Vec<Value>,
    pass: u32,
    /// Results of fewer bytes are kept.
    again_from: usize,
}

impl Tape {
    /// A tape on which results of so many bytes and more are made again, where they can be.
    pub(crate) fn new(again_from: usize) -> Tape {
        Tape {
            again_from,
            ..Tape::default()
        }
    }

    /// A place for a new value.
    pub(crate) fn var(&mut self) -> Var {
        self.values.push(Value::default());
        Var {
            index: self.values.len() as u32 - 1,
            pass: self.pass,
        }
    }

    /// The record of the operation whose result is `out`.
    pub(crate) fn push(&mut self, out: &Tensor, record: Record) {
        if out.len() * out.dtype().bytes() >= self.again_from && record.sources().is_some() {
            self.of(out.var).maker = Some(self.records.len());
        }
        self.records.push(record);
    }

    /// What a record holds of an operand: all of it, or nothing where it can be made again.
    pub(crate) fn keep(&self, x: &Tensor) -> Kept {
        let own = (x.var.pass == self.pass).then(|| &self.values[x.var.index as usize]);
        if own.is_some_and(|value| value.maker.is_some()) {
            let (var, shape) = (x.var, x.shape());
            Kept::Again { var, shape }
        } else {
            Kept::Tensor(x.clone())
        }
    }

    /// A kept operand, in its place on the tape.
    pub(crate) fn operand(&mut self, kept: Kept) -> Tensor {
        let (var, shape) = match kept {
            Kept::Tensor(tensor) => return tensor,
            Kept::Again { var, shape } => (var, shape),
        };
        if let Some(made) = &self.of(var).made {
            return made.reshape(shape);
        }
        // It stands below the record that asks, so it is still there.
        let maker = self.of(var).maker.expect("what cannot be made again is held");
        let (a, b) = self.records[maker].sources().expect("a maker has a source");
        let (a, b) = (a.clone(), b.cloned());
        let (a, b) = (self.operand(a), b.map(|b| self.operand(b)));
        let mut made = self.records[maker].make_again(&a, b.as_ref());
        made.var = var;
        self.of(var).made = Some(made.clone());
        made.reshape(shape)
    }

    /// Where a value stands.
    ///
    /// # Panics
    /// If the value was recorded before the last backward pass: it would be taken for another.
    fn of(&mut self, var: Var) -> &mut Value {
        assert_eq!(
            var.pass, self.pass,
            "a tensor kept from before the last backward pass must be detached to be used again"
        );
        &mut self.values[var.index as usize]
    }

    /// The gradient of an operation's output; none if nothing depends on it. All records that need the output itself
    /// have been there.
    pub(crate) fn take(&mut self, var: Var) -> Option<Tensor> {
        let value = self.of(var);
        value.made = None;
        value.grad.take()
    }

    /// Memory for a kernel to write the gradient of `like` into, and whether it must add to
    /// what is there. None if `like` is a constant.
    pub(crate) fn slot(&mut self, var: Var, like: &Tensor) -> Option<(Tensor, bool)> {
        if var == Var::NONE {
            return None;
        }
        let slot = &mut self.of(var).grad;
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

    /// Like [`Tape::slot`], for kernels that may write where they read the gradient `dy` of their result, if it is nobody
    /// else's and nothing is to be added to.
    pub(crate) fn slot_over(&mut self, var: Var, dy: &Tensor) -> Option<(Tensor, bool)> {
        if var != Var::NONE && dy.is_unique() && self.of(var).grad.is_none() {
            self.of(var).grad = Some(dy.clone());
            return Some((dy.clone(), false));
        }
        self.slot(var, dy)
    }

    /// Passes a finished gradient on: shared if it is the first, else added.
    pub(crate) fn give(&mut self, var: Var, grad: &Tensor) {
        if var == Var::NONE {
            return;
        }
        let slot = &mut self.of(var).grad;
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

    /// Runs all records in reverse order, then forgets everything.
    pub(crate) fn backward(&mut self) {
        self.backward_keeping_leaves();
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
        self.values.clear();
        self.pass = (self.pass + 1) % u32::MAX;
    }

    /// Like [`Tape::backward`], keeping the gradients of leaves until [`Tape::clear`].
    pub(crate) fn backward_keeping_leaves(&mut self) {
        while let Some(record) = self.records.pop() {
            record.backward(self);
        }
    }
}

/// Size of a tensor's elements in bytes, for cost counts.
pub(crate) fn bytes(tensor: &Tensor) -> f64 {
    (tensor.len() * tensor.dtype().bytes()) as f64
}
