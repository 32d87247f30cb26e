//! The gradients of a chunk with every tile of `g` used while it is in the cache.
//!
//! A task owns some rows and a span of the vocabulary, and goes through the span in blocks of columns: logits, `g`, and
//! `g`'s share of `g·head` without leaving the second-level cache; then the tile goes to memory once, in the order in which
//! the product for the head's gradient reads it. What the target adds needs the row's total. So its element is zero
//! until the row is done; then it is put into `g` and, as a multiple of one row of the head, into `dx`.
//!
//! Where that cannot be (no soft cap that bounds the logits, tile registers, bf16 kept as f32) `loss.rs` has the general way.

use std::ops::Range;

use super::{Chunk, G, ROWS, tile};
use crate::backend::{NllArgs, NllGradients};
use crate::cpu::Cpu;
use crate::cpu::elem::{Elem, Parts, input, output, seen_as_mut};
use crate::cpu::matmul::{Ahead, Band, LeftRows, Micros, ROW, RightPanels, Scratch, Stretch, View, publish, stream};
use crate::dtype::DType;

/// Most rows of a tile; a power of two.
const TILE: usize = 128;
/// Spans of the vocabulary: rows alone would be too few tasks for many threads.
const SPANS: usize = 8;
/// Panels of the head's gradient per task.
const PANELS: usize = 16;
/// Most units of `s∘x` packed: with every panel of `g` all of it is read, from the second-level cache.
const PACKED: usize = 3 << 16;

/// How the chunks of a loss are cut up.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    micros: Micros,
    channels: usize,
    padded: usize,
    /// Columns of a block of logits.
    pub(super) width: usize,
    /// Columns of a span, and how many spans there are.
    span: usize,
    spans: usize,
    /// Rows of a tile.
    tile: usize,
}

impl Plan {
    /// None where the level, the type or the number of channels wants the general way.
    pub(super) fn new(cpu: &Cpu, channels: usize, padded: usize) -> Option<Self> {
        let bf16 = cpu.dtype == DType::Bf16;
        let micros = Micros::new(cpu.isa, bf16);
        if !micros.takes_columns() || micros.pairs() != bf16 || channels == 0 || padded == 0 {
            return None;
        }
        // As many units in both types: blocks of both operands of the head, `g` and the sums of `dx` fit the
        // second-level cache together.
        let width = 192 * micros.per_unit();
        let whole = |panel: usize| width.is_multiple_of(panel);
        assert!(
            whole(micros.height()) && whole(micros.width()),
            "blocks of logits are whole panels"
        );
        let span = padded.div_ceil(SPANS).next_multiple_of(width);
        let mut plan = Self {
            micros,
            channels,
            padded,
            width,
            span,
            spans: padded.div_ceil(span),
            tile: TILE,
        };
        while plan.scratch().iter().sum::<usize>() > Scratch::FLOATS {
            plan.tile /= 2;
            if plan.tile < 16 {
                return None;
            }
        }
        Some(plan)
    }

    /// What a worker needs: packed rows of x, a band of logits, a tile of `g`, a panel of it.
    fn scratch(&self) -> [usize; 4] {
        let (high, tile) = (self.micros.height(), self.tile);
        let rows = tile.next_multiple_of(high);
        [
            self.micros.left_len(rows, self.channels),
            high * self.width,
            rows * ROW,
            (high * self.micros.units(tile)).next_multiple_of(16),
        ]
    }

    /// Most rows of a chunk.
    pub(super) fn most_rows(&self) -> usize {
        let rows = PACKED / self.wide() * self.micros.per_unit();
        (rows / TILE * TILE).clamp(2 * TILE, 4096)
    }

    /// Channels of whole panels.
    fn wide(&self) -> usize {
        self.channels.next_multiple_of(self.micros.width())
    }

    /// Units of k between the panels of `g` of a chunk: whole cache lines.
    fn unit_stride(&self, rows: usize) -> usize {
        self.micros.units(rows).next_multiple_of(16)
    }

    /// Units that hold `g` of a chunk.
    fn of_g(&self, rows: usize) -> usize {
        let high = self.micros.height();
        self.padded.div_ceil(high) * high * self.unit_stride(rows)
    }

