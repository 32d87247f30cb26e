//! What follows from the declarations: parameter counts, FLOPs, and what a step costs.

use ferrochat_tensor::{Cost, Device, Graph};

use crate::config::{ConfigError, GptConfig};
use crate::gpt::Gpt;
use crate::optim::{Group, Optimizer, Rates};
use crate::schedule::Pace;

/// Number of parameters by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParameterCounts {
    /// Token embedding, padding included.
    pub wte: usize,
    /// Value embeddings.
    pub value_embeds: usize,
    /// Head, padding included.
    pub lm_head: usize,
    /// Matrices of the blocks.
    pub matrices: usize,
    /// Residual scalars, smear, backout.
    pub scalars: usize,
    /// All of them.
    pub total: usize,
}

impl ParameterCounts {
    /// What a 2026-07 training horizon is counted in: matrices and head.
    pub fn scaling(&self) -> usize {
        self.matrices + self.lm_head
    }
}

/// Numbers of a model that need no weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Parameters by kind.
    pub parameters: ParameterCounts,
    /// Parameters that every token is multiplied by.
    pub matmul_parameters: usize,
    /// Of these, what every token of a prompt is multiplied by where the last one's logits are all that is wanted
    /// ([`Gpt::forward_at`]): not the head, and of the last layer what makes keys and values.
    pub prompt_parameters: usize,
    /// Floating-point operations to train on one token: 6 per matmul parameter, and attention
    /// (`12 · heads · head size · min(window, context)` per layer).
    pub flops_per_token: f64,
    /// Elements of keys and values per token, all layers.
    pub kv_cache_elements_per_token: usize,
}

/// What one training step takes on a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepCost {
    /// Of one micro-batch, forward and backward.
    pub micro_batch: Cost,
    /// Of the optimizer.
    pub optimizer: Cost,
    /// Most bytes of device memory in use at a time: weights, gradients, state, activations.
    pub peak_bytes: usize,
}

impl Facts {
    /// The facts of a model that need not exist.
    pub fn of(config: &GptConfig) -> Result<Facts, ConfigError> {
        // Counts are the same on any device, and a dry one takes no memory.
        Ok(Facts::of_model(&Gpt::new(&Device::oracle().dry_run(), config)?))
    }

    /// The facts of a model.
    pub fn of_model(gpt: &Gpt) -> Facts {
        let config = gpt.config();
        let mut parameters = ParameterCounts::default();
        let (mut matmul_parameters, mut prompt_parameters) = (0, 0);
        let last_layer = format!("transformer.h.{}.", config.n_layer - 1);
        let keys_and_values = ["attn.c_k.", "attn.c_v.", "attn.ve_gate."];
        // Of the last layer, and not for its keys and values.
        let behind = |name: &str| {
            let part = name.strip_prefix(&last_layer);
            part.is_some_and(|part| !keys_and_values.iter().any(|known| part.starts_with(known)))
        };
        for declaration in gpt.declarations() {
            let numel = declaration.param.numel();
            *parameters.of_group(declaration.group) += numel;
            parameters.total += numel;
            if declaration.matmul {
                matmul_parameters += numel;
                if declaration.group != Group::Head && !behind(declaration.param.name()) {
                    prompt_parameters += numel;
                }
            }
        }
        let seen: usize = config
            .windows()
            .iter()
            .map(|&window| window.min(config.sequence_len))
            .sum();
        Facts {
            parameters,
            matmul_parameters,
            prompt_parameters,
            flops_per_token: 6.0 * matmul_parameters as f64 + 12.0 * (config.n_embd * seen) as f64,
            kv_cache_elements_per_token: 2 * config.n_layer * config.kv_dim(),
        }
    }
}

impl ParameterCounts {
    fn of_group(&mut self, group: Group) -> &mut usize {
        match group {
            Group::Embedding => &mut self.wte,
            Group::ValueEmbedding => &mut self.value_embeds,
            Group::Head => &mut self.lm_head,
            Group::Matrix => &mut self.matrices,
            Group::Residual | Group::Embedded | Group::Smear => &mut self.scalars,
        }
    }
}

impl StepCost {
    /// Counts a training step of `micro_batches` of `batch` full-length sequences each, without doing it.
    pub fn dry_run(
        device: &Device,
        config: &GptConfig,
        batch: usize,
        micro_batches: usize,
    ) -> Result<StepCost, ConfigError> {
        let device = device.dry_run();
        let gpt = Gpt::new(&device, config)?;
        let mut optimizer = Optimizer::new(&gpt, &Rates::default());
        let graph = Graph::training(&device);
        let shape = [batch, config.sequence_len];
        let ids = device.empty(shape, ferrochat_tensor::DType::I32);
        let targets = ids.clone();
        let weights = device.master(shape);
        let pace = Pace {
            lr_multiplier: 1.0,
            momentum: 0.95,
            weight_decay: 0.0,
        };
        let mut costs = [Cost::default(); 2];
        // The second step is like all that follow, with compute copies before the forward pass begins; so is the second
        // micro-batch, with gradients.
        for _ in 0..2 {
            for _ in 0..micro_batches.clamp(1, 2) {
                gpt.loss(&graph, &ids, &targets, &weights);
                graph.backward();
                costs[0] = device.take_cost();
            }
            optimizer.step(&pace);
            costs[1] = device.take_cost();
        }
        let [micro_batch, optimizer] = costs;
        Ok(StepCost {
            micro_batch,
            optimizer,
            peak_bytes: device.memory_use().peak,
        })
    }
}
