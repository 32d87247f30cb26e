//! Elementwise functions: the host side of `source/elementwise.cu`.
#![allow(unused_variables)]

use super::Cuda;
use crate::backend::*;
use crate::ops::activation::Activation;
use crate::ops::optimizer::{AdamwStep, NormRule};

impl Cuda {
    pub(super) fn activate(&self, kind: Activation, x: Buffer, y: Buffer) {
        todo!()
    }
    pub(super) fn activate_backward(&self, kind: Activation, x: Buffer, dy: Buffer, dx: Buffer, accumulate: bool) {
        todo!()
    }
    pub(super) fn multiply_elements(&self, a: Buffer, b: Buffer, y: Buffer, accumulate: bool) {
        todo!()
    }
    pub(super) fn mix_elements(
        &self,
        (a, alpha): (Buffer, ScalarArg),
        b: Option<(Buffer, ScalarArg)>,
        y: Buffer,
        accumulate: bool,
    ) {
        todo!()
    }
    pub(super) fn scalar_gradient_of(&self, x: Buffer, dy: Buffer, factor: f32, dscalar: Buffer, index: usize) {
        todo!()
    }
}
