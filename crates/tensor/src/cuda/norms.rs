//! RMS norm and layer norm: the host side of `source/norms.cu`.
#![allow(unused_variables)]

use super::Cuda;
use crate::backend::*;
use crate::ops::activation::Activation;
use crate::ops::optimizer::{AdamwStep, NormRule};

impl Cuda {
    pub(super) fn rms_norm_rows(&self, x: Buffer, y: Buffer, cols: usize) {
        todo!()
    }
    pub(super) fn rms_norm_rows_backward(&self, x: Buffer, dy: Buffer, dx: Buffer, cols: usize, accumulate: bool) {
        todo!()
    }
    pub(super) fn layer_norm_rows(&self, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer, eps: f32) {
        todo!()
    }
    pub(super) fn layer_norm_rows_backward(
        &self,
        x: Buffer,
        weight: Buffer,
        dy: Buffer,
        (dx, accumulate): (Buffer, bool),
        (dweight, dbias): (Buffer, Buffer),
        eps: f32,
    ) {
        todo!()
    }
}
