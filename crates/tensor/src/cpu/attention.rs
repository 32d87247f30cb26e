//! Causal attention in tiles of 64 queries × 64 keys; no `time × time` matrix is stored.
//!
//! Forward and the gradient by queries have one owner per (sequence, head, query tile); the
//! gradients by keys and values one per (sequence, kv head, key tile), which makes the scores a
//! second time and in exchange needs no memory that grows with time and no sums across tasks.
//! Key tiles lie at fixed positions, so a query's result has the same bits whether it comes
//! alone (decoding) or with others (training).

use std::ops::Range;

use super::Cpu;
use super::elem::{Elem, indices, input, parts};
use super::isa::Isa;
use super::math::{dot, exp, max, sum};
use super::matmul::{Epilogue, Scratch, TileScratch, View, ViewMut, tile_matmul};
use crate::backend::{AttentionArgs, Buffer};

/// Queries and keys per tile.
const TILE: usize = 64;

/// What a tile's task does: called with sequence, head, positions of the tile and the worker's memory.
type TileBody<'a> = dyn Fn(usize, usize, Range<usize>, &mut Scratch) + Sync + 'a;

/// The part of a call that one task sees: sequence, heads, absolute positions.
#[derive(Clone, Copy)]
struct Heads<'a> {
    args: &'a AttentionArgs,
    sequence: usize,
    head: usize,
    /// Absolute position of query 0.
    start: usize,
}

