//! What a model runs on: a device, with a tape or without one.

use std::cell::RefCell;

use crate::device::Device;
use crate::tape::{Record, Tape, Var};
use crate::tensor::Tensor;

/// Results of fewer bytes are kept for the way back: at a megabyte they begin to leave the caches, and to count.
const AGAIN_FROM: usize = 1 << 20;

/// A place to run operations. The same model code runs on a training graph, which records
/// what the backward pass needs, and on an inference graph, which keeps nothing.
///
/// Operations are methods; each has a file in `ops/`. They panic when shapes do not fit,
/// which is a fault of the model's code and not of its data.
pub struct Graph {
    device: Device,
    tape: Option<RefCell<Tape>>,
}

impl Graph {
    /// A graph that records. Keep it over the steps of a run: its vectors are reused.
    pub fn training(device: &Device) -> Graph {
        Graph {
            device: device.clone(),
            tape: Some(RefCell::new(Tape::new(AGAIN_FROM))),
        }
    }

    /// The same graph, before it has recorded anything, making results of `bytes` and more again on the way back instead of
    /// keeping them, where one walk through memory makes them. That changes memory and time, and no bits.
    #[must_use]
    pub fn made_again_from(self, bytes: usize) -> Graph {
        let tape = self.tape.map(|_| RefCell::new(Tape::new(bytes)));
        Graph { tape, ..self }
    }

    /// A graph that only computes.
    pub fn inference(device: &Device) -> Graph {
        Graph {
            device: device.clone(),
            tape: None,
        }
    }

    /// The device it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// True if operations are recorded.
    pub fn is_training(&self) -> bool {
        self.tape.is_some()
    }

    /// Goes back over everything recorded since the last call and adds to the gradient of
    /// every parameter involved. The root is the loss of [`Graph::weighted_nll`] (several are
    /// added up), whose gradient is 1.
    pub fn backward(&self) {
        self.tape_mut().borrow_mut().backward();
    }

    /// Forgets what was recorded, without going back.
    ///
    /// # Panics
    /// If a loss was recorded: it has added to its head's gradient already. A pass whose gradients are not
    /// wanted belongs on a graph made by [`Graph::inference`].
    pub fn forget(&self) {
        if let Some(tape) = &self.tape {
            tape.borrow_mut().forget();
        }
    }

    /// Marks a tensor as a leaf whose gradient is wanted: the checks of single operations
    /// differentiate by their inputs this way.
    #[must_use]
    pub fn leaf(&self, tensor: &Tensor) -> Tensor {
        let mut leaf = tensor.clone();
        leaf.var = self.tape_mut().borrow_mut().var();
        leaf
    }

    /// Goes back from `output` with the gradient `seed` and returns the gradients that
    /// arrive at `leaves` (none where nothing flowed). Parameters collect theirs as usual.
    pub fn gradients(&self, output: &Tensor, seed: &Tensor, leaves: &[&Tensor]) -> Vec<Option<Tensor>> {
        let mut tape = self.tape_mut().borrow_mut();
        tape.give(output.var, seed);
        tape.backward_keeping_leaves();
        let grads = leaves.iter().map(|leaf| tape.take(leaf.var)).collect();
        tape.clear();
        grads
    }

    fn tape_mut(&self) -> &RefCell<Tape> {
        self.tape
            .as_ref()
            .expect("a backward pass needs a graph made by Graph::training")
    }

    /// Gives `output` a place on the tape and pushes its record.
    pub(crate) fn record(&self, output: &mut Tensor, record: impl FnOnce(&Tape, Var) -> Record) {
        if let Some(tape) = &self.tape {
            let mut tape = tape.borrow_mut();
            output.var = tape.var();
            let record = record(&tape, output.var);
            tape.push(output, record);
        }
    }
}
