//! AdamW and the elementwise parts of Muon: the host side of `source/optimizer.cu`.
#![allow(unused_variables)]

use super::Cuda;
use crate::backend::*;
use crate::ops::activation::Activation;
use crate::ops::optimizer::{AdamwStep, NormRule};

impl Cuda {
    pub(super) fn adamw_step(&self, value: Buffer, grad: Buffer, first: Buffer, second: Buffer, step: &AdamwStep) {
        todo!()
    }
    pub(super) fn nesterov_step(&self, grad: Buffer, momentum: Buffer, out: Buffer, mu: f32) {
        todo!()
    }
    pub(super) fn equilibrate(&self, x: Buffer, cols: usize) {
        todo!()
    }
    pub(super) fn normalize_whole(&self, x: Buffer, rule: NormRule) {
        todo!()
    }
    pub(super) fn variance_reduction(&self, x: Buffer, second: Buffer, rows: usize, cols: usize, beta2: f32) {
        todo!()
    }
    pub(super) fn cautious_step(&self, w: Buffer, x: Buffer, lr: f32, weight_decay: f32) {
        todo!()
    }
}
