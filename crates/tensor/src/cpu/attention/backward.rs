//! The gradient: five products strip by strip of keys.
//!
//! A [`Sweep`] goes over blocks of queries and, for each, over the keys they see in strips of a microkernel's height. The scores of a
//! strip stand with a key per row, `Sᵀ = K·Qᵀ` and `dPᵀ = V·dYᵀ`, so that probabilities and their gradients
//! are at once the left operands of `dV += Pᵀ·dY` and `dK += dSᵀ·Q`; `dQᵀ += Kᵀ·dSᵀ` takes the strips of
//! a block of keys together. The sums of the keys stay in the worker's memory until the sweep ends.
//!
//! Where there are enough pairs of sequence and kv head, and they are short enough for that memory, a task sweeps over all
//! of one. Else the gradient by queries and that by keys are swept apart, each with an owner per block, which makes scores twice:
//! seven products. The choice sees shapes alone.

mod block;
mod queries;

use std::ops::Range;

use self::block::Keys;
use self::queries::Queries;
use super::store::scaled;
use super::{BLOCK, Group, Memory, Soon};
use crate::backend::{AttentionArgs, Buffer};
use crate::cpu::Cpu;
use crate::cpu::elem::{Elem, Parts, input, parts};
use crate::cpu::matmul::{Micros, ROW, Scratch};
use crate::dtype::DType;

/// Pairs of sequence and kv head from which on one task does all of a pair.
const ENOUGH_PAIRS: usize = 6;
/// Keys that meet in one product for `dQᵀ`: a multiple of every microkernel's height.
const KEYS: usize = 96;
/// Keys per task where keys are swept apart.
const SLAB: usize = 192;

/// The operands of a call.
struct Call<'a, T> {
    args: &'a AttentionArgs,
    micros: Micros,
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    y: &'a [T],
    dy: &'a [T],
    logsumexp: &'a [f32],
    dq: Parts<'a, T>,
    dk: Parts<'a, T>,
    dv: Parts<'a, T>,
}

/// Which gradients a sweep makes of which queries and keys.
struct Sweep {
    pair: usize,
    /// The pair that the worker will probably come to next.
    next: Option<usize>,
    /// Query heads, counted within the group.
    heads: Range<usize>,
    queries: Range<usize>,
    keys: Range<usize>,
    by_queries: bool,
    by_keys: bool,
}

impl Cpu {
    pub(crate) fn attention_gradients<T: Elem>(
        &self,
        args: &AttentionArgs,
        (q, k, v): (Buffer, Buffer, Buffer),
        (y, logsumexp, dy): (Buffer, Buffer, Buffer),
        (dq, dk, dv): (Buffer, Buffer, Buffer),
    ) {
        let call = Call {
            args,
            micros: Micros::new(self.isa, T::DTYPE == DType::Bf16),
            q: input::<T>(q),
            k: input::<T>(k),
            v: input::<T>(v),
            y: input::<T>(y),
            dy: input::<T>(dy),
            logsumexp: input::<f32>(logsumexp),
            dq: parts::<T>(dq),
            dk: parts::<T>(dk),
            dv: parts::<T>(dv),
        };
        let (time, pairs, group) = (args.time, args.batch * args.kv_heads, args.heads / args.kv_heads);
        let run = |tasks: usize, sweep: &(dyn Fn(usize) -> Sweep + Sync)| {
            self.pool.run_with_worker(tasks, &|task, worker| {
                call.sweep(&sweep(task), &mut self.pool.scratch(worker));
            });
        };
        if pairs >= ENOUGH_PAIRS && call.memory(time) <= Scratch::FLOATS {
            let threads = self.pool.threads();
            run(pairs, &|pair| Sweep {
                pair,
                next: Some(pair + threads).filter(|&next| next < pairs),
                heads: 0..group,
                queries: 0..time,
                keys: 0..time,
                by_queries: true,
                by_keys: true,
            });
            return;
        }
        let blocks = time.div_ceil(BLOCK);
        run(pairs * group * blocks, &|task| {
            // The last queries see most: they come first.
            let (block, pair) = (blocks - 1 - task / (pairs * group), task % (pairs * group));
            Sweep {
                pair: pair / group,
                next: None,
                heads: pair % group..pair % group + 1,
                queries: block * BLOCK..time.min((block + 1) * BLOCK),
                keys: 0..time,
                by_queries: true,
                by_keys: false,
            }
        });
        run(pairs * time.div_ceil(SLAB), &|task| {
            let slab = task / pairs;
            Sweep {
                pair: task % pairs,
                next: None,
                heads: 0..group,
                queries: 0..time,
                keys: slab * SLAB..time.min((slab + 1) * SLAB),
                by_queries: false,
                by_keys: true,
            }
        });
    }
}

