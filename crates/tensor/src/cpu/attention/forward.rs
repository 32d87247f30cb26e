//! Scores, softmax and values: the forward pass, for many queries or one.
//!
//! A task owns a slab of queries of all heads of a (sequence, kv head). It packs each block of keys and values once and goes
//! over the slab in strips of a microkernel's height. Of few queries (decoding) a task owns a span of blocks of all heads
//! of a sequence, and where there are several spans, the last task joins the blocks: the same sums in the same order.

mod block;
mod few;
mod rows;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::block::{Ahead, Coming, Room};
use self::few::Kernels;
use self::rows::{Running, Slab};
use super::store::scaled;
use super::{BLOCK, Group, Memory, Soon};
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
/// Sequences at most whose blocks are dealt out to several tasks.
const MOST_SPLIT: usize = 256;

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
        if args.time * args.heads / args.kv_heads <= call.micros.height() {
            let few = call.few(args.time * args.heads / args.kv_heads);
            self.attention_by_sequences(&call, few);
            return;
        }
        let pairs = args.batch * args.kv_heads;
        let rows = call.rows_per_slab(pairs, self.pool.threads());
        let slabs = args.time.div_ceil(rows);
        self.pool.run_with_worker(pairs * slabs, &|task, worker| {
            // The last queries see most: they come first.
            let slab = |task: usize| {
                let first = (slabs - 1 - task / pairs) * rows;
                call.slab(task % pairs, first..args.time.min(first + rows))
            };
            // What the worker will probably come to next.
            let next = task + self.pool.threads();
            let next = (next < pairs * slabs).then(|| slab(next));
            call.whole(&slab(task), next.as_ref(), &mut self.pool.scratch(worker));
        });
    }

    /// Few queries, as in decoding: a task owns a span of blocks of keys of all heads of a sequence, which lie side by side in memory.
    /// With kernels for so few of them, if there are any.
    fn attention_by_sequences<T: Elem>(&self, call: &Call<'_, T>, few: Option<Kernels>) {
        let (args, width) = (call.args, call.width());
        let rows = args.time * args.heads / args.kv_heads;
        // It changes who computes a block and not its bits, so it may look at the number of threads.
        let (wanted, blocks) = (TASKS * self.pool.threads(), args.capacity.div_ceil(BLOCK));
        let spans = if args.batch >= wanted.min(MOST_SPLIT) {
            1
        } else {
            wanted.div_ceil(args.batch).min(blocks)
        };
        // Of a single span the blocks are joined as they come, of several by the task that is ready last.
        let (kept, stride) = (if spans == 1 { 1 } else { blocks }, args.kv_heads * rows * (width + 2));
        let mut partials = locked(&self.partials);
        if partials.len() < args.batch * kept * stride {
            partials.resize(args.batch * kept * stride, 0.0);
        }
        let partials = Parts::new(&mut partials[..args.batch * kept * stride]);
        let part = |sequence: usize, block: usize, kv_head: usize| {
            let at = (sequence * kept + block) * stride + kv_head * rows * (width + 2);
            // SAFETY: each block has one task, until the last one of a sequence has all its blocks.
            Running::of(unsafe { partials.range(at..at + rows * (width + 2)) }, rows, width)
        };
        let slab = |sequence: usize, kv_head: usize| call.slab(sequence * args.kv_heads + kv_head, 0..args.time);
        let blocks_of = |task: usize| {
            let (sequence, span) = (task / spans, task % spans);
            let all = slab(sequence, 0).blocks();
            let cut = |span: usize| all.start + all.len() * span / spans;
            (sequence, cut(span)..cut(span + 1))
        };
        let tasks = args.batch * spans;
        let done = [const { AtomicUsize::new(0) }; MOST_SPLIT];
        self.pool.run_with_worker(tasks, &|task, worker| {
            let (sequence, blocks) = blocks_of(task);
            let scratch = &mut self.pool.scratch(worker);
            let mut memory = Memory(&mut scratch.floats);
            let first = blocks.start;
            let running = |block: usize, kv_head: usize| {
                let mut running = part(sequence, if spans == 1 { 0 } else { block }, kv_head);
                if spans > 1 || block == first {
                    running.clear();
                }
                running
            };
            if let Some(few) = few {
                let next = task + self.pool.threads();
                let next = (next < tasks).then(|| blocks_of(next));
                call.few_blocks(few, memory, (sequence, blocks), next, running);
            } else {
                let mut room = call.room(&mut memory);
                let mut session = call.micros.session();
                let mut ahead = Ahead::new(call, &slab(sequence, 0), first);
                ahead.all();
                for block in blocks.clone() {
                    if block + 1 < blocks.end {
                        ahead = Ahead::new(call, &slab(sequence, 0), block + 1);
                    }
                    for kv_head in 0..args.kv_heads {
                        let (slab, mut running) = (slab(sequence, kv_head), running(block, kv_head));
                        call.block(
                            &mut session,
                            &slab,
                            block,
                            &mut room,
                            &mut running,
                            Coming::Blocks(&mut ahead),
                        );
                    }
                }
            }
            if spans == 1 {
                for kv_head in 0..args.kv_heads {
                    call.finish(&slab(sequence, kv_head), &part(sequence, 0, kv_head));
                }
                return;
            }
            // What the others wrote is seen by the last one.
            if done[sequence].fetch_add(1, Ordering::AcqRel) + 1 < spans {
                return;
            }
            for kv_head in 0..args.kv_heads {
                let slab = slab(sequence, kv_head);
                let floats = Memory(&mut scratch.floats).floats(rows * (width + 2));
                let mut running = Running::of(floats, rows, width);
                running.clear();
                for block in slab.blocks() {
                    let part = part(sequence, block, kv_head);
                    for row in 0..rows {
                        if part.has_seen(row) {
                            let sums = &part.sums[row * width..(row + 1) * width];
                            running.join(row, call.c, (part.largest[row], part.totals[row]), sums);
                        }
                    }
                }
                call.finish(&slab, &running);
            }
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

    fn whole(&self, slab: &Slab<'_>, next: Option<&Slab<'_>>, scratch: &mut Scratch) {
        let mut memory = Memory(&mut scratch.floats);
        let (mut room, mut session) = (self.room(&mut memory), self.micros.session());
        let mut running = Running::of(memory.floats(slab.len() * (self.width() + 2)), slab.len(), self.width());
        running.clear();
        let strips = slab.len().div_ceil(self.micros.height());
        let soon = |slab: &Slab<'_>, block: usize, shares: usize| {
            let keys = slab.keys(block);
            let matrices = [self.k, self.v].map(|x| slab.group.keys(x, &keys));
            Soon::new(matrices, (keys.len(), self.args.head_dim), shares)
        };
        let blocks = slab.blocks();
        soon(slab, blocks.start, 1).all();
        for block in blocks.clone() {
            let ahead = if block + 1 < blocks.end {
                Some(soon(slab, block + 1, strips))
            } else {
                next.map(|next| soon(next, next.blocks().start, strips))
            };
            self.block(
                &mut session,
                slab,
                block,
                &mut room,
                &mut running,
                Coming::Strips(ahead),
            );
        }
        self.finish(slab, &running);
    }

    /// Writes results and statistics of the slab.
    fn finish(&self, slab: &Slab<'_>, running: &Running<'_>) {
        for row in 0..slab.len() {
            let (head, query) = slab.row(row);
            let (total, sums) = (running.totals[row], &running.sums[row * running.width..]);
            // SAFETY: each task has its own queries of its own heads.
            scaled(&self.micros, sums, 1.0 / total, unsafe {
                self.y.range(slab.group.query(head, query))
            });
            let at = slab.group.statistic(head, query);
            // SAFETY: as above.
            let logsumexp = unsafe { self.logsumexp.range(at..at + 1) };
            logsumexp[0] = running.largest[row] * self.args.scale + total.ln();
        }
    }
}
