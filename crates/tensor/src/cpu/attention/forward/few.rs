//! Few queries over many keys, as in decoding: keys and values pass through the registers once, in the order of memory.
//!
//! Packing a block of keys pays where many queries use it. Here a step of [`STEP`] keys is transposed in registers and multiplied
//! at once, head after head, before the next keys are touched; values likewise. What will be read next is asked
//! for line by line, some KiB ahead and once more a few KiB behind that. Every sum is the same chain as in `block.rs`, so the results have the same bits.
//!
//! Must never know instructions.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::super::softmax::{Scores, Weights, asked_for, rows_of_probabilities};
use super::super::{BLOCK, Memory, STEP, within};
use super::Call;
use super::rows::Running;
use crate::cpu::elem::{Elem, seen_as_mut};
use crate::cpu::matmul::{CHAIN, Micros, Scratch};
use crate::cpu::prefetch::{LINE, second_level};

/// How far ahead of the step that is computed memory is asked for, into the second-level cache: the first level has so few places for
/// lines that are on their way that memory's latency would set the speed (LOG.md).
const AHEAD: usize = 16 << 10;
/// So far behind that, it is asked for once more: a processor that is asked for more than it can wait for forgets some, and each of those
/// would be waited for alone.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
const AGAIN: usize = 8 << 10;
/// Rows of values at a time: nearly the order of memory, and yet enough to keep sums in registers for a while.
const VALUES: usize = 8;

/// Rows of keys or values, those of all heads side by side.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
struct Rows {
    first: *const u8,
    heads: usize,
    /// From one row to the next.
    bytes: usize,
    /// As many bytes as the rows have, to be asked for meanwhile.
    ahead: *const i8,
}

/// Scores of [`STEP`] keys with the queries of their heads. Arguments: the keys; units of a head; queries `[head][row][unit]`;
/// scores `[head][row]`, whose rows are [`BLOCK`] apart.
///
/// # Safety
/// The CPU has the kernel's instruction set; the memory is there.
type ScoresKernel = unsafe fn(Rows, usize, *const u32, *mut f32);

/// Adds weighted values to the sums of the queries of their heads, or begins the sums. Arguments: the values; channels of a head; units
/// of weights, each for a row, or for two in pairs; weights `[head][row]`, whose rows are [`BLOCK`] apart; sums `[head][row][channel]`;
/// whether they begin.
///
/// # Safety
/// As [`ScoresKernel`].
type ValuesKernel = unsafe fn(Rows, usize, usize, *const u32, *mut f32, bool);

/// Kernels for a number of queries per kv head.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) struct Kernels {
    scores: ScoresKernel,
    values: ValuesKernel,
}

/// Channels that the kernels of values take at a time.
const CHANNELS: usize = 32;

impl Kernels {
    /// For `rows` queries per kv head and elements of type `T`, if there are any.
    fn find<T: Elem>(micros: &Micros, rows: usize, channels: usize) -> Option<Kernels> {
        if !channels.is_multiple_of(CHANNELS) || micros.units(channels) > CHAIN || rows == 0 {
            return None;
        }
        #[cfg(target_arch = "x86_64")]
        {
            use crate::cpu::isa::Isa;
            use crate::dtype::DType;
            let (isa, pairs) = (micros.isa, micros.pairs());
            // Tiles of AMX round elsewhere, and bf16 that is widened has to be packed.
            if pairs && isa == Isa::Avx512Bf16 || T::DTYPE == DType::F32 && isa >= Isa::Avx512 {
                let (scores, values) = avx512::kernels(pairs, rows, channels.is_multiple_of(2 * CHANNELS))?;
                return Some(Kernels { scores, values });
            }
        }
        None
    }
}

/// Memory that will be read, part after part.
struct Coming<'a, T, I> {
    rest: &'a [T],
    parts: I,
    /// What was asked for last, ...
    last: &'a [T],
    /// ... and how many elements too early.
    early: usize,
}

impl<'a, T: Elem, I: Iterator<Item = &'a [T]>> Coming<'a, T, I> {
    /// The next `len` elements, fewer at the end of a part.
    fn next(&mut self, len: usize) -> &'a [T] {
        if self.rest.len() < len
            && let Some(part) = self.parts.next()
        {
            prefetch(self.rest);
            self.rest = part;
        }
        let (next, rest) = self.rest.split_at(len.min(self.rest.len()));
        (self.last, self.rest) = (next, rest);
        next
    }

    /// Where that is what a kernel should ask for while it computes as much.
    fn ahead(&mut self, len: usize) -> *const i8 {
        let next = if self.early >= len {
            self.early -= len;
            self.last
        } else {
            self.next(len)
        };
        next.as_ptr().cast()
    }

    /// Where that is what should be asked for while nothing is read.
    fn early(&mut self, len: usize) -> *const i8 {
        let next = self.next(len);
        self.early += next.len();
        next.as_ptr().cast()
    }
}