impl<'a> Heads<'a> {
    fn new(args: &'a AttentionArgs, sequence: usize, head: usize, starts: Option<&[i32]>) -> Heads<'a> {
        Heads {
            args,
            sequence,
            head,
            start: starts.map_or(0, |s| first_position(s[sequence], args.time, args.capacity)),
        }
    }

    fn kv_head(&self) -> usize {
        self.head / (self.args.heads / self.args.kv_heads)
    }

    /// Rows of queries of this head.
    fn queries<'b, T: Elem>(&self, x: &'b [T], rows: &Range<usize>) -> View<'b, T> {
        let a = self.args;
        let stride = a.heads * a.head_dim;
        let at = (self.sequence * a.time + rows.start) * stride + self.head * a.head_dim;
        View::strided(&x[at..], rows.len(), a.head_dim, stride, 1)
    }

    /// Rows of keys or values of this head's kv head.
    fn keys<'b, T: Elem>(&self, x: &'b [T], rows: &Range<usize>) -> View<'b, T> {
        let a = self.args;
        let stride = a.kv_heads * a.head_dim;
        let at = (self.sequence * a.capacity + rows.start) * stride + self.kv_head() * a.head_dim;
        View::strided(&x[at..], rows.len(), a.head_dim, stride, 1)
    }

    /// Where the statistics of a query tile stand in `[batch, heads, time]`.
    fn statistics(&self, rows: &Range<usize>) -> Range<usize> {
        let base = (self.sequence * self.args.heads + self.head) * self.args.time;
        base + rows.start..base + rows.end
    }

    /// Keys that query `row` sees.
    fn visible(&self, row: usize) -> Range<usize> {
        let position = self.start + row;
        position.saturating_sub(self.args.window)..position + 1
    }

    /// Key tiles that any query of the tile sees.
    fn key_tiles(&self, rows: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let first = self.visible(rows.start).start / TILE;
        let end = self.start + rows.end;
        (first..end.div_ceil(TILE)).map(move |tile| tile * TILE..end.min((tile + 1) * TILE))
    }

    /// Scaled scores of a tile, −∞ where masked, into `scores` (rows of [`TILE`]).
    #[inline(always)]
    fn scores<T: Elem>(
        &self,
        isa: Isa,
        (q, k): (&[T], &[T]),
        (rows, keys): (&Range<usize>, &Range<usize>),
        scores: &mut [f32],
        tiles: &mut TileScratch,
    ) {
        let product = ViewMut::strided(&mut *scores, rows.len(), keys.len(), TILE);
        let epilogue = Epilogue {
            alpha: self.args.scale,
            accumulate: false,
        };
        let (q, k) = (T::matrix(self.queries(q, rows)), T::matrix(self.keys(k, keys)).t());
        tile_matmul(isa, q, k, product, epilogue, tiles);
        for (row, scores) in rows.clone().zip(scores.chunks_exact_mut(TILE)) {
            let seen = self.visible(row);
            if seen.start <= keys.start && keys.end <= seen.end {
                continue;
            }
            for (key, score) in keys.clone().zip(scores) {
                if !seen.contains(&key) {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }
}

/// Splits the worker's free memory into buffers.
fn carve<const N: usize>(mut floats: &mut [f32], sizes: [usize; N]) -> [&mut [f32]; N] {
    sizes.map(|size| {
        let (part, rest) = std::mem::take(&mut floats).split_at_mut(size);
        floats = rest;
        part
    })
}

impl Cpu {
    pub(crate) fn attention_forward<T: Elem>(
        &self,
        args: &AttentionArgs,
        (q, k, v): (Buffer, Buffer, Buffer),
        y: Buffer,
        logsumexp: Buffer,
    ) {
        let (q, k, v) = (input::<T>(q), input::<T>(k), input::<T>(v));
        let (y, logsumexp) = (parts::<T>(y), parts::<f32>(logsumexp));
        let starts = args.starts.map(indices);
        let (isa, dim) = (self.isa, args.head_dim);
        self.for_tiles(args.batch, args.heads, args.time, &|sequence, head, rows, scratch| {
            let heads = Heads::new(args, sequence, head, starts);
            let tiles = &mut scratch.tiles;
            let [scores, sums, peaks, totals] = carve(&mut scratch.floats, [TILE * TILE, TILE * dim, TILE, TILE]);
            sums.fill(0.0);
            peaks.fill(f32::NEG_INFINITY);
            totals.fill(0.0);
            for keys in heads.key_tiles(&rows) {
                heads.scores(isa, (q, k), (&rows, &keys), scores, tiles);
                isa.vectorize(|| {
                    for row in 0..rows.len() {
                        let scores = &mut scores[row * TILE..row * TILE + keys.len()];
                        let peak = peaks[row].max(max(scores));
                        if peak == f32::NEG_INFINITY {
                            scores.fill(0.0);
                            continue;
                        }
                        let shrink = exp(peaks[row] - peak);
                        if shrink != 1.0 {
                            sums[row * dim..(row + 1) * dim].iter_mut().for_each(|s| *s *= shrink);
                        }
                        for score in scores.iter_mut() {
                            *score = exp(*score - peak);
                        }
                        totals[row] = totals[row] * shrink + sum(scores);
                        peaks[row] = peak;
                    }
                });
                let weights = View::strided(&*scores, rows.len(), keys.len(), TILE, 1);
                let sums = ViewMut::row_major(&mut *sums, rows.len(), dim);
                tile_matmul(
                    isa,
                    weights,
                    T::matrix(heads.keys(v, &keys)),
                    sums,
                    Epilogue::ADD,
                    tiles,
                );
            }
            // SAFETY: each task has its own queries of its own head.
            let logsumexp = unsafe { logsumexp.range(heads.statistics(&rows)) };
            isa.vectorize(|| {
                for (at, row) in rows.clone().enumerate() {
                    let start = ((sequence * args.time + row) * args.heads + head) * dim;
                    // SAFETY: as above.
                    let y = unsafe { y.range(start..start + dim) };
                    let share = 1.0 / totals[at];
                    for (y, s) in y.iter_mut().zip(&sums[at * dim..(at + 1) * dim]) {
                        *y = T::from_f32(s * share);
                    }
                    logsumexp[at] = peaks[at] + totals[at].ln();
                }
            });
        });
    }

    pub(crate) fn attention_gradients<T: Elem>(
        &self,
        args: &AttentionArgs,
        (q, k, v): (Buffer, Buffer, Buffer),
        (y, logsumexp, dy): (Buffer, Buffer, Buffer),
        (dq, dk, dv): (Buffer, Buffer, Buffer),
    ) {
        let (q, k, v) = (input::<T>(q), input::<T>(k), input::<T>(v));
        let (y, dy, logsumexp) = (input::<T>(y), input::<T>(dy), input::<f32>(logsumexp));
        let (dq, dk, dv) = (parts::<T>(dq), parts::<T>(dk), parts::<T>(dv));
        let (isa, dim, group) = (self.isa, args.head_dim, args.heads / args.kv_heads);
        let gradients = Tile {
            isa,
            q,
            k,
            v,
            y,
            dy,
            logsumexp,
        };
        self.for_tiles(args.batch, args.heads, args.time, &|sequence, head, rows, scratch| {
            let heads = Heads::new(args, sequence, head, None);
            let tiles = &mut scratch.tiles;
            let [p, ds, sums] = carve(&mut scratch.floats, [TILE * TILE, TILE * TILE, TILE * dim]);
            sums.fill(0.0);
            for keys in heads.key_tiles(&rows) {
                gradients.compute(&heads, &rows, &keys, p, ds, tiles);
                let ds = View::strided(&*ds, rows.len(), keys.len(), TILE, 1);
                let sums = ViewMut::row_major(&mut *sums, rows.len(), dim);
                tile_matmul(isa, ds, T::matrix(heads.keys(k, &keys)), sums, Epilogue::ADD, tiles);
            }
            for (row, sums) in rows.zip(sums.chunks_exact(dim)) {
                let start = ((sequence * args.time + row) * args.heads + head) * dim;
                // SAFETY: each task has its own queries of its own head.
                store(sums, unsafe { dq.range(start..start + dim) });
            }
        });
        self.for_tiles(
            args.batch,
            args.kv_heads,
            args.time,
            &|sequence, kv_head, keys, scratch| {
                let tiles = &mut scratch.tiles;
                let [p, ds, key_sums, value_sums] =
                    carve(&mut scratch.floats, [TILE * TILE, TILE * TILE, TILE * dim, TILE * dim]);
                key_sums.fill(0.0);
                value_sums.fill(0.0);
                // Queries from this tile's first key on, as far as the window reaches back to its last.
                let end = args.time.min(keys.end.saturating_add(args.window));
                for head in kv_head * group..(kv_head + 1) * group {
                    let heads = Heads::new(args, sequence, head, None);
                    for tile in keys.start / TILE..end.div_ceil(TILE) {
                        let rows = tile * TILE..args.time.min((tile + 1) * TILE);
                        gradients.compute(&heads, &rows, &keys, p, ds, tiles);
                        let transposed = |x| View::strided(x, rows.len(), keys.len(), TILE, 1).t();
                        let (p, ds) = (transposed(&*p), transposed(&*ds));
                        let sums = ViewMut::row_major(&mut *value_sums, keys.len(), dim);
                        tile_matmul(isa, p, T::matrix(heads.queries(dy, &rows)), sums, Epilogue::ADD, tiles);
                        let sums = ViewMut::row_major(&mut *key_sums, keys.len(), dim);
                        tile_matmul(isa, ds, T::matrix(heads.queries(q, &rows)), sums, Epilogue::ADD, tiles);
                    }
                }
                for (at, key) in keys.enumerate() {
                    let start = ((sequence * args.time + key) * args.kv_heads + kv_head) * dim;
                    let sums = at * dim..(at + 1) * dim;
                    // SAFETY: each task has its own keys of its own head.
                    unsafe {
                        store(&key_sums[sums.clone()], dk.range(start..start + dim));
                        store(&value_sums[sums], dv.range(start..start + dim));
                    }
                }
            },
        );
    }

    /// Calls `body` for each sequence, head and tile of positions, with the worker's memory.
    fn for_tiles(&self, batch: usize, heads: usize, time: usize, body: &TileBody<'_>) {
        let tiles = time.div_ceil(TILE);
        self.pool.run_with_worker(batch * heads * tiles, &|task, worker| {
            let (sequence, head, tile) = (task / tiles / heads, task / tiles % heads, task % tiles);
            let rows = tile * TILE..time.min((tile + 1) * TILE);
            body(sequence, head, rows, &mut self.pool.scratch(worker));
        });
    }
}

/// What the gradients of one tile are made of.
struct Tile<'a, T> {
    isa: Isa,
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    y: &'a [T],
    dy: &'a [T],
    logsumexp: &'a [f32],
}

impl<T: Elem> Tile<'_, T> {
    /// Probabilities `p` and gradients `ds = scale·p∘(dy·vᵀ − Σ dy·y)` of the scores of one tile.
    fn compute(
        &self,
        heads: &Heads,
        rows: &Range<usize>,
        keys: &Range<usize>,
        p: &mut [f32],
        ds: &mut [f32],
        tiles: &mut TileScratch,
    ) {
        let a = heads.args;
        heads.scores(self.isa, (self.q, self.k), (rows, keys), p, tiles);
        let dy = T::matrix(heads.queries(self.dy, rows));
        let dp = ViewMut::strided(&mut *ds, rows.len(), keys.len(), TILE);
        tile_matmul(
            self.isa,
            dy,
            T::matrix(heads.keys(self.v, keys)).t(),
            dp,
            Epilogue::STORE,
            tiles,
        );
        let logsumexp = &self.logsumexp[heads.statistics(rows)];
        self.isa.vectorize(|| {
            for (at, row) in rows.clone().enumerate() {
                let start = ((heads.sequence * a.time + row) * a.heads + heads.head) * a.head_dim;
                let of_row = start..start + a.head_dim;
                let along = dot(&self.dy[of_row.clone()], &self.y[of_row]);
                let tile = at * TILE..at * TILE + keys.len();
                for (p, ds) in p[tile.clone()].iter_mut().zip(&mut ds[tile]) {
                    *p = exp(*p - logsumexp[at]);
                    *ds = a.scale * *p * (*ds - along);
                }
            }
        });
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

fn store<T: Elem>(from: &[f32], to: &mut [T]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = T::from_f32(from);
    }
}
