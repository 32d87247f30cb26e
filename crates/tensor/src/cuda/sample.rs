//! Choosing tokens on the card: the host side of `source/sample.cu`.
#![allow(unused_variables)]

use super::Cuda;
use crate::backend::*;
use crate::ops::activation::Activation;
use crate::ops::optimizer::{AdamwStep, NormRule};

impl Cuda {}
