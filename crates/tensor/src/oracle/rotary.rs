//! Rotary embedding, RMS norm over the head, scale.

use super::norm::{rms_norm_row, rms_norm_row_backward};
use crate::backend::RotaryArgs;

/// The operands of a rotation beside the tensor itself.
pub(super) struct Rotation<'a> {
    pub(super) args: &'a RotaryArgs,
    pub(super) cos: &'a [f64],
    pub(super) sin: &'a [f64],
    pub(super) starts: Option<&'a [i32]>,
}

impl Rotation<'_> {
    /// Cosines and sines of the head number `index` of a `[batch, time, heads]` tensor.
    fn angles(&self, index: usize) -> (&[f64], &[f64]) {
        let row = index / self.args.heads;
        let (sequence, column) = (row / self.args.time, row % self.args.time);
        let position = column + self.starts.map_or(0, |starts| starts[sequence] as usize);
        let half = self.args.head_dim / 2;
        (
            &self.cos[position * half..][..half],
            &self.sin[position * half..][..half],
        )
    }

    /// `y1 = x1·cos + x2·sin`, `y2 = x2·cos − x1·sin` of one head.
    fn rotate(&self, index: usize, x: &[f64]) -> Vec<f64> {
        let (cos, sin) = self.angles(index);
        let half = cos.len();
        let first = (0..half).map(|j| x[j] * cos[j] + x[half + j] * sin[j]);
        let second = (0..half).map(|j| x[half + j] * cos[j] - x[j] * sin[j]);
        first.chain(second).collect()
    }

    /// The transposed rotation, which takes gradients back.
    fn rotate_back(&self, index: usize, dy: &[f64]) -> Vec<f64> {
        let (cos, sin) = self.angles(index);
        let half = cos.len();
        let first = (0..half).map(|j| dy[j] * cos[j] - dy[half + j] * sin[j]);
        let second = (0..half).map(|j| dy[j] * sin[j] + dy[half + j] * cos[j]);
        first.chain(second).collect()
    }

    /// `y = scale·norm(rotate(x))`.
    pub(super) fn forward(&self, x: &[f64], y: &mut [f64]) {
        let head_dim = self.args.head_dim;
        for (index, y) in y.chunks_exact_mut(head_dim).enumerate() {
            rms_norm_row(&self.rotate(index, &x[index * head_dim..][..head_dim]), y);
            for y in y {
                *y *= f64::from(self.args.scale);
            }
        }
    }

    /// Gradient of [`Rotation::forward`].
    pub(super) fn backward(&self, x: &[f64], dy: &[f64], dx: &mut [f64]) {
        let head_dim = self.args.head_dim;
        for (index, dx) in dx.chunks_exact_mut(head_dim).enumerate() {
            let range = index * head_dim..(index + 1) * head_dim;
            let rotated = self.rotate(index, &x[range.clone()]);
            let dscaled: Vec<f64> = dy[range].iter().map(|dy| dy * f64::from(self.args.scale)).collect();
            let drotated = rms_norm_row_backward(&rotated, &dscaled);
            dx.copy_from_slice(&self.rotate_back(index, &drotated));
        }
    }
}
