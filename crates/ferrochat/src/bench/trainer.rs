//! A model in training, step by step: what `bench train` and `bench ops` have in common.

use std::time::Instant;

use anyhow::Result;
use ferrochat_model::{Arch, Dials, Facts, Gpt, GptConfig, Horizon, HorizonRequest, Optimizer, Rates, Schedule};
use ferrochat_tensor::{Device, Graph, Tensor};

use super::tokens::Tokens;
use crate::errors::usage;

/// Parts of a step, in their order. The loss computes the gradients of the head and of its input at once.
pub const PHASES: [&str; 3] = ["forward_and_loss", "backward", "optimizer"];

/// A model, its optimizer and its data.
pub struct Trainer {
    gpt: Gpt,
    optimizer: Optimizer,
    graph: Graph,
    schedule: Schedule,
    weights: Tensor,
    tokens: Tokens,
    batch: usize,
    step: usize,
    flops_per_token: f64,
}

/// What one step took.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// From the data's upload to the loss's download.
    pub seconds: f64,
    /// Of that, each of [`PHASES`].
    pub phases: [f64; 3],
    /// The loss in nats per token, before the step.
    pub loss: f64,
}

impl Trainer {
    /// A fresh model with the reference's starting weights, rates and schedule for a run of `steps` steps.
    ///
    /// # Errors
    /// The model cannot exist.
    pub fn new(
        device: &Device,
        (arch, dials, config): (Arch, &Dials, &GptConfig),
        batch: usize,
        steps: usize,
        tokens: Tokens,
    ) -> Result<Trainer> {
        let gpt = Gpt::new(device, config).map_err(usage)?;
        gpt.initialize(42);
        let request = HorizonRequest {
            batch_tokens: Some(batch * config.sequence_len),
            steps: Some(steps),
            ..HorizonRequest::default()
        };
        let horizon = Horizon::derive(arch, config, dials, &request).map_err(usage)?;
        let weights = device.master([batch, config.sequence_len]);
        weights.fill(1.0 / horizon.batch_tokens as f32);
        Ok(Trainer {
            optimizer: Optimizer::new(&gpt, &Rates::default().scaled(horizon.lr_scale)),
            graph: Graph::training(device),
            schedule: Schedule::pretraining(steps, horizon.weight_decay),
            weights,
            tokens,
            batch,
            step: 0,
            flops_per_token: Facts::of_model(&gpt).flops_per_token,
            gpt,
        })
    }

    /// Tokens of a step.
    pub fn tokens_per_step(&self) -> usize {
        self.batch * self.gpt.config().sequence_len
    }

    /// Operations per token, counted as the reference does: 6 per parameter of a matrix and per layer
    /// 12 · heads · head size · min(window, context).
    pub fn flops_per_token(&self) -> f64 {
        self.flops_per_token
    }

    /// All parameters.
    pub fn parameters(&self) -> usize {
        Facts::of_model(&self.gpt).parameters.total
    }

    /// One step. With `phases` it waits for the device after each.
    pub fn step(&mut self, phases: bool) -> Step {
        let device = self.gpt.device();
        let time = self.gpt.config().sequence_len;
        let (inputs, targets) = self.tokens.batch(self.batch, time);
        let mut ends = [Instant::now(); 4];
        let mut end = |phase: usize| {
            if phases {
                device.synchronize();
            }
            ends[phase] = Instant::now();
        };
        end(0);
        let (inputs, targets) = (
            device.indices(&inputs, [self.batch, time]),
            device.indices(&targets, [self.batch, time]),
        );
        let nll = self.gpt.loss(&self.graph, &inputs, &targets, &self.weights);
        end(1);
        self.graph.backward();
        end(2);
        self.optimizer.step(&self.schedule.at(self.step));
        let loss = f64::from(nll.loss.download()[0]);
        end(3);
        self.step += 1;
        Step {
            seconds: (ends[3] - ends[0]).as_secs_f64(),
            phases: std::array::from_fn(|phase| (ends[phase + 1] - ends[phase]).as_secs_f64()),
            loss,
        }
    }
}
