//! How fast the microkernels are by themselves: the ceiling of every product.

use std::time::Instant;

use super::kernel::{A_STRIDE, Session};
use super::{Precision, prepare};
use crate::cpu::isa::Isa;
use crate::cpu::pool::Pool;

/// Units of k of the panels: with the tile of C they stay in the nearest cache.
/// A whole number of steps of every kernel.
const UNITS: usize = 128;
/// Panels multiplied by a task: about a tenth of a millisecond.
const ROUNDS: usize = 128;
/// Tasks per thread: some milliseconds in all, too long for one interruption to count, too short to be felt.
const TASKS: usize = 24;

/// FLOP/s of the highest microkernel for `precision` on all threads, its operands in the nearest cache.
pub(crate) fn peak(pool: &Pool, isa: Isa, precision: Precision) -> f64 {
    let (encoding, kernel) = prepare(precision, isa);
    let tasks = TASKS * pool.threads();
    let begun = Instant::now();
    assert!(isa.is_supported(), "this CPU lacks {}", isa.name());
    pool.run_with_worker(tasks, &|_, worker| {
        let scratch = &mut pool.scratch(worker).tiles;
        // Ones: not numbers and numbers near 0 that another task left behind may be slow.
        let one = match encoding.format().k_per_unit() {
            1 => 0x3f80_0000,
            _ => 0x3f80_3f80,
        };
        scratch.a[..kernel.mr * A_STRIDE].fill(one);
        scratch.b[..UNITS * kernel.nr].fill(one);
        scratch.acc[..kernel.mr * kernel.nr].fill(0.0);
        let (acc, micro) = (scratch.acc.as_mut_ptr(), kernel.by_rows[kernel.mr - 1]);
        let mut session = Session::new(kernel);
        // SAFETY: the CPU has the level, by the assertion above. A has `mr` rows of `A_STRIDE`, B a panel of that many
        // units, C `mr` rows of `nr`, all inside the worker's memory.
        unsafe {
            session.prepare(kernel.mr, UNITS);
            for _ in 0..ROUNDS {
                micro(
                    UNITS,
                    scratch.a.as_ptr(),
                    scratch.b.as_ptr(),
                    acc,
                    kernel.nr,
                    true,
                    scratch.b.as_ptr(),
                );
            }
        }
    });
    let multiplications = kernel.mr * kernel.nr * UNITS * encoding.format().k_per_unit();
    (2 * multiplications * ROUNDS * tasks) as f64 / begun.elapsed().as_secs_f64()
}