/// Asks for memory.
fn prefetch<T>(x: &[T]) {
    second_level(x.as_ptr(), size_of_val(x));
}

/// What dealing with the blocks of a sequence needs: all queries of all heads, `[kv head][row]`.
struct Room<'a> {
    /// `[…][unit]`
    queries: &'a mut [u32],
    /// `[…][BLOCK]`
    scores: &'a mut [f32],
    /// `[…][BLOCK]`, in units.
    weights: &'a mut [u32],
    /// `[…][channel]`
    sums: &'a mut [f32],
    /// The largest score and the sum of probabilities.
    parts: &'a mut [[f32; 2]],
    /// The rows of a step that is not whole.
    tail: &'a mut [u32],
}

/// Blocks of keys of a sequence.
pub(super) type Blocks = (usize, Range<usize>);

/// Nothing seen.
const NOTHING: [f32; 2] = [f32::NEG_INFINITY, 0.0];

impl<'a, T: Elem> Call<'a, T> {
    /// Kernels for `rows` queries per kv head, if there are any and their room suffices.
    pub(super) fn few(&self, rows: usize) -> Option<Kernels> {
        let dim = self.args.head_dim;
        let room = self.args.kv_heads * (rows * (2 * (BLOCK + dim) + 2) + STEP * dim);
        // Some lines more, since each piece begins at one.
        let fits = room + 8 * LINE <= Scratch::FLOATS;
        fits.then(|| Kernels::find::<T>(&self.micros, rows, dim)).flatten()
    }

