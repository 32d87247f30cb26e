//! Gated value embedding and smear: the host side of `source/gates.cu`.
#![allow(unused_variables)]

use super::Cuda;
use crate::backend::*;
use crate::ops::activation::Activation;
use crate::ops::optimizer::{AdamwStep, NormRule};

impl Cuda {
    pub(super) fn value_gate_rows(&self, args: &ValueGateArgs, v: Buffer, x: Buffer, ve: Buffer, y: Buffer) {
        todo!()
    }
    pub(super) fn value_gate_rows_backward(
        &self,
        args: &ValueGateArgs,
        (x, ve, dy): (Buffer, Buffer, Buffer),
        dve: Buffer,
        (dx, accumulate): (Buffer, bool),
        dgate: Buffer,
    ) {
        todo!()
    }
    pub(super) fn smear_rows(&self, args: &SmearArgs, x: Buffer, previous: Option<Buffer>, y: Buffer) {
        todo!()
    }
    pub(super) fn smear_rows_backward(
        &self,
        args: &SmearArgs,
        (x, dy, dx): (Buffer, Buffer, Buffer),
        dgate: Buffer,
        dlambda: Buffer,
    ) {
        todo!()
    }
}
