//! One block of keys: packed, multiplied by every strip of queries that sees some of it, and joined to their rows.

use std::ops::Range;

use super::super::softmax::{Weights, probabilities};
use super::super::{BLOCK, Group, MOST_ROWS, STEP, Soon, prefetch, within};
use super::Call;
use super::rows::{Running, Slab};
use crate::cpu::elem::Elem;
use crate::cpu::matmul::{LeftRows, Placed, ROW, RightPanels, Session, View};

/// What dealing with one block needs.
pub(super) struct Room<'a> {
    pub(super) keys: &'a mut [u32],
    pub(super) values: &'a mut [u32],
    pub(super) queries: &'a mut [u32],
    pub(super) scores: &'a mut [f32],
    pub(super) weights: &'a mut [u32],
    pub(super) sums: &'a mut [f32],
}

/// A block of keys and values of all heads that will be needed next: it is asked for while another is dealt with, in the order of
/// memory.
pub(super) struct Ahead<'a, T> {
    /// Rows of a cache line each, keys and values in turn.
    rest: [&'a [T]; 2],
    /// Elements at a time.
    share: usize,
}

/// What is asked for while a block is dealt with.
pub(super) enum Coming<'a, 'b, T> {
    /// All heads' next block, as this one is packed.
    Blocks(&'b mut Ahead<'a, T>),
    /// The same head's, strip by strip of queries.
    Strips(Option<Soon<'a, T, 2>>),
}

impl<'a, T: Elem> Ahead<'a, T> {
    pub(super) fn new(call: &Call<'a, T>, slab: &Slab<'_>, block: usize) -> Self {
        let (args, group) = (call.args, &slab.group);
        let start = (block * BLOCK).max(group.first_visible(slab.rows.start));
        let end = ((block + 1) * BLOCK).min(group.start + slab.rows.end);
        let row = args.kv_heads * args.head_dim;
        let at = (group.sequence * args.capacity + start) * row;
        let len = end.saturating_sub(start) * row;
        Ahead {
            rest: [&call.k[at..at + len], &call.v[at..at + len]],
            share: len.div_ceil(args.kv_heads * BLOCK / STEP),
        }
    }

    /// Asks for a share.
    fn some(&mut self) {
        for rest in &mut self.rest {
            let (share, others) = rest.split_at(self.share.min(rest.len()));
            *rest = others;
            prefetch(&View::row_major(share, 1, share.len()));
        }
    }

    /// Asks for the rest.
    pub(super) fn all(&mut self) {
        for rest in &mut self.rest {
            prefetch(&View::row_major(rest, 1, rest.len()));
            *rest = &[];
        }
    }
}

impl<T: Elem> Call<'_, T> {
    /// Joins one block of keys to the rows of the slab.
    pub(super) fn block(
        &self,
        session: &mut Session,
        slab: &Slab<'_>,
        block: usize,
        room: &mut Room<'_>,
        running: &mut Running<'_>,
        coming: Coming<'_, '_, T>,
    ) {
        let (micros, dim, group) = (&self.micros, self.args.head_dim, &slab.group);
        let keys = slab.keys(block);
        let (ahead, mut soon) = match coming {
            Coming::Blocks(ahead) => (Some(ahead), None),
            Coming::Strips(soon) => (None, soon),
        };
        self.pack_keys(group, &keys, room, ahead);
        let (depth, key_units) = (micros.units(dim), micros.units(keys.len()));
        let (nr, width) = (micros.width(), self.width());
        for top in (0..slab.len()).step_by(micros.height()) {
            let strip = top..slab.len().min(top + micros.height());
            if let Some(soon) = &mut soon {
                soon.some();
            }
            let seen = |row: usize| within(&group.visible(slab.row(row).1), keys.start, keys.len());
            let (mut low, mut high) = (keys.len(), 0);
            for seen in strip.clone().map(seen).filter(|seen| !seen.is_empty()) {
                (low, high) = (low.min(seen.start), high.max(seen.end));
            }
            if low >= high {
                continue;
            }
            let low = low / STEP * STEP;
            // No value behind the last key that is seen is multiplied, but for what a microkernel takes at once.
            let reach = (high - low).next_multiple_of(micros.step());
            let high = high.next_multiple_of(STEP).min(keys.len().next_multiple_of(nr));
            let len = high - low;
            let right = RightPanels {
                units: &room.keys[low * depth..],
                stride: depth * nr,
                panels: len / nr,
                count: depth,
            };
            if let Some(queries) = self.queries_in_place(slab, &strip) {
                micros.multiply_in_place(session, queries, right, room.scores, BLOCK);
            } else {
                self.pack_queries(slab, &strip, room.queries);
                let left = LeftRows {
                    units: room.queries,
                    rows: strip.len(),
                };
                micros.multiply(session, left, right, room.scores, BLOCK, false);
            }
            let mut parts = [(f32::NEG_INFINITY, 0.0); MOST_ROWS];
            let mut visible = [const { 0..0 }; MOST_ROWS];
            for (row, visible) in strip.clone().zip(&mut visible) {
                let seen = seen(row);
                if !seen.is_empty() {
                    *visible = seen.start - low..seen.end - low;
                }
            }
            let weights = &mut Weights {
                units: room.weights,
                stride: ROW,
            };
            probabilities(
                micros,
                (room.scores, BLOCK, len),
                &visible[..strip.len()],
                self.c,
                weights,
                &mut parts,
            );
            let from = low / micros.per_unit();
            micros.multiply(
                session,
                LeftRows {
                    units: room.weights,
                    rows: strip.len(),
                },
                RightPanels {
                    units: &room.values[from * nr..],
                    stride: key_units * nr,
                    panels: width / nr,
                    count: micros.units(reach).min(key_units - from),
                },
                room.sums,
                width,
                false,
            );
            micros.isa.vectorize(
                #[inline(always)]
                || {
                    for ((row, part), sums) in strip.zip(parts).zip(room.sums.chunks_exact(width)) {
                        if part != (f32::NEG_INFINITY, 0.0) {
                            running.join(row, self.c, part, sums);
                        }
                    }
                },
            );
        }
    }

