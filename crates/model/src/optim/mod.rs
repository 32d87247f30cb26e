//! The optimizer: one recipe per group of parameters, one state per parameter.
//!
//! It reads gradients, writes master copies and keeps its state on the device; a step allocates nothing on the
//! heap. It must never know schedules or batches: the caller says what holds at this step.

mod adamw;
mod groups;
mod muon;

use std::cell::Cell;

use ferrochat_tensor::{Device, Param, Shape, Tensor};

pub use adamw::AdamW;
pub use groups::{Group, Rates, Recipe};
use muon::batches;
pub use muon::{Muon, orthogonalize};

use crate::gpt::Gpt;
use crate::schedule::Pace;

/// AdamW and Muon over all parameters of a model.
pub struct Optimizer {
    slots: Vec<Slot>,
    /// Which matrices are made orthogonal together.
    batches: Vec<Vec<usize>>,
    steps: Cell<u64>,
}

struct Slot {
    param: Param,
    recipe: Recipe,
    state: State,
}

enum State {
    AdamW(AdamW),
    Muon(Muon),
}

impl Optimizer {
    /// A fresh optimizer. `rates` are scaled by the batch already; the scaling by width is done here.
    pub fn new(gpt: &Gpt, rates: &Rates) -> Optimizer {
        let slot = |param: &Param, recipe| Slot {
            param: param.clone(),
            recipe,
            state: match recipe {
                Recipe::AdamW { .. } => State::AdamW(AdamW::new(gpt.device(), param)),
                Recipe::Muon { .. } => State::Muon(Muon::new(gpt.device(), param)),
            },
        };
        let width = gpt.config().n_embd;
        let declarations = gpt.declarations().iter();
        let slots: Vec<_> = declarations
            .map(|d| slot(&d.param, d.group.recipe(rates, width)))
            .collect();
        let matrices = slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| matches!(slot.state, State::Muon(_)));
        Optimizer {
            batches: batches(matrices.map(|(i, slot)| (i, &slot.param))),
            slots,
            steps: Cell::new(0),
        }
    }

    /// Updates every parameter that has a gradient, and clears the gradients. A parameter without one is
    /// left alone: neither its decay nor its momentum goes on.
    pub fn step(&mut self, pace: &Pace) {
        for Slot { param, recipe, state } in &mut self.slots {
            let (
                State::AdamW(state),
                Recipe::AdamW {
                    lr,
                    betas,
                    weight_decay,
                },
            ) = (state, *recipe)
            else {
                continue;
            };
            if let Some(grad) = param.grad() {
                state.step(param, &grad, lr * pace.lr_multiplier, betas, weight_decay);
                param.clear_grad();
                param.touch();
            }
        }
        for batch in &self.batches {
            self.step_together(batch, pace);
        }
        self.steps.set(self.steps.get() + 1);
    }

    /// [`Muon::step`] on matrices of one shape, those without a gradient left out.
    fn step_together(&self, batch: &[usize], pace: &Pace) {
        let slots = || batch.iter().map(|&i| &self.slots[i]);
        let moving = || slots().filter(|slot| slot.param.grad().is_some());
        let Some(Slot { param, .. }) = moving().next() else {
            return;
        };
        let device = param.value().device();
        let [rows, cols] = [param.shape().rows(), param.shape().last()];
        let x = device.activation([moving().count(), rows, cols]);
        for (i, Slot { param, state, .. }) in moving().enumerate() {
            if let (State::Muon(state), Some(grad)) = (state, param.grad()) {
                state.direction(&grad, pace.momentum, &x.part(i));
            }
        }
        let x = orthogonalize(device, x);
        for (i, Slot { param, recipe, state }) in moving().enumerate() {
            if let (State::Muon(state), &Recipe::Muon { lr }) = (state, recipe) {
                state.update(param, &x.part(i), lr * pace.lr_multiplier, pace.weight_decay);
                param.touch();
            }
        }
        slots().for_each(|slot| slot.param.clear_grad());
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Changes the rates and keeps the state: a later stage goes on where pretraining ended.
    pub fn set_rates(&mut self, gpt: &Gpt, rates: &Rates) {
        let width = gpt.config().n_embd;
        for (slot, declaration) in self.slots.iter_mut().zip(gpt.declarations()) {
            slot.recipe = declaration.group.recipe(rates, width);
        }
    }

    /// Everything a checkpoint must hold, by name, to be read or overwritten.
    pub(crate) fn state(&self) -> impl Iterator<Item = (String, Kept<'_>)> {
        let own = self.slots.iter().flat_map(|slot| {
            let named = |what: &str| format!("{}.{what}", slot.param.name());
            let tensors = match &slot.state {
                State::AdamW(state) => [("first", &state.first), ("second", &state.second)],
                State::Muon(state) => [("momentum", &state.momentum), ("second", &state.second)],
            };
            let count = match &slot.state {
                State::AdamW(state) => Some((named("steps"), Kept::Count(&state.steps))),
                State::Muon(_) => None,
            };
            tensors
                .map(|(what, tensor)| (named(what), Kept::Tensor(tensor)))
                .into_iter()
                .chain(count)
        });
        own.chain([("steps".to_owned(), Kept::Count(&self.steps))])
    }
}

/// A piece of the optimizer's state.
pub(crate) enum Kept<'a> {
    Tensor(&'a Tensor),
    Count(&'a Cell<u64>),
}

fn zeros(device: &Device, shape: Shape) -> Tensor {
    let tensor = device.master(shape);
    tensor.fill(0.0);
    tensor
}