impl<T: Elem> Call<'_, T> {
    /// Channels in whole panels.
    fn width(&self) -> usize {
        self.args.head_dim.next_multiple_of(self.micros.width())
    }

    /// Numbers that a sweep over `keys` keys needs; each piece may be rounded up by 15.
    fn memory(&self, keys: usize) -> usize {
        let (micros, dim, width) = (&self.micros, self.args.head_dim, self.width());
        let queries = 2 * (micros.right_len(dim, BLOCK) + micros.right_len(BLOCK, dim) + BLOCK)
            + dim.next_multiple_of(16) * BLOCK;
        let strip = micros.height() * (2 * BLOCK + ROW) + 2 * micros.left_len(micros.height(), dim);
        let block = dim.next_multiple_of(16) * ROW + KEYS * ROW + micros.right_len(KEYS, BLOCK);
        queries + strip + block + 2 * keys * width + 16 * 16
    }

    fn sweep(&self, sweep: &Sweep, scratch: &mut Scratch) {
        let (micros, dim, width, height) = (&self.micros, self.args.head_dim, self.width(), self.micros.height());
        let group = self.group(sweep.pair);
        let (mut memory, mut session) = (Memory(&mut scratch.floats), micros.session());
        let mut queries = Queries {
            across: [(); 2].map(|()| memory.units(micros.right_len(dim, BLOCK))),
            down: [(); 2].map(|()| memory.units(micros.right_len(BLOCK, dim))),
            logsumexp: memory.floats(BLOCK),
            along: memory.floats(BLOCK),
            sums: memory.floats(dim.next_multiple_of(16) * BLOCK),
        };
        let mut keys = Keys {
            rows: [(); 2].map(|()| memory.units(micros.left_len(height, dim))),
            columns: memory.units(dim.next_multiple_of(16) * ROW),
            scores: memory.floats(height * BLOCK),
            dp: memory.floats(height * BLOCK),
            p: memory.units(height * ROW),
            ds: memory.units(KEYS * ROW),
            ds_right: memory.units(micros.right_len(KEYS, BLOCK)),
        };
        let kept = if sweep.by_keys { sweep.keys.len() * width } else { 0 };
        let mut sums = [(); 2].map(|()| memory.floats(kept));
        for sums in &mut sums {
            sums.fill(0.0);
        }

        let mut ahead = Some(self.soon(&group, group.heads().start + sweep.heads.start, sweep.queries.start, 1));
        for head in sweep.heads.clone().map(|head| group.heads().start + head) {
            for first in sweep.queries.clone().step_by(BLOCK) {
                let rows = first..sweep.queries.end.min(first + BLOCK);
                let seen = group.first_visible(rows.start).max(sweep.keys.start)..rows.end.min(sweep.keys.end);
                if seen.is_empty() {
                    continue;
                }
                // What has not been asked for yet.
                if let Some(rest) = &mut ahead {
                    rest.all();
                }
                self.pack_queries(&group, head, &rows, sweep.by_keys, &mut queries);
                if sweep.by_queries {
                    queries.sums.fill(0.0);
                }
                let strips = seen.len().div_ceil(height);
                ahead = if rows.end < sweep.queries.end {
                    Some(self.soon(&group, head, rows.end, strips))
                } else if head + 1 < group.heads().start + sweep.heads.end {
                    Some(self.soon(&group, head + 1, sweep.queries.start, strips))
                } else {
                    let next = sweep.next.map(|pair| self.group(pair));
                    next.map(|next| {
                        self.soon(
                            &next,
                            next.heads().start + sweep.heads.start,
                            sweep.queries.start,
                            strips,
                        )
                    })
                };
                for start in seen.clone().step_by(KEYS) {
                    let block = start..seen.end.min(start + KEYS);
                    let at = (block.start - sweep.keys.start) * width;
                    let kept = sums.each_mut().map(|sums| sums.get_mut(at..).unwrap_or_default());
                    let met = (&rows, &block, seen.end);
                    self.block(&mut session, &group, met, sweep, &queries, &mut keys, kept, &mut ahead);
                    if sweep.by_queries {
                        self.add_to_queries(&mut session, &group, (&rows, &block), &mut queries, &mut keys);
                    }
                }
                if sweep.by_queries {
                    self.store_queries(&group, head, &rows, &queries);
                }
            }
        }
        if sweep.by_keys {
            self.store_keys(&group, &sweep.keys, &sums);
        }
    }

    fn group(&self, pair: usize) -> Group<'_> {
        Group::new(self.args, pair / self.args.kv_heads, pair % self.args.kv_heads, None)
    }

    /// A block of queries of a head, to be asked for in so many shares.
    fn soon(&self, group: &Group<'_>, head: usize, first: usize, shares: usize) -> Soon<'_, T, 3> {
        let rows = first..self.args.time.min(first + BLOCK);
        let matrices = [self.q, self.dy, self.y].map(|x| group.queries(x, head, &rows));
        Soon::new(matrices, (rows.len(), self.args.head_dim), shares)
    }

    fn store_keys(&self, group: &Group<'_>, keys: &Range<usize>, sums: &[&mut [f32]; 2]) {
        let width = self.width();
        for ((to, scale), sums) in [(&self.dk, self.args.scale), (&self.dv, 1.0)].into_iter().zip(sums) {
            for (key, sums) in keys.clone().zip(sums.chunks_exact(width)) {
                // SAFETY: each sweep has its own keys of its own head.
                scaled(&self.micros, sums, scale, unsafe { to.range(group.key(key)) });
            }
        }
    }
}