    /// Elements of master type that a chunk needs beside what rows need.
    pub(super) fn master(&self, rows: usize) -> usize {
        self.spans * rows * self.wide()
    }

    /// Elements of compute type that a chunk needs: `g`, and `s∘x` as it is and packed.
    pub(super) fn compute(&self, rows: usize) -> usize {
        let packed = self.micros.right_len(rows, self.channels);
        (self.of_g(rows) + packed) * self.micros.per_unit() + rows * self.channels
    }

    /// Where the element of a row and column of `g` is.
    pub(super) fn place(&self, rows: usize, row: usize, col: usize) -> usize {
        let (high, per_unit) = (self.micros.height(), self.micros.per_unit());
        let unit = col / high * self.unit_stride(rows) + row / per_unit;
        (unit * high + col % high) * per_unit + row % per_unit
    }
}

/// A chunk of rows and where things are.
struct Pass<'a, T> {
    plan: &'a Plan,
    cpu: &'a Cpu,
    chunk: Chunk<'a, T>,
    args: &'a NllArgs,
    gradients: &'a NllGradients,
    rows: Range<usize>,
    /// The rows of x.
    x: &'a [T],
    /// The chunk's `g`, panel by panel.
    g: Parts<'a, T>,
    /// The spans' shares of `g·head`: `[span][row][channel]`, channels of whole panels.
    sums: Parts<'a, f32>,
}

impl Cpu {
    /// Losses and gradients of the rows of a chunk.
    pub(super) fn fused_chunk<T: Elem>(
        &self,
        plan: &Plan,
        args: &NllArgs,
        gradients: &NllGradients,
        rows: Range<usize>,
    ) {
        let (count, channels, micros) = (rows.len(), args.channels, plan.micros);
        let own = Chunk::<T>::scratch(count, plan.padded, plan.width);
        let (own, sums) = output::<f32>(args.scratch).split_at_mut(own);
        let (g, rest) = output::<T>(gradients.scratch).split_at_mut(plan.of_g(count) * micros.per_unit());
        let (packed, scaled) = rest.split_at_mut(micros.right_len(count, channels) * micros.per_unit());
        let g = Parts::new(g);
        let pass = Pass {
            plan,
            cpu: self,
            chunk: Chunk::new(self, args, rows.clone(), plan.width, own, Some(G::Panels(g, plan))),
            args,
            gradients,
            x: &input::<T>(args.x)[rows.start * channels..rows.end * channels],
            rows,
            g,
            sums: Parts::new(sums),
        };
        let tiles = count.div_ceil(plan.tile);
        self.pool.run_with_worker(tiles * plan.spans, &|task, worker| {
            let (top, span) = (task % tiles * plan.tile, task / tiles);
            let rows = top..count.min(top + plan.tile);
            pass.sweep(rows, span, &mut self.pool.scratch(worker).floats);
        });
        pass.chunk.finish(&mut output::<f32>(args.nll)[pass.rows.clone()]);
        pass.finish_dx();
        pass.head_gradient(&mut scaled[..count * channels], seen_as_mut::<_, u32>(packed));
    }
}