    /// Packs keys and values; meanwhile what comes next is asked for bit by bit.
    fn pack_keys(
        &self,
        group: &Group<'_>,
        keys: &Range<usize>,
        room: &mut Room<'_>,
        mut ahead: Option<&mut Ahead<'_, T>>,
    ) {
        let micros = &self.micros;
        let units = micros.right_len(self.args.head_dim, STEP);
        for (first, dst) in keys.clone().step_by(STEP).zip(room.keys.chunks_mut(units)) {
            if let Some(ahead) = &mut ahead {
                ahead.some();
            }
            let part = first..keys.end.min(first + STEP);
            micros.pack_right(T::matrix(group.keys(self.k, &part)), dst);
        }
        micros.pack_right(T::matrix(group.keys(self.v, keys).t()), room.values);
    }

    /// The rows of the strip, if they are of one head and can be multiplied where they lie.
    fn queries_in_place(&self, slab: &Slab<'_>, strip: &Range<usize>) -> Option<Placed<'_>> {
        let ((head, first), (last_head, last)) = (slab.row(strip.start), slab.row(strip.end - 1));
        if head != last_head {
            return None;
        }
        let group = &slab.group;
        let placed = self
            .micros
            .in_place(&T::matrix(group.queries(self.q, head, &(first..last + 1))))?;
        // The next strip, while this one is computed.
        let next = (last + 1).min(slab.rows.end)..(last + 1 + strip.len()).min(slab.rows.end);
        if !next.is_empty() {
            prefetch(&group.queries(self.q, head, &next));
        }
        Some(placed)
    }

    /// The strip as a left operand: rows of one head, one row of several heads, or whatever meets where heads end.
    pub(super) fn pack_queries(&self, slab: &Slab<'_>, strip: &Range<usize>, dst: &mut [u32]) {
        let (group, dim, len) = (&slab.group, self.args.head_dim, strip.len());
        let (head, first) = slab.row(strip.start);
        if slab.rows.len() == 1 {
            let heads = &self.q[group.query(head, first).start..];
            self.micros
                .pack_left(T::matrix(View::row_major(heads, len, dim)), len, dst);
        } else if slab.row(strip.end - 1).0 == head {
            let queries = group.queries(self.q, head, &(first..first + len));
            // The next strip, while this one is computed.
            let next = (first + len).min(slab.rows.end)..(first + 2 * len).min(slab.rows.end);
            if !next.is_empty() {
                prefetch(&group.queries(self.q, head, &next));
            }
            self.micros.pack_left(T::matrix(queries), len, dst);
        } else {
            for (at, row) in strip.clone().enumerate() {
                let (head, row) = slab.row(row);
                let query = group.queries(self.q, head, &(row..row + 1));
                self.micros.pack_left(T::matrix(query), len, &mut dst[at * ROW..]);
            }
        }
    }
}
