//! Ceilings of this machine, measured in a moment: what no kernel can exceed, to be put beside what one reaches.
//!
//! Must never know a kernel but the innermost loop of the matrix products.

use std::hint::black_box;
use std::time::Instant;

use super::Cpu;
use super::elem::{Parts, output};
use super::matmul::peak;
use crate::backend::{Buffer, Stream};

/// Elements per task: half a MiB of f32, a stretch long enough for the prefetchers, and many more tasks than threads.
const STRETCH: usize = 1 << 17;
/// Independent sums while reading: eight vectors of the widest kind.
const LANES: usize = 128;

impl Cpu {
    pub(crate) fn peak_flops(&self) -> f64 {
        peak(&self.pool, self.isa, self.precision())
    }

    /// Bytes per second of one walk through `memory`.
    pub(crate) fn stream(&self, stream: Stream, memory: Buffer) -> f64 {
        let memory = output::<f32>(memory);
        let parts = match stream {
            Stream::Read => 1,
            Stream::Copy => 2,
            Stream::Triad => 3,
        };
        let len = memory.len() / parts;
        let memory = Parts::new(memory);
        let begun = Instant::now();
        self.pool.run_ranges(len, STRETCH, &|range| {
            // SAFETY: ranges of one run are disjoint, and so are the parts of the memory.
            let part = |index: usize| unsafe { memory.range(index * len + range.start..index * len + range.end) };
            self.isa.vectorize(
                #[inline(always)]
                || match stream {
                    Stream::Read => read(part(0)),
                    Stream::Copy => copy(part(0), part(1)),
                    Stream::Triad => triad(part(0), part(1), part(2)),
                },
            );
        });
        (parts * len * size_of::<f32>()) as f64 / begun.elapsed().as_secs_f64()
    }
}

#[inline(always)]
fn read(from: &[f32]) {
    let mut sums = [0.0; LANES];
    let (blocks, rest) = from.as_chunks::<LANES>();
    for block in blocks {
        for (sum, x) in sums.iter_mut().zip(block) {
            *sum += x;
        }
    }
    black_box((sums, rest.iter().sum::<f32>()));
}

#[inline(always)]
fn copy(to: &mut [f32], from: &[f32]) {
    to.copy_from_slice(from);
}

#[inline(always)]
fn triad(to: &mut [f32], b: &[f32], c: &[f32]) {
    for ((to, b), c) in to.iter_mut().zip(b).zip(c) {
        *to = b + 3.0 * c;
    }
}
