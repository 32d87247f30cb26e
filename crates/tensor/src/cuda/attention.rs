//! Flash attention: the host side of `source/attention.cu`.
#![allow(unused_variables)]

use super::Cuda;
use crate::backend::*;
use crate::ops::activation::Activation;
use crate::ops::optimizer::{AdamwStep, NormRule};

impl Cuda {
    pub(super) fn attention_forward(
        &self,
        args: &AttentionArgs,
        (q, k, v): (Buffer, Buffer, Buffer),
        y: Buffer,
        logsumexp: Buffer,
    ) {
        todo!()
    }
    pub(super) fn attention_gradients(
        &self,
        args: &AttentionArgs,
        (q, k, v): (Buffer, Buffer, Buffer),
        (y, logsumexp, dy): (Buffer, Buffer, Buffer),
        (dq, dk, dv): (Buffer, Buffer, Buffer),
    ) {
        todo!()
    }
}