    /// Joins blocks of a sequence to what `running` gives for each block and kv head. Those of `next` are likely to be the
    /// thread's next ones.
    pub(super) fn few_blocks<'m>(
        &self,
        kernels: Kernels,
        mut memory: Memory<'_>,
        (sequence, blocks): Blocks,
        next: Option<Blocks>,
        running: impl Fn(usize, usize) -> Running<'m>,
    ) {
        if blocks.is_empty() {
            return;
        }
        let (args, dim, heads) = (self.args, self.args.head_dim, self.args.kv_heads);
        let (units, rows) = (self.micros.units(dim), args.time * args.heads / heads);
        let room = &mut Room {
            queries: memory.units(heads * rows * units),
            scores: memory.floats(heads * rows * BLOCK),
            weights: memory.units(heads * rows * BLOCK),
            sums: memory.floats(heads * rows * dim),
            parts: memory.floats(heads * rows * 2).as_chunks_mut().0,
            tail: memory.units(STEP * heads * units),
        };
        let slab = |kv_head: usize| self.slab(sequence * heads + kv_head, 0..args.time);
        for (kv_head, queries) in room.queries.chunks_exact_mut(rows * units).enumerate() {
            for (row, query) in seen_as_mut::<_, T>(queries).chunks_exact_mut(dim).enumerate() {
                let slab = slab(kv_head);
                let (head, at) = slab.row(row);
                query.copy_from_slice(&self.q[slab.group.query(head, at)]);
            }
        }
        let mut coming = Coming {
            rest: &[],
            last: &[],
            early: 0,
            parts: (self.in_order((sequence, blocks.clone())))
                .chain(next.into_iter().flat_map(|next| self.in_order(next))),
        };
        // A step reads from all of its rows at once.
        prefetch(coming.next(STEP * heads * dim + AHEAD / size_of::<T>()));
        for block in blocks {
            let keys = slab(0).keys(block);
            for first in keys.clone().step_by(STEP) {
                let ahead = coming.ahead(STEP * heads * dim);
                let step = self.step::<STEP>(sequence, self.k, first..keys.end, room.tail, ahead);
                let scores = &mut room.scores[first - keys.start..][..(heads * rows - 1) * BLOCK + STEP];
                // SAFETY: `find` chose kernels of a level that this CPU has, for so many rows; the slices are what they reach.
                unsafe { (kernels.scores)(step, units, room.queries.as_ptr(), scores.as_mut_ptr()) };
            }
            self.weigh(sequence, &keys, room, &mut coming);
            for first in keys.clone().step_by(VALUES) {
                let count = self.micros.units((keys.end - first).min(VALUES));
                let ahead = coming.ahead(VALUES * heads * dim);
                let step = self.step::<VALUES>(sequence, self.v, first..keys.end, room.tail, ahead);
                let weights = &room.weights[self.micros.units(first - keys.start)..];
                let weights = weights[..(heads * rows - 1) * BLOCK + count].as_ptr();
                // SAFETY: as above.
                unsafe { (kernels.values)(step, dim, count, weights, room.sums.as_mut_ptr(), first == keys.start) };
            }
            for kv_head in 0..heads {
                let mut running = running(block, kv_head);
                self.micros.isa.vectorize(
                    #[inline(always)]
                    || {
                        for row in 0..rows {
                            let (part, sums) = (room.parts[kv_head * rows + row], kv_head * rows + row);
                            let sums = &mut room.sums[sums * dim..][..dim];
                            if part != NOTHING {
                                if self.micros.pairs() {
                                    deinterleave(sums);
                                }
                                running.join(row, self.c, part.into(), sums);
                            }
                        }
                    },
                );
            }
        }
    }

    /// Makes weights of the scores of a block, two rows at a time; meanwhile memory is asked for.
    fn weigh<I: Iterator<Item = &'a [T]>>(
        &self,
        sequence: usize,
        keys: &Range<usize>,
        room: &mut Room<'_>,
        coming: &mut Coming<'a, T, I>,
    ) {
        let (heads, all) = (self.args.kv_heads, room.parts.len());
        let len = keys.len().next_multiple_of(STEP);
        let seen = |row: usize| {
            let slab = self.slab(sequence * heads + row * heads / all, 0..self.args.time);
            within(
                &slab.group.visible(slab.row(row % (all / heads)).1),
                keys.start,
                keys.len(),
            )
        };
        for (row, scores) in room.scores.chunks_exact_mut(BLOCK).take(all).enumerate() {
            let seen = seen(row);
            scores[..seen.start].fill(f32::NEG_INFINITY);
            scores[seen.end..len].fill(f32::NEG_INFINITY);
        }
        for row in (0..all).step_by(2) {
            let scores = Scores {
                numbers: &room.scores[row * BLOCK..],
                stride: BLOCK,
                len,
            };
            let weights = &mut Weights {
                units: &mut room.weights[row * BLOCK..],
                stride: BLOCK,
            };
            let ahead = coming.early((all - row).min(2) * asked_for(len) / size_of::<T>());
            let (micros, c, parts) = (&self.micros, self.c, &mut room.parts[row..]);
            if let [first, second, ..] = parts {
                [*first, *second] = rows_of_probabilities(micros, scores, c, weights, ahead).map(Into::into);
            } else {
                [parts[0]] = rows_of_probabilities(micros, scores, c, weights, ahead).map(Into::into);
            }
        }
        for row in (0..all).filter(|&row| seen(row).is_empty()) {
            room.weights[row * BLOCK..][..self.micros.units(len)].fill(0);
            room.parts[row] = NOTHING;
        }
    }

    /// The first `COUNT` rows from `keys`; if they are fewer, they are copied to `tail` and followed by zeros.
    fn step<const COUNT: usize>(
        &self,
        sequence: usize,
        x: &[T],
        keys: Range<usize>,
        tail: &mut [u32],
        ahead: *const i8,
    ) -> Rows {
        let row = self.args.kv_heads * self.args.head_dim;
        let rows = &x[(sequence * self.args.capacity + keys.start) * row..][..keys.len().min(COUNT) * row];
        let first = if keys.len() >= COUNT {
            rows.as_ptr()
        } else {
            let tail = &mut seen_as_mut::<_, T>(tail)[..COUNT * row];
            tail[..rows.len()].copy_from_slice(rows);
            tail[rows.len()..].fill(T::from_f32(0.0));
            tail.as_ptr()
        };
        Rows {
            first: first.cast(),
            heads: self.args.kv_heads,
            bytes: row * size_of::<T>(),
            ahead,
        }
    }

    /// Keys and values of blocks of a sequence in the order in which they are needed.
    fn in_order(&self, (sequence, blocks): Blocks) -> impl Iterator<Item = &'a [T]> {
        let (args, k, v) = (self.args, self.k, self.v);
        let slab = self.slab(sequence * args.kv_heads, 0..args.time);
        let row = args.kv_heads * args.head_dim;
        blocks.flat_map(move |block| {
            let keys = slab.keys(block);
            let at = (sequence * args.capacity + keys.start) * row;
            [k, v].map(|x| &x[at..at + keys.len() * row])
        })
    }
}

/// Sums of pairs come as the processor interleaves two rows: of 32 channels every other four first.
#[inline(always)]
fn deinterleave(sums: &mut [f32]) {
    let (lines, _) = sums.as_chunks_mut::<CHANNELS>();
    for line in lines {
        let [low, high] = [0, 16].map(|half| <[f32; 16]>::try_from(&line[half..half + 16]).expect("half of 32"));
        for four in 0..4 {
            line[8 * four..][..4].copy_from_slice(&low[4 * four..][..4]);
            line[8 * four + 4..][..4].copy_from_slice(&high[4 * four..][..4]);
        }
    }
}
