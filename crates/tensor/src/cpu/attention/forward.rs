//! Scores, softmax and values: the forward pass, for many queries or one.
//!
//! A task owns a slab of queries of all heads of a (sequence, kv head). It packs each block of keys and values once and goes
//! over the slab in strips of a microkernel's height. Where there are too few tasks for the
//! threads and few queries (decoding with one long row), tasks own a block of keys instead, and a second pass joins the blocks: the same sums
//! in the same order.

mod block;
mod rows;

use std::ops::Range;

use self::block::Room;
use self::rows::{Running, Slab};
use super::{BLOCK, Group, Memory};
use crate::backend::{AttentionArgs, Buffer};
use crate::cpu::elem::{Elem, Parts, indices, input, parts};
use crate::cpu::matmul::{Micros, ROW, Scratch};
use crate::cpu::{Cpu, locked};
use crate::dtype::DType;

/// Numbers that the running sums of a slab may take (256 KiB): they stay in the second-level cache beside a block of keys.
const SUMS: usize = 1 << 16;
/// Rows that a packed block of keys should serve at least; fewer make packing dear.
const ENOUGH_ROWS: usize = 96;
/// Tasks per thread that even out what they cost.
const TASKS: usize = 4;
/// The greatest height of any microkernel.
const MOST_ROWS: usize = 32;

/// The operands of a call.
struct Call<'a, T> {
    args: &'a AttentionArgs,
    micros: Micros,
    starts: Option<&'a [i32]>,
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    y: Parts<'a, T>,
    logsumexp: Parts<'a, f32>,
    /// Scale of the scores, for powers of two.
    c: f32,
}
impl Cpu {
    pub(crate) fn attention_forward<T: Elem>(
        &self,
        args: &AttentionArgs,
        (q, k, v): (Buffer, Buffer, Buffer),
        y: Buffer,
        logsumexp: Buffer,
    ) {
        let call = Call {
            args,
            micros: Micros::new(self.isa, T::DTYPE == DType::Bf16),
            starts: args.starts.map(indices),
            q: input::<T>(q),
            k: input::<T>(k),
            v: input::<T>(v),
            y: parts::<T>(y),
            logsumexp: parts::<f32>(logsumexp),
            c: args.scale * std::f32::consts::LOG2_E,
        };
        let pairs = args.batch * args.kv_heads;
        if pairs < self.pool.threads() && args.time * args.heads / args.kv_heads <= call.micros.height() {
            self.attention_by_blocks(&call);
            return;
        }
        let rows = call.rows_per_slab(pairs, self.pool.threads());
        let slabs = args.time.div_ceil(rows);
        self.pool.run_with_worker(pairs * slabs, &|task, worker| {
            // The last queries see most: they come first.
            let first = (slabs - 1 - task / pairs) * rows;
            let slab = call.slab(task % pairs, first..args.time.min(first + rows));
            call.whole(&slab, &mut self.pool.scratch(worker));
        });
    }

    /// Each block of keys is a task.
    fn attention_by_blocks<T: Elem>(&self, call: &Call<'_, T>) {
        let args = call.args;
        let (pairs, blocks) = (args.batch * args.kv_heads, args.capacity.div_ceil(BLOCK));
        let (rows, width) = (args.time * args.heads / args.kv_heads, call.width());
        let stride = rows * (width + 2);
        let mut partials = locked(&self.partials);
        if partials.len() < pairs * blocks * stride {
            partials.resize(pairs * blocks * stride, 0.0);
        }
        let partials = Parts::new(&mut partials[..pairs * blocks * stride]);
        let part = |pair: usize, block: usize| {
            let at = (pair * blocks + block) * stride;
            // SAFETY: first each block has one task, then each pair with all its blocks.
            unsafe { partials.range(at..at + stride) }
        };
        self.pool.run_with_worker(pairs * blocks, &|task, worker| {
            let slab = call.slab(task / blocks, 0..args.time);
            let block = task % blocks;
            if slab.blocks().contains(&block) {
                let scratch = &mut self.pool.scratch(worker);
                let mut memory = Memory(&mut scratch.floats);
                let mut room = call.room(&mut memory);
                let mut session = call.micros.session();
                let mut running = Running::of(part(task / blocks, block), rows, width);
                running.clear();
                call.block(&mut session, &slab, block, &mut room, &mut running);
            }
        });
        self.pool.run_with_worker(pairs, &|pair, worker| {
            let slab = call.slab(pair, 0..args.time);
            let scratch = &mut self.pool.scratch(worker);
            let mut running = Running::of(Memory(&mut scratch.floats).floats(stride), rows, width);
            running.clear();
            for block in slab.blocks() {
                let part = Running::of(part(pair, block), rows, width);
                for row in 0..rows {
                    if part.totals[row] == 0.0 && part.largest[row] == f32::NEG_INFINITY {
                        continue;
                    }
                    let sums = &part.sums[row * width..(row + 1) * width];
                    running.join(row, call.c, (part.largest[row], part.totals[row]), sums);
                }
            }
            call.finish(&slab, &running);
        });
    }
}

