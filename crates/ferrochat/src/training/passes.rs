//! Forward and backward passes over batches of any shape, on the one loss that all stages share
//! (`weighted_nll`): stages differ only in the weights they give. Knows tensors, not where ids come from.

use ferrochat_model::Gpt;
use ferrochat_tensor::{Graph, Tensor};

/// How much each target counts.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// All the same.
    Same(f32),
    /// One for each target `[B, T]`.
    Each(&'a [f32]),
}

/// A batch of ids `[B, T]`, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// What the model reads.
    pub inputs: &'a [u32],
    /// What should come next; −1 where nothing is learned.
    pub targets: &'a [i32],
    /// Tokens in a row, T.
    pub sequence_len: usize,
}

/// The passes, with their memory: batches of one shape use the same tensors again.
pub struct Passes {
    training: Graph,
    inference: Graph,
    buffers: Option<Buffers>,
    ids: Vec<i32>,
}

struct Buffers {
    shape: [usize; 2],
    inputs: Tensor,
    targets: Tensor,
    weights: Tensor,
}

impl Passes {
    /// On the device of this model.
    pub fn new(gpt: &Gpt) -> Passes {
        Passes {
            training: Graph::training(gpt.device()),
            inference: Graph::inference(gpt.device()),
            buffers: None,
            ids: Vec::new(),
        }
    }

    /// A forward and a backward pass; gradients add up until the optimizer's step. Returns Σ weight · nll.
    pub fn learn(&mut self, gpt: &Gpt, rows: Rows, weights: Weights) -> f64 {
        self.upload(gpt, rows, weights);
        let buffers = self.buffers.as_ref().expect("just made");
        let nll = gpt.loss(&self.training, &buffers.inputs, &buffers.targets, &buffers.weights);
        self.training.backward();
        let mut loss = [0.0];
        nll.loss.download_into(&mut loss);
        f64::from(loss[0])
    }

    /// A forward pass alone: the negative log-likelihood of each target in nats, 0 where there is none.
    pub fn nll(&mut self, gpt: &Gpt, rows: Rows, out: &mut Vec<f32>) {
        self.upload(gpt, rows, Weights::Same(0.0));
        let buffers = self.buffers.as_ref().expect("just made");
        let nll = gpt.loss(&self.inference, &buffers.inputs, &buffers.targets, &buffers.weights);
        out.resize(rows.targets.len(), 0.0);
        nll.nll.download_into(out);
    }

    fn upload(&mut self, gpt: &Gpt, rows: Rows, weights: Weights) {
        let shape = [rows.inputs.len() / rows.sequence_len, rows.sequence_len];
        self.ids.clear();
        self.ids.extend(rows.inputs.iter().map(|&id| id as i32));
        let device = gpt.device();
        let buffers = match self.buffers.take() {
            Some(buffers) if buffers.shape == shape => buffers,
            _ => Buffers {
                shape,
                inputs: device.indices(&self.ids, shape),
                targets: device.indices(rows.targets, shape),
                weights: device.master(shape),
            },
        };
        buffers.inputs.upload_i32(&self.ids);
        buffers.targets.upload_i32(rows.targets);
        match weights {
            Weights::Same(weight) => buffers.weights.fill(weight),
            Weights::Each(weights) => buffers.weights.upload(weights),
        }
        self.buffers = Some(buffers);
    }
}
