//! The queries of a task, and what is known of each so far.

use std::ops::Range;

use super::super::softmax::factor;
use super::super::{BLOCK, Group, STEP};

/// Queries `rows` of every head of a group: row `head · rows + row` of a slab.
pub(super) struct Slab<'a> {
    pub(super) group: Group<'a>,
    pub(super) rows: Range<usize>,
}

impl Slab<'_> {
    pub(super) fn len(&self) -> usize {
        self.group.heads().len() * self.rows.len()
    }

    /// Head and query of a row of the slab.
    pub(super) fn row(&self, row: usize) -> (usize, usize) {
        (
            self.group.heads().start + row / self.rows.len(),
            self.rows.start + row % self.rows.len(),
        )
    }

    /// Blocks of keys that any query sees.
    pub(super) fn blocks(&self) -> Range<usize> {
        let end = self.group.start + self.rows.end;
        self.group.first_visible(self.rows.start) / BLOCK..end.div_ceil(BLOCK)
    }

    /// Keys of a block that any query sees (others may never have been written), from a whole step on, so that a key has the same
    /// lane for every slab.
    pub(super) fn keys(&self, block: usize) -> Range<usize> {
        let begin = block * BLOCK;
        let first = self.group.first_visible(self.rows.start).max(begin);
        begin + (first - begin) / STEP * STEP..(begin + BLOCK).min(self.group.start + self.rows.end)
    }
}

/// A row's largest score, sum of probabilities and weighted values so far.
pub(super) struct Running<'a> {
    pub(super) width: usize,
    pub(super) largest: &'a mut [f32],
    pub(super) totals: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
}

impl Running<'_> {
    /// Joins a block to row `row`.
    #[inline(always)]
    pub(super) fn join(&mut self, row: usize, c: f32, (largest, total): (f32, f32), sums: &[f32]) {
        let seen = self.has_seen(row);
        let own = &mut self.sums[row * self.width..][..sums.len()];
        if !seen {
            (self.largest[row], self.totals[row]) = (largest, total);
            own.copy_from_slice(sums);
            return;
        }
        let top = if largest > self.largest[row] {
            largest
        } else {
            self.largest[row]
        };
        let (before, now) = (factor(self.largest[row], top, c), factor(largest, top, c));
        self.largest[row] = top;
        self.totals[row] = self.totals[row] * before + total * now;
        for (own, &new) in own.iter_mut().zip(sums) {
            *own = *own * before + new * now;
        }
    }
}

impl<'a> Running<'a> {
    pub(super) fn of(memory: &'a mut [f32], rows: usize, width: usize) -> Running<'a> {
        let (largest, memory) = memory.split_at_mut(rows);
        let (totals, memory) = memory.split_at_mut(rows);
        Running {
            width,
            largest,
            totals,
            sums: &mut memory[..rows * width],
        }
    }

    /// Whether any block was joined to the row.
    #[inline(always)]
    pub(super) fn has_seen(&self, row: usize) -> bool {
        // All scores may be no numbers, which leave no largest one and a total that is none either.
        self.largest[row] != f32::NEG_INFINITY || self.totals[row] != 0.0
    }

    /// Nothing seen. The sums are written by the first block.
    pub(super) fn clear(&mut self) {
        self.largest.fill(f32::NEG_INFINITY);
        self.totals.fill(0.0);
    }
}
