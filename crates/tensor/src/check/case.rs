//! A differentiable operation as a check: its inputs, and a closure that applies it.

use super::compare::{Allowance, Check, Output};
use super::measure::norm;
use super::procedure::round;
use super::random::Random;
use crate::device::Device;
use crate::dtype::DType;
use crate::graph::Graph;
use crate::param::Param;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A tensor to be made on some device.
pub struct Input {
    /// Its shape.
    pub shape: Shape,
    /// Its elements.
    pub values: Vec<f32>,
}

/// Applies an operation to tensors and parameters. The first result is the one to differentiate.
pub type Apply = Box<dyn Fn(&Graph, &[Tensor], &[Param]) -> Vec<Tensor>>;

/// An operation with its inputs.
pub struct Case {
    /// The operation.
    pub op: &'static str,
    /// Operation and shape, for people.
    pub name: String,
    /// Tensors to differentiate by.
    pub inputs: Vec<Input>,
    /// Parameters to differentiate by.
    pub params: Vec<Input>,
    /// The longest sum that an element of a result or of a gradient is.
    pub longest_sum: usize,
    /// How often a number on the way to a result or gradient is rounded to the compute type,
    /// beside the result itself.
    pub inner_roundings: usize,
    /// How often more than that on the way to a parameter's gradient.
    pub param_roundings: usize,
    /// Whether the first result is a loss, where the backward pass begins with 1.
    pub is_loss: bool,
    /// The operation.
    pub apply: Apply,
}

/// Elements of inputs and parameters up to which a case also runs where gradients meet.
const TWICE: usize = 20_000;

impl Case {
    fn elements(&self) -> usize {
        self.inputs
            .iter()
            .chain(&self.params)
            .map(|input| input.shape.len())
            .sum()
    }

    /// One forward and backward pass; the operation is applied `times` times to the same inputs and the results are
    /// added up, so that gradients meet those of other uses.
    fn pass(&self, device: &Device, dtype: DType, times: usize, outputs: &mut Vec<Output>) {
        let graph = Graph::training(device);
        let leaf = |input: &Input| graph.leaf(&device.tensor(&round(&input.values, dtype), input.shape));
        let leaves: Vec<Tensor> = self.inputs.iter().map(leaf).collect();
        let param = |input: &Input| {
            let param = Param::new(device, "parameter", input.shape);
            param.upload(&round(&input.values, dtype));
            param
        };
        let params: Vec<Param> = self.params.iter().map(param).collect();
        let mut collect = |what: String, tensor: &Tensor, inner_roundings: usize| {
            let is_master = tensor.dtype() == device.master_dtype() && dtype == DType::Bf16;
            let allowance = Allowance::Within {
                longest_sum: self.longest_sum * times,
                roundings: inner_roundings + usize::from(!is_master),
            };
            outputs.push(Output::new(what, tensor.download_f64(), allowance));
        };
        let apply = || (self.apply)(&graph, &leaves, &params);
        let results = apply();
        let mut result = results[0].clone();
        for _ in 1..times {
            let again = apply();
            // Losses begin the way back each by itself.
            result = if self.is_loss {
                again[0].clone()
            } else {
                graph.add(&result, &again[0])
            };
        }
        let uses = if times == 1 { "" } else { ", used twice" };
        if times == 1 {
            for (i, result) in results.iter().enumerate() {
                // A loss is made of master type alone.
                let inner_roundings = if self.is_loss { 0 } else { self.inner_roundings };
                collect(format!("result {i}"), result, inner_roundings);
            }
        }
        let seed = if self.is_loss {
            device.master_tensor(&[1.0], [1])
        } else {
            let values = Random::new(77).values(result.len(), 1.0);
            device.tensor(&round(&values, dtype), result.shape())
        };
        let grads = graph.gradients(&result, &seed, &leaves.iter().collect::<Vec<_>>());
        let inner_roundings = self.inner_roundings + times - 1;
        for (i, grad) in grads.iter().enumerate() {
            let grad = grad.as_ref().expect("every input of a case has a gradient");
            collect(format!("gradient of input {i}{uses}"), grad, inner_roundings);
        }
        for (i, param) in params.iter().enumerate() {
            let grad = param.grad().expect("every parameter of a case has a gradient");
            let inner_roundings = inner_roundings + self.param_roundings;
            collect(format!("gradient of parameter {i}{uses}"), &grad, inner_roundings);
        }
    }
}

impl Check for Case {
    fn op(&self) -> &'static str {
        self.op
    }

    fn name(&self) -> &str {
        &self.name
    }

    /// Results, then the gradients of inputs and parameters for a random seed (1 for a loss); in small cases also
    /// the gradients where everything is used twice.
    fn outputs(&self, device: &Device, dtype: DType) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.pass(device, dtype, 1, &mut outputs);
        if self.is_loss {
            // Positive and negative weights cancel in the loss: it is measured by its terms.
            outputs[0].size = norm(&outputs[1].values);
        }
        if self.elements() <= TWICE {
            self.pass(device, dtype, 2, &mut outputs);
        }
        outputs
    }
}
