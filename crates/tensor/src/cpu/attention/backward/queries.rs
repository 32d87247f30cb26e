//! A block of queries of one head: packed for every product it takes part in, and its gradient stored.

use std::ops::Range;

use super::super::softmax::along;
use super::super::store::scaled;
use super::super::{BLOCK, Group};
use super::Call;
use crate::cpu::elem::Elem;
use crate::cpu::matmul::transposed_square;

/// Channels of a gradient that are turned from columns to rows at a time.
const WIDTH: usize = 32;

/// A block of queries of one head, packed, and what belongs to it.
pub(super) struct Queries<'a> {
    /// `Qᵀ` and `dYᵀ` as right operands of the scores, `Q` and `dY` as those of the gradients by keys.
    pub(super) across: [&'a mut [u32]; 2],
    pub(super) down: [&'a mut [u32]; 2],
    pub(super) logsumexp: &'a mut [f32],
    pub(super) along: &'a mut [f32],
    /// `dQᵀ`, `[channel][query]`.
    pub(super) sums: &'a mut [f32],
}

impl<T: Elem> Call<'_, T> {
    pub(super) fn pack_queries(
        &self,
        group: &Group<'_>,
        head: usize,
        rows: &Range<usize>,
        by_keys: bool,
        to: &mut Queries<'_>,
    ) {
        let micros = &self.micros;
        for (x, (across, down)) in [self.q, self.dy]
            .into_iter()
            .zip(to.across.iter_mut().zip(&mut to.down))
        {
            let rows = group.queries(x, head, rows);
            micros.pack_right(T::matrix(rows), across);
            if by_keys {
                micros.pack_right(T::matrix(rows.t()), down);
            }
        }
        let first = group.statistic(head, rows.start);
        micros.isa.vectorize(
            #[inline(always)]
            || {
                for (at, row) in rows.clone().enumerate() {
                    let channels = group.query(head, row);
                    to.along[at] = along(micros, &self.dy[channels.clone()], &self.y[channels]);
                    to.logsumexp[at] = self.logsumexp[first + at] * std::f32::consts::LOG2_E;
                }
            },
        );
        to.along[rows.len()..].fill(0.0);
        to.logsumexp[rows.len()..].fill(0.0);
    }

    pub(super) fn store_queries(&self, group: &Group<'_>, head: usize, rows: &Range<usize>, queries: &Queries<'_>) {
        let (micros, dim, scale) = (&self.micros, self.args.head_dim, self.args.scale);
        let mut turned = [[0.0; WIDTH]; 16];
        for first in (0..rows.len()).step_by(16) {
            for channel in (0..dim).step_by(WIDTH) {
                let width = WIDTH.min(dim - channel);
                for left in (0..width).step_by(16) {
                    let sums = &queries.sums[(channel + left) * BLOCK + first..];
                    transposed_square(micros.isa, sums, BLOCK, left, &mut turned);
                }
                for (at, turned) in (first..rows.len()).zip(&turned) {
                    let start = group.query(head, rows.start + at).start + channel;
                    // SAFETY: each sweep has its own queries of its own heads.
                    scaled(micros, &turned[..width], scale, unsafe {
                        self.dq.range(start..start + width)
                    });
                }
            }
        }
    }
}
