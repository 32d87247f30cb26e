//! Causal attention without a `time × time` matrix: blocks of keys, strips of queries, products by the microkernels.
//!
//! `forward` serves training, prompts and decoding alike. Keys are cut into blocks of [`BLOCK`] at fixed
//! positions; a query row deals with each block by itself (scores, their largest, probabilities, values) and the blocks are
//! joined in rising order. So a row has the same bits whether it comes alone (decoding) or with others, and
//! blocks may be dealt out to several threads. `backward` makes the five products of the gradient strip by strip of keys.
//! In bf16, where the level multiplies it, probabilities and their gradients are rounded to bf16 for the products.
//!
//! This file holds what both share: where rows lie, what they see, and the worker's memory.

mod backward;
mod forward;
mod softmax;
mod store;

use std::ops::Range;

use super::elem::{Elem, seen_as_mut};
use super::matmul::View;
use super::prefetch::{first_level, second_level};
use crate::backend::AttentionArgs;

/// Keys per block of the softmax, and queries per block of the gradient: the most that a packed row holds in any element type.
const BLOCK: usize = 256;
/// Computed parts of a block begin at multiples of this: whole panels, and the same lanes for the same keys.
const STEP: usize = 32;
/// The greatest height of any microkernel.
const MOST_ROWS: usize = 32;

/// One sequence and kv head of a call: where its rows lie and what they see.
#[derive(Clone, Copy)]
struct Group<'a> {
    args: &'a AttentionArgs,
    sequence: usize,
    kv_head: usize,
    /// Absolute position of query 0.
    start: usize,
}

impl<'a> Group<'a> {
    fn new(args: &'a AttentionArgs, sequence: usize, kv_head: usize, starts: Option<&[i32]>) -> Group<'a> {
        let start = starts.map_or(0, |s| first_position(s[sequence], args.time, args.capacity));
        Group {
            args,
            sequence,
            kv_head,
            start,
        }
    }

    /// Query heads that read this kv head.
    fn heads(&self) -> Range<usize> {
        let size = self.args.heads / self.args.kv_heads;
        self.kv_head * size..(self.kv_head + 1) * size
    }

    /// Where the channels of a query of a head lie.
    fn query(&self, head: usize, row: usize) -> Range<usize> {
        let a = self.args;
        let at = ((self.sequence * a.time + row) * a.heads + head) * a.head_dim;
        at..at + a.head_dim
    }

    /// Where the channels of a key lie.
    fn key(&self, key: usize) -> Range<usize> {
        let a = self.args;
        let at = ((self.sequence * a.capacity + key) * a.kv_heads + self.kv_head) * a.head_dim;
        at..at + a.head_dim
    }

    /// Queries of a head.
    fn queries<'b, T: Elem>(&self, x: &'b [T], head: usize, rows: &Range<usize>) -> View<'b, T> {
        let stride = self.args.heads * self.args.head_dim;
        View::strided(
            &x[self.query(head, rows.start).start..],
            rows.len(),
            self.args.head_dim,
            stride,
            1,
        )
    }

    /// Keys or values.
    fn keys<'b, T: Elem>(&self, x: &'b [T], keys: &Range<usize>) -> View<'b, T> {
        let stride = self.args.kv_heads * self.args.head_dim;
        View::strided(
            &x[self.key(keys.start).start..],
            keys.len(),
            self.args.head_dim,
            stride,
            1,
        )
    }

    /// Where the statistic of a query stands in `[batch, heads, time]`.
    fn statistic(&self, head: usize, row: usize) -> usize {
        (self.sequence * self.args.heads + head) * self.args.time + row
    }

    /// Keys that a query sees.
    fn visible(&self, row: usize) -> Range<usize> {
        let position = self.start + row;
        position.saturating_sub(self.args.window)..position + 1
    }

    /// The first key that any query from `row` on sees.
    fn first_visible(&self, row: usize) -> usize {
        self.visible(row).start
    }
}

/// Asks for the rows of a matrix to be brought near: heads lie between one another in memory, which the processor does not foresee.
fn prefetch<T>(rows: &View<'_, T>) {
    rows.rows().for_each(|row| first_level(row.as_ptr(), size_of_val(row)));
}

/// Rows that will be wanted soon. They are asked for a few at a time: a processor forgets what it has no place to wait for.
struct Soon<'a, T, const N: usize> {
    matrices: [View<'a, T>; N],
    /// Rows and columns of each that are left to ask for, and rows at a time.
    rows: Range<usize>,
    cols: usize,
    share: usize,
}

impl<'a, T: Elem, const N: usize> Soon<'a, T, N> {
    /// Matrices of that shape, in so many shares.
    fn new(matrices: [View<'a, T>; N], (rows, cols): (usize, usize), shares: usize) -> Self {
        Soon {
            matrices,
            rows: 0..rows,
            cols,
            share: rows.div_ceil(shares.max(1)),
        }
    }

    /// Asks for a share.
    fn some(&mut self) {
        let share = self.rows.start..self.rows.end.min(self.rows.start + self.share);
        self.rows.start = share.end;
        if !share.is_empty() {
            for matrix in &self.matrices {
                let part = matrix.part(share.clone(), 0..self.cols);
                part.rows().for_each(|row| second_level(row.as_ptr(), size_of_val(row)));
            }
        }
    }

    /// Asks for the rest.
    fn all(&mut self) {
        self.share = self.rows.len();
        self.some();
    }
}

/// The part of `range` inside `0..len` of a block that begins at `start`; empty where there is none.
fn within(range: &Range<usize>, start: usize, len: usize) -> Range<usize> {
    let begin = range.start.saturating_sub(start).min(len);
    begin..range.end.saturating_sub(start).min(len).max(begin)
}

/// The worker's free memory, handed out piece by piece.
struct Memory<'a>(&'a mut [f32]);

impl<'a> Memory<'a> {
    fn floats(&mut self, len: usize) -> &'a mut [f32] {
        // Each piece begins at a cache line.
        let (piece, rest) = std::mem::take(&mut self.0).split_at_mut(len.next_multiple_of(16));
        self.0 = rest;
        &mut piece[..len]
    }

    fn units(&mut self, len: usize) -> &'a mut [u32] {
        seen_as_mut(self.floats(len))
    }
}

/// A start, if all positions from it on lie in the cache.
pub(crate) fn first_position(start: i32, time: usize, capacity: usize) -> usize {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    assert!(
        start.saturating_add(time) <= capacity,
        "a position outside the KV cache"
    );
    start
}
