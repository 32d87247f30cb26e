//! A block of keys meets a block of queries: the five products and what stands between them.

use std::ops::Range;

use super::super::softmax::{Statistics, Weights, gradients};
use super::super::{BLOCK, Group, MOST_ROWS, STEP, Soon, prefetch, within};
use super::queries::Queries;
use super::{Call, Sweep};
use crate::cpu::elem::Elem;
use crate::cpu::matmul::{LeftRows, ROW, RightPanels, Session};

/// A block of keys while it meets a block of queries.
pub(super) struct Keys<'a> {
    /// `K` and `V` of a strip.
    pub(super) rows: [&'a mut [u32]; 2],
    /// `Kᵀ` of the block.
    pub(super) columns: &'a mut [u32],
    /// `Sᵀ` and `dPᵀ` of a strip.
    pub(super) scores: &'a mut [f32],
    pub(super) dp: &'a mut [f32],
    /// `Pᵀ` of a strip and `dSᵀ` of the block, as left operands.
    pub(super) p: &'a mut [u32],
    pub(super) ds: &'a mut [u32],
    /// `dSᵀ` of the block as a right operand.
    pub(super) ds_right: &'a mut [u32],
}

impl<T: Elem> Call<'_, T> {
    /// Probabilities and gradients of the scores of a block of keys and a block of queries; what they add to the
    /// gradients `kept` by keys. Meanwhile keys up to `end`, which come next, and queries `ahead` are asked for.
    pub(super) fn block(
        &self,
        session: &mut Session,
        group: &Group<'_>,
        (rows, block, end): (&Range<usize>, &Range<usize>, usize),
        sweep: &Sweep,
        queries: &Queries<'_>,
        keys: &mut Keys<'_>,
        kept: [&mut [f32]; 2],
        ahead: &mut Option<Soon<'_, T, 3>>,
    ) {
        let (micros, dim, width) = (&self.micros, self.args.head_dim, self.width());
        let (nr, depth, query_units) = (micros.width(), micros.units(dim), micros.units(rows.len()));
        let whole = rows.len().next_multiple_of(nr);
        let c = self.args.scale * std::f32::consts::LOG2_E;
        // Queries that see a key of a range.
        let seen_by = |keys: &Range<usize>| {
            let end = (keys.end - 1).saturating_add(self.args.window).saturating_add(1);
            within(&(keys.start..end), rows.start, rows.len())
        };
        let all = seen_by(block);
        let all = all.start / STEP * STEP..all.end.next_multiple_of(STEP).min(whole);
        let [key_sums, value_sums] = kept;
        for top in (0..block.len()).step_by(micros.height()) {
            let height = micros.height().min(block.len() - top);
            let strip = block.start + top..block.start + top + height;
            if let Some(ahead) = ahead {
                ahead.some();
            }
            let next = strip.end..end.min(strip.end + micros.height());
            let some = seen_by(&strip);
            let low = some.start / STEP * STEP;
            let len = some.end.next_multiple_of(STEP).min(whole) - low;
            for (x, (rows, (across, scores))) in [self.k, self.v]
                .into_iter()
                .zip((keys.rows.iter_mut()).zip(queries.across.iter().zip([&mut *keys.scores, &mut *keys.dp])))
            {
                if !next.is_empty() {
                    prefetch(&group.keys(x, &next));
                }
                let left = T::matrix(group.keys(x, &strip));
                let right = RightPanels {
                    units: &across[low * depth..],
                    stride: depth * nr,
                    panels: len / nr,
                    count: depth,
                };
                if let Some(left) = micros.in_place(&left) {
                    micros.multiply_in_place(session, left, right, scores, BLOCK);
                } else {
                    micros.pack_left(left, height, rows);
                    let left = LeftRows {
                        units: rows,
                        rows: height,
                    };
                    micros.multiply(session, left, right, scores, BLOCK, false);
                }
            }
            let of = Statistics {
                logsumexp: &queries.logsumexp[low..],
                along: &queries.along[low..],
            };
            let units = |elements: usize| elements / micros.per_unit();
            let mut seen = [const { 0..0 }; MOST_ROWS];
            for (row, seen) in seen.iter_mut().enumerate().take(height) {
                let ds = &mut keys.ds[(top + row) * ROW..][..ROW];
                ds[units(all.start)..units(low)].fill(0);
                ds[micros.units(low + len)..micros.units(all.end)].fill(0);
                let by = seen_by(&(strip.start + row..strip.start + row + 1));
                *seen = by.start.max(low) - low..by.end.max(low) - low;
            }
            gradients(
                micros,
                ((keys.scores, BLOCK, len), keys.dp),
                of,
                &seen[..height],
                c,
                (
                    &mut Weights {
                        units: keys.p,
                        stride: ROW,
                    },
                    &mut Weights {
                        units: &mut keys.ds[top * ROW + units(low)..],
                        stride: ROW,
                    },
                ),
            );
            if sweep.by_keys {
                // The first queries of the panel see nothing, if it lies on the diagonal.
                let skip = units((some.start - low) / micros.step() * micros.step());
                let from = units(low) + skip;
                let count = micros.units(some.end).min(query_units) - from;
                let left = [&keys.ds[top * ROW + from..], &keys.p[skip..]];
                for ((left, right), sums) in left
                    .into_iter()
                    .zip(&queries.down)
                    .zip([&mut *key_sums, &mut *value_sums])
                {
                    let right = RightPanels {
                        units: &right[from * nr..],
                        stride: query_units * nr,
                        panels: width / nr,
                        count,
                    };
                    let left = LeftRows {
                        units: left,
                        rows: height,
                    };
                    micros.multiply(session, left, right, &mut sums[top * width..], width, true);
                }
            }
        }
    }

    /// `dQᵀ += Kᵀ·dSᵀ` for a block of keys, panel by panel of queries as far as they see.
    pub(super) fn add_to_queries(
        &self,
        session: &mut Session,
        group: &Group<'_>,
        (rows, block): (&Range<usize>, &Range<usize>),
        queries: &mut Queries<'_>,
        keys: &mut Keys<'_>,
    ) {
        let (micros, dim) = (&self.micros, self.args.head_dim);
        let (nr, key_units) = (micros.width(), micros.units(block.len()));
        let first = within(&(block.start..usize::MAX), rows.start, rows.len()).start / STEP * STEP;
        let last = (block.end - 1).saturating_add(self.args.window).saturating_add(1);
        let end = within(&(0..last), rows.start, rows.len()).end;
        micros.pack_left_columns(group.keys(self.k, block), keys.columns);
        micros.pack_right_rows((keys.ds, first..end), block.len(), keys.ds_right);
        for (panel, left) in (first..end).step_by(nr).enumerate() {
            let (oldest, newest) = (rows.start + left, rows.start + end.min(left + nr) - 1);
            let seen = group.visible(oldest).start..group.visible(newest).end;
            let seen = within(&seen, block.start, block.len());
            let (from, to) = (seen.start / micros.per_unit(), micros.units(seen.end));
            let right = RightPanels {
                units: &keys.ds_right[(panel * key_units + from) * nr..],
                stride: key_units * nr,
                panels: 1,
                count: to - from,
            };
            let left_operand = LeftRows {
                units: &keys.columns[from..],
                rows: dim,
            };
            micros.multiply(session, left_operand, right, &mut queries.sums[left..], BLOCK, true);
        }
    }
}