impl<'a, T: Elem> Call<'a, T> {
    /// Channels in whole panels.
    fn width(&self) -> usize {
        self.args.head_dim.next_multiple_of(self.micros.width())
    }

    fn slab(&self, pair: usize, rows: Range<usize>) -> Slab<'a> {
        let (sequence, kv_head) = (pair / self.args.kv_heads, pair % self.args.kv_heads);
        Slab {
            group: Group::new(self.args, sequence, kv_head, self.starts),
            rows,
        }
    }

    /// Queries per slab. It changes who computes a row and not the row, so it may look at the number of threads.
    fn rows_per_slab(&self, pairs: usize, threads: usize) -> usize {
        let (time, group) = (self.args.time, self.args.heads / self.args.kv_heads);
        let most = (SUMS / (group * self.width())).max(1);
        let wanted = (pairs * time).div_ceil(TASKS * threads);
        let rows = wanted.max(ENOUGH_ROWS.div_ceil(group)).min(most).min(time).max(1);
        time.div_ceil(time.div_ceil(rows))
    }

    fn room<'m>(&self, memory: &mut Memory<'m>) -> Room<'m> {
        let (micros, dim) = (&self.micros, self.args.head_dim);
        let height = micros.height();
        Room {
            keys: memory.units(micros.right_len(dim, BLOCK)),
            values: memory.units(micros.right_len(BLOCK, dim)),
            queries: memory.units(micros.left_len(height, dim)),
            scores: memory.floats(height * BLOCK),
            weights: memory.units(height * ROW),
            sums: memory.floats(height * self.width()),
        }
    }

    fn whole(&self, slab: &Slab<'_>, scratch: &mut Scratch) {
        let mut memory = Memory(&mut scratch.floats);
        let (mut room, mut session) = (self.room(&mut memory), self.micros.session());
        let mut running = Running::of(memory.floats(slab.len() * (self.width() + 2)), slab.len(), self.width());
        running.clear();
        for block in slab.blocks() {
            self.block(&mut session, slab, block, &mut room, &mut running);
        }
        self.finish(slab, &running);
    }

    /// Writes results and statistics of the slab.
    fn finish(&self, slab: &Slab<'_>, running: &Running<'_>) {
        self.micros.isa.vectorize(
            #[inline(always)]
            || {
                for row in 0..slab.len() {
                    let (head, query) = slab.row(row);
                    // SAFETY: each task has its own queries of its own heads.
                    let y = unsafe { self.y.range(slab.group.query(head, query)) };
                    let share = 1.0 / running.totals[row];
                    for (y, sum) in y.iter_mut().zip(&running.sums[row * running.width..]) {
                        *y = T::from_f32(sum * share);
                    }
                    let at = slab.group.statistic(head, query);
                    // SAFETY: as above.
                    let logsumexp = unsafe { self.logsumexp.range(at..at + 1) };
                    logsumexp[0] = running.largest[row] * self.args.scale + running.totals[row].ln();
                }
            },
        );
    }
}
