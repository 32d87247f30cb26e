//! Rotary embedding and QK norm: the host side of `source/rotary.cu`.
#![allow(unused_variables)]

use super::Cuda;
use crate::backend::*;
use crate::ops::activation::Activation;
use crate::ops::optimizer::{AdamwStep, NormRule};

impl Cuda {
    pub(super) fn rotary(&self, args: &RotaryArgs, x: Buffer, y: Buffer) {
        todo!()
    }
    pub(super) fn rotary_backward(&self, args: &RotaryArgs, x: Buffer, dy: Buffer, dx: Buffer) {
        todo!()
    }
}