impl<T: Elem> Pass<'_, T> {
    /// Logits, `g` and its share of `g·head` for some rows of the chunk and a span of columns.
    fn sweep(&self, rows: Range<usize>, span: usize, memory: &mut [f32]) {
        let Self { plan, chunk, .. } = self;
        let (micros, isa, channels) = (plan.micros, self.cpu.isa, plan.channels);
        let (high, width, wide) = (micros.height(), plan.width, plan.wide());
        let [left, logits, tile, panel] = plan.scratch();
        let (left, memory) = memory.split_at_mut(left);
        let (logits, memory) = memory.split_at_mut(logits);
        let (tile, memory) = memory.split_at_mut(tile);
        let (left, panel) = (seen_as_mut::<_, u32>(left), seen_as_mut::<_, u32>(&mut memory[..panel]));
        // Rows of the tile are rows of a left operand.
        let row_len = ROW * micros.per_unit();
        let bands = || (0..rows.len()).step_by(high).map(|top| top..rows.len().min(top + high));
        let band_len = micros.left_len(high, channels);
        for (band, left) in bands().zip(left.chunks_mut(band_len)) {
            let x = &self.x[(rows.start + band.start) * channels..(rows.start + band.end) * channels];
            micros.pack_left(T::matrix(View::row_major(x, band.len(), channels)), band.len(), left);
        }
        let forward = self.cpu.packed(self.args.head, channels, plan.padded);
        let backward = self.cpu.packed(self.gradients.head, plan.padded, channels);
        let first = (span * chunk.targets.len() + rows.start) * wide;
        // SAFETY: one task has these rows of the span.
        let sums = unsafe { self.sums.range(first..first + rows.len() * wide) };
        let end = plan.padded.min((span + 1) * plan.span);
        let begin = span * plan.span;
        let forward_of = |start: usize| {
            let panels = (end.min(start + width) - start).div_ceil(micros.width());
            forward.panels(&micros, (0, start), micros.units(channels), panels)
        };
        for start in (begin..end).step_by(width) {
            let cols = start..end.min(start + width);
            let count = micros.units(cols.len());
            let (to_logits, to_dx) = (
                forward_of(start),
                backward.panels(&micros, (start, 0), count, wide / micros.width()),
            );
            let mut ahead = Ahead::new([to_dx.stretch(&micros)]);
            for (band, left) in bands().zip(left.chunks(band_len)) {
                let a = LeftRows {
                    units: left,
                    rows: band.len(),
                };
                micros.multiply_band(Band::Rows(a), to_logits, logits, width, false, &mut ahead);
                let tile = seen_as_mut::<_, T>(&mut tile[band.start * ROW..]);
                let rows = rows.start + band.start..rows.start + band.end;
                chunk.soften(rows.clone(), &cols, logits, width);
                for ((row, z), g) in rows.zip(logits.chunks_mut(width)).zip(tile.chunks_mut(row_len)) {
                    if let Some(target) = chunk.target(row)
                        && cols.contains(&target)
                    {
                        z[target - start] = 0.0;
                    }
                    tile::round(isa, z, &mut g[..width]);
                }
            }
            let next = if cols.end < end {
                forward_of(cols.end)
            } else {
                to_logits
            };
            let mut ahead = Ahead::new([next.stretch(&micros)]);
            for band in bands() {
                let a = LeftRows {
                    units: &seen_as_mut::<_, u32>(&mut *tile)[band.start * ROW..],
                    rows: band.len(),
                };
                let sums = &mut sums[band.start * wide..];
                micros.multiply_band(Band::Rows(a), to_dx, sums, wide, start > begin, &mut ahead);
            }
            let tile = seen_as_mut::<_, T>(&mut *tile);
            let stride = plan.unit_stride(chunk.targets.len());
            let panel = &mut panel[..micros.units(rows.len()) * high];
            for col in cols.clone().step_by(high) {
                let lines = high.min(cols.end - col);
                let lines = View::strided(&tile[col - start..], rows.len(), lines, row_len, 1).t();
                micros.pack_columns(T::matrix(lines), panel);
                let at = (col / high * stride + micros.units(rows.start)) * high * micros.per_unit();
                // SAFETY: one task has these rows of these columns.
                let to = unsafe { self.g.range(at..at + panel.len() * micros.per_unit()) };
                stream(&micros, panel, seen_as_mut::<_, u32>(to));
            }
        }
        publish();
    }

    /// `dx = s∘(g·head)`: the spans' shares in rising order, then the target's.
    fn finish_dx(&self) {
        let Self { plan, chunk, .. } = self;
        let (count, channels, wide) = (self.rows.len(), plan.channels, plan.wide());
        let head = input::<f32>(self.gradients.head.master);
        let dx = Parts::new(&mut output::<T>(self.gradients.dx)[self.rows.start * channels..self.rows.end * channels]);
        self.cpu.pool.run_ranges(count, ROWS, &|range| {
            self.cpu.isa.vectorize(
                #[inline(always)]
                || {
                    for row in range {
                        // SAFETY: rows of one run are disjoint.
                        let (dx, scale, slope) = unsafe {
                            (
                                dx.range(row * channels..(row + 1) * channels),
                                chunk.scales.range(row..row + 1)[0],
                                chunk.wanted.range(row..row + 1)[0],
                            )
                        };
                        let Some(target) = chunk.target(row) else {
                            dx.fill(T::from_f32(0.0));
                            continue;
                        };
                        let share = |span: usize| {
                            let start = (span * count + row) * wide;
                            // SAFETY: as above.
                            unsafe { self.sums.range(start..start + channels) }
                        };
                        let sums = share(0);
                        for span in 1..plan.spans {
                            for (sum, more) in sums.iter_mut().zip(share(span)) {
                                *sum += *more;
                            }
                        }
                        let head = &head[target * channels..(target + 1) * channels];
                        for (dx, (sum, &w)) in dx.iter_mut().zip(sums.iter().zip(head)) {
                            *dx = T::from_f32((*sum + slope * T::from_f32(w).to_f32()) * scale);
                        }
                    }
                },
            );
        });
    }

    /// `dhead = gᵀ·(s∘x)`, or its addition.
    fn head_gradient(&self, scaled: &mut [T], packed: &mut [u32]) {
        let Self { plan, cpu, .. } = self;
        let (micros, channels, wide, count) = (plan.micros, plan.channels, plan.wide(), self.rows.len());
        let (high, nr, ks) = (micros.height(), micros.width(), micros.units(count));
        // SAFETY: no task runs meanwhile.
        let scales = unsafe { self.chunk.scales.range(0..count) };
        cpu.scale_rows(self.x, scales, scaled, channels);
        let columns = View::row_major(scaled, count, channels).t();
        let parts = Parts::new(packed);
        cpu.pool.run(wide / nr, &|panel| {
            let cols = panel * nr..channels.min((panel + 1) * nr);
            // SAFETY: a panel for each task.
            let panel = unsafe { parts.range(panel * nr * ks..(panel + 1) * nr * ks) };
            micros.pack_right(T::matrix(columns.part(cols, 0..count)), panel);
        });
        let right = RightPanels {
            units: packed,
            stride: nr * ks,
            panels: wide / nr,
            count: ks,
        };
        let stride = plan.unit_stride(count) * high;
        // SAFETY: no task writes it any more.
        let g: &[u32] = seen_as_mut(unsafe { self.g.range(0..plan.of_g(count) * micros.per_unit()) });
        let add = self.gradients.accumulate_head || self.rows.start > 0;
        let dhead = Parts::new(output::<f32>(self.gradients.dhead));
        let panels = plan.padded.div_ceil(high);
        cpu.pool.run_with_worker(panels.div_ceil(PANELS), &|task, worker| {
            let sums = &mut cpu.pool.scratch(worker).floats[..high * wide];
            for panel in task * PANELS..panels.min((task + 1) * PANELS) {
                let first = panel * high;
                let height = high.min(plan.padded - first);
                // SAFETY: each panel is one task's.
                let dhead = unsafe { dhead.range(first * channels..(first + height) * channels) };
                // The panel after this one, and the gradient that it is added to.
                let after = dhead.as_ptr_range().end;
                let mut ahead = Ahead::new([
                    Stretch::new(g.as_ptr().wrapping_add((panel + 1) * stride), stride),
                    Stretch::new(after, if add { dhead.len() } else { 0 }),
                ]);
                let left = Band::Columns(&g[panel * stride..][..ks * high], height);
                if wide == channels {
                    micros.multiply_band(left, right, dhead, channels, add, &mut ahead);
                    continue;
                }
                micros.multiply_band(left, right, sums, wide, false, &mut ahead);
                cpu.isa.vectorize(
                    #[inline(always)]
                    || {
                        for (dhead, sums) in dhead.chunks_mut(channels).zip(sums.chunks(wide)) {
                            for (dhead, &sum) in dhead.iter_mut().zip(sums) {
                                *dhead = if add { *dhead + sum } else { sum };
                            }
                        }
                    },
                );
            }
        });
    }
}
