//! AdamW (Loshchilov & Hutter 2019) for everything that is not a matrix of a block.

use std::cell::Cell;

use ferrochat_tensor::{AdamwStep, Device, Param, Tensor};

use super::groups::ADAMW_EPS;

/// AdamW's memory of one parameter.
pub struct AdamW {
    /// Running mean of the gradient, like the parameter, master type.
    pub first: Tensor,
    /// Running mean of its square.
    pub second: Tensor,
    /// Steps done.
    pub(crate) steps: Cell<u64>,
}

impl AdamW {
    /// The state before the first step.
    pub fn new(device: &Device, param: &Param) -> AdamW {
        AdamW {
            first: super::zeros(device, param.shape()),
            second: super::zeros(device, param.shape()),
            steps: Cell::new(0),
        }
    }

    /// One step on `param` along `grad`; the caller says so to [`Param::touch`].
    pub fn step(&mut self, param: &Param, grad: &Tensor, lr: f64, [beta1, beta2]: [f64; 2], weight_decay: f64) {
        self.steps.set(self.steps.get() + 1);
        let step = AdamwStep {
            lr: lr as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            eps: ADAMW_EPS as f32,
            weight_decay: weight_decay as f32,
            step: u32::try_from(self.steps.get()).unwrap_or(u32::MAX),
        };
        let value = param.value();
        value.device().adamw(value, grad, &self.first, &self.second, &step);
    }
}
