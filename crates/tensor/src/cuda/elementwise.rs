//! Elementwise functions and the gradient of a scalar: the host side of `source/elementwise.cu`.

use super::Cuda;
use super::launch::{Arg, Grid, args};
use crate::backend::{Buffer, ScalarArg};
use crate::ops::activation::Activation;

/// Most partial sums of a scalar's gradient: the threads of the block that adds them up.
const PARTIAL_SUMS: usize = 1024;

impl Cuda {
    pub(super) fn activate(&self, kind: Activation, x: Buffer, y: Buffer) {
        let (kernel, _) = kernels_of(kind);
        let grid = Grid::elementwise(x.len);
        self.launch("elementwise", kernel, x.dtype, grid, args![x, y, x.len]);
    }

    pub(super) fn activate_backward(&self, kind: Activation, x: Buffer, dy: Buffer, dx: Buffer, accumulate: bool) {
        let (_, kernel) = kernels_of(kind);
        let grid = Grid::elementwise(x.len);
        self.launch(
            "elementwise",
            kernel,
            x.dtype,
            grid,
            args![x, dy, dx, x.len, accumulate],
        );
    }

    pub(super) fn multiply_elements(&self, a: Buffer, b: Buffer, y: Buffer, accumulate: bool) {
        let grid = Grid::elementwise(a.len);
        self.launch(
            "elementwise",
            "multiply",
            a.dtype,
            grid,
            args![a, b, y, a.len, accumulate],
        );
    }

    pub(super) fn mix_elements(
        &self,
        (a, alpha): (Buffer, ScalarArg),
        b: Option<(Buffer, ScalarArg)>,
        y: Buffer,
        accumulate: bool,
    ) {
        let (b, beta) = match b {
            Some((b, beta)) => (Some(b), beta),
            None => (
                None,
                ScalarArg {
                    factor: 0.0,
                    parameter: None,
                },
            ),
        };
        let learned = |scalar: ScalarArg| Arg::pointer(scalar.parameter.map_or(0, |(buffer, index)| buffer.at(index)));
        self.launch(
            "elementwise",
            "mix",
            a.dtype,
            Grid::elementwise(a.len),
            args![
                a,
                alpha.factor,
                learned(alpha),
                b,
                beta.factor,
                learned(beta),
                y,
                a.len,
                accumulate
            ],
        );
    }

    pub(super) fn scalar_gradient_of(&self, x: Buffer, dy: Buffer, factor: f32, dscalar: Buffer, index: usize) {
        let mut grid = Grid::elementwise(x.len);
        let count = grid.blocks[0].min(PARTIAL_SUMS);
        grid.blocks[0] = count;
        let partial = self.scratch(count * size_of::<f32>());
        self.launch(
            "elementwise",
            "dot_products",
            x.dtype,
            grid,
            args![x, dy, Arg::pointer(partial), x.len],
        );
        self.launch(
            "elementwise",
            "scalar_gradient",
            x.dtype,
            Grid::new(1, count.next_multiple_of(32)),
            args![Arg::pointer(partial), count, factor, Arg::pointer(dscalar.at(index))],
        );
    }
}

/// The kernels of a function and of its gradient.
fn kernels_of(kind: Activation) -> (&'static str, &'static str) {
    match kind {
        Activation::ReluSquared => ("apply_relu_squared", "apply_relu_squared_backward"),
        Activation::Relu => ("apply_relu", "apply_relu_backward"),
        Activation::Silu => ("apply_silu", "apply_silu_backward"),
        Activation::Gelu => ("apply_gelu", "apply_gelu_backward"),
        Activation::Sigmoid => ("apply_sigmoid", "apply_sigmoid_backward"),
        Activation::Tanh => ("apply_tanh", "apply_tanh_backward"),
    }
}
