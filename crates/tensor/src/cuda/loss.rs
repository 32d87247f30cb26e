//! The loss: unembedding, soft cap, cross-entropy, in chunks of rows: the host side of `source/loss.cu`.
#![allow(unused_variables)]

use super::Cuda;
use crate::backend::*;
use crate::ops::activation::Activation;
use crate::ops::optimizer::{AdamwStep, NormRule};

impl Cuda {
    pub(super) fn loss_chunk(rows: usize, padded_vocab: usize) -> usize {
        todo!()
    }
    pub(super) fn nll(&self, args: &NllArgs, gradients: Option<&NllGradients>) {
        todo!()
    }
    pub(super) fn plain_logits(
        &self,
        x: Buffer,
        head: Weight,
        vocab: usize,
        softcap: Option<f32>,
        logits: Buffer,
        rows: usize,
    ) {
        todo!()
    }
}
