//! A block of queries of one head: packed for every product it takes part in, and its gradient stored.

use std::ops::Range;

use super::super::softmax::along;
use super::super::{BLOCK, Group, prefetch};
use super::Call;
use crate::cpu::elem::Elem;
use crate::cpu::matmul::transposed_square;

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
        for x in [self.q, self.dy, self.y] {
            prefetch(&group.queries(x, head, rows));
        }
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
        let (isa, dim, scale) = (self.micros.isa, self.args.head_dim, self.args.scale);
        isa.vectorize(
            #[inline(always)]
            || {
                for first in (0..rows.len()).step_by(16) {
                    for channel in (0..dim).step_by(16) {
                        let height = 16.min(dim - channel);
                        let mut square = [[0.0; 16]; 16];
                        for (square, sums) in square
                            .iter_mut()
                            .zip(queries.sums[channel * BLOCK..].chunks(BLOCK))
                            .take(height)
                        {
                            square.copy_from_slice(&sums[first..first + 16]);
                        }
                        let square = transposed_square(isa, &square);
                        for (at, square) in (first..rows.len()).zip(&square) {
                            let start = group.query(head, rows.start + at).start + channel;
                            // SAFETY: each sweep has its own queries of its own heads.
                            let dq = unsafe { self.dq.range(start..start + height) };
                            for (dq, sum) in dq.iter_mut().zip(square) {
                                *dq = T::from_f32(sum * scale);
                            }
                        }
                    }
                }
            },
        );
    }
}
